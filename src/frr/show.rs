//! What FRR says about itself, read: sessions, BFD, counters, and what each peer was told.
//!
//! Reads what bgpd and bfdd of FRR 8 to 10 print. What is not there counts as nothing, and what is not known is passed
//! over: a neighbour with a field too many, or without an address, must not hide the others.

use crate::{config::Neighbor, names::Word, net::Family};
use ipnet::IpNet;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A neighbour of one of our BGP instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peering {
    /// The VRF; `None` is the default one.
    pub vrf: Option<Word>,
    /// Who is there.
    pub neighbor: Neighbor,
}

impl Peering {
    /// The VRF as FRR calls it.
    #[must_use]
    pub fn vrf_name(&self) -> &str {
        self.vrf.as_ref().map_or(DEFAULT, Word::as_str)
    }
}

impl fmt::Display for Peering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::name(&self.neighbor))
    }
}

/// What FRR calls the VRF that is none.
pub const DEFAULT: &str = "default";

/// A session, in short: what is asked for many times a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// `Established`, `Active`, and so on.
    pub state: String,
    /// Prefixes that the peer was told, where the session carries the family.
    pub sent: BTreeMap<Family, u64>,
    /// The version of the table that they are from: while it is the same, so is the table.
    pub versions: BTreeMap<Family, u64>,
    /// How many times it has come up, so that one that went and came back between two looks is seen.
    pub ups: u64,
}

impl Summary {
    /// The state in which routes flow.
    pub const ESTABLISHED: &str = "Established";

    /// Whether routes flow.
    #[must_use]
    pub fn up(&self) -> bool {
        self.state == Self::ESTABLISHED
    }
}

/// Counters of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// OPEN messages sent.
    pub opens_sent: u64,
    /// OPEN messages received.
    pub opens_received: u64,
    /// NOTIFICATION messages sent.
    pub notifications_sent: u64,
    /// UPDATE messages sent.
    pub updates_sent: u64,
    /// UPDATE messages received.
    pub updates_received: u64,
    /// KEEPALIVE messages sent.
    pub keepalives_sent: u64,
    /// KEEPALIVE messages received.
    pub keepalives_received: u64,
    /// ROUTE-REFRESH messages sent.
    pub refreshes_sent: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// On its way, or waiting for something else than BFD.
    #[default]
    Begun,
    /// Down while BFD is, and nothing but BFD will begin it again: FRR 10 runs no timer for it then.
    Resting,
    /// Routes flow.
    Established,
}

/// A session at length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Why it went down the last time, in FRR's words; empty where it never was up.
    pub reason: String,
    /// What bgpd knows of its BFD session: `Up`, `Down`; `None` without one.
    pub bfd: Option<String>,
    /// How far it is.
    pub progress: Progress,
    /// Prefixes that the peer was told.
    pub announced: u64,
    /// Prefixes that were taken from the peer.
    pub accepted: u64,
    /// Messages.
    pub messages: Messages,
}

/// A BFD session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bfd {
    /// `up`, `down`, `init`, `shutdown`.
    pub state: String,
    /// What is wrong, in bfdd's words.
    pub diagnostic: String,
}

/// Counters of a BFD session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Control packets received.
    pub control_in: u64,
    /// Control packets sent.
    pub control_out: u64,
    /// Echo packets received.
    pub echo_in: u64,
    /// Echo packets sent.
    pub echo_out: u64,
    /// Times that it came up.
    pub ups: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Messages to zebra.
    pub notifications: u64,
}

/// An answer that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Not JSON at all.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads `show bgp vrf all summary json`: every session that carries a family.
///
/// # Errors
/// When it is no JSON. An FRR without a BGP instance has no session.
pub fn summaries(text: &str) -> Result<BTreeMap<Peering, Summary>, ShowError> {
    let mut all: BTreeMap<Peering, Summary> = BTreeMap::new();
    for (vrf, instance) in members(&parse(text)?) {
        for (word, family) in [("ipv4Unicast", Family::V4), ("ipv6Unicast", Family::V6)] {
            let Some(table) = instance.get(word) else { continue };
            let version = number(table, "tableVersion");
            let peers = table.get("peers");
            for (name, peer) in peers.into_iter().flat_map(members) {
                let Some(peering) = peering(vrf, name) else { continue };
                let summary = all.entry(peering).or_default();
                summary.state = string(peer, "state");
                summary.ups = number(peer, "connectionsEstablished");
                summary.sent.insert(family, number(peer, "pfxSnt"));
                summary.versions.insert(family, version);
            }
        }
    }
    Ok(all)
}

/// Reads `show bgp vrf all neighbors json`: every session.
///
/// # Errors
/// As [`summaries`].
pub fn details(text: &str) -> Result<BTreeMap<Peering, Details>, ShowError> {
    let mut all = BTreeMap::new();
    for (vrf, instance) in members(&parse(text)?) {
        for (name, peer) in members(instance).filter(|(_, peer)| peer.is_object()) {
            if let Some(peering) = peering(vrf, name) {
                all.insert(peering, detail(peer));
            }
        }
    }
    Ok(all)
}

