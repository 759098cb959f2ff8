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
    if problems.is_empty() && problems.remarks().next().is_none() {
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
    let mut all = String::new();
    for problem in problems.iter().chain(problems.remarks()) {
        all.push_str(&format!("- object: {}\n", quoted(&problem.object.to_string())));
        if !problem.field.is_empty() {
            all.push_str(&format!("  field: {}\n", quoted(&problem.field)));
        }
        all.push_str(&format!("  what: {}\n", quoted(&problem.what)));
    }
    all
}

/// The text in double quotes, as YAML reads it back: JSON leaves a few characters as they are that YAML does not have.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, ObjectRef};

    #[test]
    fn any_text_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let all: String =
            ('\0'..='\u{100}').chain("\u{2028}\u{feff}\u{fffe}\u{ffff}\u{1f600}".chars()).collect();
        let mut problems = Problems::default();
        problems.add(ObjectRef { kind: Kind::BGPPeer, name: "p".into() }, "spec.password", &all);
        write(dir.path(), "speaker", &problems).unwrap();
        let text = std::fs::read_to_string(dir.path().join("status/problems.speaker.yaml")).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read.pointer("/0/what").and_then(Value::as_str), Some(all.as_str()));
    }

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
