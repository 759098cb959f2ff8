use super::*;
use crate::frr::{LogLevel, name, render};

fn object(name: &str, spec: serde_json::Value) -> api::FRRConfiguration {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name},
        "spec": spec,
    }))
    .unwrap()
}

/// A user's object with these neighbours.
fn neighbors(name: &str, neighbors: serde_json::Value) -> api::FRRConfiguration {
    object(name, serde_json::json!({"bgp": {"routers": [{"asn": 64512, "neighbors": neighbors}]}}))
}

/// A merge after another one, with nothing of ours; the sessions as they are called, and the objects at fault.
fn go(users: Vec<api::FRRConfiguration>, last: &Standing) -> (Vec<String>, Vec<String>, Standing) {
    let ours = object("metallb-n1", serde_json::json!({}));
    let users = users.into_iter().map(|user| (user.metadata.name.clone().unwrap(), user)).collect();
    let merged = merge(&Sources { users: &users, last, ..Sources::only(&ours) });
    let sessions = merged.model.routers.values().flat_map(|router| {
        router.sessions.iter().map(|(neighbor, session)| {
            format!("{} {}", name(neighbor), session.password.as_ref().map_or("", |word| word.as_str()))
        })
    });
    let faults = merged.problems.iter().map(|problem| problem.object.name.clone()).collect();
    (sessions.collect(), faults, merged.standing)
}

/// Input: an object that is edited: good, bad, good again; gone; bad from the start.
/// Output: the bad version counts as the good one before it, with a problem; without one, what is sound in it counts.
#[test]
fn a_faulty_version_is_the_last_good_one() {
    let one = |password: &str| {
        neighbors(
            "a",
            serde_json::json!([
                {"address": "10.0.0.1", "asn": 65001, "password": password},
                {"address": "10.0.0.2", "asn": 65001, "password": "two"},
            ]),
        )
    };
    let (sessions, faults, standing) = go(vec![one("one")], &Standing::default());
    assert_eq!((sessions, faults.len()), (vec!["10.0.0.1 one".to_owned(), "10.0.0.2 two".to_owned()], 0));
    let (sessions, faults, standing) = go(vec![one("a\nb")], &standing);
    assert_eq!(sessions, ["10.0.0.1 one", "10.0.0.2 two"]);
    assert_eq!(faults, ["a"]);
    let (sessions, _, standing) = go(vec![one("c d")], &standing);
    assert_eq!(sessions, ["10.0.0.1 one", "10.0.0.2 two"]);
    let (sessions, faults, standing) = go(vec![one("new")], &standing);
    assert_eq!((sessions[0].as_str(), faults.len()), ("10.0.0.1 new", 0));
    let (sessions, _, standing) = go(vec![], &standing);
    assert!(sessions.is_empty());
    let (sessions, faults, _) = go(vec![one("a\nb")], &standing);
    assert_eq!(sessions, ["10.0.0.2 two"]);
    assert_eq!(faults, ["a"]);
}

/// Input: two objects that exclude each other; the one whose name comes first is the newer one.
/// Output: the older one stands, in any order of names; without times the name decides.
#[test]
fn the_older_object_stands() {
    let at = |name: &str, password: &str, time: Option<&str>| {
        let fields = serde_json::json!([{"address": "10.0.0.1", "asn": 65001, "password": password}]);
        let mut object = neighbors(name, fields);
        object.metadata.creation_timestamp =
            time.map(|time| serde_json::from_value(serde_json::json!(time)).unwrap());
        object
    };
    let (old, new) = (Some("2025-01-01T00:00:00Z"), Some("2026-01-01T00:00:00Z"));
    let (sessions, faults, standing) =
        go(vec![at("a", "new", new), at("b", "old", old)], &Standing::default());
    assert_eq!(sessions, ["10.0.0.1 old"]);
    assert_eq!(faults, ["a"]);
    // nor does an edit of the older one give way to the newer one
    let (sessions, _, _) = go(vec![at("a", "new", new), at("b", "older", old)], &standing);
    assert_eq!(sessions, ["10.0.0.1 older"]);
    let (sessions, faults, _) = go(vec![at("a", "one", None), at("b", "two", None)], &Standing::default());
    assert_eq!(sessions, ["10.0.0.1 one"]);
    assert_eq!(faults, ["b"]);
}

/// One more accepted prefix is one more line, and no other line moves.
#[test]
fn one_accepted_prefix_more_is_one_line() {
    let accept = |lengths: std::ops::Range<u32>| {
        let prefixes: Vec<_> =
            lengths.map(|i| serde_json::json!({"prefix": format!("10.{i}.0.0/16")})).collect();
        let receive = serde_json::json!({"allowed": {"prefixes": prefixes}});
        let fields = serde_json::json!([{"address": "10.0.0.1", "asn": 65001, "toReceive": receive}]);
        merge(&Sources::only(&neighbors("metallb-n1", fields))).model
    };
    let lines = |from: &Model, to: &Model| -> Vec<String> {
        let steps = crate::frr::delta(from, to);
        steps.into_iter().flat_map(|step| step.lines).map(|line| line.text).collect()
    };
    let (less, more) = (accept(1..200), accept(0..200));
    let [line] = &lines(&less, &more)[..] else { panic!("one line") };
    assert!(line.ends_with(" permit 10.0.0.0/16"), "{line}");
    assert_eq!(lines(&more, &less), [format!("no {line}")]);
}

