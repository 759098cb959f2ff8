use super::*;
use crate::{
    config::{BgpAdvertisement, L2Advertisement, Neighbor, Peer, PoolSelection, RemoteAs, Selector},
    names::Asn,
    net::Family,
    world::{Member, Node, Slice, TrafficPolicy},
};

mod balanced;
mod elections;

fn labels(pairs: &[(&str, &str)]) -> crate::world::Labels {
    pairs.iter().copied().collect()
}

fn selector(key: &str, value: &str) -> Selector {
    Selector::parse(&serde_json::from_value(serde_json::json!({"matchLabels": {key: value}})).unwrap())
        .unwrap()
}

fn pool() -> Pool {
    Pool {
        ranges: vec!["10.0.0.0/8".parse().unwrap(), "1000::/16".parse().unwrap()],
        auto_assign: true,
        avoid_buggy: false,
        pinning: None,
        labels: labels(&[]),
    }
}

fn l2() -> L2Advertisement {
    L2Advertisement {
        pools: PoolSelection::default(),
        nodes: vec![],
        services: vec![],
        interfaces: Interfaces::All,
        preferred: vec![],
        balanced: false,
    }
}

fn bgp() -> BgpAdvertisement {
    BgpAdvertisement {
        pools: PoolSelection::default(),
        nodes: vec![],
        services: vec![],
        peers: BTreeSet::new(),
        length_v4: 32,
        length_v6: 128,
        local_pref: None,
        communities: BTreeSet::new(),
        med: None,
        prepend: None,
    }
}

fn peer() -> Peer {
    let asn = Asn::new(64512).unwrap();
    Peer {
        my_asn: asn,
        remote_as: RemoteAs::Number(asn),
        neighbor: Neighbor::Address("192.0.2.1".parse().unwrap()),
        port: 179,
        source: None,
        timers: None,
        connect_time: None,
        router_id: None,
        nodes: vec![],
        password: None,
        secret: None,
        bfd: None,
        graceful_restart: false,
        ebgp_multihop: false,
        vrf: None,
        dual_stack: false,
        local_asn: None,
        ttl_security: None,
    }
}

/// A cluster of `nodes` with one Service `default/s` on `ips`, its endpoints on `endpoints`.
struct Case {
    frr: bool,
    ignore_exclude_label: bool,
    config: Config,
    world: World,
    members: Members,
}

impl Case {
    fn new(nodes: &[&str], ips: &[&str], endpoints: &[&str]) -> Self {
        let mut world = World::default();
        for node in nodes {
            world.nodes.insert((*node).into(), Node::default());
        }
        let key = ServiceKey::new("default", "s");
        let service = Service {
            load_balancer: true,
            families: vec![Family::V4],
            ingress: ips.iter().map(|ip| Ingress::Ip((*ip).into())).collect(),
            ..Service::default()
        };
        world.services.insert(key.clone(), Box::new(service));
        let slice =
            Slice { usable: !endpoints.is_empty(), nodes: endpoints.iter().map(|n| (*n).into()).collect() };
        world.slices.insert((key, "s-1".into()), slice);
        let mut config = Config::default();
        config.pools.insert("p".into(), Arc::new(pool()));
        config.l2.insert("l2".into(), Arc::new(l2()));
        config.bgp.insert("bgp".into(), Arc::new(bgp()));
        config.peers.insert("tor".into(), Arc::new(peer()));
        Self {
            frr: true,
            ignore_exclude_label: false,
            config,
            world,
            members: nodes.iter().map(|n| ((*n).into(), Arc::default())).collect(),
        }
    }

    fn service(&mut self) -> &mut Service {
        self.world.services.values_mut().next().unwrap()
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.world.nodes.get_mut(name).unwrap()
    }

    fn at(&self, me: &str) -> Viewpoint {
        Viewpoint {
            node: me.into(),
            class: Class::default(),
            frr: self.frr,
            ignore_exclude_label: self.ignore_exclude_label,
            drain_on_cordon: false,
            leave: Leave::Staying,
        }
    }

