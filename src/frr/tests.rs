//! From a plan to lines: what each change costs, and what bad input costs.

use super::*;
use crate::{
    api,
    config::{Community, Config, Kind, ObjectRef, Peer},
    names::{NodeName, PeerName},
    plan::Plan,
    spent::spent,
};
use std::{net::IpAddr, sync::Arc};

mod options;

fn peer(address: &str, asn: u32) -> Peer {
    Peer {
        my_asn: Asn::new(64512).unwrap(),
        remote_as: RemoteAs::Number(Asn::new(asn).unwrap()),
        neighbor: Neighbor::Address(address.parse().unwrap()),
        port: 179,
        source: None,
        timers: None,
        connect_time: None,
        router_id: None,
        nodes: Vec::new(),
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

fn plan(peers: &[(&str, Peer)], routes: impl Fn(&Peer) -> BTreeMap<IpNet, Arc<Attributes>>) -> Plan {
    let sessions = peers.iter().map(|(name, peer)| {
        let session = crate::plan::Session {
            peer: Arc::new(peer.clone()),
            routes: Arc::new(routes(peer).into_iter().collect()),
        };
        (PeerName::from(*name), session)
    });
    Plan { bgp: sessions.collect(), ..Plan::default() }
}

fn at_home(plan: &Plan, last: Option<&Built>) -> Built {
    let home =
        Home { node: &NodeName::from("n1"), addresses: &["192.0.2.100".parse().unwrap()], router_id: None };
    build(&home, plan, &Config::default(), last)
}

fn model(plan: &Plan) -> Model {
    let built = at_home(plan, None);
    assert!(built.problems.is_empty(), "{:?}", built.problems);
    let Merged { model, problems, .. } = merge(&Sources::only(&built.object));
    assert!(problems.is_empty(), "{problems:?}");
    model
}

fn lines(from: &Model, to: &Model) -> Vec<String> {
    let steps = delta(from, to);
    steps.into_iter().flat_map(|s| s.context.into_iter().chain(s.lines)).map(|line| line.text).collect()
}

fn hosts(count: u32) -> BTreeMap<IpNet, Arc<Attributes>> {
    let attributes = Arc::new(Attributes {
        local_pref: Some(150),
        communities: [Community::Standard(64512, 100), Community::Large(64512, 1, 2)].into(),
        ..Attributes::default()
    });
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    (first..first + count).map(|ip| (IpAddr::from(Ipv4Addr::from(ip)).into(), attributes.clone())).collect()
}

fn two_peers() -> [(&'static str, Peer); 2] {
    [("a", peer("192.0.2.1", 65001)), ("b", peer("192.0.2.2", 64512))]
}

/// Input: ten thousand Services and two peers, and one Service more.
/// Output: one line, and no more time than a deaf user would notice; the figure is for `BENCHMARKS.md`.
#[test]
fn one_service_more_is_one_line() {
    let before = plan(&two_peers(), |_| hosts(10_000));
    let after = plan(&two_peers(), |_| hosts(10_001));
    let was = model(&before);
    let (built, build_took) = spent(|| at_home(&after, None));
    let (is, merge_took) = spent(|| merge(&Sources::only(&built.object)).model);
    let (steps, delta_took) = spent(|| delta(&was, &is));
    let took = build_took + merge_took + delta_took;
    println!("10,000 prefixes, 2 peers: build {build_took:?}, merge {merge_took:?}, in all {took:?}");
    assert_eq!(steps.len(), 1);
    let class = is.classes.first().unwrap();
    let expected = [
        "router bgp 64512".to_owned(),
        "address-family ipv4 unicast".to_owned(),
        format!("network 10.0.39.16/32 route-map {class}"),
    ];
    assert_eq!(lines(&was, &is), expected);
    assert_eq!(lines(&is, &was), [&expected[..2], &["no network 10.0.39.16/32".to_owned()]].concat());
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

/// Input: one of two Services gets another community. Output: its class, its entry with both peers, its `network`
/// line; then nothing is left of the old one. No line of a neighbour, and none of the other Service.
#[test]
fn other_attributes_are_another_class() {
    let with = |community: u16| {
        plan(&two_peers(), |_| {
            let mut routes = hosts(2);
            let attributes = Attributes {
                communities: [Community::Standard(64512, community)].into(),
                ..Attributes::default()
            };
            routes.insert("10.0.0.1/32".parse().unwrap(), Arc::new(attributes));
            routes
        })
    };
    let (was, is) = (model(&with(1)), model(&with(2)));
    let lines = lines(&was, &is);
    let old = was.classes.difference(&is.classes).next().unwrap();
    let new = is.classes.difference(&was.classes).next().unwrap();
    let (tag, old_tag, place, old_place) = (new.tag(), old.tag(), new.place(), old.place());
    let expected = format!(
        "bgp large-community-list standard {new} seq 5 permit {tag}
route-map {new} permit 10
set large-community {tag}
route-map 192.0.2.1-out permit {place}
match large-community {new}
set large-community none
set community 64512:2
route-map 192.0.2.2-out permit {place}
match large-community {new}
set large-community none
set community 64512:2
router bgp 64512
address-family ipv4 unicast
network 10.0.0.1/32 route-map {new}
no route-map 192.0.2.1-out permit {old_place}
no route-map 192.0.2.2-out permit {old_place}
no route-map {old}
no bgp large-community-list standard {old} seq 5 permit {old_tag}"
    );
    assert_eq!(lines.join("\n"), expected);
}

/// A setting of one peer is a line of that peer; its remote AS cannot change, so it is made anew.
#[test]
fn a_setting_is_a_line() {
    let routes = |_: &Peer| hosts(3);
    let was = model(&plan(&two_peers(), routes));
    let mut peers = two_peers();
    peers[0].1.connect_time = Some(7);
    let is = model(&plan(&peers, routes));
    assert_eq!(lines(&was, &is), ["router bgp 64512", "neighbor 192.0.2.1 timers connect 7"]);
    assert_eq!(lines(&is, &was), ["router bgp 64512", "neighbor 192.0.2.1 timers connect 10"]);
    peers[0].1.remote_as = RemoteAs::External;
    let anew = model(&plan(&peers, routes));
    assert_eq!(
        lines(&is, &anew),
        [
            "router bgp 64512",
            "no neighbor 192.0.2.1 remote-as 65001",
            "neighbor 192.0.2.1 remote-as external",
            "router bgp 64512",
            "address-family ipv4 unicast",
            "neighbor 192.0.2.1 route-map 192.0.2.1-in in",
            "neighbor 192.0.2.1 route-map 192.0.2.1-out out",
            "neighbor 192.0.2.1 activate",
            "router bgp 64512",
            "neighbor 192.0.2.1 timers connect 7",
        ]
    );
    assert_eq!(lines(&was, &was), [""; 0]);
}

/// Two peers that cannot run on one node: the first by name stands, the later one has the problem.
#[test]
fn peers_that_cannot_coexist() {
    let mut other_as = peer("192.0.2.3", 65001);
    other_as.my_asn = Asn::new(64999).unwrap();
    let mut other_id = peer("192.0.2.4", 65001);
    other_id.router_id = Some("192.0.2.9".parse().unwrap());
    let mut elsewhere = other_as.clone();
    elsewhere.vrf = Some(Word::new("red").unwrap());
    let peers = [
        ("a", peer("192.0.2.1", 65001)),
        ("b", peer("192.0.2.1", 65002)),
        ("c", other_as),
        ("d", other_id),
        ("e", elsewhere),
        ("f", peer("2001:db8::1", 65001)),
    ];
    let plan = plan(&peers, |_| hosts(1));
    let built = at_home(&plan, None);
    let problems: Vec<String> = built.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "BGPPeer b: spec.peerAddress: peer 192.0.2.1 already exists, FRR mode doesn't support duplicate \
             BGPPeers selecting the same node",
            "BGPPeer c: spec.myASN: every BGPPeer of a node and VRF must have the same, and an earlier one has \
             64512",
            "BGPPeer d: spec.routerID: every BGPPeer of a node and VRF must have the same, and an earlier one has \
             none",
        ]
    );
    let Merged { model, problems, .. } = merge(&Sources::only(&built.object));
    assert!(problems.is_empty(), "{problems:?}");
    let sessions: Vec<usize> = model.routers.values().map(|r| r.sessions.len()).collect();
    assert_eq!(sessions, [2, 1]);
    // the session of another family carries nothing
    assert_eq!(model.policies[&Word::new("2001:db8::1").unwrap()].entries.len(), 0);
    let owner = |name: &str| Some(ObjectRef { kind: Kind::BGPPeer, name: name.to_owned() });
    let neighbor = Neighbor::Address("192.0.2.3".parse().unwrap());
    let red = Word::new("red").ok();
    assert_eq!(built.owner(&Subject::Neighbor(red, neighbor)), owner("e"));
    assert_eq!(built.owner(&Subject::Policy(Word::new("192.0.2.1").unwrap())), owner("a"));
    assert_eq!(built.owner(&Subject::Router(None)), None);
}

fn object(bgp: serde_json::Value) -> api::FRRConfiguration {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "metallb-n1"}, "spec": {"bgp": bgp},
    }))
    .unwrap()
}

