//! FRRConfiguration in, frr.conf out: one directory for each case. `UPDATE_EXPECT=1` rewrites the outputs.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "nothing but a test")]

use expect_test::expect_file;
use ferrolb::{api::FRRConfiguration, frr};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frr");
    let mut cases: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// The output is as written, is read back as the model that it was made of, and `vtysh` finds nothing wrong with it.
#[test]
fn frr_conf() {
    for case in cases() {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let object: FRRConfiguration = serde_saphyr::from_str(&text).unwrap();
        let (model, problems) = frr::merge(&object, &BTreeMap::new());
        assert!(problems.is_empty(), "{}: {problems:?}", case.display());
        let conf = frr::render(&model).unwrap();
        expect_file![case.join("frr.conf")].assert_eq(&conf);
        let found = frr::read(&conf);
        assert_eq!(found.model, model, "{}", case.display());
        assert!(found.foreign.is_empty(), "{}: {:?}", case.display(), found.foreign);
        let checked = vtysh(&case.join("frr.conf"));
        assert_eq!(checked, (true, String::new()), "{}", case.display());
    }
}

#[expect(clippy::disallowed_methods, reason = "no program of ours: FRR's own judgement of its file")]
fn vtysh(file: &Path) -> (bool, String) {
    let output = Command::new("vtysh").args(["-C", "-f"]).arg(file).output();
    let output = output.expect("vtysh is missing: apt-get install frr");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
