//! The rules of answering and announcing, as tables, and the state as a property.

use super::*;
use crate::l2::origin;
use crate::l2::wire::{Fault, multicast_mac, parse, solicited_node};
use crate::spent::spent;
use proptest::prelude::*;
use std::{net::Ipv4Addr, time::Duration};

const ETH0: IfIndex = IfIndex(2);
const ETH1: IfIndex = IfIndex(3);
const MAC0: Mac = Mac([2, 0, 0, 0, 0, 0xa0]);
const MAC1: Mac = Mac([2, 0, 0, 0, 0, 0xa1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 0xc1]);
const VIP: &str = "192.0.2.7";
const VIP6: &str = "2001:db8::7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn link(name: &str, mac: Mac) -> Link {
    Link { name: name.into(), mac: Some(mac), up: true, enslaved: false, broadcast: true, carrier_changes: 1 }
}

fn links() -> Links {
    [(ETH0, link("eth0", MAC0)), (ETH1, link("eth1", MAC1))].into()
}

fn named(names: &[&str]) -> Interfaces {
    Interfaces::Named(names.iter().map(|name| Arc::from(*name)).collect())
}

fn wanted(entries: &[(&str, Interfaces)]) -> BTreeMap<IpAddr, Interfaces> {
    entries.iter().map(|(text, interfaces)| (ip(text), interfaces.clone())).collect()
}

fn both() -> BTreeMap<IpAddr, Interfaces> {
    wanted(&[(VIP, named(&["eth0"])), (VIP6, named(&["eth0"]))])
}

fn responder() -> Responder {
    let mut responder = Responder::default();
    responder.set(origin(), &both(), &links());
    responder
}

fn arp(operation: Operation, sender_ip: &str, target_ip: &str) -> wire::Frame {
    let arp = Arp {
        operation,
        sender_mac: CLIENT,
        sender_ip: sender_ip.parse().unwrap(),
        target_mac: Mac::ZERO,
        target_ip: target_ip.parse().unwrap(),
    };
    wire::Frame { destination: Mac::BROADCAST, source: CLIENT, message: Message::Arp(arp) }
}

fn solicit(source: &str, destination: &str, target: &str, link_layer: Option<Mac>) -> wire::Frame {
    let solicitation =
        Solicitation { source: v6(source), destination: v6(destination), target: v6(target), link_layer };
    let mac = if v6(destination).is_multicast() { multicast_mac(v6(destination)) } else { MAC0 };
    wire::Frame { destination: mac, source: CLIENT, message: Message::Solicitation(solicitation) }
}

fn advert(target: &str, link_layer: Option<Mac>) -> wire::Frame {
    let message = Advertisement {
        source: v6("fe80::c1"),
        destination: ALL_NODES,
        target: v6(target),
        router: false,
        solicited: false,
        overrides: true,
        link_layer,
    };
    let destination = multicast_mac(ALL_NODES);
    wire::Frame { destination, source: CLIENT, message: Message::Advertisement(message) }
}

fn hear(link: IfIndex, frame: wire::Frame) -> Result<wire::Frame, Reason> {
    match responder().heard(link, &wire::emit(&frame)) {
        Verdict::Reply(reply) => {
            assert_eq!(reply.link, link);
            Ok(parse(&reply.bytes).unwrap())
        }
        Verdict::Drop(reason) => Err(reason),
    }
}