/// Each fault names its field and costs no more than the part that it is in; the neighbour `10.0.0.1` always stands.
#[test]
fn faults_are_named() {
    let neighbor = |fields: serde_json::Value| {
        let mut neighbor = serde_json::json!({"address": "10.0.0.9", "asn": 65001});
        let fields = fields.as_object().unwrap().clone();
        neighbor.as_object_mut().unwrap().extend(fields);
        neighbor
    };
    let told = |allowed: serde_json::Value| serde_json::json!({"toAdvertise": allowed});
    for (fields, field, left) in [
        (serde_json::json!({"password": "a\nrouter bgp 1"}), "password", 1),
        (serde_json::json!({"password": "a b"}), "password", 1),
        (serde_json::json!({"password": "x".repeat(81)}), "password", 1),
        (serde_json::json!({"address": "", "interface": "eth0\n!"}), "interface", 1),
        (serde_json::json!({"address": "10.0.0.9 shutdown"}), "address", 1),
        (serde_json::json!({"address": "10.0.0.1", "asn": 65002}), "asn", 1),
        (serde_json::json!({"address": ""}), "address", 1),
        (serde_json::json!({"interface": "eth0"}), "address", 1),
        (serde_json::json!({"sourceaddress": "lo\n"}), "sourceaddress", 1),
        (serde_json::json!({"asn": 0}), "asn", 1),
        (serde_json::json!({"dynamicASN": "external"}), "asn", 1),
        (serde_json::json!({"localASN": 64512}), "localASN", 1),
        (serde_json::json!({"localASN": 65002, "asn": 64512}), "localASN", 1),
        (serde_json::json!({"holdTime": "2s", "keepaliveTime": "1s"}), "holdTime", 1),
        (serde_json::json!({"holdTime": "soon", "keepaliveTime": "1s"}), "holdTime", 1),
        (serde_json::json!({"holdTime": "90s"}), "holdTime", 1),
        (serde_json::json!({"keepaliveTime": "9s"}), "keepaliveTime", 1),
        (serde_json::json!({"holdTime": "9s", "keepaliveTime": "10s"}), "keepaliveTime", 1),
        (serde_json::json!({"connectTime": "0s"}), "connectTime", 1),
        (serde_json::json!({"bfdProfile": "nope"}), "bfdProfile", 1),
        (
            serde_json::json!({"toReceive": {"allowed": {"prefixes": [{"prefix": "10.0.0.0/8", "ge": 7}]}}}),
            "toReceive.allowed.prefixes[0]",
            2,
        ),
        (told(serde_json::json!({"nextHop": {"ipv6": "2001:db8::3"}})), "toAdvertise.nextHop.ipv6", 1),
        (told(serde_json::json!({"nextHop": {"ipv4": "10.0.0.3 !"}})), "toAdvertise.nextHop.ipv4", 1),
        (
            told(serde_json::json!({"allowed": {"prefixes": ["10.9.0.0/24", "10.1.0.0/24"]}})),
            "toAdvertise.allowed.prefixes[0]",
            2,
        ),
        (
            told(serde_json::json!({"allowed": {"prefixes": ["10.1.0.0/24\n!"]}})),
            "toAdvertise.allowed.prefixes[0]",
            2,
        ),
        (
            told(serde_json::json!({"allowed": {"prefixes": ["2001:db8::/64"]}})),
            "toAdvertise.allowed.prefixes[0]",
            2,
        ),
        (
            told(serde_json::json!({"withLocalPref": [{"prefixes": ["10.1.0.0/24"], "localPref": 1}]})),
            "toAdvertise.withLocalPref[0].prefixes[0]",
            2,
        ),
        (
            told(serde_json::json!({"allowed": {"mode": "all"}, "withLocalPref": [
                {"prefixes": ["10.1.0.0/24"], "localPref": 1}, {"prefixes": ["10.1.0.0/24"], "localPref": 2},
            ]})),
            "toAdvertise.withLocalPref[1].prefixes[0]",
            2,
        ),
        (
            told(serde_json::json!({"withCommunity": [{"prefixes": [], "community": "1:2 additive"}]})),
            "toAdvertise.withCommunity[0].community",
            2,
        ),
    ] {
        let bgp = serde_json::json!({"routers": [{
            "asn": 64512,
            "prefixes": ["10.1.0.0/24", "2001:db8::/64"],
            "neighbors": [{"address": "10.0.0.1", "asn": 65001}, neighbor(fields.clone())],
        }]});
        let object = object(bgp);
        let Merged { model, problems, .. } = merge(&Sources::only(&object));
        let fields_named: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
        let at = "spec.bgp.routers[0].neighbors[1]";
        let expected = if field.is_empty() { at.to_owned() } else { format!("{at}.{field}") };
        assert_eq!(fields_named, [expected], "{fields}");
        assert_eq!(model.routers[&None].sessions.len(), left, "{fields}");
    }
}

