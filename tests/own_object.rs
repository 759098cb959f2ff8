//! What the configuration lets through, FRR's model has room for: our own FRRConfiguration is never at fault.
//!
//! Otherwise a user would read of `spec.bgp.routers[0].neighbors[4]` of an object that nobody wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

mod common;

use ferrolb::{
    config::{Config, parse},
    frr,
    names::{NodeName, ServiceKey},
    net::Family,
    plan::{Viewpoint, plan},
    world::{Class, Ingress, Node, Service, Slice, World},
};
use proptest::{prelude::*, sample::select, strategy::Union};
use serde_json::{Map, Value, json};

/// An object with some of `fields`, each with one of its values.
fn object(
    kind: &'static str,
    version: &'static str,
    names: &[&str],
    fields: Vec<(&'static str, Vec<Value>)>,
) -> impl Strategy<Value = Value> + use<> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let field = |(key, values): (&'static str, Vec<Value>)| {
        prop::option::weighted(0.4, select(values)).prop_map(move |value| value.map(|v| (key, v)))
    };
    let spec: Vec<_> = fields.into_iter().map(field).collect();
    (select(names), spec).prop_map(move |(name, spec)| {
        let spec: Map<String, Value> = spec.into_iter().flatten().map(|(k, v)| (k.to_owned(), v)).collect();
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
    })
}

fn texts(list: &[&str]) -> Vec<Value> {
    list.iter().map(|text| json!(text)).collect()
}

/// Mostly good values, and the edges on either side.
fn peer() -> impl Strategy<Value = Value> {
    let times = ["0s", "1s", "3s", "10s", "90s", "2500ms", "500ms", "65535s", "65536s"];
    let optional = object(
        "BGPPeer",
        "v1beta2",
        &["p0", "p1", "p2", "p3", "p4", "p5"],
        vec![
            ("localASN", vec![json!(0), json!(64500), json!(64999)]),
            (
                "sourceAddress",
                texts(&["192.0.2.2", "2001:db8::2", "0.0.0.0", "127.0.0.1", "::ffff:10.0.0.1"]),
            ),
            ("peerPort", vec![json!(1), json!(179), json!(16384)]),
            ("holdTime", texts(&times)),
            ("keepaliveTime", texts(&times)),
            ("connectTime", texts(&times)),
            ("routerID", texts(&["192.0.2.9", "0.0.0.0"])),
            ("password", vec![json!("x"), json!("x".repeat(80)), json!("x".repeat(81)), json!("a b")]),
            ("bfdProfile", vec![json!("f"), json!("x".repeat(63)), json!("x".repeat(64))]),
            ("enableGracefulRestart", vec![json!(true)]),
            ("ebgpMultiHop", vec![json!(true)]),
            ("vrf", texts(&["red", "default", "a-vrf-of-sixteen"])),
            ("dualStackAddressFamily", vec![json!(true)]),
        ],
    );
    let whom: Vec<(u32, &[&str], &str)> = vec![
        (6, &["192.0.2.1", "192.0.2.3", "2001:db8::1", "::ffff:192.0.2.3", "192.0.2.100"], "peerAddress"),
        (1, &["127.0.0.1", "::1", "fe80::1", "224.0.0.1", "::10.0.0.1", "255.255.255.255"], "peerAddress"),
        (3, &["eth0", "eth0-red", "red", "an-interface-16b"], "interface"),
    ];
    let whom = whom.into_iter().map(|(weight, values, field)| {
        (weight, select(values).prop_map(move |value| (field, json!(value))).boxed())
    });
    let remote = [
        ("peerASN", json!(64500)),
        ("peerASN", json!(64501)),
        ("dynamicASN", json!("internal")),
        ("dynamicASN", json!("external")),
    ];
    let my_asn = prop_oneof![6 => Just(64500), 1 => Just(64501)];
    (optional, Union::new_weighted(whom.collect()), select(remote.to_vec()).boxed(), my_asn).prop_map(
        |(mut peer, whom, remote, my_asn)| {
            for (field, value) in [whom, remote, ("myASN", json!(my_asn))] {
                peer["spec"][field] = value;
            }
            peer
        },
    )
}