    fn plan(&self, me: &str) -> Plan {
        let me = self.at(me);
        plan(&me, &self.config, &self.world, &self.members)
    }

    fn why(&self, me: &str, protocol: Protocol) -> Result<(), Reason> {
        let plan = self.plan(me);
        let verdict = plan.why.iter().find(|v| v.service == ServiceKey::new("default", "s")).unwrap();
        verdict.by_protocol().find(|(p, _)| *p == protocol).unwrap().1.clone()
    }

    fn owners(&self) -> Vec<String> {
        let nodes = self.world.nodes.keys();
        nodes.filter(|n| !self.plan(n.as_str()).l2.is_empty()).map(ToString::to_string).collect()
    }
}

#[test]
fn exactly_one_node_is_elected_by_the_first_address() {
    let mut case = Case::new(&["iris1", "iris2"], &["10.20.30.1", "1000::1"], &["iris1"]);
    assert_eq!(case.owners(), ["iris2"]);
    assert_eq!(case.plan("iris2").l2.len(), 2, "both addresses follow the first one");
    assert_eq!(case.why("iris1", Protocol::Layer2), Err(Reason::ElectedElsewhere("iris2".into())));
    case.members.remove("iris2");
    assert_eq!(case.owners(), ["iris1"]);
    case.members.clear();
    assert_eq!(case.why("iris1", Protocol::Layer2), Err(Reason::NoCandidate));
}

