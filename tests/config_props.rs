//! Whatever is written into a text field: nothing panics, and a faulty object changes nothing but itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

mod common;

use ferrolb::config::{Config, Input, Kind, ObjectRef, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One object of each kind and more, with every text field there is; valid together.
fn objects() -> Vec<Value> {
    let selector = |v: &str| json!({"matchLabels": {"k": v}, "matchExpressions": [{"key": "e", "operator": "In", "values": [v]}]});
    let object = |kind: &str, name: &str, created: &str, spec: Value| {
        json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec,
               "metadata": {"name": name, "creationTimestamp": created, "labels": {"k": "v"}}})
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    vec![
        object(
            "IPAddressPool",
            "a",
            new,
            json!({"addresses": ["10.0.0.0/24", "10.0.1.1-10.0.1.9", "2001:db8::/120"],
                "serviceAllocation": {"namespaces": ["n", "m"], "namespaceSelectors": [selector("a")],
                                      "serviceSelectors": [selector("a"), selector("b")]}}),
        ),
        object("IPAddressPool", "b", old, json!({"addresses": ["10.1.0.0/24", "10.1.1.1-10.1.1.9"]})),
        object(
            "L2Advertisement",
            "l",
            new,
            json!({"ipAddressPools": ["a", "b"], "ipAddressPoolSelectors": [selector("a")],
                "nodeSelectors": [selector("a")], "interfaces": ["eth0"], "serviceSelectors": [selector("a")],
                "preferredNodeSelectors": [{"weight": 1, "preference": selector("a")}]}),
        ),
        object(
            "BGPAdvertisement",
            "a",
            new,
            json!({"ipAddressPools": ["a"], "ipAddressPoolSelectors": [selector("a")], "localPref": 100,
                "nodeSelectors": [selector("a")], "serviceSelectors": [selector("a")],
                "peers": ["p"], "communities": ["1:2", "alias"]}),
        ),
        object(
            "BGPAdvertisement",
            "b",
            old,
            json!({"ipAddressPools": ["b"], "localPref": 200, "peers": ["p", "q"]}),
        ),
        object(
            "BGPAdvertisement",
            "c",
            new,
            json!({"ipAddressPools": ["b"], "localPref": 100, "peers": ["r"]}),
        ),
        object(
            "BGPPeer",
            "p",
            new,
            json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "sourceAddress": "192.0.2.2",
                "routerID": "192.0.2.3", "holdTime": "90s", "keepaliveTime": "30s", "connectTime": "5s",
                "nodeSelectors": [selector("a")], "password": "secret", "bfdProfile": "f", "vrf": "red",
                "passwordSecret": {"name": "", "namespace": "n"}, "interface": ""}),
        ),
        object("BGPPeer", "q", new, json!({"myASN": 64500, "dynamicASN": "external", "interface": "eth1"})),
        object("BFDProfile", "f", new, json!({"receiveInterval": 100})),
        object("Community", "c", old, json!({"communities": [{"name": "alias", "value": "1:1"}]})),
        object("Community", "d", new, json!({"communities": [{"name": "other", "value": "large:1:1:1"}]})),
    ]
}

/// Every text below the spec and among the labels.
fn texts(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::String(_) => vec![value],
        Value::Array(items) => items.iter_mut().flat_map(texts).collect(),
        Value::Object(map) => map.values_mut().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn text() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "",
        "\n",
        "a",
        "b",
        "x\nrouter bgp 1",
        "10.0.0.0/24",
        "10.1.0.0/16",
        "10.1.0.0-10.1.0.1",
        "2001:db8::1/128",
        "::/0",
        "0.0.0.0/0",
        "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "1:2",
        "large:1:2:3",
        ":",
        "-",
        "/",
        "alias",
        "other",
        "f",
        "p",
        "9223372036854775807h",
        "1h1h",
        "-1ns",
        ".s",
        "\u{b5}s",
        "In",
        "Exists",
        "internal",
        "é",
        "/x",
        "x/",
    ];
    prop_oneof![proptest::sample::select(KNOWN).prop_map(str::to_owned), any::<String>()]
}

fn load(objects: &[Value]) -> Input {
    common::input(objects.iter().cloned())
}

fn reference(object: &Value) -> ObjectRef {
    let kinds = [
        Kind::IPAddressPool,
        Kind::L2Advertisement,
        Kind::BGPAdvertisement,
        Kind::BGPPeer,
        Kind::BFDProfile,
        Kind::Community,
    ];
    let kind = kinds.into_iter().find(|k| k.to_string() == object["kind"].as_str().unwrap()).unwrap();
    ObjectRef { kind, name: object["metadata"]["name"].as_str().unwrap().into() }
}

#[test]
fn the_objects_are_valid_and_keep_their_allocations() {
    let input = load(&objects());
    let (first, problems) = parse(&input, &Config::default());
    assert!(problems.is_empty(), "{problems:#?}");
    let (second, problems) = parse(&input, &first);
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(same_allocations(&first, &second));
}

/// Not only equal: the same memory, which is how later stages see that nothing changed.
fn same_allocations(a: &Config, b: &Config) -> bool {
    fn all<N: Ord, T>(
        a: &std::collections::BTreeMap<N, std::sync::Arc<T>>,
        b: &std::collections::BTreeMap<N, std::sync::Arc<T>>,
    ) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|((n, a), (m, b))| n == m && std::sync::Arc::ptr_eq(a, b))
    }
    all(&a.pools, &b.pools)
        && all(&a.l2, &b.l2)
        && all(&a.bgp, &b.bgp)
        && all(&a.peers, &b.peers)
        && all(&a.bfd, &b.bfd)
        && all(&a.aliases, &b.aliases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_faulty_object_changes_nothing_but_itself(
        which in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), text()), 1..4),
    ) {
        let valid = objects();
        let which = which.index(valid.len());
        let mut edited = valid.clone();
        let target = reference(&edited[which]);
        let mut fields = texts(&mut edited[which]["spec"]);
        prop_assume!(!fields.is_empty());
        for (field, text) in edits {
            let field = field.index(fields.len());
            *fields[field] = Value::String(text);
        }
        let input = load(&edited);

        // It was valid before: everything stands as it stood.
        let (last, _) = parse(&load(&valid), &Config::default());
        let (now, problems) = parse(&input, &last);
        if !problems.of(&target).is_empty() {
            prop_assert!(same_allocations(&now, &last), "{problems:#?}");
        }
        for problem in problems.iter() {
            prop_assert_eq!(problem.to_string().lines().count(), 1);
        }

        // It was never valid: everything is as if it were not there. (A profile or an alias that is missing is a
        // fault of those that name it, in both worlds alike.)
        let (fresh, problems) = parse(&input, &Config::default());
        if !problems.of(&target).is_empty() {
            let mut without = valid;
            without.remove(which);
            prop_assert_eq!(fresh, parse(&load(&without), &Config::default()).0);
        }
    }

    #[test]
    fn any_text_anywhere(seed in proptest::collection::vec(text(), 96)) {
        let mut all = objects();
        let mut seed = seed.into_iter();
        for object in &mut all {
            let name = seed.next().unwrap();
            object["metadata"]["name"] = Value::String(name);
            for field in texts(&mut object["spec"]) {
                *field = Value::String(seed.next().unwrap_or_default());
            }
        }
        let input = load(&all);
        let (config, _) = parse(&input, &Config::default());
        let (again, _) = parse(&input, &config);
        prop_assert_eq!(&config, &again);
    }
}