#[test]
fn arp_requests() {
    let reply = |target_ip: &str| wire::Frame {
        destination: CLIENT,
        source: MAC0,
        message: Message::Arp(Arp {
            operation: Operation::Reply,
            sender_mac: MAC0,
            sender_ip: VIP.parse().unwrap(),
            target_mac: CLIENT,
            target_ip: target_ip.parse().unwrap(),
        }),
    };
    let ask = |from: &str, to: &str| arp(Operation::Request, from, to);
    let to = |destination: Mac, frame: wire::Frame| wire::Frame { destination, ..frame };
    let from = |source: Mac, frame: wire::Frame| wire::Frame { source, ..frame };
    let claim = Reason::ForeignClaim { ip: ip(VIP), by: CLIENT };
    for (what, link, frame, answer) in [
        ("broadcast", ETH0, ask("192.0.2.9", VIP), Ok(reply("192.0.2.9"))),
        ("unicast", ETH0, to(MAC0, ask("192.0.2.9", VIP)), Ok(reply("192.0.2.9"))),
        ("probe", ETH0, ask("0.0.0.0", VIP), Ok(reply("0.0.0.0"))),
        ("asker off the subnet", ETH0, ask("10.9.9.9", VIP), Ok(reply("10.9.9.9"))),
        ("to another station", ETH0, to(MAC1, ask("192.0.2.9", VIP)), Err(Reason::EthernetDestination)),
        ("another address", ETH0, ask("192.0.2.9", "192.0.2.8"), Err(Reason::AnnounceIp)),
        ("another interface", ETH1, ask("192.0.2.9", VIP), Err(Reason::NotMatchInterface)),
        ("unknown interface", IfIndex(9), ask("192.0.2.9", VIP), Err(Reason::NotMatchInterface)),
        ("our own", ETH0, from(MAC1, ask("192.0.2.9", VIP)), Err(Reason::Own)),
        ("a reply", ETH0, arp(Operation::Reply, "192.0.2.8", "192.0.2.9"), Err(Reason::ArpReply)),
        ("claimed by reply", ETH0, arp(Operation::Reply, VIP, "192.0.2.9"), Err(claim)),
        ("claimed by request", ETH0, ask(VIP, VIP), Err(claim)),
        ("used as a sender", ETH0, ask(VIP, "192.0.2.1"), Err(claim)),
        ("claimed where we do not announce", ETH1, ask(VIP, VIP), Err(Reason::NotMatchInterface)),
    ] {
        assert_eq!(hear(link, frame), answer, "{what}");
    }
    assert_eq!(responder().heard(ETH0, &[]), Verdict::Drop(Reason::Malformed(Fault::Short)));
}

#[test]
fn neighbour_solicitations() {
    let group = "ff02::1:ff00:7";
    let answer = |to: Mac, destination: &str, solicited| wire::Frame {
        destination: to,
        source: MAC0,
        message: Message::Advertisement(Advertisement {
            source: v6(VIP6),
            destination: v6(destination),
            target: v6(VIP6),
            router: false,
            solicited,
            overrides: true,
            link_layer: Some(MAC0),
        }),
    };
    let other = Mac([2, 0, 0, 0, 0, 0xc2]);
    let client = "2001:db8::c1";
    let to = |destination: Mac, frame: wire::Frame| wire::Frame { destination, ..frame };
    for (what, link, frame, expected) in [
        ("multicast", ETH0, solicit(client, group, VIP6, Some(CLIENT)), Ok(answer(CLIENT, client, true))),
        ("multicast, bare", ETH0, solicit(client, group, VIP6, None), Ok(answer(CLIENT, client, true))),
        ("unicast", ETH0, solicit(client, VIP6, VIP6, Some(CLIENT)), Ok(answer(CLIENT, client, true))),
        ("unicast, bare", ETH0, solicit(client, VIP6, VIP6, None), Ok(answer(CLIENT, client, true))),
        (
            "the option counts",
            ETH0,
            solicit(client, group, VIP6, Some(other)),
            Ok(answer(other, client, true)),
        ),
        (
            "duplicate detection",
            ETH0,
            solicit("::", group, VIP6, None),
            Ok(answer(Mac([0x33, 0x33, 0, 0, 0, 1]), "ff02::1", false)),
        ),
        ("another address", ETH0, solicit(client, group, "2001:db9::7", None), Err(Reason::AnnounceIp)),
        ("another interface", ETH1, solicit(client, group, VIP6, None), Err(Reason::NotMatchInterface)),
        (
            "to another station",
            ETH0,
            to(MAC1, solicit(client, VIP6, VIP6, None)),
            Err(Reason::EthernetDestination),
        ),
        (
            "our own",
            ETH0,
            wire::Frame { source: MAC1, ..solicit(client, group, VIP6, None) },
            Err(Reason::Own),
        ),
        (
            "asked from ours",
            ETH0,
            solicit(VIP6, group, VIP6, Some(other)),
            Err(Reason::ForeignClaim { ip: ip(VIP6), by: other }),
        ),
        (
            "asked from ours, bare",
            ETH0,
            solicit(VIP6, "ff02::1:ff00:9", "2001:db8::9", None),
            Err(Reason::ForeignClaim { ip: ip(VIP6), by: CLIENT }),
        ),
        ("claimed", ETH0, advert(VIP6, Some(other)), Err(Reason::ForeignClaim { ip: ip(VIP6), by: other })),
        ("claimed, bare", ETH0, advert(VIP6, None), Err(Reason::ForeignClaim { ip: ip(VIP6), by: CLIENT })),
        ("our own advertisement", ETH0, advert(VIP6, Some(MAC1)), Err(Reason::Own)),
        ("another's advertisement", ETH0, advert("2001:db8::8", None), Err(Reason::MessageType)),
        ("claimed where we do not announce", ETH1, advert(VIP6, None), Err(Reason::MessageType)),
    ] {
        assert_eq!(hear(link, frame), expected, "{what}");
    }
}