/// An in-map that was begun by a gate, as an earlier version wrote it, is begun by the entry that decides nothing: in one
/// piece, and what is put there is not taken away again.
#[test]
fn the_first_entry_takes_a_gates_place() {
    let fields = serde_json::json!([{"address": "10.0.0.1", "asn": 65001}]);
    let block = ["10.96.0.0/12".parse().unwrap()];
    let wanted = merge(&Sources { block: &block, ..Sources::only(&neighbors("metallb-n1", fields)) }).model;
    let mut had = wanted.clone();
    let policy = had.policies.values_mut().next().unwrap();
    policy.plain = false;
    policy.gates = policy.gates.values().map(|gate| (crate::frr::Policy::FIRST, gate.clone())).collect();
    let steps = crate::frr::delta(&had, &wanted);
    let texts = |lines: &[crate::frr::Line]| lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    let [first, gate] = &steps[..] else { panic!("{steps:#?}") };
    assert_eq!(
        texts(&first.lines),
        [
            "no route-map 10.0.0.1-in deny 1",
            "no route-map 10.0.0.1-in optimization",
            "route-map 10.0.0.1-in permit 1",
            "on-match next"
        ]
    );
    assert_eq!(first.undo.as_deref(), Some("no route-map 10.0.0.1-in permit 1"));
    assert_eq!(texts(&gate.lines)[0], "route-map 10.0.0.1-in deny 2");
    assert_eq!(crate::frr::delta(&wanted, &wanted), []);
}

/// Input: ten thousand characters in every text field.
/// Output: each is refused with its field; nothing of it is in frr.conf; the problem is short.
#[test]
fn long_texts_are_refused() {
    let x = "x".repeat(10_000);
    let at = |field: &str, value: serde_json::Value| {
        let mut fields = serde_json::json!({"address": "10.0.0.1", "asn": 65001});
        fields[field] = value;
        serde_json::json!({"bgp": {"routers": [{"asn": 64512, "neighbors": [fields]}]}})
    };
    let router = |field: &str, value: serde_json::Value| {
        let mut router = serde_json::json!({"asn": 64512});
        router[field] = value;
        serde_json::json!({"bgp": {"routers": [router]}})
    };
    let first = "spec.bgp.routers[0]";
    for (spec, field) in [
        (at("address", x.clone().into()), "neighbors[0].address"),
        (at("password", x.clone().into()), "neighbors[0].password"),
        (at("sourceaddress", x.clone().into()), "neighbors[0].sourceaddress"),
        (at("bfdProfile", x.clone().into()), "neighbors[0].bfdProfile"),
        (at("connectTime", x.clone().into()), "neighbors[0].connectTime"),
        (
            at("toAdvertise", serde_json::json!({"nextHop": {"ipv4": x}})),
            "neighbors[0].toAdvertise.nextHop.ipv4",
        ),
        (
            at("toAdvertise", serde_json::json!({"withCommunity": [{"prefixes": [], "community": x}]})),
            "neighbors[0].toAdvertise.withCommunity[0].community",
        ),
        (
            at("toReceive", serde_json::json!({"allowed": {"prefixes": [{"prefix": x}]}})),
            "neighbors[0].toReceive.allowed.prefixes[0]",
        ),
        (router("vrf", x.clone().into()), "vrf"),
        (router("id", x.clone().into()), "id"),
        (router("prefixes", serde_json::json!([x])), "prefixes[0]"),
        (router("imports", serde_json::json!([{"vrf": x}])), "imports[0].vrf"),
        (router("evpn", serde_json::json!({"l2vnis": [{"vni": 1, "rd": x}]})), "evpn.l2vnis[0].rd"),
    ] {
        let user = object("metallb-n1", spec);
        let merged = merge(&Sources::only(&user));
        let all: Vec<_> = merged.problems.iter().collect();
        assert_eq!(all.len(), 1, "{field}: {all:?}");
        assert_eq!(all[0].field, format!("{first}.{field}"));
        assert!(all[0].what.len() < 500, "{}", all[0]);
        let model = Model { log: Some(LogLevel::Errors), ..merged.model };
        assert!(!render(&model).unwrap().contains("xxx"), "{field}");
    }
    for spec in [
        serde_json::json!({"raw": {"rawConfig": x}}),
        serde_json::json!({"bgp": {"bfdProfiles": [{"name": x}]}}),
        serde_json::json!({"nodeSelector": {"matchLabels": {(x.clone()): "y"}}}),
    ] {
        let merged = merge(&Sources {
            users: &[("a".to_owned(), object("a", spec.clone()))].into(),
            ..Sources::only(&object("metallb-n1", serde_json::json!({})))
        });
        assert_eq!(merged.problems.iter().count(), 1, "{spec}");
        assert_eq!(merged.model, Model::default());
    }
}