#[test]
fn who_may_be_elected() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change, &[&str]); 25] = [
        ("nothing", |_| {}, &["iris2"]),
        ("cordoned", |c| c.node("iris2").cordoned = true, &["iris2"]),
        ("no such Node any more", |c| drop(c.world.nodes.remove("iris1")), &["iris2"]),
        (
            "an endpoint elsewhere",
            |c| c.world.slices.values_mut().next().unwrap().nodes = ["x".into()].into(),
            &["iris2"],
        ),
        (
            "local traffic, and the endpoint elsewhere",
            |c| {
                c.service().traffic = TrafficPolicy::Local;
                c.world.slices.values_mut().next().unwrap().nodes = ["x".into()].into();
            },
            &[],
        ),
        (
            "excluded, whatever the label says",
            |c| {
                c.node("iris2").labels =
                    labels(&[("node.kubernetes.io/exclude-from-external-load-balancers", "false")]);
            },
            &["iris1"],
        ),
        ("no load balancer any more", |c| c.service().load_balancer = false, &[]),
        ("a hostname beside the address", |c| c.service().ingress.push(Ingress::Hostname), &[]),
        (
            "an address of no pool beside it",
            |c| c.service().ingress.push(Ingress::Ip("192.0.2.1".into())),
            &[],
        ),
        (
            "an address that is to be avoided",
            |c| {
                c.config.pools.insert("p".into(), Arc::new(Pool { avoid_buggy: true, ..pool() }));
                c.service().ingress = vec![Ingress::Ip("10.20.30.0".into())];
            },
            &["iris2"],
        ),
        (
            "shared, by the older annotation, with service selectors of another advertisement",
            |c| {
                c.service().labels = labels(&[("app", "web")]);
                c.service().annotations = labels(&[("metallb.universe.tf/allow-shared-ip", "k")]);
                let services = vec![selector("app", "mail")];
                c.config.l2.insert("x".into(), Arc::new(L2Advertisement { services, ..l2() }));
            },
            &["iris2"],
        ),
        ("drained", |c| c.node("iris2").drained = true, &["iris1"]),
        ("network unavailable", |c| c.node("iris2").network_unavailable = true, &["iris1"]),
        (
            "excluded",
            |c| {
                c.node("iris2").labels =
                    labels(&[("node.kubernetes.io/exclude-from-external-load-balancers", "")]);
            },
            &["iris1"],
        ),
        ("local traffic", |c| c.service().traffic = TrafficPolicy::Local, &["iris1"]),
        (
            "preference",
            |c| {
                c.node("iris1").labels = labels(&[("edge", "yes")]);
                let preferred = vec![(60, selector("edge", "yes"))];
                c.config.l2.insert("l2".into(), Arc::new(L2Advertisement { preferred, ..l2() }));
            },
            &["iris1"],
        ),
        (
            "weights add up over advertisements",
            |c| {
                c.node("iris1").labels = labels(&[("edge", "yes")]);
                c.node("iris2").labels = labels(&[("fast", "yes")]);
                for (name, weight, key) in [("a", 60, "edge"), ("b", 50, "edge"), ("c", 100, "fast")] {
                    let preferred = vec![(weight, selector(key, "yes"))];
                    c.config.l2.insert(name.into(), Arc::new(L2Advertisement { preferred, ..l2() }));
                }
            },
            &["iris1"],
        ),
        (
            "node selector",
            |c| {
                let nodes = vec![selector("rack", "1")];
                c.config.l2.insert("l2".into(), Arc::new(L2Advertisement { nodes, ..l2() }));
            },
            &[],
        ),
        (
            "node selector of one",
            |c| {
                c.node("iris1").labels = labels(&[("rack", "1")]);
                let nodes = vec![selector("rack", "1")];
                c.config.l2.insert("l2".into(), Arc::new(L2Advertisement { nodes, ..l2() }));
            },
            &["iris1"],
        ),
        (
            "a preference of an advertisement for other nodes is none",
            |c| {
                c.node("iris1").labels = labels(&[("edge", "yes")]);
                let (nodes, preferred) = (vec![selector("rack", "1")], vec![(60, selector("edge", "yes"))]);
                c.config.l2.insert("x".into(), Arc::new(L2Advertisement { nodes, preferred, ..l2() }));
            },
            &["iris2"],
        ),
        (
            "service selector",
            |c| {
                let services = vec![selector("app", "web")];
                c.config.l2.insert("l2".into(), Arc::new(L2Advertisement { services, ..l2() }));
            },
            &[],
        ),
        (
            "service selector of this one",
            |c| {
                c.service().labels = labels(&[("app", "web")]);
                let services = vec![selector("app", "web")];
                c.config.l2.insert("l2".into(), Arc::new(L2Advertisement { services, ..l2() }));
            },
            &["iris2"],
        ),
        ("no endpoint", |c| c.world.slices.clear(), &[]),
        (
            "shared with service selectors",
            |c| {
                c.service().labels = labels(&[("app", "web")]);
                c.service().annotations = labels(&[("metallb.universe.tf/allow-shared-ip", "")]);
                let services = vec![selector("app", "web")];
                c.config.l2.insert("x".into(), Arc::new(L2Advertisement { services, ..l2() }));
            },
            &[],
        ),
        (
            "excluded, where that is not heeded",
            |c| {
                c.ignore_exclude_label = true;
                c.node("iris2").labels =
                    labels(&[("node.kubernetes.io/exclude-from-external-load-balancers", "")]);
            },
            &["iris2"],
        ),
    ];
    for (what, change, owners) in changes {
        let mut case = Case::new(&["iris1", "iris2"], &["10.20.30.1"], &["iris1"]);
        change(&mut case);
        assert_eq!(case.owners(), owners, "{what}");
    }
}

/// Says that the interfaces of `node` are `names`.
fn has(case: &mut Case, node: &str, names: &[&str]) {
    let mac = crate::net::Mac([2, 0, 0, 0, 0, 1]);
    let interfaces = Some(names.iter().map(|name| (Arc::from(*name), mac)).collect());
    case.members.insert(node.into(), Arc::new(crate::world::Member { interfaces, ..Default::default() }));
}

fn named(names: &[&str]) -> Interfaces {
    Interfaces::Named(names.iter().map(|name| Arc::from(*name)).collect())
}

