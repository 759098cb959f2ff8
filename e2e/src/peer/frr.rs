//! A router that runs FRR: configured by frr.conf, asked by vtysh's JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{At, Path, Restart, Seen, Settings, Table, name, number, small, text};
use crate::{
    frr::{Frr, Listens, Setup, Version},
    netns::Net,
    tor::Family,
    warden::Warden,
};

pub(super) fn start(warden: &Warden, net: &Net, version: Version, settings: &Settings) -> Result<Frr> {
    let setup = Setup { version, listens: Listens::Port(settings.port), vrfs: &[] };
    Frr::start_as(&setup, warden, net, &conf(settings))
}

fn conf(settings: &Settings) -> String {
    let Settings { asn, id, neighbours, .. } = settings;
    let mut lines = vec![
        "log stdout informational".to_owned(),
        format!("router bgp {asn}"),
        format!(" bgp router-id {id}"),
        " no bgp ebgp-requires-policy".to_owned(),
        " no bgp default ipv4-unicast".to_owned(),
        " bgp graceful-restart stalepath-time 60".to_owned(),
    ];
    for neighbour in neighbours {
        let name = name(&neighbour.at);
        let interface = if matches!(neighbour.at, At::Interface(_)) { "interface " } else { "" };
        lines.push(format!(" neighbor {name} {interface}remote-as {}", neighbour.asn));
        if interface.is_empty() {
            lines.push(format!(" neighbor {name} passive"));
        }
        lines.extend(neighbour.password.map(|password| format!(" neighbor {name} password {password}")));
        // FRR has the one or the other, and the first says how far itself
        lines.extend(match neighbour.hops {
            Some(hops) => Some(format!(" neighbor {name} ttl-security hops {hops}")),
            None => neighbour.multihop.then(|| format!(" neighbor {name} ebgp-multihop")),
        });
        lines.extend(neighbour.bfd.then(|| format!(" neighbor {name} bfd")));
    }
    for (family, afi) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
        lines.push(format!(" address-family {afi} unicast"));
        let speak = neighbours.iter().filter(|neighbour| neighbour.families.contains(&family));
        lines.extend(speak.map(|neighbour| format!("  neighbor {} activate", name(&neighbour.at))));
        lines.push(" exit-address-family".to_owned());
    }
    lines.push("exit\n".to_owned());
    lines.join("\n")
}

pub(super) fn seen(frr: &Frr, at: &At) -> Result<Seen> {
    let all = frr.json(&format!("show bgp neighbors {} json", name(at)))?;
    let facts = all.get(name(at)).with_context(|| format!("FRR does not know {}", name(at)))?;
    let both = |field: &str| {
        let text = facts.pointer(&format!("/neighborCapabilities/{field}"));
        text.is_some_and(|value| value.get("advertisedAndReceived").and_then(Value::as_bool) == Some(true))
    };
    let families = [(Family::V4, "ipv4Unicast"), (Family::V6, "ipv6Unicast")];
    let kept = facts.pointer("/neighborCapabilities/addressFamiliesByPeer").and_then(Value::as_object);
    let said = text(facts, "/neighborCapabilities/gracefulRestart");
    let kept: BTreeSet<Family> = families
        .iter()
        .filter(|(_, field)| kept.is_some_and(|kept| kept.contains_key(*field)))
        .map(|(family, _)| *family)
        .collect();
    let count = |field: &str| number(facts, field).unwrap_or_default();
    Ok(Seen {
        established: text(facts, "/bgpState") == Some("Established"),
        asn: small(facts, "/remoteAs").unwrap_or_default(),
        id: text(facts, "/remoteRouterId").and_then(|id| id.parse().ok()),
        hold: count("/bgpTimerHoldTimeMsecs") / 1000,
        families: families
            .iter()
            .filter(|(_, field)| both(&format!("multiprotocolExtensions/{field}")))
            .map(|(family, _)| *family)
            .collect(),
        restart: match said.is_some_and(|said| said.to_ascii_lowercase().contains("received")) {
            false => Restart::Unsaid,
            true if kept.is_empty() => Restart::Aware,
            true => Restart::Keeps(kept),
        },
        life: life(facts),
        lost: text(facts, "/lastResetDueTo").unwrap_or_default().to_owned(),
    })
}

pub(super) fn lives(frr: &Frr) -> Result<BTreeMap<String, String>> {
    let all = frr.json("show bgp neighbors json")?;
    let all = all.as_object().context("FRR gives no neighbours")?;
    Ok(all.iter().map(|(name, facts)| (name.clone(), life(facts))).collect())
}

fn life(facts: &Value) -> String {
    let count = |field: &str| number(facts, field).unwrap_or_default();
    format!("{} up, {} down", count("/connectionsEstablished"), count("/connectionsDropped"))
}

pub(super) fn table(frr: &Frr) -> Result<Table> {
    let mut table = Table::new();
    for family in ["ipv4", "ipv6"] {
        let all = detail(frr, family)?;
        for (prefix, entry) in all.get("routes").and_then(Value::as_object).into_iter().flatten() {
            // a list whose first element is about the prefix, or an object that has a list
            let paths = entry.get("paths").unwrap_or(entry).as_array();
            let paths = paths.into_iter().flatten().filter(|path| path.get("aspath").is_some());
            table.insert(prefix.clone(), paths.map(path).collect());
        }
    }
    Ok(table)
}

/// The words stand in the other order since FRR 8.5.
fn detail(frr: &Frr, family: &str) -> Result<Value> {
    frr.json(&format!("show bgp {family} unicast json detail"))
        .or_else(|_| frr.json(&format!("show bgp {family} unicast detail json")))
}

fn path(path: &Value) -> Path {
    let list = |field: &str| {
        let list = path.pointer(&format!("/{field}/list")).and_then(Value::as_array);
        // a well-known one has a name here
        let number =
            |text: &str| if text == "gracefulShutdown" { "65535:0".to_owned() } else { text.to_owned() };
        list.into_iter().flatten().filter_map(|value| value.as_str().map(number)).collect::<Vec<_>>()
    };
    let hops = path.get("nexthops").and_then(Value::as_array);
    let global = |hop: &&Value| text(hop, "/scope") != Some("link-local");
    let hops: Vec<&Value> = hops.into_iter().flatten().collect();
    let hop = hops.iter().copied().find(global).or_else(|| hops.first().copied());
    Path {
        from: text(path, "/peer/peerId").unwrap_or_default().to_owned(),
        next_hop: hop.and_then(|hop| text(hop, "/ip")?.parse().ok()),
        as_path: text(path, "/aspath/string")
            .unwrap_or_default()
            .split(' ')
            .filter_map(|asn| asn.parse().ok())
            .collect(),
        local_pref: small(path, "/locPrf"),
        communities: list("community").into_iter().chain(list("largeCommunity")).collect(),
        med: small(path, "/metric"),
        stale: path.get("stale").and_then(Value::as_bool) == Some(true),
    }
}