#[test]
fn announcements() {
    let now = origin();
    let mut responder = responder();
    let frames: Vec<(IfIndex, wire::Frame)> = responder
        .due(now + Duration::from_millis(1))
        .iter()
        .map(|f| (f.link, parse(&f.bytes).unwrap()))
        .collect();
    let vip: Ipv4Addr = VIP.parse().unwrap();
    let garp = |operation, target_mac| {
        let arp = Arp { operation, sender_mac: MAC0, sender_ip: vip, target_mac, target_ip: vip };
        wire::Frame { destination: Mac::BROADCAST, source: MAC0, message: Message::Arp(arp) }
    };
    let unsolicited = wire::Frame {
        destination: Mac([0x33, 0x33, 0, 0, 0, 1]),
        source: MAC0,
        message: Message::Advertisement(Advertisement {
            source: v6(VIP6),
            destination: ALL_NODES,
            target: v6(VIP6),
            router: false,
            solicited: false,
            overrides: true,
            link_layer: Some(MAC0),
        }),
    };
    let expected = [
        (ETH0, garp(Operation::Request, Mac::ZERO)),
        (ETH0, garp(Operation::Reply, MAC0)),
        (ETH0, unsolicited),
    ];
    assert_eq!(frames, expected);
}

/// The interfaces that `VIP` is announced on between `from` and `to` milliseconds after `start`.
fn announced(responder: &mut Responder, start: Instant, from: u64, to: u64) -> BTreeSet<IfIndex> {
    (from..=to)
        .step_by(100)
        .flat_map(|ms| responder.due(start + Duration::from_millis(ms)))
        .map(|f| f.link)
        .collect()
}

