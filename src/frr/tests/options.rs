//! Options of sessions, attributes of routes, the router id, the log level: which lines they are.

use super::*;
use crate::frr::show::Peering;

/// A password from a Secret that changed, graceful restart, TTL security: lines of that peer and of no other.
#[test]
fn a_changed_option_is_a_line_of_its_own_peer() {
    let routes = |_: &Peer| hosts(3);
    let with = |change: &dyn Fn(&mut Peer)| {
        let mut peers = two_peers();
        change(&mut peers[0].1);
        model(&plan(&peers, routes))
    };
    let password = |text: &str| with(&|peer| peer.password = Some(Password::new(text).unwrap()));
    let plain = with(&|_| {});
    let one = |line: &str| ["router bgp 64512".to_owned(), format!("neighbor 192.0.2.1 {line}")];
    assert_eq!(lines(&password("old"), &password("new")), one("password new"));
    assert_eq!(lines(&plain, &with(&|peer| peer.graceful_restart = true)), one("graceful-restart"));
    assert_eq!(
        lines(&with(&|peer| peer.graceful_restart = true), &plain),
        ["router bgp 64512", "no neighbor 192.0.2.1 graceful-restart"]
    );
    let hops = |hops| with(&|peer| peer.ttl_security = Some(hops));
    assert_eq!(lines(&plain, &hops(1)), one("ttl-security hops 1"));
    assert_eq!(lines(&hops(1), &hops(2)), one("ttl-security hops 2"));
    assert_eq!(lines(&hops(2), &plain)[1], "no neighbor 192.0.2.1 ttl-security hops 2");
}

/// The same with BFD everywhere.
fn watched(mut model: Model) -> Model {
    for session in model.routers.values_mut().flat_map(|router| router.sessions.values_mut()) {
        session.bfd = Some(Word::new("fast").unwrap());
    }
    model
}

/// BFD looks where the lines before its own say, and begins anew when those change: FRR 10 lets a session rest whose
/// BFD it has begun elsewhere.
#[test]
fn bfd_begins_where_the_neighbour_is() {
    let with = |change: &dyn Fn(&mut Peer)| {
        let mut peers = two_peers();
        change(&mut peers[0].1);
        watched(model(&plan(&peers, |_| hosts(3))))
    };
    let far = |peer: &mut Peer| peer.ebgp_multihop = true;
    let line = |text: &str| format!("neighbor 192.0.2.1 {text}");
    let first = lines(&Model::default(), &with(&far));
    let place = |text: &str| first.iter().position(|have| *have == line(text)).unwrap();
    assert!(place("ebgp-multihop") < place("bfd") && place("bfd") < place("bfd profile fast"));
    let anew = ["no neighbor 192.0.2.1 bfd profile fast", "no neighbor 192.0.2.1 bfd"];
    let back = [line("bfd"), line("bfd profile fast")];
    for (from, to, between) in [
        (with(&|_| {}), with(&far), line("ebgp-multihop")),
        (with(&|_| {}), with(&|peer| peer.ttl_security = Some(2)), line("ttl-security hops 2")),
    ] {
        let lines = lines(&from, &to);
        assert_eq!(lines[1..3], anew);
        assert_eq!(lines[3], between);
        assert_eq!(lines[4..6], back);
    }
    let near = lines(&with(&far), &with(&|_| {}));
    assert_eq!(near[1..3], anew);
    assert_eq!(near[3], "no neighbor 192.0.2.1 ebgp-multihop");
    assert_eq!(near[4..6], back);
}

/// A session that rests is begun between the end of its BFD and the beginning of it; nobody else hears of it.
#[test]
fn a_session_that_rests_is_woken() {
    let mut peers = two_peers();
    for (_, peer) in &mut peers {
        peer.connect_time = Some(7);
    }
    let model = watched(model(&plan(&peers, |_| hosts(3))));
    let neighbor = model.routers[&None].sessions.keys().next().unwrap().clone();
    let steps = wake(&model, &[Peering { vrf: None, neighbor: neighbor.clone() }].into());
    let texts: Vec<_> = steps.iter().flat_map(|step| &step.lines).map(|line| line.text.as_str()).collect();
    let line = |text: &str| format!("neighbor {} {text}", name(&neighbor));
    let (profile, bfd) = (line("bfd profile fast"), line("bfd"));
    assert_eq!(texts, [format!("no {profile}"), format!("no {bfd}"), line("timers connect 7"), bfd, profile]);
}