fn detail(peer: &Value) -> Details {
    let families = peer.get("addressFamilyInfo").into_iter().flat_map(members);
    let sum =
        |name: &str| families.clone().map(|(_, family)| number(family, name)).fold(0, u64::saturating_add);
    let why = string(peer, "lastResetDueTo");
    let notification = string(peer, "lastNotificationReason");
    let reason = match notification.is_empty() || !why.contains("otification") {
        true => why,
        false => format!("{why}: {notification}"),
    };
    let none = Value::Null;
    let stats = peer.get("messageStats").unwrap_or(&none);
    let bfd = peer.get("peerBfdInfo").map(|bfd| string(bfd, "status"));
    let timers = ["nextStartTimerDueInMsecs", "nextConnectTimerDueInMsecs"];
    let waits = bfd.as_deref() == Some("Down") && timers.iter().all(|timer| peer.get(timer).is_none());
    let progress = match string(peer, "bgpState").as_str() {
        Summary::ESTABLISHED => Progress::Established,
        "Idle" if waits => Progress::Resting,
        _ => Progress::Begun,
    };
    Details {
        reason,
        bfd,
        progress,
        announced: sum("sentPrefixCounter"),
        accepted: sum("acceptedPrefixCounter"),
        messages: Messages {
            opens_sent: number(stats, "opensSent"),
            opens_received: number(stats, "opensRecv"),
            notifications_sent: number(stats, "notificationsSent"),
            updates_sent: number(stats, "updatesSent"),
            updates_received: number(stats, "updatesRecv"),
            keepalives_sent: number(stats, "keepalivesSent"),
            keepalives_received: number(stats, "keepalivesRecv"),
            refreshes_sent: number(stats, "routeRefreshSent"),
            sent: number(stats, "totalSent"),
            received: number(stats, "totalRecv"),
        },
    }
}

/// Reads `show bfd peers json`.
///
/// # Errors
/// When it is no JSON.
pub fn bfd(text: &str) -> Result<BTreeMap<Peering, Bfd>, ShowError> {
    let read = |peer: &Value| Bfd { state: string(peer, "status"), diagnostic: string(peer, "diagnostic") };
    Ok(bfd_peers(&parse(text)?).map(|(peering, peer)| (peering, read(peer))).collect())
}

/// Reads `show bfd peers counters json`.
///
/// # Errors
/// When it is no JSON.
pub fn packets(text: &str) -> Result<BTreeMap<Peering, Packets>, ShowError> {
    let read = |peer: &Value| Packets {
        control_in: number(peer, "control-packet-input"),
        control_out: number(peer, "control-packet-output"),
        echo_in: number(peer, "echo-packet-input"),
        echo_out: number(peer, "echo-packet-output"),
        ups: number(peer, "session-up"),
        downs: number(peer, "session-down"),
        notifications: number(peer, "zebra-notifications"),
    };
    Ok(bfd_peers(&parse(text)?).map(|(peering, peer)| (peering, read(peer))).collect())
}

fn bfd_peers(all: &Value) -> impl Iterator<Item = (Peering, &Value)> {
    all.as_array().into_iter().flatten().filter_map(|peer| {
        let vrf = peer.get("vrf").and_then(Value::as_str).unwrap_or(DEFAULT);
        Some((peering(vrf, peer.get("peer")?.as_str()?)?, peer))
    })
}

/// Reads `show bgp … neighbors … advertised-routes`, the table for people: at ten thousand routes it costs bgpd 8 ms,
/// its JSON 170 ms, in which nothing is announced.
#[must_use]
pub fn advertised(text: &str) -> BTreeSet<IpNet> {
    let network = |line: &str| {
        let (codes, rest) = line.trim_start().split_once(' ')?;
        let best = codes.ends_with('>') && codes.starts_with(|c: char| !c.is_alphanumeric());
        best.then(|| rest.split_whitespace().next()?.parse().ok()).flatten()
    };
    text.lines().filter_map(network).collect()
}

fn parse(text: &str) -> Result<Value, ShowError> {
    // Without a BGP instance there is not even JSON: an empty answer, or a sentence that says so.
    match text.trim_start().starts_with(['{', '[']) {
        true => Ok(serde_json::from_str(text)?),
        false => Ok(Value::Null),
    }
}