#[test]
fn a_burst_starts_with_what_is_new_and_only_that() {
    let (start, mut responder) = (origin(), Responder::default());
    let at = |ms| start + Duration::from_millis(ms);
    let vip = wanted(&[(VIP, Interfaces::All)]);
    let only0: Links = [(ETH0, link("eth0", MAC0))].into();
    responder.set(at(0), &vip, &only0);
    assert_eq!(announced(&mut responder, start, 0, 20_000), [ETH0].into());
    let quiet = responder.next_deadline();
    responder.set(at(20_100), &vip, &only0);
    assert_eq!(responder.next_deadline(), quiet, "what is unchanged starts nothing");

    responder.set(at(20_100), &vip, &links());
    assert_eq!(announced(&mut responder, start, 20_100, 20_500), [ETH1].into(), "a new interface");

    let down: Links = [(ETH0, Link { up: false, ..link("eth0", MAC0) }), (ETH1, link("eth1", MAC1))].into();
    announced(&mut responder, start, 20_600, 40_000);
    responder.set(at(40_100), &vip, &down);
    assert_eq!(announced(&mut responder, start, 40_100, 41_000), [].into(), "no carrier");
    let ask = wire::emit(&arp(Operation::Request, "192.0.2.9", VIP));
    assert_eq!(responder.heard(ETH0, &ask), Verdict::Drop(Reason::NotMatchInterface));
    responder.set(at(41_100), &vip, &links());
    assert_eq!(announced(&mut responder, start, 41_100, 41_500), [ETH0].into(), "the carrier is back");

    let other = Mac([2, 0, 0, 0, 0, 0xb0]);
    announced(&mut responder, start, 41_600, 60_000);
    let changed: Links = [(ETH0, link("eth0", other)), (ETH1, link("eth1", MAC1))].into();
    responder.set(at(60_100), &vip, &changed);
    let frames = responder.due(at(60_100));
    assert!(!frames.is_empty() && frames.iter().all(|f| f.link == ETH0), "another hardware address");
    assert!(frames.iter().all(|f| parse(&f.bytes).unwrap().source == other));

    announced(&mut responder, start, 60_200, 80_000);
    let eth1 = Link { carrier_changes: 3, ..link("eth1", MAC1) };
    let flapped: Links = [(ETH0, link("eth0", other)), (ETH1, eth1)].into();
    responder.set(at(80_100), &vip, &flapped);
    assert_eq!(
        announced(&mut responder, start, 80_100, 80_500),
        [ETH1].into(),
        "a flap too short to be seen"
    );

    responder.set(at(80_600), &BTreeMap::new(), &flapped);
    assert_eq!((responder.next_deadline(), responder.due(at(90_000))), (None, vec![]), "withdrawn");
}

#[test]
fn ports_and_wires_without_neighbours_stay_silent() {
    for odd in [
        Link { enslaved: true, ..link("eth0", MAC0) },
        Link { broadcast: false, ..link("eth0", MAC0) },
        Link { mac: None, ..link("eth0", MAC0) },
    ] {
        let mut responder = Responder::default();
        responder.set(origin(), &both(), &[(ETH0, odd)].into());
        assert_eq!((responder.next_deadline(), responder.groups().count()), (None, 0));
    }
}

#[test]
fn groups_are_held_while_an_address_needs_them() {
    let (now, mut responder) = (origin(), Responder::default());
    let group = solicited_node(v6(VIP6));
    let twin = "2001:db8:1::7";
    let mut held = |entries: &[(&str, Interfaces)], links: &Links| {
        responder.set(now, &wanted(entries), links);
        responder.groups().collect::<Vec<_>>()
    };
    let all = Interfaces::All;
    let only0: Links = [(ETH0, link("eth0", MAC0))].into();
    assert_eq!(held(&[(VIP6, all.clone()), (VIP, all.clone())], &only0), [(ETH0, group)]);
    assert_eq!(held(&[(VIP6, all.clone())], &links()), [(ETH0, group), (ETH1, group)], "a later interface");
    assert_eq!(
        held(&[(VIP6, all.clone()), (twin, named(&["eth0"]))], &links()),
        [(ETH0, group), (ETH1, group)]
    );
    assert_eq!(held(&[(twin, named(&["eth0"]))], &links()), [(ETH0, group)], "shared by two, left by one");
    assert_eq!(held(&[], &links()), []);
}

fn interfaces() -> impl Strategy<Value = Interfaces> {
    let names = ["eth0", "eth1", "eth2"];
    prop_oneof![
        Just(Interfaces::All),
        proptest::sample::subsequence(names.to_vec(), 0..=3).prop_map(|names| named(&names)),
    ]
}