/// The same for what is not a neighbour.
#[test]
fn faults_of_routers_and_profiles() {
    for (bgp, field) in [
        (serde_json::json!({"routers": [{"asn": 0}]}), "spec.bgp.routers[0].asn"),
        (serde_json::json!({"routers": [{"asn": 1, "id": "::1"}]}), "spec.bgp.routers[0].id"),
        (serde_json::json!({"routers": [{"asn": 1, "vrf": "a b"}]}), "spec.bgp.routers[0].vrf"),
        (serde_json::json!({"routers": [{"asn": 1, "prefixes": ["x"]}]}), "spec.bgp.routers[0].prefixes[0]"),
        (
            serde_json::json!({"routers": [{"asn": 1, "imports": [{"vrf": "x"}]}]}),
            "spec.bgp.routers[0].imports[0].vrf",
        ),
        (
            serde_json::json!({"routers": [{"asn": 1, "evpn": {"advertiseSVI": true}}]}),
            "spec.bgp.routers[0].evpn",
        ),
        (serde_json::json!({"routers": [{"asn": 1}, {"asn": 2}]}), "spec.bgp.routers[1].asn"),
        (
            serde_json::json!({"routers": [{"asn": 1, "id": "1.1.1.1"}, {"asn": 1, "id": "1.1.1.2"}]}),
            "spec.bgp.routers[1].id",
        ),
        (serde_json::json!({"bfdProfiles": [{"name": "a\n"}]}), "spec.bgp.bfdProfiles[0].name"),
        (serde_json::json!({"bfdProfiles": [{"name": "a".repeat(64)}]}), "spec.bgp.bfdProfiles[0].name"),
        (serde_json::json!({"bfdProfiles": [{"name": "a"}, {"name": "a"}]}), "spec.bgp.bfdProfiles[1]"),
        (
            serde_json::json!({"bfdProfiles": [{"name": "a", "detectMultiplier": 1}]}),
            "spec.bgp.bfdProfiles[0].detectMultiplier",
        ),
    ] {
        let object = object(bgp.clone());
        let problems = merge(&Sources::only(&object)).problems;
        assert_eq!(problems.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(), [field], "{bgp}");
    }
}