/// The first in the election is iris2, and without it iris1.
#[test]
fn a_node_without_the_interface_is_passed_over() {
    let lacks = |interfaces: &[&str]| Err(Reason::NoInterface(Box::new(named(interfaces))));
    let elected = |node: &str| Err(Reason::ElectedElsewhere(node.into()));
    type Says = Result<(), Reason>;
    // what it is announced on, what iris1 and iris2 have; who owns it, what each says
    type Names = &'static [&'static str];
    type Row = (Names, Option<Names>, Option<Names>, Names, Says, Says);
    let cases: [Row; 8] = [
        (&["eth1"], None, None, &["iris2"], elected("iris2"), Ok(())),
        (&["eth1"], Some(&["eth1"]), Some(&["eth0"]), &["iris1"], Ok(()), lacks(&["eth1"])),
        (&["eth1"], None, Some(&["eth0"]), &["iris1"], Ok(()), lacks(&["eth1"])),
        (&["eth1"], Some(&["eth0"]), Some(&["eth0"]), &[], Err(Reason::NoCandidate), lacks(&["eth1"])),
        (&["eth1"], Some(&["eth0"]), Some(&["eth1"]), &["iris2"], elected("iris2"), Ok(())),
        (&["eth0", "eth1"], Some(&["eth1"]), Some(&["eth0"]), &["iris2"], elected("iris2"), Ok(())),
        (&[], Some(&["eth1"]), Some(&["eth0"]), &["iris2"], elected("iris2"), Ok(())),
        (
            &[],
            Some(&["eth1"]),
            Some(&[]),
            &["iris1"],
            Ok(()),
            Err(Reason::NoInterface(Box::new(Interfaces::All))),
        ),
    ];
    for (i, (on, one, two, owners, why1, why2)) in cases.into_iter().enumerate() {
        let mut case = Case::new(&["iris1", "iris2"], &["10.20.30.1"], &["iris1", "iris2"]);
        if !on.is_empty() {
            case.config.l2.insert("l2".into(), Arc::new(L2Advertisement { interfaces: named(on), ..l2() }));
        }
        for (node, names) in [("iris1", one), ("iris2", two)] {
            if let Some(names) = names {
                has(&mut case, node, names);
            }
        }
        assert_eq!(case.owners(), owners, "case {i}");
        assert_eq!(case.why("iris1", Protocol::Layer2), why1, "case {i}");
        assert_eq!(case.why("iris2", Protocol::Layer2), why2, "case {i}");
    }
}

/// An advertisement counts with its interfaces where it selects the node; several count together.
#[test]
fn interfaces_are_those_of_the_nodes_own_advertisements() {
    let mut case = Case::new(&["iris1", "iris2"], &["10.20.30.1"], &["iris1"]);
    case.node("iris1").labels = labels(&[("rack", "1")]);
    let ad = |rack: &[&str], on: &[&str]| {
        let nodes = rack.iter().map(|rack| selector("rack", rack)).collect();
        Arc::new(L2Advertisement { nodes, interfaces: named(on), ..l2() })
    };
    case.config.l2 = BTreeMap::from([("a".into(), ad(&["1"], &["eth1"])), ("b".into(), ad(&[], &["eth2"]))]);
    assert_eq!(case.plan("iris2").l2[&"10.20.30.1".parse::<IpAddr>().unwrap()], named(&["eth2"]));
    has(&mut case, "iris2", &["eth1"]);
    assert_eq!(case.why("iris2", Protocol::Layer2), Err(Reason::NoInterface(Box::new(named(&["eth2"])))));
    assert_eq!(case.plan("iris1").l2[&"10.20.30.1".parse::<IpAddr>().unwrap()], named(&["eth1", "eth2"]));
}

