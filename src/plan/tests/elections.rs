//! Who is elected: the vectors, by digests and through whole plans.

use super::*;

#[test]
fn election_vectors() {
    let order = |ip: &str, nodes: &[&str]| {
        let mut nodes: Vec<NodeName> = nodes.iter().map(|n| (*n).into()).collect();
        nodes.sort_by_key(|n| digest(n, ip.parse().unwrap()));
        nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let abc = ["node-a", "node-b", "node-c"];
    assert_eq!(order("10.0.0.1", &abc), "node-b node-a node-c");
    assert_eq!(order("10.0.0.2", &abc), "node-b node-c node-a");
    assert_eq!(order("10.20.30.1", &["iris1", "iris2"]), "iris2 iris1");
    assert_eq!(order("10.20.30.2", &["iris1", "iris2"]), "iris1 iris2");
    assert_eq!(order("1000::1", &["iris1", "iris2"]), "iris1 iris2");
    assert_eq!(order("10.20.30.1", &["edge-a", "edge-b"]), "edge-b edge-a");
}

/// Who is elected of all, then of all others, and so on.
fn order(case: &mut Case) -> String {
    let mut order = Vec::new();
    while let [owner] = &case.owners()[..] {
        case.members.remove(owner.as_str());
        order.push(owner.clone());
    }
    order.join(" ")
}

/// The same through the whole plan, with preferences and odd addresses: the first address in its canonical text counts,
/// of whichever family, then the nodes with the higher score among themselves.
#[test]
fn elections_of_whole_plans() {
    let abc = &["node-a", "node-b", "node-c"][..];
    let iris = &["iris1", "iris2"][..];
    let edges = &["edge-a", "edge-b", "iris1", "iris2"][..];
    let ad = |weights: &[(u32, &str)]| {
        let preferred = weights.iter().map(|(weight, key)| (*weight, selector(key, "yes"))).collect();
        L2Advertisement { preferred, ..l2() }
    };
    // what it is about, the nodes, the addresses, the advertisements, the order
    type Names = &'static [&'static str];
    type Row = (&'static str, Names, Names, Vec<(&'static str, L2Advertisement)>, &'static str);
    let rows: [Row; 10] = [
        ("a vector", abc, &["10.0.0.1"], vec![], "node-b node-a node-c"),
        ("a vector", abc, &["10.0.0.2"], vec![], "node-b node-c node-a"),
        ("a vector", iris, &["10.20.30.1"], vec![], "iris2 iris1"),
        ("the first one counts", iris, &["10.20.30.1", "1000::1"], vec![], "iris2 iris1"),
        ("also where it is of IPv6", iris, &["1000::1", "10.20.30.1"], vec![], "iris1 iris2"),
        ("written differently", iris, &["1000:0:0::0:1"], vec![], "iris1 iris2"),
        ("a vector", edges, &["10.20.30.1"], vec![("l2", ad(&[(100, "edge")]))], "edge-b edge-a iris2 iris1"),
        (
            "weights of several advertisements, and of one, against a greater one",
            edges,
            &["10.20.30.1"],
            vec![("l2", ad(&[(60, "iris1"), (100, "iris2")])), ("m", ad(&[(30, "iris1"), (30, "iris1")]))],
            "iris1 iris2 edge-b edge-a",
        ),
        (
            "of one advertisement by name and label once",
            iris,
            &["10.20.30.1"],
            vec![
                ("l2", {
                    let pools =
                        PoolSelection { names: ["p".into()].into(), selectors: vec![Selector::default()] };
                    L2Advertisement { pools, ..ad(&[(60, "iris1")]) }
                }),
                ("m", ad(&[(100, "iris2")])),
            ],
            "iris2 iris1",
        ),
        (
            "of an advertisement for another pool never",
            iris,
            &["10.20.30.1"],
            vec![
                ("l2", ad(&[])),
                ("m", {
                    let pools = PoolSelection { names: ["q".into()].into(), selectors: vec![] };
                    L2Advertisement { pools, ..ad(&[(100, "iris1")]) }
                }),
            ],
            "iris2 iris1",
        ),
    ];
    for (what, nodes, ips, ads, expected) in rows {
        let mut case = Case::new(nodes, ips, nodes);
        for name in nodes {
            case.node(name).labels = labels(&[(name, "yes"), (name.split('-').next().unwrap(), "yes")]);
        }
        case.config.l2.extend(ads.into_iter().map(|(name, ad)| (name.into(), Arc::new(ad))));
        assert_eq!(order(&mut case), expected, "{what}: {ips:?}");
    }
}

/// Services that share an address are on one node, which answers where any of them is announced.
#[test]
fn who_shares_an_address_shares_the_node() {
    for ip in ["10.20.30.1", "10.20.30.2", "10.20.30.3"] {
        let mut case = Case::new(&["iris1", "iris2"], &[ip], &["iris1"]);
        case.service().annotations = labels(&[("metallb.io/allow-shared-ip", "k")]);
        let (twin, slice) =
            (ServiceKey::new("default", "twin"), case.world.slices.values().next().unwrap().clone());
        let service = Box::new(case.service().clone());
        case.world.services.insert(twin.clone(), service);
        case.world.slices.insert((twin, "twin-1".into()), slice);
        for (name, eth) in [("l2", "eth1"), ("m", "eth2")] {
            let ad = L2Advertisement { interfaces: named(&[eth]), ..l2() };
            case.config.l2.insert(name.into(), Arc::new(ad));
        }
        let [owner] = &case.owners()[..] else { panic!("{ip}: {:?}", case.owners()) };
        let plan = case.plan(owner);
        assert_eq!(plan.l2, [(ip.parse().unwrap(), named(&["eth1", "eth2"]))].into());
        assert!(plan.why.iter().all(|verdict| verdict.layer2.is_ok()), "{:?}", plan.why);
    }
}
