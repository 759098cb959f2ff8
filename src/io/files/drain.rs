//! An annotation on a Node in a manifest directory: one line of a file of the user's, put in or taken out.
//!
//! The file keeps its comments and its form. What is written was read back first and is the object that it should be; a
//! form in which that does not work is left to the user, who is told which line to write.

use super::{flow, manifest, replace};
use crate::{config::Kind, names::NodeName, world::DRAIN};
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Annotates `node` in `dir` to be drained, or not any more. Whether that changed anything.
///
/// # Errors
/// No file has the Node, or in a form that is not understood, or it cannot be written.
pub fn drain(dir: &Path, node: &NodeName, drain: bool) -> anyhow::Result<bool> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| format!("read {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"))
        .collect();
    names.sort();
    for path in names {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Some(new) = edited(&text, node, drain) else { continue };
        let file = path.display();
        let new = new.with_context(|| {
            let line = format!("{DRAIN}: \"true\"");
            let what = if drain { "write" } else { "remove" };
            format!("Node {node} in {file} is in a form that is not edited: {what} the annotation {line}")
        })?;
        if new == text {
            return Ok(false);
        }
        replace(&path, &new).with_context(|| format!("write {file}"))?;
        return Ok(true);
    }
    bail!("no file of {} has a Node {node}", dir.display())
}

/// The text with the annotation, if it has the Node.
fn edited(text: &str, node: &NodeName, drain: bool) -> Option<anyhow::Result<String>> {
    let before = find(text, node)?;
    let mut wanted = before.clone();
    if annotated(&before) == drain {
        return Some(Ok(text.to_owned()));
    }
    let metadata = wanted.get_mut("metadata").and_then(Value::as_object_mut)?;
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(DRAIN);
        if drain {
            annotations.insert(DRAIN.to_owned(), Value::from("true"));
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    let right = |new: &String| find(new, node).is_some_and(|found| bare(found) == bare(wanted.clone()));
    let braces = if drain { flow::with } else { flow::without };
    let new = candidates(text, drain).into_iter().find(right);
    let new = new.or_else(|| braces(text).into_iter().find(right));
    Some(new.context("no edit of one line makes of it what it should be"))
}

/// Texts that differ in the annotation's line, of which one may be right: the file may hold several objects.
fn candidates(text: &str, drain: bool) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut texts = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let put = |more: &str| {
            let (head, tail) =
                (lines.get(..=at).unwrap_or_default(), lines.get(at + 1..).unwrap_or_default());
            format!("{}{more}{}", head.concat(), tail.concat())
        };
        match line.trim() {
            "annotations:" if drain => {
                texts.push(put(&format!("{:1$}{DRAIN}: \"true\"\n", "", indent + 2)));
            }
            "metadata:" if drain => {
                let inner = indent + 2;
                texts.push(put(&format!(
                    "{:inner$}annotations:\n{:2$}{DRAIN}: \"true\"\n",
                    "",
                    "",
                    inner + 2
                )));
            }
            line if !drain && line.starts_with(DRAIN) => {
                let without = |from: usize| {
                    let (head, tail) =
                        (lines.get(..from).unwrap_or_default(), lines.get(at + 1..).unwrap_or_default());
                    format!("{}{}", head.concat(), tail.concat())
                };
                // with the head of a list that would be empty
                let above = at
                    .checked_sub(1)
                    .filter(|above| lines.get(*above).is_some_and(|line| line.trim() == "annotations:"));
                texts.extend(above.map(without));
                texts.push(without(at));
            }
            _ => {}
        }
    }
    texts
}

fn find(text: &str, node: &NodeName) -> Option<Value> {
    let objects =
        manifest::documents(text).into_iter().filter_map(|document| document.objects.ok()).flatten();
    let mut nodes = objects.filter(|object| object.kind == Kind::Node && object.name == node.as_str());
    nodes.next().map(|object| Value::clone(&object.value))
}

fn annotated(node: &Value) -> bool {
    let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    annotations.and_then(|annotations| annotations.get(DRAIN)).is_some_and(|value| value == "true")
}

/// The object without annotations that are none.
fn bare(mut node: Value) -> Value {
    if let Some(metadata) = node.get_mut("metadata").and_then(Value::as_object_mut) {
        let empty = metadata.get("annotations").is_some_and(|annotations| {
            annotations.is_null() || annotations.as_object().is_some_and(serde_json::Map::is_empty)
        });
        if empty {
            metadata.remove("annotations");
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "# ours\napiVersion: v1\nkind: Node\nmetadata:\n  name: m\n---\n";

    #[test]
    fn a_line_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.yaml");
        let (node, strange) = (NodeName::from("n"), NodeName::from("x"));
        for text in [
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n # the first\nspec: {}\n",
            "apiVersion: v1\nkind: Node\nmetadata:\n  annotations:\n    a: b\n  name: n\n",
            "{apiVersion: v1, kind: Node, metadata: {name: n}}\n",
            "{apiVersion: v1, kind: Node, metadata: {name: n, annotations: {a: b}}}\n",
            "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {annotations: metadata}} # here\n",
            "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\",\"annotations\":{\"a\":\"b\"}}}\n",
            "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Node\",\n  \"metadata\": {\"name\": \"n\"}\n}\n",
        ] {
            let text = format!("{OTHER}{text}");
            std::fs::write(&path, &text).unwrap();
            let read = || std::fs::read_to_string(&path).unwrap();
            assert!(drain(dir.path(), &node, true).unwrap());
            assert!(annotated(&find(&read(), &node).unwrap()));
            assert!(!annotated(&find(&read(), &NodeName::from("m")).unwrap()));
            assert!(!drain(dir.path(), &node, true).unwrap(), "it is already");
            assert!(drain(dir.path(), &node, false).unwrap());
            assert_eq!(read(), text);
            assert!(drain(dir.path(), &strange, true).unwrap_err().to_string().contains("no file"));
        }
    }

    #[test]
    fn a_form_that_is_not_understood_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes.yaml");
        let text = "apiVersion: v1\nkind: Node\nmetadata:\n  ? name\n  : n\n  ? annotations\n  : a: b\n";
        std::fs::write(&path, text).unwrap();
        let fault = drain(dir.path(), &NodeName::from("n"), true).unwrap_err();
        assert!(fault.to_string().contains("write the annotation ferrolb.io/drain: \"true\""), "{fault}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
