use super::*;
use crate::{
    config::{self, Input},
    frr::show::{Bfd, Details},
    names::ServiceKey,
};

/// Peers `a` and `b`, told these prefixes.
fn plan(routes: &[(&str, &[&str])]) -> Arc<Plan> {
    let mut input = Input::default();
    for (i, (name, _)) in routes.iter().enumerate() {
        let peer = serde_json::json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": name},
            "spec": {"myASN": 1, "peerASN": 2, "peerAddress": format!("10.0.0.{i}")}});
        input.peers.insert((*name).to_owned(), serde_json::from_value(peer).unwrap());
    }
    let (config, problems) = config::parse(&input, &Default::default());
    assert!(problems.is_empty(), "{problems:?}");
    let session = |(name, prefixes): &(&str, &[&str])| {
        let peer = config.peers.get(*name).unwrap().clone();
        let routes = prefixes
            .iter()
            .map(|prefix| (prefix.parse().unwrap(), Arc::default()))
            .collect::<crate::plan::Routes>();
        (PeerName::from(*name), crate::plan::Session { peer, routes: Arc::new(routes) })
    };
    Arc::new(Plan { bgp: routes.iter().map(session).collect(), ..Plan::default() })
}

fn at(number: usize) -> Peering {
    Peering {
        vrf: None,
        neighbor: crate::config::Neighbor::Address(format!("10.0.0.{number}").parse().unwrap()),
    }
}

fn announced(all: &[(&str, Protocol, &str)]) -> Arc<[Announced]> {
    let one = |(name, protocol, ip): &(&str, Protocol, &str)| Announced {
        service: ServiceKey::new("ns", name),
        protocol: *protocol,
        ip: ip.parse().unwrap(),
    };
    all.iter().map(one).collect()
}

fn shown(services: Option<Services>) -> Vec<String> {
    let line = |(key, peers): (&ServiceKey, &Arc<[PeerName]>)| {
        format!("{key} {}", peers.iter().map(PeerName::as_str).collect::<Vec<_>>().join(","))
    };
    services.unwrap().iter().map(line).collect()
}

#[test]
fn a_service_shows_the_peers_that_were_told_and_no_others() {
    let plan = plan(&[
        ("a", &["10.9.0.1/32", "10.9.1.0/24", "fd00::1/128"]),
        ("b", &["10.9.0.1/32", "fd00::1/128"]),
    ]);
    let announced = announced(&[
        ("alone", Protocol::Layer2, "10.9.0.1"),
        ("both", Protocol::Bgp, "10.9.0.1"),
        ("both", Protocol::Bgp, "fd00::1"),
        ("in-a-net", Protocol::Bgp, "10.9.1.7"),
        ("six", Protocol::Bgp, "fd00::1"),
    ]);
    let means = Meaning { plan: plan.clone(), announced, ..Meaning::default() };
    assert_eq!(
        meant(1, &plan).prefixes,
        [
            ((at(0), Family::V4), 2),
            ((at(0), Family::V6), 1),
            ((at(1), Family::V4), 1),
            ((at(1), Family::V6), 1)
        ]
        .into()
    );
    let mut told = BTreeMap::new();
    assert!(shown(credited(&means, &told)).is_empty(), "nobody was told anything");
    told.insert((at(0), Family::V4), Told::All);
    assert_eq!(shown(credited(&means, &told)), ["ns/both a", "ns/in-a-net a"]);
    told.insert((at(1), Family::V4), Told::These(Arc::new([].into())));
    told.insert((at(1), Family::V6), Told::All);
    assert_eq!(shown(credited(&means, &told)), ["ns/both a,b", "ns/in-a-net a", "ns/six b"]);
    let some = ["10.9.1.0/24".parse().unwrap(), "10.99.0.0/16".parse().unwrap()];
    told.insert((at(0), Family::V4), Told::These(Arc::new(some.into())));
    assert_eq!(shown(credited(&means, &told)), ["ns/both b", "ns/in-a-net a", "ns/six b"]);
    told.insert((at(0), Family::V6), Told::Unknown);
    assert!(credited(&means, &told).is_none(), "not said before it is known");
}

#[test]
fn what_happens_to_a_session_is_told_once_with_the_reason() {
    let session = |state: &str, ups| Summary { state: state.into(), ups, ..Summary::default() };
    let seen = |all: &[(usize, Summary)]| Seen {
        looked: true,
        answers: true,
        sessions: all.iter().map(|(number, session)| (at(*number), session.clone())).collect(),
        details: [(at(0), Details { reason: "Peer closed the session".into(), ..Details::default() })].into(),
        ..Seen::default()
    };
    let down = || News::Down(at(0), "Peer closed the session".into());
    let none = seen(&[]);
    let active = seen(&[(0, session("Active", 1))]);
    let up = seen(&[(0, session("Established", 2))]);
    let again = seen(&[(0, session("Established", 3))]);
    assert!(news(&none, &active).is_empty() && news(&up, &up).is_empty());
    assert_eq!(news(&active, &up), [News::Up(at(0))]);
    assert_eq!(news(&up, &active), [down()]);
    assert_eq!(news(&up, &again), [down(), News::Up(at(0))], "too short to be seen");
    assert_eq!(news(&up, &none), [News::Gone(at(0))]);
    let mut silent = seen(&[(0, session("Idle", 2))]);
    silent.answers = false;
    assert_eq!(news(&up, &silent), [News::Down(at(0), "FRR does not answer".into())]);
    let bfd = |state: &str| Seen {
        bfd: [(at(0), Bfd { state: state.into(), diagnostic: "neighbor signaled session down".into() })]
            .into(),
        ..Seen::default()
    };
    assert_eq!(news(&bfd("down"), &bfd("up")), [News::BfdUp(at(0))]);
    assert_eq!(
        news(&bfd("up"), &bfd("down")),
        [News::BfdDown(at(0), "neighbor signaled session down".into())]
    );
}

#[test]
fn no_password_is_shown_and_no_end_of_a_long_text() {
    assert_eq!(
        masked("router bgp 1\n neighbor x password s3cret word\n"),
        "router bgp 1\n neighbor x password <retracted>\n"
    );
    let long = masked(&"network 10.0.0.1/32 route-map x\n".repeat(50_000));
    assert!(long.len() <= CONFIG_MAX + 20 && long.ends_with("! and more\n"));
}

#[test]
fn a_session_that_goes_to_and_fro_is_not_news() {
    let seen = |state: &str| Seen {
        sessions: [(at(0), Summary { state: state.into(), ..Summary::default() })].into(),
        ..Seen::default()
    };
    let state = |said: Option<&Sessions>, now: &str, exactly| {
        let all = sessions(&seen(now), said, exactly);
        (all[&at(0)].bgp.clone(), all)
    };
    let (first, said) = state(None, "Connect", false);
    assert_eq!(first, "Connect");
    assert_eq!(state(Some(&said), "Active", false).0, "Connect");
    assert_eq!(state(Some(&said), "Active", true).0, "Active");
    let (up, said) = state(Some(&said), "Established", false);
    assert_eq!(up, "Established");
    assert_eq!(state(Some(&said), "Idle", false).0, "Idle");
}