/// `debugging` is more than a level: each daemon is told what to tell, and to be quiet again after it.
#[test]
fn debugging_turns_the_daemons_own_debugging_on() {
    let at = |log| Model { log: Some(log), ..Model::default() };
    let (info, debugging) = (at(LogLevel::Informational), at(LogLevel::Debugging));
    let on = lines(&info, &debugging);
    assert_eq!(on.iter().filter(|line| line.starts_with("debug ")).count(), 8);
    let off: Vec<String> = on.iter().filter(|l| l.starts_with("debug ")).map(|l| format!("no {l}")).collect();
    assert_eq!(
        lines(&debugging, &info).into_iter().filter(|line| line.starts_with("no debug ")).collect::<Vec<_>>(),
        off
    );
    let conf = render(&debugging).unwrap();
    assert!(conf.contains("log timestamp precision 3\ndebug zebra events\n"), "{conf}");
    assert_eq!(read(&conf), Found { model: debugging, foreign: Vec::new() });
}

/// MED and prepend of a route are its class's; another AS that the neighbour knows us by is another line, not
/// another class.
#[test]
fn med_and_prepend_are_set_where_the_class_leaves() {
    let with = |local_asn: Option<u32>| {
        let mut peers = two_peers();
        peers[0].1.local_asn = local_asn.and_then(Asn::new);
        model(&plan(&peers, |_| {
            let attributes = Attributes { med: Some(7), prepend: Some(2), ..Attributes::default() };
            [("10.0.0.1/32".parse().unwrap(), Arc::new(attributes))].into()
        }))
    };
    let (was, is) = (with(None), with(Some(65123)));
    assert_eq!(was.classes, is.classes);
    let set = |model: &Model, peer: &str| {
        let policy = &model.policies[&Word::new(peer).unwrap()];
        policy.entries.values().flat_map(line::entry).skip(2).collect::<Vec<_>>()
    };
    assert_eq!(set(&was, "192.0.2.1"), ["set metric 7", "set as-path prepend 64512 64512"]);
    assert_eq!(set(&is, "192.0.2.1"), ["set metric 7", "set as-path prepend 65123 65123"]);
    // this one is of our own AS, and would take ours in the path for a loop
    assert_eq!(set(&is, "192.0.2.2"), ["set metric 7"]);
    assert!(lines(&was, &is).iter().all(|line| !line.contains("network") && !line.contains("192.0.2.2")));
}

/// FRR 10 keeps the id of a default instance that goes while there are others, and gives it to the next one.
#[test]
fn an_instance_takes_its_id_with_it() {
    let mut had = model(&plan(&two_peers(), |_| hosts(0)));
    had.routers.values_mut().for_each(|router| router.id = "192.0.2.250".parse().ok());
    let lines = lines(&had, &Model::default());
    let at = |text: &str| lines.iter().position(|line| line == text).unwrap();
    assert!(at("no bgp router-id") < at("no router bgp 64512"), "{lines:#?}");
}

/// The peer's own, else the annotation's, else one of the name on a node without IPv4; a bad annotation is told.
#[test]
fn who_says_the_router_id() {
    let id = |peer_id: Option<&str>, addresses: &[&str], annotation: Option<&str>| {
        let mut peer = peer("2001:db8::1", 65001);
        peer.router_id = peer_id.map(|id| id.parse().unwrap());
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let home = Home { node: &"dummyhostname".into(), addresses: &addresses, router_id: annotation };
        let built = build(&home, &plan(&[("a", peer)], |_| hosts(0)), &Config::default(), None);
        let problems: Vec<String> = built.problems.iter().map(ToString::to_string).collect();
        (built.object.spec.bgp.routers[0].id.clone(), problems.join("\n"))
    };
    let good = |text: &str| (text.to_owned(), String::new());
    assert_eq!(id(Some("192.0.2.7"), &["fd00::1"], Some("192.0.2.8")), good("192.0.2.7"));
    assert_eq!(id(None, &["192.0.2.1"], Some("192.0.2.8")), good("192.0.2.8"));
    assert_eq!(id(None, &["192.0.2.1", "fd00::1"], None), good(""));
    assert_eq!(id(None, &["fd00::1"], None), good("167.62.253.30"));
    let what = "Node dummyhostname: metadata.annotations[ferrolb.io/router-id]: \"x\" is not a router ID: write it \
                like 192.0.2.1";
    assert_eq!(id(None, &["192.0.2.1"], Some("x")), (String::new(), what.to_owned()));
}