fn peering(vrf: &str, name: &str) -> Option<Peering> {
    let vrf = match vrf {
        DEFAULT => None,
        other => Some(Word::new(other).ok()?),
    };
    let neighbor = match name.parse() {
        Ok(ip) => Neighbor::Address(ip),
        Err(_) => Neighbor::Interface(Word::new(name).ok()?),
    };
    Some(Peering { vrf, neighbor })
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> + Clone {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn string(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured: one peer over IPv4 with BFD, shut down by the other side before `neighbors`, one over an interface,
    /// one that refuses, one that does not exist, and one in a VRF.
    macro_rules! captured {
        ($file:literal) => {
            [
                ("8.4.4", include_str!(concat!("../../tests/frr-show/8.4.4/", $file))),
                ("10.3", include_str!(concat!("../../tests/frr-show/10.3/", $file))),
            ]
        };
    }

    fn at(vrf: Option<&str>, name: &str) -> Peering {
        peering(vrf.unwrap_or(DEFAULT), name).unwrap()
    }

    #[test]
    fn sessions_in_short() {
        for (version, text) in captured!("summary.json") {
            let all = summaries(text).unwrap();
            assert_eq!(all.len(), 5, "{version}");
            let address = &all[&at(None, "172.20.0.2")];
            assert!(address.up() && address.ups > 0, "{version}: {address:?}");
            assert_eq!(address.sent, [(Family::V4, 1)].into(), "{version}");
            let unnumbered = &all[&at(None, "va")];
            assert!(unnumbered.up(), "{version}");
            assert_eq!(unnumbered.sent, [(Family::V4, 1), (Family::V6, 1)].into(), "{version}");
            let absent = &all[&at(None, "172.20.0.99")];
            assert!(!absent.up() && !absent.state.is_empty() && absent.ups == 0, "{version}: {absent:?}");
            assert_eq!(all[&at(Some("red"), "172.20.0.2")].state, "Idle", "{version}");
        }
    }

    #[test]
    fn sessions_at_length() {
        for (version, text) in captured!("neighbors.json") {
            let all = details(text).unwrap();
            assert_eq!(all.len(), 5, "{version}");
            let left = &all[&at(None, "172.20.0.2")];
            assert_eq!(left.reason, "BGP Notification received: Cease/Administrative Shutdown", "{version}");
            assert!(left.bfd.is_some(), "{version}");
            assert!(left.messages.sent > left.messages.keepalives_sent, "{version}: {left:?}");
            assert!(left.messages.opens_sent > 0 && left.messages.updates_sent > 0, "{version}");
            let unnumbered = &all[&at(None, "va")];
            assert_eq!((unnumbered.announced, unnumbered.accepted), (6, 0), "{version}");
            assert_eq!(unnumbered.bfd, None, "{version}");
            assert_eq!(all[&at(None, "fd20::2")].reason, "Waiting for peer OPEN", "{version}");
        }
    }

    /// Captured of FRR 10.3 beside a router that forgot its BFD: no timer runs, and BFD is down.
    #[test]
    fn who_rests() {
        let progress = |state: &str, bfd: &str, more: &str| {
            let peer = format!(r#""bgpState":"{state}","peerBfdInfo":{{"status":"{bfd}"}}{more}"#);
            let text = format!(r#"{{"default":{{"vrfId":0,"172.31.1.32":{{{peer}}}}}}}"#);
            details(&text).unwrap()[&at(None, "172.31.1.32")].progress
        };
        assert_eq!(progress("Idle", "Down", r#","connectRetryTimer":1"#), Progress::Resting);
        assert_eq!(progress("Idle", "Down", r#","nextStartTimerDueInMsecs":900"#), Progress::Begun);
        assert_eq!(progress("Idle", "Unknown", ""), Progress::Begun);
        assert_eq!(progress("Active", "Down", ""), Progress::Begun);
        assert_eq!(progress("Established", "Down", ""), Progress::Established);
    }

    #[test]
    fn bfd_sessions() {
        for ((version, peers), (_, counters)) in
            captured!("bfd.json").into_iter().zip(captured!("counters.json"))
        {
            let peering = at(None, "172.20.0.2");
            let up = Bfd { state: "up".into(), diagnostic: "ok".into() };
            assert_eq!(bfd(peers).unwrap(), [(peering.clone(), up)].into(), "{version}");
            let counted = packets(counters).unwrap()[&peering];
            assert!(counted.control_in > 0 && counted.control_out > 0, "{version}");
            assert!((counted.ups, counted.echo_in) == (1, 0) && counted.notifications > 0, "{version}");
        }
    }

    #[test]
    fn what_a_peer_was_told() {
        let nets =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<BTreeSet<IpNet>>();
        for (version, text) in captured!("advertised-v4.txt") {
            let expected = nets(&["10.0.0.0/8", "10.9.9.0/32", "192.168.0.0/16"]);
            assert_eq!(advertised(text), expected, "{version}");
        }
        for (version, text) in captured!("advertised-v6.txt") {
            let long = "fd99:1111:2222:3333:4444:5555:6666:7777/128";
            assert_eq!(advertised(text), nets(&["fd99::1/128", "fd99:2::/64", long]), "{version}");
        }
        assert!(advertised("No such neighbor in this view/vrf\n").is_empty());
    }

    #[test]
    fn nothing_is_nothing_and_nonsense_is_an_error() {
        for text in ["", "\n", "{}\n", "BGP instance not found\n", "[]", "{\"default\":{\"x\":1}}"] {
            assert!(summaries(text).unwrap().is_empty(), "{text:?}");
            assert!(details(text).unwrap().is_empty() && bfd(text).unwrap().is_empty(), "{text:?}");
        }
        assert!(summaries("{\"default\":").is_err());
    }
}