/// Two classes that want one place in an out-map: in every state on the way, each class has an entry whose
/// attributes are its own, as long as a network may be in it.
#[test]
fn classes_that_want_one_place() {
    let id = Word::new("192.0.2.1").unwrap();
    let with = |places: &[(u16, u64)]| {
        let entry =
            |class| Entry { class: Some(ClassId(class)), attributes: Attributes::default(), own_as: None };
        let entries = places.iter().map(|(place, class)| (*place, entry(*class))).collect();
        let classes = places.iter().map(|(_, class)| ClassId(*class)).collect();
        let policies = [(id.clone(), Policy { inbound: true, entries, ..Policy::default() })].into();
        Model { classes, policies, ..Model::default() }
    };
    for (from, to) in [
        (with(&[(7, 70)]), with(&[(7, 60), (8, 70)])),
        (with(&[(7, 60), (8, 70)]), with(&[(7, 70)])),
        (with(&[(7, 60), (8, 70), (9, 80)]), with(&[(7, 70), (8, 80)])),
        (with(&[(7, 70), (8, 80)]), with(&[(7, 80), (8, 70)])),
        (with(&[(1, 10)]), with(&[(1, 20), (2, 30)])),
    ] {
        let mut map: BTreeMap<u16, ClassId> = from.policies[&id]
            .entries
            .iter()
            .filter_map(|(place, entry)| Some((*place, entry.class?)))
            .collect();
        let wanted: BTreeMap<u16, ClassId> = to.policies[&id]
            .entries
            .iter()
            .filter_map(|(place, entry)| Some((*place, entry.class?)))
            .collect();
        let both: BTreeSet<ClassId> = from.classes.intersection(&to.classes).copied().collect();
        for step in delta(&from, &to) {
            let mut place = None;
            for line in &step.lines {
                let words: Vec<&str> = line.text.split(' ').collect();
                match words.as_slice() {
                    ["route-map", "192.0.2.1-out", "permit", at] => place = at.parse().ok(),
                    ["no", "route-map", "192.0.2.1-out", "permit", at] => {
                        assert!(map.remove(&at.parse().unwrap()).is_some(), "{line:?}");
                    }
                    ["match", "large-community", class] => {
                        assert_eq!(map.insert(place.unwrap(), class.parse().unwrap()), None, "{line:?}");
                    }
                    _ => {}
                }
            }
            for class in &both {
                assert!(map.values().any(|c| c == class), "{class} has no entry after {step:?}");
            }
        }
        assert_eq!(map, wanted);
    }
}

