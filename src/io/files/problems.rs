//! `DIR/status/problems.COMPONENT.yaml`: what is wrong with the manifests, for whoever edits them.

use super::{STATUS, blame, replace};
use crate::config::Problems;
use serde_json::Value;
use std::{io, path::Path};

/// Writes the problems that `component` (`controller`, `speaker-NODE`) found; removes the file when there is none.
///
/// Writes nothing when the file says so already.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(dir: &Path, component: &str, problems: &Problems) -> io::Result<()> {
    let path = dir.join(STATUS).join(format!("problems.{component}.yaml"));
    if problems.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(blame("write", &path, &fault)),
            _ => Ok(()),
        };
    }
    let text = text(problems);
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    replace(&path, &text)
}

fn text(problems: &Problems) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut all = String::new();
    for problem in problems.iter() {
        all.push_str(&format!("- object: {}\n", quoted(&problem.object.to_string())));
        if !problem.field.is_empty() {
            all.push_str(&format!("  field: {}\n", quoted(&problem.field)));
        }
        all.push_str(&format!("  what: {}\n", quoted(&problem.what)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, ObjectRef};

    #[test]
    fn problems_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut problems = Problems::default();
        write(dir.path(), "controller", &problems).unwrap();
        assert!(!dir.path().join(STATUS).exists());
        let object = ObjectRef { kind: Kind::IPAddressPool, name: "p".into() };
        problems.add(object, "spec.addresses[1]", "\"x\" is no range");
        write(dir.path(), "controller", &problems).unwrap();
        let path = dir.path().join("status/problems.controller.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            read,
            serde_json::json!([{"object": "IPAddressPool p", "field": "spec.addresses[1]", "what": "\"x\" is no range"}])
        );
        write(dir.path(), "controller", &Problems::default()).unwrap();
        assert!(!path.exists());
    }
}
