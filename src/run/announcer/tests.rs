use super::*;
use crate::{
    io::{
        members::{View, Word},
        observe::Role,
    },
    net::Links,
    world::{Class, Ingress, Member, Members, Node, Service},
};
use serde_json::json;

/// A speaker of node `n` that has seen one peer.
fn announcer(frr: bool) -> Announcer {
    let me = Viewpoint {
        node: "n".into(),
        class: Class::default(),
        frr,
        ignore_exclude_label: false,
        drain_on_cordon: false,
        leave: crate::plan::Leave::Staying,
    };
    let mut announcer =
        Announcer::new(me, frr::LogLevel::Informational, Vec::new(), Observed::new(Role::Speaker));
    let peer = json!({"metadata": {"name": "tor"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"}});
    announcer.observe(Change::Peer("tor".into(), serde_json::from_value(peer).unwrap()));
    announcer.observe(Change::Node("n".into(), Some(Node::default())));
    for kind in Role::Speaker.kinds() {
        assert!(announcer.decide().is_none(), "no decision before every store has synced");
        announcer.observe(Change::Synced(*kind));
    }
    announcer
}

#[test]
fn a_peer_becomes_a_session() {
    let mut announcer = announcer(true);
    let model = announcer.decide().unwrap().frr.unwrap();
    assert_eq!(model.routers.values().map(|router| router.sessions.len()).collect::<Vec<_>>(), [1]);
    assert!(announcer.problems().is_empty());
}

/// Peers, addresses and attributes go into one object; nothing is driven, and a Secret goes by its name.
#[test]
fn a_separate_frr_k8s_gets_an_object() {
    let elsewhere = frr::Elsewhere { secrets: "metallb-system".into(), by_reference: true };
    let mut announcer = announcer(true).with_frr_k8s(elsewhere, true);
    let peer = json!({"metadata": {"name": "far", "annotations": {"ferrolb.io/ttl-security-hops": "2"}},
        "spec": {"myASN": 64512, "peerASN": 64514, "peerAddress": "10.0.0.2", "sourceAddress": "10.0.0.9",
            "localASN": 64999, "passwordSecret": {"name": "s"}}});
    announcer.observe(Change::Peer("far".into(), serde_json::from_value(peer).unwrap()));
    let ad = json!({"metadata": {"name": "ad", "annotations": {"ferrolb.io/med": "7"}}, "spec": {}});
    announcer.observe(Change::BgpAdvertisement("ad".into(), serde_json::from_value(ad).unwrap()));
    announcer.observe(Change::Extras("bgpextras".into(), Some("!".into())));
    let desired = announcer.decide().unwrap();
    assert!(desired.frr.is_none());
    let object = desired.object.unwrap();
    assert_eq!(object.metadata.name.as_deref(), Some("metallb-n"));
    let spec = serde_json::to_value(&object.spec).unwrap();
    assert_eq!(spec["nodeSelector"], json!({"matchLabels": {"kubernetes.io/hostname": "n"}}));
    let neighbor = |asn: u32, address: &str, more: serde_json::Value| {
        let mut neighbor =
            json!({"asn": asn, "address": address, "port": 179, "addressFamilies": ["unicast"]});
        let members = more.as_object().cloned().unwrap();
        neighbor.as_object_mut().unwrap().extend(members);
        neighbor
    };
    let far = json!({"sourceaddress": "10.0.0.9", "localASN": 64999,
        "passwordSecret": {"name": "s", "namespace": "metallb-system"}});
    let neighbors = [neighbor(64513, "10.0.0.1", json!({})), neighbor(64514, "10.0.0.2", far)];
    assert_eq!(spec["bgp"], json!({"routers": [{"asn": 64512, "neighbors": neighbors}]}));
    let problems: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    let none = "has no effect: frr-k8s has no such setting";
    assert_eq!(
        problems,
        [
            format!("BGPAdvertisement ad: metadata.annotations[ferrolb.io/med]: {none}"),
            format!("BGPPeer far: metadata.annotations[ferrolb.io/ttl-security-hops]: {none}"),
            "ConfigMap bgpextras: data.extras: has no effect: frr-k8s drives FRR, and reads raw text of \
             FRRConfigurations (spec.raw)"
                .to_owned(),
        ]
    );
}

/// One whose Secret it cannot see gets the password itself.
#[test]
fn a_separate_frr_k8s_of_another_namespace_gets_the_password() {
    let elsewhere = frr::Elsewhere { secrets: "metallb-system".into(), by_reference: false };
    let mut announcer = announcer(true).with_frr_k8s(elsewhere, false);
    let peer = json!({"metadata": {"name": "tor"}, "spec": {"myASN": 64512, "peerASN": 64513,
        "peerAddress": "10.0.0.1", "passwordSecret": {"name": "s"}}});
    announcer.observe(Change::Peer("tor".into(), serde_json::from_value(peer).unwrap()));
    let password = crate::names::Password::new("hunter2").unwrap();
    announcer.observe(Change::Secret("s".into(), Some(crate::world::Secret::Password(password))));
    let object = announcer.decide().unwrap().object.unwrap();
    let neighbor = &object.spec.bgp.routers[0].neighbors[0];
    assert_eq!((neighbor.password.as_str(), neighbor.password_secret.name.as_str()), ("hunter2", ""));
}

/// A user's object counts on the nodes that it selects; what is wrong with it is told of it, and our peer stays. A
/// line of its that FRR refuses is its fault too.
#[test]
fn an_frrconfiguration_counts_where_it_is_for() {
    let mut announcer = announcer(true);
    let sessions = |announcer: &mut Announcer| -> usize {
        let model = announcer.decide().unwrap().frr.unwrap();
        model.routers.values().map(|router| router.sessions.len()).sum()
    };
    assert_eq!(sessions(&mut announcer), 1);
    let user = |asn: u32| {
        let routers = json!([{"asn": 64512, "neighbors": [{"address": "10.0.0.2", "asn": asn}]}]);
        let selector = json!({"matchLabels": {"role": "edge"}});
        let spec = json!({"bgp": {"routers": routers}, "nodeSelector": selector});
        let object = json!({"metadata": {"name": "mine"}, "spec": spec});
        Change::FrrConfiguration("mine".into(), serde_json::from_value(object).unwrap())
    };
    announcer.observe(user(65001));
    assert_eq!(sessions(&mut announcer), 1);
    let labels: BTreeMap<String, String> = [("role".to_owned(), "edge".to_owned())].into();
    let facts = Node { labels: labels.into(), ..Node::default() };
    announcer.observe(Change::Node("n".into(), Some(facts)));
    assert_eq!(sessions(&mut announcer), 2);
    assert!(announcer.problems().is_empty());
    let neighbor = crate::config::Neighbor::Address("10.0.0.2".parse().unwrap());
    announcer.refused(&Subject::Neighbor(None, neighbor), "a line", "no");
    announcer.applied();
    let all: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    let field = "spec.bgp.routers[0].neighbors[0]";
    assert_eq!(all, [format!("FRRConfiguration mine: {field}: FRR refuses the line \"a line\": no")]);
    announcer.applied();
    // the last version that was good stays
    announcer.observe(user(0));
    assert_eq!(sessions(&mut announcer), 2);
    let all: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("has no ASN or DynamicASN specified"), "{all:?}");
}

#[test]
fn without_frr_a_peer_is_a_problem_and_nothing_is_built() {
    let mut announcer = announcer(false);
    assert!(announcer.decide().unwrap().frr.is_none());
    let problems: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.contains("BGPPeer tor") && problem.contains("runs without FRR"), "{problem}");
}

#[test]
fn a_speaker_of_a_node_that_is_not_there_says_so_and_goes_on() {
    let mut announcer = announcer(true);
    announcer.observe(Change::Node("n".into(), None));
    assert!(announcer.decide().unwrap().frr.is_some());
    let problems: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    assert!(
        problems.iter().any(|problem| problem.starts_with("Node n: there is no such Node")),
        "{problems:?}"
    );
}

fn service(ips: &[&str]) -> Change {
    let service = Service {
        load_balancer: true,
        uid: "u".into(),
        families: vec![crate::net::Family::V4],
        ingress: ips.iter().map(|ip| Ingress::Ip((*ip).into())).collect(),
        ..Service::default()
    };
    Change::Service(ServiceKey::new("ns", "s"), Some(Box::new(service)))
}

fn link(name: &str) -> crate::net::Link {
    let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    crate::net::Link {
        name: name.into(),
        mac,
        up: true,
        enslaved: false,
        broadcast: true,
        carrier_changes: 0,
    }
}

/// A speaker of node `n` with one Service on `eth1`.
fn on_eth1() -> Announcer {
    by_l2(announcer(false))
}

/// The same with a Service that is announced on eth1 and eth9.
fn by_l2(mut announcer: Announcer) -> Announcer {
    let pool = json!({"metadata": {"name": "p"}, "spec": {"addresses": ["192.0.2.0/24"]}});
    announcer.observe(Change::Pool("p".into(), serde_json::from_value(pool).unwrap()));
    let ad = json!({"metadata": {"name": "l2"}, "spec": {"interfaces": ["eth1", "eth9"]}});
    announcer.observe(Change::L2Advertisement("l2".into(), serde_json::from_value(ad).unwrap()));
    announcer.observe(service(&["192.0.2.7"]));
    let key = ServiceKey::new("ns", "s");
    let slice = crate::world::Slice { usable: true, ..Default::default() };
    announcer.observe(Change::Slice("ns".into(), "s-1".into(), Some((key, slice))));
    announcer
}

fn links(names: &[&str]) -> Links {
    let numbers = (1..).map(crate::net::IfIndex);
    numbers.zip(names).map(|(number, name)| (number, link(name))).collect()
}

/// The interface goes: an event that others look for. It comes back: announced again, and its state says where.
#[test]
fn an_interface_that_is_missing_is_told() {
    let mut announcer = on_eth1();
    announcer.links(&links(&["eth0", "eth1"]));
    announcer.decide().unwrap();
    assert!(announcer.news().is_empty(), "the first pass is no news");
    let key = ServiceKey::new("ns", "s");
    let interfaces = |announcer: &Announcer| announcer.layer2().get(&key).map(|at| at.interfaces.clone());
    assert_eq!(interfaces(&announcer), Some(vec!["eth1".into()]), "eth9 is not there");
    announcer.links(&links(&["eth0", "eth1"]));
    assert!(announcer.decide().is_none(), "nothing has changed");

    announcer.links(&links(&["eth0"]));
    announcer.decide().unwrap();
    let [event] = &announcer.news()[..] else { panic!("not one event") };
    assert_eq!((event.level, event.reason), (Level::Warning, "announceFailed"));
    assert_eq!(
        event.message,
        "cannot announce \"192.0.2.7\" from node \"n\" with protocol \"layer2\": the node can announce on none of \
         the interfaces that the advertisements are for (eth1, eth9)"
    );
    assert_eq!((interfaces(&announcer), announcer.announced().count()), (None, 0));

    announcer.links(&links(&["eth0", "eth9"]));
    announcer.decide().unwrap();
    let [event] = &announcer.news()[..] else { panic!("not one event") };
    assert_eq!((event.level, event.reason), (Level::Normal, "nodeAssigned"));
    assert_eq!(event.message, "announcing from node \"n\" with protocol \"layer2\"");
    assert_eq!(interfaces(&announcer), Some(vec!["eth9".into()]));
}

/// Where it is announced on all interfaces, none is named; where on some, those that are there, in order, and those of
/// its first address.
#[test]
fn a_state_names_the_interfaces_that_were_asked_for() {
    let mut announcer = on_eth1();
    announcer.observe(service(&["192.0.2.7", "192.0.2.8"]));
    announcer.links(&links(&["eth9", "eth0", "eth1"]));
    let mut named = |spec: serde_json::Value| {
        let ad = json!({"metadata": {"name": "l2"}, "spec": spec});
        announcer.observe(Change::L2Advertisement("l2".into(), serde_json::from_value(ad).unwrap()));
        announcer.decide().unwrap();
        let states = announcer.layer2().into_values().map(|at| at.interfaces.clone()).collect::<Vec<_>>();
        states.iter().flatten().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(named(json!({})), [""; 0]);
    assert_eq!(named(json!({"interfaces": ["eth9", "eth1", "eth7"]})), ["eth1", "eth9"]);
    assert_eq!(named(json!({"interfaces": []})), [""; 0]);
}

/// Whoever starts without the interface says so; the same again is no news.
#[test]
fn an_interface_that_is_missing_from_the_start_is_told() {
    let mut announcer = on_eth1();
    announcer.links(&links(&["eth0"]));
    announcer.decide().unwrap();
    let [event] = &announcer.news()[..] else { panic!("not one event") };
    assert_eq!((event.level, event.reason), (Level::Warning, "announceFailed"));
    assert!(event.message.starts_with("cannot announce \"192.0.2.7\" from node \"n\""), "{}", event.message);
    assert!(announcer.news().is_empty());
    announcer.observe(Change::Node("other".into(), Some(Node::default())));
    announcer.decide().unwrap();
    assert!(announcer.news().is_empty());
}

/// Both families have an event of their own when the interface is missing, and none twice.
#[test]
fn every_address_has_its_event() {
    let mut announcer = on_eth1();
    announcer.observe(service(&["192.0.2.7", "192.0.2.8"]));
    announcer.links(&links(&["eth1"]));
    announcer.decide().unwrap();
    announcer.links(&Links::new());
    announcer.decide().unwrap();
    let messages: Vec<String> = announcer.news().into_iter().map(|event| event.message).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("192.0.2.7") && messages[1].contains("192.0.2.8"), "{messages:?}");
    announcer.observe(Change::Node("other".into(), Some(Node::default())));
    announcer.decide().unwrap();
    assert!(announcer.news().is_empty());
}

/// Another node has the address: it is shown there alone. A stranger has it too: it is shown with that. Each is told
/// once.
#[test]
fn claims_are_told_once_and_show() {
    let mut announcer = on_eth1();
    announcer.links(&links(&["eth1"]));
    announcer.decide().unwrap();
    let (ip, by): (IpAddr, Mac) = ("192.0.2.7".parse().unwrap(), "02:00:00:00:00:ee".parse().unwrap());
    let shown = |announcer: &Announcer| {
        let conflicts = announcer.layer2().into_values().map(|at| at.conflicts.clone()).collect::<Vec<_>>();
        (announcer.announced().count(), conflicts)
    };
    assert_eq!(shown(&announcer), (1, vec![vec![]]));
    for (node, conceded, message, is_shown) in [
        (
            None,
            false,
            "\"192.0.2.7\" of node \"n\" is claimed by another station, no known node of this cluster \
             (02:00:00:00:00:ee): node \"n\" goes on answering for it",
            (1, vec![vec![(ip, by)]]),
        ),
        (
            Some("m".into()),
            true,
            "node \"n\" leaves \"192.0.2.7\" to node \"m\" (02:00:00:00:00:ee), which announces it too and comes \
             first",
            (0, vec![]),
        ),
    ] {
        let claims = Arc::new([(ip, crate::l2::Claim { by, node, conceded })].into());
        let [event] = &announcer.claimed(Arc::clone(&claims))[..] else { panic!("not one event") };
        assert_eq!((event.level, event.reason), (Level::Warning, "addressConflict"));
        assert_eq!(event.message, message);
        assert_eq!(shown(&announcer), is_shown);
        assert!(announcer.claimed(claims).is_empty());
    }
    assert!(announcer.claimed(Arc::default()).is_empty());
    assert_eq!(shown(&announcer), (1, vec![vec![]]));
}

/// Where a node is stays known when it is away, as long as there is such a Node.
#[test]
fn stations_outlive_their_speakers() {
    let mut announcer = on_eth1();
    announcer.observe(Change::Node("m".into(), Some(Node::default())));
    announcer.decide().unwrap();
    let mac: Mac = "02:00:00:00:00:ee".parse().unwrap();
    let interfaces = Some([("eth0".into(), mac)].into());
    let alive: Members = [("m".into(), Arc::new(Member { interfaces, ..Member::default() }))].into();
    let stations =
        |rivals: Rivals| rivals.stations.into_values().map(|node| node.to_string()).collect::<Vec<_>>();
    assert_eq!(stations(announcer.rivals(&alive)), ["m"]);
    assert_eq!(stations(announcer.rivals(&Members::new())), ["m"]);
    announcer.observe(Change::Node("m".into(), None));
    assert!(stations(announcer.rivals(&Members::new())).is_empty());
}

/// The address of a node that is cut off is answered for in its place; one that said that it goes has no place.
#[test]
fn who_goes_of_its_own_accord_is_not_cut_off() {
    let mut announcer = on_eth1();
    announcer.links(&links(&["eth1"]));
    announcer.observe(Change::Node("m".into(), Some(Node::default())));
    let ip = |last| format!("192.0.2.{last}");
    let digest = |node: &str, ip: &str| plan::digest(&node.into(), ip.parse().unwrap());
    let ip = (1..200).map(ip).find(|ip| digest("m", ip) < digest("n", ip)).unwrap();
    announcer.observe(service(&[&ip]));
    let mut owners = |leaving: Option<bool>| {
        let member = |leaving| Arc::new(Member { leaving, ..Member::default() });
        let mut members: Members = [("n".into(), member(false))].into();
        members.extend(leaving.map(|leaving| ("m".into(), member(leaving))));
        announcer.members(Arc::new(View { settled: true, members, ..View::default() }));
        let desired = announcer.decide().unwrap();
        (
            desired.l2.len(),
            desired.rivals.owners.values().flatten().map(ToString::to_string).collect::<Vec<_>>(),
        )
    };
    let nobody = Vec::<String>::new();
    assert_eq!(owners(Some(false)), (0, nobody.clone()), "it is there");
    assert_eq!(owners(None), (1, vec!["m".to_owned()]), "it is cut off");
    assert_eq!(owners(Some(true)), (1, nobody.clone()), "it goes");
    assert_eq!(owners(None), (1, nobody), "it went");
    assert_eq!(owners(Some(false)).0, 0);
    assert_eq!(owners(None).1, ["m"], "it was back");

    // where Leases say who is there, it knows that it has nothing; and this one, when it may have been given up
    for (word, lapsed) in [(Word::Renewed, false), (Word::Lapsed, true)] {
        let members = [("n".into(), Arc::default())].into();
        announcer.members(Arc::new(View { settled: true, members, word }));
        let desired = announcer.decide().unwrap();
        assert_eq!((desired.l2.len(), desired.rivals.owners.len()), (1, 0), "{word:?}");
        assert_eq!(desired.rivals.lapsed, lapsed);
    }
}

/// Routers are told before the others are known, and may never be; links are not, and nothing is said of what is there.
#[test]
fn routers_need_not_wait_for_the_others() {
    let mut announcer = by_l2(announcer(true));
    announcer.links(&links(&["eth1"]));
    let ad = json!({"metadata": {"name": "ad"}, "spec": {}});
    announcer.observe(Change::BgpAdvertisement("ad".into(), serde_json::from_value(ad).unwrap()));
    let view = |settled| {
        let members = [("n".into(), Arc::default())].into();
        Arc::new(View { settled, members, ..View::default() })
    };
    announcer.members(view(false));
    let desired = announcer.decide().unwrap();
    let told = |desired: &Desired| {
        let routers = desired.frr.as_ref().unwrap().routers.values();
        routers.map(|router| router.networks.len()).sum::<usize>()
    };
    assert_eq!((told(&desired), desired.l2.len()), (1, 0));
    assert!(!announcer.decided());
    assert_eq!(announcer.fact().stage, crate::io::members::Stage::Starting, "nobody may count on it");
    assert!(announcer.news().is_empty());

    announcer.members(view(true));
    let desired = announcer.decide().unwrap();
    assert_eq!((told(&desired), desired.l2.len()), (1, 1));
    assert!(announcer.decided());
    assert_eq!(announcer.fact().stage, crate::io::members::Stage::Ready);
    assert!(announcer.news().is_empty(), "it was there before the restart");
}