/// What is found half done, or is not ours, is told apart.
#[test]
fn what_is_not_ours_is_handed_back() {
    let found = read(
        "frr version 10.3
frr defaults traditional
hostname n1
log stdout
!
ip route 192.0.2.0/24 Null0
route-map 10.0.0.1-in permit 10
 match ip address prefix-list users
exit
!
route-map 10.0.0.1-in deny 20
exit
!
route-map 10.0.0.1-out deny 2
exit
!
route-map 10.0.0.1-out permit 7
 match large-community FERROLB-000000000000000a
exit
!
route-map 10.0.0.1-out deny 65535
exit
!
route-map FERROLB-000000000000000a permit 10
 set large-community 4294967295:0:11
exit
!
router bgp 64512
 bgp router-id 10.0.0.7
 no bgp ebgp-requires-policy
 neighbor 10.0.0.1 remote-as 65001
 neighbor 10.0.0.1 bfd
 neighbor 10.0.0.1 allowas-in
 neighbor 10.0.0.2 peer-group x
 !
 address-family ipv4 unicast
  network 10.1.0.0/24
  network 10.2.0.1/32 route-map FERROLB-000000000000000a
  neighbor 10.0.0.1 activate
 exit-address-family
 !
 address-family l2vpn evpn
  advertise-all-vni
 exit-address-family
exit
!
end
",
    );
    let router = &found.model.routers[&None];
    assert!(!router.prepared);
    assert_eq!(router.networks.len(), 1);
    let session = router.sessions.first_key_value().unwrap().1;
    // without its route-maps an activation is not ours, and is made good
    assert!(session.families.is_empty() && session.bfd.is_none());
    let policy = found.model.policies.first_key_value().unwrap().1;
    assert_eq!([2, 7].map(|place| policy.entries[&place].class), [None, None]);
    assert!(policy.inbound && found.model.classes.is_empty());
    assert_eq!(found.model.log, Some(LogLevel::Debugging));
    assert_eq!(
        found.foreign,
        [
            "ip route 192.0.2.0/24 Null0",
            " neighbor 10.0.0.1 allowas-in",
            " neighbor 10.0.0.2 peer-group x",
            "  network 10.1.0.0/24",
            " address-family l2vpn evpn",
            "  advertise-all-vni",
            "route-map 10.0.0.1-in permit 10",
            " match ip address prefix-list users",
            "route-map FERROLB-000000000000000a permit 10",
            " set large-community 4294967295:0:11",
            " neighbor 10.0.0.1 bfd",
            "  neighbor 10.0.0.1 activate",
        ]
    );
}

