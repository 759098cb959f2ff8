//! Text of a manifest to objects: documents, lists, and which of our kinds each object is.
//!
//! No file is touched here. A document stands or falls by itself.

use super::naming;
use crate::{
    config::{Kind, Unreadable},
    world::Secret,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Its objects, or why it does not parse.
    pub(super) objects: Result<Vec<Object>, String>,
    /// What was left out of it, and why.
    pub(super) refused: Vec<Unreadable>,
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
    split(text).iter().map(document).collect()
}

/// The text of one document.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Lines of the file before it.
    above: usize,
    text: String,
}

/// The texts between the lines `---`.
fn split(text: &str) -> Vec<Part> {
    let mut documents = Vec::new();
    let mut current = Part::default();
    for (above, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        match rest {
            Some(rest) => {
                documents.push(std::mem::replace(&mut current, Part { above, text: rest.to_owned() }));
            }
            None => current.text.push_str(line),
        }
        current.text.push('\n');
    }
    documents.push(current);
    if documents.first().is_some_and(|first| first.text.lines().all(is_idle)) && documents.len() > 1 {
        documents.remove(0);
    }
    documents
}

/// Whether a line says nothing.
fn is_idle(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with('%')
}

fn document(part: &Part) -> Document {
    if part.text.lines().all(is_idle) {
        return Document { objects: Ok(Vec::new()), refused: Vec::new() };
    }
    // Or a Service named y would be named true, and the zone of Norway false.
    let parse = |text: &str| {
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options::<Value>(text, options)
            .map_err(|fault| fault.without_snippet().to_string())
    };
    // With as many empty lines before it as it has before it in the file, a complaint names the line of the file.
    let in_place = || parse(&("\n".repeat(part.above) + &part.text));
    let value = match parse(&part.text).or_else(|_| in_place()) {
        Ok(value) => value,
        Err(why) => return Document { objects: Err(why), refused: Vec::new() },
    };
    let (mut objects, mut refused) = (Vec::new(), Vec::new());
    take(value, &mut objects, &mut refused);
    Document { objects: Ok(objects), refused }
}