fn profile() -> impl Strategy<Value = Value> {
    let interval = || [9, 10, 50, 300, 60000, 60001].map(|n| json!(n)).to_vec();
    let fields = vec![
        ("receiveInterval", interval()),
        ("transmitInterval", interval()),
        ("echoInterval", interval()),
        ("detectMultiplier", vec![json!(1), json!(2), json!(255), json!(256)]),
        ("minimumTtl", vec![json!(0), json!(1), json!(254), json!(255)]),
        ("echoMode", vec![json!(true)]),
        ("passiveMode", vec![json!(true)]),
    ];
    object("BFDProfile", "v1beta1", &["f", &"x".repeat(63), &"x".repeat(64)], fields)
}

fn advertisement() -> impl Strategy<Value = Value> {
    let communities =
        [json!(["1:2"]), json!(["65535:65535", "large:1:2:4294967295"]), json!(["01:2", "1:2"])];
    let fields = vec![
        ("aggregationLength", [23, 24, 30, 32].map(|n| json!(n)).to_vec()),
        ("aggregationLengthV6", [119, 120, 127, 128].map(|n| json!(n)).to_vec()),
        ("localPref", [json!(0), json!(100), json!(4294967295u32)].to_vec()),
        ("communities", communities.to_vec()),
        ("ipAddressPools", [json!(["a"]), json!(["a", "b"])].to_vec()),
        ("peers", [json!(["p0"]), json!(["p1", "p2"]), json!(["p3", "gone"])].to_vec()),
    ];
    object("BGPAdvertisement", "v1beta1", &["x", "y", "z"], fields)
}

fn objects() -> impl Strategy<Value = Vec<Value>> {
    let pools = ["10.0.0.0/24", "2001:db8:1::/120"].into_iter().zip(["a", "b"]).map(|(range, name)| {
        json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name},
               "spec": {"addresses": [range]}})
    });
    let pools: Vec<Value> = pools.collect();
    let some = (
        prop::collection::vec(peer(), 0..6),
        prop::collection::vec(profile(), 0..4),
        prop::collection::vec(advertisement(), 0..4),
    );
    some.prop_map(move |(a, b, c)| [pools.clone(), a, b, c].concat())
}

fn world(ips: &[u8]) -> World {
    let mut world = World::default();
    let node = Node { addresses: vec!["192.0.2.100".parse().unwrap()], ..Node::default() };
    world.nodes.insert("n1".into(), node);
    for (i, ip) in ips.iter().enumerate() {
        let v6 = i % 2 == 1;
        let address = if v6 { format!("2001:db8:1::{ip:x}") } else { format!("10.0.0.{ip}") };
        let key = ServiceKey::new("n", &format!("s{i}"));
        let service = Service {
            load_balancer: true,
            families: vec![if v6 { Family::V6 } else { Family::V4 }],
            ingress: vec![Ingress::Ip(address.as_str().into())],
            ..Service::default()
        };
        world.services.insert(key.clone(), Box::new(service));
        let slice = Slice { usable: true, nodes: [NodeName::from("n1")].into() };
        world.slices.insert((key, "s".into()), slice);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_wrong_with_what_was_accepted(
        first in objects(),
        second in objects(),
        ips in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let (world, node) = (world(&ips), NodeName::from("n1"));
        let me = Viewpoint { node: node.clone(), class: Class::default(), frr: true, ignore_exclude_label: false, drain_on_cordon: false, leave: ferrolb::plan::Leave::Staying };
        let home = frr::Home { node: &node, addresses: &world.nodes["n1"].addresses, router_id: None };
        let (mut config, mut last) = (Config::default(), None);
        for objects in [first, second] {
            let (now, _) = parse(&common::input(objects), &config);
            config = now;
            let plan = plan(&me, &config, &world, &[(node.clone(), std::sync::Arc::default())].into());
            let built = frr::build(&home, &plan, &config, last.as_ref());
            let frr::Merged { model, problems, .. } = frr::merge(&frr::Sources::only(&built.object));
            prop_assert!(problems.is_empty(), "{problems:#?}");
            // And nobody is lost without a word: every peer has its session, or a problem of its own.
            let sessions: usize = model.routers.values().map(|router| router.sessions.len()).sum();
            prop_assert_eq!(sessions + built.problems.iter().count(), plan.bgp.len());
            for problem in built.problems.iter() {
                prop_assert!(plan.bgp.contains_key(problem.object.name.as_str()), "{problem}");
            }
            prop_assert_eq!(model.bfd.len(), config.bfd.len());
            last = Some(built);
        }
    }
}