/// A new peer whose name comes first takes nobody's place.
#[test]
fn a_peer_that_was_there_stays() {
    let mut stranger = peer("192.0.2.9", 65001);
    stranger.my_asn = Asn::new(64999).unwrap();
    let before = plan(&[("tor", peer("192.0.2.1", 65001))], |_| hosts(1));
    let last = at_home(&before, None);
    for newcomer in [stranger, peer("192.0.2.1", 65002)] {
        let after = plan(&[("aaa", newcomer), ("tor", peer("192.0.2.1", 65001))], |_| hosts(1));
        let built = at_home(&after, Some(&last));
        assert_eq!(built.object.spec.bgp, last.object.spec.bgp);
        assert!(built.problems.iter().all(|problem| problem.object.name == "aaa"), "{:?}", built.problems);
        assert!(!built.problems.is_empty());
    }
}

/// A session with oneself is none, and is told of the peer before FRR refuses each of its lines. In another VRF the
/// address can be somebody else's.
#[test]
fn a_node_is_not_its_own_peer() {
    let mut elsewhere = peer("192.0.2.100", 65001);
    elsewhere.vrf = Some(Word::new("red").unwrap());
    let peers = [("a", peer("192.0.2.100", 65001)), ("b", peer("192.0.2.1", 65001)), ("c", elsewhere)];
    let built = at_home(&plan(&peers, |_| hosts(1)), None);
    let problems: Vec<String> = built.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "BGPPeer a: spec.peerAddress: 192.0.2.100 is the node itself: nodeSelectors can leave this node out"
        ]
    );
    let Merged { model, problems, .. } = merge(&Sources::only(&built.object));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(model.routers.values().map(|r| r.sessions.len()).sum::<usize>(), 2);
}

/// Input: what `config` would not let through, built all the same, and a user's object.
/// Output: what is wrong with our own object is told of the objects that users wrote.
#[test]
fn our_own_object_is_nobodys_fault() {
    let mut unnumbered = peer("192.0.2.1", 65001);
    unnumbered.neighbor = Neighbor::Interface(Word::new("eth0").unwrap());
    unnumbered.source = Some("192.0.2.9".parse().unwrap());
    unnumbered.vrf = Some(Word::new("red").unwrap());
    let mut long = peer("192.0.2.2", 65001);
    long.bfd = Some("x".repeat(64).as_str().into());
    let plan = plan(&[("a", peer("192.0.2.3", 65001)), ("b", unnumbered), ("c", long)], |_| hosts(1));
    let profile = crate::config::BfdProfile {
        name: Word::new(&"x".repeat(64)).unwrap(),
        receive_interval: None,
        transmit_interval: None,
        detect_multiplier: None,
        echo_interval: None,
        echo_mode: false,
        passive_mode: false,
        minimum_ttl: None,
    };
    let bfd = [("x".repeat(64).as_str().into(), Arc::new(profile))].into();
    let config = Config { bfd, ..Config::default() };
    let built = build(&Home { node: &"n1".into(), addresses: &[], router_id: None }, &plan, &config, None);
    let mut mine = object(serde_json::json!({"routers": [{"asn": 0}]}));
    mine.metadata.name = Some("mine".to_owned());
    let users = [("mine".to_owned(), mine)].into();
    let mut problems = merge(&Sources { users: &users, ..Sources::only(&built.object) }).problems;
    let own = ObjectRef { kind: Kind::FRRConfiguration, name: "metallb-n1".into() };
    assert_eq!(problems.of(&own).len(), 3);
    problems.add(own.clone(), "spec.bgp.routers[0].id", "different router ids");
    problems.add(own.clone(), "spec.bgp.routers[0].neighbors[1].toAdvertise.withLocalPref[0]", "odd");
    problems.add(own, "spec.raw", "odd");
    let told: Vec<(String, String)> =
        built.blame(problems).iter().map(|p| (p.object.to_string(), p.field.clone())).collect();
    let x = format!("BFDProfile {}", "x".repeat(64));
    for (object, field) in [
        ("BGPPeer b", "spec.sourceAddress"),
        ("BGPPeer c", "spec.bfdProfile"),
        (&x, "metadata.name"),
        ("BGPPeer a", "spec.routerID"),
        ("BGPPeer c", "spec.routerID"),
        ("BGPPeer a", ""),
        ("FRRConfiguration metallb-n1", "spec.raw"),
        ("FRRConfiguration mine", "spec.bgp.routers[0].asn"),
    ] {
        assert!(told.contains(&(object.to_owned(), field.to_owned())), "{object} {field}: {told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
}
