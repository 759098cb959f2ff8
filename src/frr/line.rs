//! How FRR spells things: each option of a session, a profile or an entry as one line, and the line that undoes it.
//!
//! The only place of these spellings: the file and the delta are made of the same lines. Options are keyed by the
//! order in which they are sent.

use super::{
    BfdProfile, ClassId, Entry, Gate, GracefulRestart, ListName, Policy, Range, Router, Session, afi, name,
};
use crate::{
    config::{Community, Neighbor, RemoteAs},
    names::Word,
    net::Family,
};
use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

/// `router bgp …`.
pub(super) fn router(router: &Router, vrf: Option<&Word>) -> String {
    match vrf {
        None => format!("router bgp {}", router.asn),
        Some(vrf) => format!("router bgp {} vrf {vrf}", router.asn),
    }
}

/// What every one of our routers says first.
pub(super) const ROUTER: [&str; 5] = [
    // our maps say what goes in and out (RFC 8212 asks for no more)
    "no bgp ebgp-requires-policy",
    // an address of a Service is in no routing table
    "no bgp network import-check",
    "no bgp default ipv4-unicast",
    "bgp graceful-restart preserve-fw-state",
    // how long the first peer of a kind is kept waiting for others that want the same routes: a second without this
    "coalesce-time 50",
];

/// Marks every route as going, and is left out of what a file says when nobody leaves.
pub(super) const LEAVING: &str = "bgp graceful-shutdown";
/// What each daemon tells when everything is to be told, as MetalLB has it.
pub(super) const DEBUG_BGP: [&str; 5] = [
    "debug bgp neighbor-events",
    "debug bgp updates",
    "debug bgp keepalives",
    "debug bgp nht",
    "debug bgp zebra",
];
/// Likewise.
pub(super) const DEBUG_BFD: [&str; 3] = ["debug bfd network", "debug bfd peer", "debug bfd zebra"];
/// Likewise; only from the file, since zebra is not driven.
pub(super) const DEBUG_ZEBRA: [&str; 5] =
    ["debug zebra events", "debug zebra nht", "debug zebra kernel", "debug zebra rib", "debug zebra nexthop"];

/// An option of a session, in the order of their lines. BFD comes after all that says where it looks: FRR 10 lets a
/// session rest whose BFD it had begun with the next hop before it heard of more hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    LocalAs,
    Password,
    Port,
    Multihop,
    TtlSecurity,
    SkipConnectedCheck,
    Source,
    Bfd,
    BfdProfile,
    Timers,
    ConnectTime,
    GracefulRestart,
}

/// The line that makes the neighbour.
pub(super) fn remote_as(neighbor: &Neighbor, remote_as: RemoteAs) -> String {
    let name = name(neighbor);
    let interface = match neighbor {
        Neighbor::Address(_) => "",
        Neighbor::Interface(_) => "interface ",
    };
    match remote_as {
        RemoteAs::Number(asn) => format!("neighbor {name} {interface}remote-as {asn}"),
        RemoteAs::Internal => format!("neighbor {name} {interface}remote-as internal"),
        RemoteAs::External => format!("neighbor {name} {interface}remote-as external"),
    }
}

impl Setting {
    /// Those that say where BFD looks for the neighbour.
    pub(super) const AIM: [Self; 3] = [Self::Multihop, Self::TtlSecurity, Self::Source];
}

/// The options that `session` has.
pub(super) fn options(neighbor: &Neighbor, session: &Session) -> BTreeMap<Setting, String> {
    let name = name(neighbor);
    let Session { local_as, bfd, password, port, source, timers, connect_time, .. } = session;
    let restart = match session.graceful_restart {
        GracefulRestart::Off => Some("graceful-restart-disable"),
        GracefulRestart::Aware => None,
        GracefulRestart::On => Some("graceful-restart"),
    };
    let some = |option, text: Option<String>| Some((option, format!("neighbor {name} {}", text?)));
    let flag = |option, set: bool, text: &str| some(option, set.then(|| text.to_owned()));
    let options = [
        some(Setting::LocalAs, local_as.map(|asn| format!("local-as {asn} no-prepend replace-as"))),
        some(Setting::Password, password.as_ref().map(|p| format!("password {}", p.as_str()))),
        some(Setting::Port, port.map(|port| format!("port {port}"))),
        flag(Setting::Multihop, session.multihop, "ebgp-multihop"),
        some(Setting::TtlSecurity, session.ttl_security.map(|hops| format!("ttl-security hops {hops}"))),
        flag(Setting::SkipConnectedCheck, session.skip_connected_check, "disable-connected-check"),
        some(Setting::Source, source.as_ref().map(|source| format!("update-source {source}"))),
        flag(Setting::Bfd, bfd.is_some(), "bfd"),
        some(Setting::BfdProfile, bfd.as_ref().map(|profile| format!("bfd profile {profile}"))),
        some(Setting::Timers, timers.map(|t| format!("timers {} {}", t.keepalive, t.hold))),
        some(Setting::ConnectTime, connect_time.map(|s| format!("timers connect {s}"))),
        flag(Setting::GracefulRestart, restart.is_some(), restart.unwrap_or_default()),
    ];
    options.into_iter().flatten().collect()
}

/// The lines of one family's neighbour.
pub(super) fn activation(neighbor: &Neighbor, policy: &Word) -> [String; 3] {
    let name = name(neighbor);
    [
        format!("neighbor {name} route-map {policy}-in in"),
        format!("neighbor {name} route-map {policy}-out out"),
        format!("neighbor {name} activate"),
    ]
}