/// Who has no live speaker, and would come before the one that is elected.
#[test]
fn the_elected_node_knows_whose_place_it_takes() {
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    // node-b, node-a, node-c
    let nodes = ["node-a", "node-b", "node-c"];
    let owners = |case: &Case, me: &str| -> Option<String> {
        let of = case.plan(me).in_place_of;
        of.get(&ip).map(|owners| owners.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" "))
    };
    let mut case = Case::new(&nodes, &["10.0.0.1"], &nodes);
    assert_eq!(owners(&case, "node-b"), None, "nobody comes before it");
    case.members.remove("node-b");
    assert_eq!(owners(&case, "node-a").as_deref(), Some("node-b"));
    assert_eq!(owners(&case, "node-c"), None, "it takes nobody's place");
    case.members.remove("node-a");
    assert_eq!(owners(&case, "node-c").as_deref(), Some("node-a node-b"));
    case.node("node-b").drained = true;
    assert_eq!(owners(&case, "node-c").as_deref(), Some("node-a"), "one that may not be elected");
    case.service().traffic = TrafficPolicy::Local;
    case.world.slices.values_mut().for_each(|slice| slice.nodes = ["node-c".into()].into());
    assert_eq!(owners(&case, "node-c"), None, "one without an endpoint");
}

#[test]
fn reasons_why_not() {
    type Change = fn(&mut Case);
    use Protocol::{Bgp, Layer2};
    let changes: [(Change, Protocol, Reason); 16] = [
        (|c| c.frr = false, Bgp, Reason::NoFrr),
        (|c| c.service().ingress.clear(), Bgp, Reason::NoAddress),
        (|c| c.service().ingress = vec![Ingress::Ip("x".into())], Bgp, Reason::InvalidAddress("x".into())),
        (
            |c| c.service().ingress = vec![Ingress::Ip("192.0.2.9".into())],
            Layer2,
            Reason::NotInAPool("192.0.2.9".parse().unwrap()),
        ),
        (|c| c.world.slices.clear(), Bgp, Reason::NoEndpoints),
        (|c| c.world.slices.clear(), Layer2, Reason::NoEndpoints),
        (|c| c.config.bgp.clear(), Bgp, Reason::NoAdvertisement("p".into())),
        (|c| c.config.l2.clear(), Layer2, Reason::NoAdvertisement("p".into())),
        (|c| c.config.peers.clear(), Bgp, Reason::NoPeer),
        (|c| c.node("n2").network_unavailable = true, Bgp, Reason::NodeNetworkUnavailable),
        (|c| c.service().traffic = TrafficPolicy::Local, Bgp, Reason::NoLocalEndpoints),
        (
            |c| {
                let nodes = vec![selector("rack", "1")];
                c.config.bgp.insert("bgp".into(), Arc::new(BgpAdvertisement { nodes, ..bgp() }));
            },
            Bgp,
            Reason::NodeNotSelected,
        ),
        (
            |c| {
                c.config
                    .bgp
                    .insert("two".into(), Arc::new(BgpAdvertisement { local_pref: Some(7), ..bgp() }));
            },
            Bgp,
            Reason::ConflictingAdvertisements(Box::new(("bgp".into(), "two".into()))),
        ),
        (
            |c| {
                c.config.bgp.insert("two".into(), Arc::new(BgpAdvertisement { med: Some(0), ..bgp() }));
            },
            Bgp,
            Reason::ConflictingAdvertisements(Box::new(("bgp".into(), "two".into()))),
        ),
        (
            |c| {
                c.config.bgp.insert("two".into(), Arc::new(BgpAdvertisement { prepend: Some(1), ..bgp() }));
            },
            Bgp,
            Reason::ConflictingAdvertisements(Box::new(("bgp".into(), "two".into()))),
        ),
        (
            |c| {
                let many = |from: u16| (from..from + 40).map(|n| Community::Standard(64512, n)).collect();
                for (name, from) in [("bgp", 0), ("two", 24)] {
                    let ad = BgpAdvertisement { communities: many(from), ..bgp() };
                    c.config.bgp.insert(name.into(), Arc::new(ad));
                }
            },
            Bgp,
            Reason::TooManyCommunities(Box::new(("10.0.0.1/32".parse().unwrap(), 64))),
        ),
    ];
    for (change, protocol, reason) in changes {
        let mut case = Case::new(&["n1", "n2"], &["10.0.0.1"], &["n1"]);
        change(&mut case);
        assert_eq!(case.why("n2", protocol), Err(reason));
    }
    assert_eq!(Case::new(&["n1", "n2"], &["10.0.0.1"], &["n1"]).why("n2", Bgp), Ok(()));
}

