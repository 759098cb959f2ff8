//! `manifests/ferrolb.yaml` is made of `manifests/base` and `manifests/crds`; this fails when it is stale.
//!
//! `UPDATE_EXPECT=1 cargo test --test manifests` renews it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{fs, path::Path};

/// The YAML files of a directory in the order of their names, each ending in one line break.
fn parts(dir: &Path) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("read {}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.trim().trim_start_matches("---").trim_start();
            (path.file_name().unwrap().to_string_lossy().into_owned(), format!("{text}\n"))
        })
        .collect();
    parts.sort();
    parts
}

/// The namespace first, then the kinds, then what uses them: the order in which `kubectl apply` can take them.
fn made(manifests: &Path) -> String {
    let base = parts(&manifests.join("base"));
    let crds = parts(&manifests.join("crds"));
    let (namespace, rest) = base.split_first().expect("manifests/base holds the namespace");
    let documents: Vec<&str> =
        std::iter::once(namespace).chain(&crds).chain(rest).map(|(_, text)| text.as_str()).collect();
    let header = "# Made of manifests/base and manifests/crds: edit there, then `make manifests`.\n";
    let version = format!(":v{}\n", env!("CARGO_PKG_VERSION"));
    format!("{header}---\n{}", documents.join("---\n")).replace(":VERSION\n", &version)
}

#[test]
fn the_manifest_is_made_of_its_parts() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let path = manifests.join("ferrolb.yaml");
    let made = made(&manifests);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "manifests/ferrolb.yaml is stale; renew it with `make manifests`");
}