/// `address-family …`.
pub(super) fn family(family: Family) -> String {
    format!("address-family {} unicast", afi(family))
}

/// The lines of an entry of an out-map: the match comes first, so that the entry never lets everything out, and the
/// tag is always replaced.
pub(super) fn entry(entry: &Entry) -> Vec<String> {
    let mut lines = Vec::with_capacity(4);
    lines.extend(entry.class.map(|class| format!("match large-community {class}")));
    let (mut standard, mut large) = (String::new(), String::new());
    for community in &entry.attributes.communities {
        // writing to a String cannot fail
        let _ = match community {
            Community::Standard(a, b) => write!(standard, " {a}:{b}"),
            Community::Large(a, b, c) => write!(large, " {a}:{b}:{c}"),
        };
    }
    if large.is_empty() {
        large.push_str(" none");
    }
    lines.push(format!("set large-community{large}"));
    if !standard.is_empty() {
        lines.push(format!("set community{standard}"));
    }
    lines.extend(entry.attributes.local_pref.map(|p| format!("set local-preference {p}")));
    lines.extend(entry.attributes.med.map(|med| format!("set metric {med}")));
    if let (Some(times), Some(asn)) = (entry.attributes.prepend, entry.own_as) {
        lines.push(format!("set as-path prepend{}", format!(" {asn}").repeat(times.into())));
    }
    lines.extend(entry.attributes.next_hop.map(|hop| match hop {
        IpAddr::V4(hop) => format!("set ip next-hop {hop}"),
        IpAddr::V6(hop) => format!("set ipv6 next-hop global {hop}"),
    }));
    lines
}

/// The list of all our tags: a neighbour that sends one back does not choose what others are told.
pub(super) const GUARD: &str = "bgp large-community-list expanded FERROLB-TAGS seq 5 permit ^4294967295:";

/// What keeps FRR from shortcuts through an in-map.
pub(super) fn plain(policy: &Word) -> String {
    format!("no route-map {policy}-in optimization")
}

/// The entry that a map without shortcuts begins with, and its line: it decides nothing. FRR 10 passes over the first
/// entry of such a map, whatever that is.
pub(super) fn first(policy: &Word) -> (String, &'static str) {
    (format!("route-map {policy}-in permit {}", Policy::FIRST), "on-match next")
}

/// The lines of an entry of an in-map, the match first, so that it never matches everything.
pub(super) fn gate(gate: &Gate) -> Vec<String> {
    let mut lines = Vec::with_capacity(2);
    let ip = ip(gate.list.family);
    lines.push(format!("match {ip} address prefix-list {}", gate.list.name));
    if gate.permit {
        lines.push("set large-comm-list FERROLB-TAGS delete".to_owned());
    }
    lines
}

/// The head of an entry of an in-map.
pub(super) fn gate_head(policy: &Word, place: u16, gate: &Gate) -> String {
    format!("route-map {policy}-in {} {place}", if gate.permit { "permit" } else { "deny" })
}

/// A line of a prefix-list.
pub(super) fn range(list: &ListName, place: u32, range: &Range) -> String {
    format!("{} prefix-list {} seq {place} permit {range}", ip(list.family), list.name)
}

/// A family as lists and matches call it.
const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ipv6",
    }
}

/// The import of a VRF.
pub(super) fn import(vrf: Option<&Word>) -> String {
    format!("import vrf {}", vrf.map_or("default", Word::as_str))
}

/// A BFD profile in which everything is FRR's default, spelt out: FRR 8 cannot take a number back, only set it.
const PROFILE: [(&str, u32); 6] = [
    ("detect-multiplier", 3),
    ("transmit-interval", 300),
    ("receive-interval", 300),
    ("minimum-ttl", 254),
    ("echo transmit-interval", 50),
    ("echo receive-interval", 50),
];

/// The line that gives an option of a profile its default again.
pub(super) fn default(option: &str) -> String {
    match PROFILE.iter().find(|(name, _)| *name == option) {
        Some((name, value)) => format!("{name} {value}"),
        None => format!("no {option}"),
    }
}

/// The options of a BFD profile that are not FRR's defaults.
pub(super) fn profile(profile: &BfdProfile) -> BTreeMap<&'static str, String> {
    let number = |name: &'static str, value: Option<u32>| Some((name, format!("{name} {}", value?)));
    let flag = |name: &'static str, set: bool| set.then(|| (name, name.to_owned()));
    let options = [
        number("detect-multiplier", profile.detect_multiplier),
        number("transmit-interval", profile.transmit_interval),
        number("receive-interval", profile.receive_interval),
        number("minimum-ttl", profile.minimum_ttl),
        flag("passive-mode", profile.passive_mode),
        flag("echo-mode", profile.echo_mode),
        number("echo transmit-interval", profile.echo_transmit_interval),
        number("echo receive-interval", profile.echo_receive_interval),
    ];
    options.into_iter().flatten().collect()
}

/// A class: its community list, and its route-map.
pub(super) fn class(class: ClassId) -> (String, [String; 2]) {
    let tag = class.tag();
    let list = format!("bgp large-community-list standard {class} seq 5 permit {tag}");
    (list, [format!("route-map {class} permit 10"), format!("set large-community {tag}")])
}