#[test]
fn routes_and_their_attributes() {
    let mut case = Case::new(&["n1"], &["10.1.2.3", "1000::7"], &["n1"]);
    let one = Community::Standard(64512, 1);
    let two = Community::Large(1, 2, 3);
    let ad = |communities: &[Community], length_v4, peers: &[&str]| {
        Arc::new(BgpAdvertisement {
            communities: communities.iter().copied().collect(),
            length_v4,
            peers: peers.iter().map(|p| (*p).into()).collect(),
            ..bgp()
        })
    };
    case.config.peers.insert("other".into(), Arc::new(peer()));
    case.config.bgp = BTreeMap::from([
        ("a".into(), ad(&[one], 32, &[])),
        ("b".into(), ad(&[two], 32, &["tor"])),
        ("c".into(), ad(&[], 24, &["other"])),
    ]);
    let plan = case.plan("n1");
    let show = |peer: &str| {
        let routes = plan.bgp[peer].routes.iter().map(|(prefix, attributes)| {
            let communities: Vec<String> = attributes.communities.iter().map(ToString::to_string).collect();
            format!("{prefix} {}", communities.join(","))
        });
        routes.collect::<Vec<_>>()
    };
    assert_eq!(show("tor"), ["10.1.2.3/32 64512:1,large:1:2:3", "1000::7/128 64512:1,large:1:2:3"]);
    assert_eq!(show("other"), ["10.1.2.0/24 ", "10.1.2.3/32 64512:1", "1000::7/128 64512:1"]);
}

/// A node that leaves announces everything still; one that has left nothing, over BGP; its sessions stay. A cordon is
/// none of it unless it is to be.
#[test]
fn a_drained_node_leaves() {
    let mut case = Case::new(&["n1", "n2"], &["10.0.0.1"], &["n1", "n2"]);
    case.node("n2").cordoned = true;
    let plan_at = |case: &Case, drain_on_cordon, leave| {
        let me = Viewpoint { drain_on_cordon, leave, ..case.at("n2") };
        let members = case.world.nodes.keys().map(|node| (node.clone(), Arc::default())).collect();
        (me.drains(&case.world.nodes[&NodeName::from("n2")]), plan(&me, &case.config, &case.world, &members))
    };
    let (drains, staying) = plan_at(&case, false, Leave::Staying);
    assert!(!drains && plan_at(&case, true, Leave::Staying).0);
    let (_, leaving) = plan_at(&case, false, Leave::Leaving);
    assert_eq!(leaving.bgp, staying.bgp);
    assert!(staying.bgp.values().any(|session| !session.routes.is_empty()));
    let (_, left) = plan_at(&case, false, Leave::Left);
    assert!(left.bgp.keys().eq(staying.bgp.keys()) && left.bgp.values().all(|s| s.routes.is_empty()));
    assert!(left.why.iter().all(|verdict| verdict.bgp == Err(Reason::NodeDraining)));
    case.node("n2").drained = true;
    assert!(plan_at(&case, false, Leave::Staying).0);
}

/// Ten thousand Services have ten thousand of them, and while a pass goes on, twice.
#[test]
fn a_verdict_is_small() {
    assert!(size_of::<Verdict>() <= 96, "{}", size_of::<Verdict>());
}