/// Sorts `value` in: an object, a list of objects, or nothing of ours.
fn take(mut value: Value, objects: &mut Vec<Object>, refused: &mut Vec<Unreadable>) {
    if value.is_null() {
        return;
    }
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let (Some(version), Some(kind)) = (text(&value, "/apiVersion"), text(&value, "/kind")) else {
        refused.push(Unreadable::new("", "an object needs apiVersion and kind, both text"));
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
    let known = known(&version, &kind).map_err(|why| {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        vec![Unreadable::new("", format_args!("{kind} {name}: {why}"))]
    });
    match known.and_then(|kind| object(kind, value)) {
        Err(why) => refused.extend(why),
        Ok(object) => objects.push(object),
    }
}

/// The object of `kind` that `value` is, with every fault of its names.
fn object(kind: Kind, mut value: Value) -> Result<Object, Vec<Unreadable>> {
    let meta = value.get_mut("metadata").map(Value::take).unwrap_or_default();
    let mut meta = match meta {
        Value::Object(meta) => meta,
        Value::Null => Map::new(),
        _ => return Err(vec![Unreadable::new("metadata", format_args!("{kind}: must be a map"))]),
    };
    let mut faults = Vec::new();
    let mut fault = |field: &str, what: String| faults.push(Unreadable::new(field, what));
    let name = match meta.get("name") {
        None | Some(Value::Null) => {
            fault("metadata.name", format!("{kind}: a name is needed"));
            String::new()
        }
        Some(Value::String(name)) => {
            if let Err(why) = naming::name(kind, name) {
                fault("metadata.name", format!("{kind}: {why}"));
            }
            name.clone()
        }
        Some(other) => {
            fault("metadata.name", format!("{kind}: must be text, is {}", found(other)));
            String::new()
        }
    };
    let namespace = match meta.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) if namespace.is_empty() => None,
        Some(Value::String(namespace)) => {
            if let Err(why) = naming::namespace(namespace) {
                fault("metadata.namespace", format!("{kind} {name:?}: {why}"));
            }
            Some(namespace.clone())
        }
        Some(other) => {
            fault("metadata.namespace", format!("{kind} {name:?}: must be text, is {}", found(other)));
            None
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    if namespace.is_none() {
        // An empty one is none, as for an API server.
        meta.remove("namespace");
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert("metadata".into(), Value::Object(meta));
    }
    if kind == Kind::Secret {
        Secret::strip(&mut value);
    }
    Ok(Object { kind, namespace, name, value: Arc::new(value) })
}

/// What is there where text is due, and how to make it text.
fn found(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("the number {number}: put it in quotes"),
        Value::Bool(truth) => format!("the boolean {truth}: put it in quotes"),
        Value::Array(_) => "a list".into(),
        _ => "a map".into(),
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
        "Secret" => (Kind::Secret, "v1"),
        "ConfigMap" => (Kind::ConfigMap, "v1"),
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

    /// Thousands of documents are no larger than their file, and a fault in the last still has its line in the file.
    #[test]
    fn a_document_does_not_grow_with_what_is_above_it() {
        let one = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b}\n---\n";
        let text = one.repeat(1000) + "kind: [";
        let parts = split(&text);
        assert_eq!(parts.len(), 1001);
        assert!(parts.iter().map(|part| part.text.len()).sum::<usize>() <= text.len() + 1);
        let all = documents(&text);
        assert_eq!(all[999].objects.as_ref().unwrap()[0].name, "a");
        let why = all[1000].objects.as_ref().unwrap_err();
        assert!(why.contains("4001"), "{why}");
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
            ("just text", "an object needs apiVersion and kind, both text"),
        ] {
            let all = documents(text);
            assert_eq!(all[0].refused, [Unreadable::new("", why)], "{text}");
            assert_eq!(names(&all[0]), [""; 0]);
        }
    }

    #[test]
    fn a_name_that_is_none_is_told_by_its_field() {
        for (meta, faults) in [
            ("", &[("metadata.name", "Service: a name is needed")][..]),
            ("metadata: []", &[("metadata", "Service: must be a map")]),
            ("metadata: {name: null}", &[("metadata.name", "Service: a name is needed")]),
            (
                "metadata: {name: 5}",
                &[("metadata.name", "Service: must be text, is the number 5: put it in quotes")],
            ),
            (
                "metadata: {name: true}",
                &[("metadata.name", "Service: must be text, is the boolean true: put it in quotes")],
            ),
            ("metadata: {name: [a]}", &[("metadata.name", "Service: must be text, is a list")]),
            ("metadata: {name: ''}", &[("metadata.name", "Service: \"\" is no name")]),
            (
                "metadata: {name: sl/ash, namespace: a.b}",
                &[
                    ("metadata.name", "Service: \"sl/ash\" is no name"),
                    ("metadata.namespace", "Service \"sl/ash\": \"a.b\" is no name"),
                ],
            ),
            (
                "metadata: {name: a, namespace: 7}",
                &[("metadata.namespace", "Service \"a\": must be text, is the number 7: put it in quotes")],
            ),
        ] {
            let all = documents(&format!("apiVersion: v1\nkind: Service\n{meta}"));
            assert_eq!(names(&all[0]), [""; 0], "{meta}");
            let refused = &all[0].refused;
            assert_eq!(refused.len(), faults.len(), "{meta}: {refused:?}");
            for (is, (field, what)) in refused.iter().zip(faults) {
                assert!(is.field == *field && is.what.starts_with(what), "{meta}: {is:?}");
            }
        }
        let all = documents("apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: ''}");
        assert_eq!(all[0].objects.as_ref().unwrap()[0].value["metadata"], serde_json::json!({"name": "a"}));
    }
}