fn step() -> impl Strategy<Value = (BTreeMap<IpAddr, Interfaces>, Links)> {
    let address = prop_oneof![
        (0..6_u8).prop_map(|n| IpAddr::from([192, 0, 2, n])),
        (0..6_u16).prop_map(|n| IpAddr::from([0x2001, 0xdb8, n % 2, 0, 0, 0, 0, n])),
    ];
    let one = (2..5_u32, any::<bool>(), 0..3_u8).prop_map(|(index, up, mac)| {
        let mac = Mac([2, 0, 0, 0, mac, u8::try_from(index).unwrap()]);
        (IfIndex(index), Link { up, ..link(&format!("eth{}", index - 2), mac) })
    });
    (
        proptest::collection::btree_map(address, interfaces(), 0..8),
        proptest::collection::vec(one, 0..4).prop_map(|links| links.into_iter().collect()),
    )
}

proptest! {
    /// What it answers, where, and which groups it holds depends on the last `set` only.
    #[test]
    fn the_way_does_not_matter(steps in proptest::collection::vec(step(), 1..6)) {
        let (now, mut travelled, mut fresh) = (origin(), Responder::default(), Responder::default());
        for (wanted, links) in &steps {
            travelled.set(now, wanted, links);
        }
        let (wanted, links) = steps.last().unwrap();
        fresh.set(now, wanted, links);
        let places = |responder: &Responder| responder.schedule.places().collect::<Vec<_>>();
        prop_assert_eq!(places(&travelled), places(&fresh));
        prop_assert_eq!(&travelled.groups, &fresh.groups);
        prop_assert_eq!(&travelled.ports, &fresh.ports);
        prop_assert_eq!(&travelled.own, &fresh.own);
        // and against the rule, spelt out
        let mut expected = Vec::new();
        for (ip, interfaces) in wanted {
            expected.extend(links.iter().filter(|(_, l)| l.can_announce() && interfaces.has(&l.name)).map(|(i, _)| (*ip, *i)));
        }
        prop_assert_eq!(places(&fresh), expected);
    }

    #[test]
    fn no_frame_panics(octets in proptest::collection::vec(any::<u8>(), 0..128)) {
        prop_assert!(matches!(responder().heard(ETH0, &octets), Verdict::Drop(_)));
    }
}

/// A bound so wide that only another order of growth breaks it, on any machine and without optimisation.
#[test]
fn one_change_among_thousands_is_cheap() {
    let (start, mut responder) = (origin(), Responder::default());
    let mut wanted: BTreeMap<IpAddr, Interfaces> =
        (0..20_000_u32).map(|n| (IpAddr::from((0x0a00_0000 + n).to_be_bytes()), named(&["eth0"]))).collect();
    responder.set(start, &wanted, &links());
    let ((), took) = spent(|| {
        for n in 0..20_u8 {
            wanted.insert(IpAddr::from([192, 0, 2, n]), Interfaces::All);
            responder.set(start, &wanted, &links());
        }
    });
    let each = took / 20;
    assert!(each < Duration::from_millis(100), "{each:?} for one change among 20,000");
}

/// A thousand that come at once are announced in portions: whoever asks meanwhile does not wait for all of them.
#[test]
fn a_thousand_are_announced_at_once_and_in_portions() {
    let (now, mut responder) = (origin(), Responder::default());
    let all = (0..1000_u32).map(|n| (IpAddr::from((0x0a00_0000 + n).to_be_bytes()), Interfaces::All));
    responder.set(now, &all.collect(), &[(ETH0, link("eth0", MAC0))].into());
    let mut said = BTreeSet::new();
    while responder.next_deadline().is_some_and(|at| at <= now) {
        let frames = responder.due(now);
        assert!((1..=65).contains(&frames.len()), "{} frames", frames.len());
        said.extend(frames.iter().map(|frame| frame.ip));
    }
    assert_eq!(said.len(), 1000);
}
