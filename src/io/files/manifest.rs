//! Text of a manifest to objects: documents, lists, and which of our kinds each object is.
//!
//! No file is touched here. A document stands or falls by itself.

use crate::config::Kind;
use serde_json::Value;
use std::sync::Arc;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Its objects, or why it does not parse.
    pub(super) objects: Result<Vec<Object>, String>,
    /// What was left out of it, and why.
    pub(super) refused: Vec<String>,
}

/// An object of one of our kinds, not decoded yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// What it is.
    pub(super) kind: Kind,
    /// `metadata.namespace`.
    pub(super) namespace: Option<String>,
    /// `metadata.name`.
    pub(super) name: String,
    /// All of it.
    pub(super) value: Arc<Value>,
}

/// The documents of a file. An empty one is one too, so that the others keep their numbers.
pub(super) fn documents(text: &str) -> Vec<Document> {
    split(text).iter().map(|text| document(text)).collect()
}

/// The texts between the lines `---`, each with as many empty lines before it as were before it in the file: a
/// parser's complaint then names the line of the file.
fn split(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut current = String::new();
    for (above, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        match rest {
            Some(rest) => {
                documents.push(std::mem::replace(&mut current, "\n".repeat(above)));
                current.push_str(rest);
            }
            None => current.push_str(line),
        }
        current.push('\n');
    }
    documents.push(current);
    if documents.first().is_some_and(|first| first.lines().all(is_idle)) && documents.len() > 1 {
        documents.remove(0);
    }
    documents
}

/// Whether a line says nothing.
fn is_idle(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with('%')
}

fn document(text: &str) -> Document {
    if text.lines().all(is_idle) {
        return Document { objects: Ok(Vec::new()), refused: Vec::new() };
    }
    // Or a Service named y would be named true, and the zone of Norway false.
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = match serde_saphyr::from_str_with_options(text, options) {
        Ok(value) => value,
        Err(fault) => {
            let why = fault.without_snippet().to_string();
            return Document { objects: Err(why), refused: Vec::new() };
        }
    };
    let (mut objects, mut refused) = (Vec::new(), Vec::new());
    take(value, &mut objects, &mut refused);
    Document { objects: Ok(objects), refused }
}

/// Sorts `value` in: an object, a list of objects, or nothing of ours.
fn take(mut value: Value, objects: &mut Vec<Object>, refused: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let (Some(version), Some(kind)) = (text(&value, "/apiVersion"), text(&value, "/kind")) else {
        refused.push("an object needs apiVersion and kind".into());
        return;
    };
    if let Some(of) = kind.strip_suffix("List")
        && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take)
    {
        for mut item in items {
            // The items of a ServiceList need not say that they are Services.
            if let Some(fields) = item.as_object_mut().filter(|_| !of.is_empty()) {
                fields.entry("kind").or_insert_with(|| of.into());
                fields.entry("apiVersion").or_insert_with(|| version.as_str().into());
            }
            take(item, objects, refused);
        }
        return;
    }
    let name = text(&value, "/metadata/name").unwrap_or_default();
    match known(&version, &kind) {
        Err(why) => refused.push(format!("{kind} {name}: {why}")),
        Ok(_) if name.is_empty() => refused.push(format!("{kind}: metadata.name is needed")),
        Ok(kind) => {
            let namespace = text(&value, "/metadata/namespace");
            objects.push(Object { kind, namespace, name, value: Arc::new(value) });
        }
    }
}

fn known(version: &str, kind: &str) -> Result<Kind, String> {
    let (kind, expected) = match kind {
        "Service" => (Kind::Service, "v1"),
        "Node" => (Kind::Node, "v1"),
        "Namespace" => (Kind::Namespace, "v1"),
        "EndpointSlice" => (Kind::EndpointSlice, "discovery.k8s.io/v1"),
        "IPAddressPool" => (Kind::IPAddressPool, "metallb.io/v1beta1"),
        "L2Advertisement" => (Kind::L2Advertisement, "metallb.io/v1beta1"),
        "BGPAdvertisement" => (Kind::BGPAdvertisement, "metallb.io/v1beta1"),
        "BGPPeer" => (Kind::BGPPeer, "metallb.io/v1beta2"),
        "BFDProfile" => (Kind::BFDProfile, "metallb.io/v1beta1"),
        "Community" => (Kind::Community, "metallb.io/v1beta1"),
        "FRRConfiguration" => (Kind::FRRConfiguration, "frrk8s.metallb.io/v1beta1"),
        _ => return Err(format!("{version} {kind} is no kind that is read here")),
    };
    if version == expected {
        Ok(kind)
    } else {
        Err(format!("apiVersion {version} is not read, {expected} is"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(document: &Document) -> Vec<String> {
        let objects = document.objects.as_ref().unwrap();
        objects.iter().map(|object| format!("{} {}", object.kind, object.name)).collect()
    }

    #[test]
    fn documents_and_lists() {
        let all = documents(concat!(
            "# a comment\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: n}\n",
            "--- # another\n---\napiVersion: v1\nkind: List\nitems:\n",
            "- {apiVersion: v1, kind: Node, metadata: {name: b}}\n",
            "- {apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: c}}]}\n"
        ));
        assert_eq!(
            all.iter().map(names).collect::<Vec<_>>(),
            [vec!["Service a"], vec![], vec!["Node b", "Namespace c"]]
        );
        assert_eq!(documents("").len(), 1);
    }

    #[test]
    fn names_stay_names() {
        let all =
            documents("apiVersion: v1\nkind: Node\nmetadata: {name: y, labels: {zone: no, spare: true}}\n");
        assert_eq!(names(&all[0]), ["Node y"]);
        let value = &all[0].objects.as_ref().unwrap()[0].value;
        assert_eq!(value["metadata"]["labels"], serde_json::json!({"zone": "no", "spare": true}));
    }

    #[test]
    fn a_document_that_does_not_parse_leaves_the_others_alone_and_names_its_line() {
        let all = documents(
            "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\nkind: [\n---\napiVersion: v1\nkind: Node\nmetadata: {name: b}\n",
        );
        assert_eq!((names(&all[0]), names(&all[2])), (vec!["Node a".to_owned()], vec!["Node b".to_owned()]));
        let why = all[1].objects.as_ref().unwrap_err();
        assert!(why.contains("line 5") || why.contains("line 6"), "{why}");
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        for (text, why) in [
            (
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}",
                "Deployment d: apps/v1 Deployment is no kind that is read here",
            ),
            (
                "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: p}",
                "BGPPeer p: apiVersion metallb.io/v1beta1 is not read, metallb.io/v1beta2 is",
            ),
            ("apiVersion: v1\nkind: Node", "Node: metadata.name is needed"),
            ("just text", "an object needs apiVersion and kind"),
        ] {
            let all = documents(text);
            assert_eq!(all[0].refused, [why], "{text}");
            assert_eq!(names(&all[0]), [""; 0]);
        }
    }
}
