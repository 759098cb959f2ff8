//! What configuration objects mean, case by case: `tests/golden/config/CASE/in.yaml` → `out.txt`.
//!
//! Where a case has `last.yaml`, those objects were there before. `UPDATE_EXPECT=1` writes `out.txt` anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

mod common;

use ferrolb::config::{Config, Problems, parse};
use std::{fmt::Write as _, fs, path::Path};

#[test]
fn cases() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let mut cases: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let (config, problems) = run(&case);
        expect_test::expect_file![case.join("out.txt")].assert_eq(&text(&config, &problems));
    }
}

fn run(case: &Path) -> (Config, Problems) {
    let read = |file: &str| {
        let yaml = fs::read_to_string(case.join(file)).ok()?;
        Some(common::input(serde_saphyr::from_multiple(&yaml).expect(file)))
    };
    let last = read("last.yaml").map(|input| {
        let (last, problems) = parse(&input, &Config::default());
        assert!(problems.is_empty(), "{}/last.yaml: {problems:#?}", case.display());
        last
    });
    parse(&read("in.yaml").expect("in.yaml"), &last.unwrap_or_default())
}

fn text(config: &Config, problems: &Problems) -> String {
    let mut out = String::new();
    let Config { pools, l2, bgp, peers, bfd, aliases } = config;
    pools.iter().for_each(|(n, v)| writeln!(out, "pool {n}: {v:?}").unwrap());
    l2.iter().for_each(|(n, v)| writeln!(out, "l2 {n}: {v:?}").unwrap());
    bgp.iter().for_each(|(n, v)| writeln!(out, "bgp {n}: {v:?}").unwrap());
    peers.iter().for_each(|(n, v)| writeln!(out, "peer {n}: {v:?}").unwrap());
    bfd.iter().for_each(|(n, v)| writeln!(out, "bfd {n}: {v:?}").unwrap());
    aliases.iter().for_each(|(n, v)| writeln!(out, "aliases {n}: {v:?}").unwrap());
    problems.iter().for_each(|p| writeln!(out, "! {p}").unwrap());
    problems.remarks().for_each(|p| writeln!(out, "? {p}").unwrap());
    out
}
