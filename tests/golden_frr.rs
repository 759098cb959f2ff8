//! FRRConfigurations in, frr.conf out: one directory for each case. `UPDATE_EXPECT=1` rewrites the outputs.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "nothing but a test")]

use expect_test::expect_file;
use ferrolb::{
    api::{FRRConfiguration, FRRConfigurationSpec},
    frr::{self, Model, Sources},
    world::Labels,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn cases(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dir);
    let mut cases: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// The output is as written, is read back as the model that it was made of, and `vtysh` finds nothing wrong with it.
#[test]
fn frr_conf() {
    for case in cases("frr") {
        let text = fs::read_to_string(case.join("in.yaml")).unwrap();
        let object: FRRConfiguration = serde_saphyr::from_str(&text).unwrap();
        let merged = frr::merge(&Sources::only(&object));
        assert!(merged.problems.is_empty(), "{}: {:?}", case.display(), merged.problems);
        check(&case, &merged.model);
    }
}

/// What goes into a merge: our own object is the one named `metallb-n1`.
struct Case {
    ours: FRRConfiguration,
    users: BTreeMap<String, FRRConfiguration>,
    labels: Labels,
    block: Vec<ipnet::IpNet>,
}

impl Case {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut case = Self {
            ours: FRRConfiguration::new("metallb-n1", FRRConfigurationSpec::default()),
            users: BTreeMap::new(),
            labels: Labels::default(),
            block: Vec::new(),
        };
        for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            match object["kind"].as_str().unwrap() {
                "Node" => {
                    let labels: BTreeMap<String, String> =
                        serde_json::from_value(object["metadata"]["labels"].clone()).unwrap();
                    case.labels = labels.into();
                }
                "AlwaysBlock" => {
                    let prefixes = object["prefixes"].as_array().unwrap().iter();
                    case.block = prefixes.map(|p| p.as_str().unwrap().parse().unwrap()).collect();
                }
                _ => {
                    let object: FRRConfiguration = serde_json::from_value(object).unwrap();
                    let name = object.metadata.name.clone().unwrap();
                    match name.as_str() {
                        "metallb-n1" => case.ours = object,
                        _ => drop(case.users.insert(name, object)),
                    }
                }
            }
        }
        case
    }
}

/// Users' objects beside ours: what FRR is told, and what is wrong with which object.
#[test]
fn merged() {
    for dir in cases("frr-merge") {
        let case = Case::read(&dir.join("in.yaml"));
        let merged = frr::merge(&Sources {
            users: &case.users,
            selects: &|selector| selector.matches(&case.labels),
            block: &case.block,
            ..Sources::only(&case.ours)
        });
        let problems: String = merged.problems.iter().map(|problem| format!("{problem}\n")).collect();
        expect_file![dir.join("problems")].assert_eq(&problems);
        check(&dir, &merged.model);
    }
}

/// The model's file is as written, is read back as the model, and `vtysh` finds nothing wrong with it.
fn check(case: &Path, model: &Model) {
    let conf = frr::render(model).unwrap();
    expect_file![case.join("frr.conf")].assert_eq(&conf);
    let found = frr::read(&conf);
    assert_eq!(frr::written(&conf), model.raw, "{}", case.display());
    let raw: BTreeSet<&String> = model.raw.iter().flat_map(|l| l.path.iter().chain([&l.text])).collect();
    let strange: Vec<_> =
        found.foreign.iter().filter(|line| !raw.contains(&line.trim().to_owned())).collect();
    assert!(strange.is_empty(), "{}: {strange:?}", case.display());
    assert_eq!(Model { raw: model.raw.clone(), ..found.model.clone() }, *model, "{}", case.display());
    assert_eq!(frr::delta(&found.model, model), [], "{}", case.display());
    let checked = vtysh(&case.join("frr.conf"));
    assert_eq!(checked, (true, String::new()), "{}", case.display());
}

#[expect(clippy::disallowed_methods, reason = "no program of ours: FRR's own judgement of its file")]
fn vtysh(file: &Path) -> (bool, String) {
    let output = Command::new("vtysh").args(["-C", "-f"]).arg(file).output();
    let output = output.expect("vtysh is missing: apt-get install frr");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
