//! Status files of Services: what is in one, and how it is laid over the manifest.
//!
//! A file holds a v1 Service with a name, our annotation and the addresses, nothing else. Only the controller writes.

use super::{SERVICES, blame, replace};
use crate::{names::ServiceKey, world::annotations::ALLOCATED_FROM};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The status of one Service, as it is in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Addresses, as text.
    pub(super) ips: Vec<String>,
    /// The pool that they are from.
    pub(super) pool: Option<String>,
}

/// Every status file. One that does not parse counts as empty: it is ours, and is written anew. What is no file is none
/// of ours.
pub(super) fn read(dir: &Path) -> io::Result<BTreeMap<ServiceKey, Entry>> {
    let files = match std::fs::read_dir(dir.join(SERVICES)) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        files => files.map_err(|fault| blame("read", &dir.join(SERVICES), &fault))?,
    };
    let mut all = BTreeMap::new();
    for file in files {
        let file = file?;
        let name = file.file_name();
        // Neither name can have a dot: both are DNS labels.
        let Some((namespace, service)) =
            name.to_str().and_then(|name| name.strip_suffix(".yaml")).and_then(|stem| stem.split_once('.'))
        else {
            continue;
        };
        if namespace.is_empty() || !file.file_type()?.is_file() {
            continue;
        }
        let entry = match std::fs::read_to_string(file.path()) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => Entry::default(),
            Err(fault) => return Err(blame("read", &file.path(), &fault)),
            Ok(text) => {
                serde_saphyr::from_str::<Value>(&text).map_or_else(|_| Entry::default(), |v| entry(&v))
            }
        };
        all.insert(ServiceKey::new(namespace, service), entry);
    }
    Ok(all)
}

fn entry(value: &Value) -> Entry {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let ingress = value.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let annotation = value.pointer("/metadata/annotations").and_then(|a| a.get(ALLOCATED_FROM));
    Entry {
        ips: ingress.into_iter().flatten().filter_map(|i| i.get("ip").and_then(text)).collect(),
        pool: annotation.and_then(text),
    }
}

/// The entry for these.
pub(super) fn wanted(ips: &[IpAddr], pool: Option<&str>) -> Entry {
    Entry { ips: ips.iter().map(ToString::to_string).collect(), pool: pool.map(str::to_owned) }
}

/// Writes the file of `key`, or removes it where there is nothing to say.
pub(super) fn write(dir: &Path, key: &ServiceKey, entry: &Entry) -> io::Result<()> {
    if *entry == Entry::default() {
        return remove(dir, key);
    }
    replace(&path(dir, key), &text(key, entry))
}

/// Removes the file of `key`.
pub(super) fn remove(dir: &Path, key: &ServiceKey) -> io::Result<()> {
    let path = path(dir, key);
    match std::fs::remove_file(&path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(blame("write", &path, &fault)),
        _ => Ok(()),
    }
}

fn path(dir: &Path, key: &ServiceKey) -> PathBuf {
    dir.join(SERVICES).join(format!("{key}.yaml").replace('/', "."))
}

/// As YAML, with every text in quotes: JSON's, which YAML shares.
fn text(key: &ServiceKey, entry: &Entry) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut all = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  namespace: {}\n  name: {}\n",
        quoted(key.namespace.as_str()),
        quoted(&key.name)
    );
    if let Some(pool) = &entry.pool {
        all.push_str(&format!("  annotations:\n    {ALLOCATED_FROM}: {}\n", quoted(pool)));
    }
    if !entry.ips.is_empty() {
        all.push_str("status:\n  loadBalancer:\n    ingress:\n");
        for ip in &entry.ips {
            all.push_str(&format!("    - ip: {}\n", quoted(ip)));
        }
    }
    all
}

/// Lays `entry` over a manifest: a status, or a pool in use, that the manifest brings along (from `kubectl get -o
/// yaml`, say) was another cluster's.
pub(super) fn overlay(service: &mut Value, entry: Option<&Entry>) {
    let Some(fields) = service.as_object_mut() else { return };
    fields.remove("status");
    if let Some(annotations) = fields.get_mut("metadata").and_then(|meta| meta.get_mut("annotations"))
        && let Some(annotations) = annotations.as_object_mut()
    {
        annotations.remove(ALLOCATED_FROM);
    }
    let Some(entry) = entry else { return };
    let ingress: Vec<Value> = entry.ips.iter().map(|ip| json!({ "ip": ip })).collect();
    fields.insert("status".into(), json!({"loadBalancer": {"ingress": ingress}}));
    if let Some(pool) = &entry.pool
        && let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ALLOCATED_FROM.into(), pool.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), BTreeMap::new());
        let key = ServiceKey::new("n", "a");
        let entry = wanted(&["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()], Some("po\"ol"));
        write(dir.path(), &key, &entry).unwrap();
        assert_eq!(read(dir.path()).unwrap(), [(key.clone(), entry)].into());
        expect_test::expect![[r#"
            apiVersion: v1
            kind: Service
            metadata:
              namespace: "n"
              name: "a"
              annotations:
                metallb.io/ip-allocated-from-pool: "p"
            status:
              loadBalancer:
                ingress:
                - ip: "10.0.0.1"
        "#]]
        .assert_eq(&text(&key, &wanted(&["10.0.0.1".parse().unwrap()], Some("p"))));
        write(dir.path(), &key, &Entry::default()).unwrap();
        assert_eq!(
            std::fs::read_dir(dir.path().join(SERVICES)).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }

    #[test]
    fn the_status_file_wins_over_what_the_manifest_brings_along() {
        let mut service = json!({"metadata": {"name": "a", "annotations": {ALLOCATED_FROM: "old", "x": "y"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}});
        overlay(&mut service, None);
        assert_eq!(service, json!({"metadata": {"name": "a", "annotations": {"x": "y"}}}));
        overlay(&mut service, Some(&Entry { ips: vec!["10.0.0.1".into()], pool: Some("p".into()) }));
        assert_eq!(service["status"]["loadBalancer"]["ingress"], json!([{"ip": "10.0.0.1"}]));
        assert_eq!(service["metadata"]["annotations"], json!({"x": "y", ALLOCATED_FROM: "p"}));
    }
}
