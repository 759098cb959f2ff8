//! A router that runs GoBGP: configured by a file, asked by `gobgp -j`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{At, Path, Restart, Seen, Settings, Table, name, number, small, text};
use crate::{bins, netns::Net, process::Running, tor::Family, wait, warden::Warden};

pub(super) fn start(warden: &Warden, net: &Net, settings: &Settings) -> Result<Running> {
    let dir = warden.make_dir(net.role())?;
    let file = dir.join("gobgp.toml");
    fs::write(&file, conf(settings))?;
    let program = net.command(&bins::tool("gobgpd")?.to_string_lossy());
    let program = program.arg("-f").arg(&file).args(["--api-hosts", "127.0.0.1:50051"]);
    let process = program.log(dir.join("gobgp.log")).start(warden)?;
    process.wait_for(wait::START, "GoBGP to answer", || {
        let all = ask(net, &["neighbor"])?;
        let known = all.as_array().map_or(0, Vec::len);
        Ok((known == settings.neighbours.len()).then_some(()))
    })?;
    Ok(process)
}

fn ask(net: &Net, words: &[&str]) -> Result<Value> {
    let gobgp = net.command(&bins::tool("gobgp")?.to_string_lossy()).args(words).arg("-j");
    let answer = gobgp.text()?;
    serde_json::from_str(&answer).with_context(|| format!("gobgp {words:?} answered {answer:?}"))
}

fn conf(settings: &Settings) -> String {
    let Settings { asn, id, port, neighbours, .. } = settings;
    let mut text = format!(
        "[global.config]\nas = {asn}\nrouter-id = \"{id}\"\nport = {port}\nlocal-address-list = [\"0.0.0.0\", \"::\"]\n"
    );
    for neighbour in neighbours {
        text += &format!(
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n",
            name(&neighbour.at),
            neighbour.asn
        );
        if let Some(password) = neighbour.password {
            text += &format!("auth-password = \"{password}\"\n");
        }
        text += "[neighbors.transport.config]\npassive-mode = true\n\
                 [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n";
        if neighbour.multihop {
            text += "[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 64\n";
        }
        if let Some(hops) = neighbour.hops {
            let least = 255 - hops.saturating_sub(1);
            text += &format!("[neighbors.ttl-security.config]\nenabled = true\nttl-min = {least}\n");
        }
        for family in &neighbour.families {
            let afi = if *family == Family::V4 { "ipv4" } else { "ipv6" };
            text += &format!(
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{afi}-unicast\"\n\
                 [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
            );
        }
    }
    text
}

pub(super) fn seen(net: &Net, at: &At) -> Result<Seen> {
    const ESTABLISHED: u64 = 6;
    let facts = ask(net, &["neighbor", &name(at)])?;
    let offered = facts.pointer("/state/remote_cap").and_then(Value::as_array);
    let offered = |kind: &str, value: Option<&str>| {
        offered.into_iter().flatten().any(|capability| {
            let kind = format!("type.googleapis.com/apipb.{kind}Capability");
            text(capability, "/type_url") == Some(&kind)
                && (value.is_none() || text(capability, "/value") == value)
        })
    };
    // afi and safi, in protobuf, in base 64
    let families = [(Family::V4, "CgQIARAB", 1), (Family::V6, "CgQIAhAB", 2)];
    let spoken: BTreeSet<Family> = families
        .iter()
        .filter(|(_, value, _)| offered("MultiProtocol", Some(value)))
        .map(|(family, ..)| *family)
        .collect();
    let per_family = facts.get("afi_safis").and_then(Value::as_array);
    let kept: BTreeSet<Family> = families
        .iter()
        .filter(|(_, _, afi)| {
            per_family.into_iter().flatten().any(|family| {
                number(family, "/config/family/afi") == Some(*afi)
                    && family.pointer("/mp_graceful_restart/state/received").and_then(Value::as_bool)
                        == Some(true)
            })
        })
        .map(|(family, ..)| *family)
        .collect();
    Ok(Seen {
        established: number(&facts, "/state/session_state") == Some(ESTABLISHED),
        asn: small(&facts, "/state/peer_asn").unwrap_or_default(),
        id: text(&facts, "/state/router_id").and_then(|id| id.parse().ok()),
        hold: number(&facts, "/timers/state/negotiated_hold_time").unwrap_or_default(),
        families: spoken,
        restart: match offered("GracefulRestart", None) {
            false => Restart::Unsaid,
            true if kept.is_empty() => Restart::Aware,
            true => Restart::Keeps(kept),
        },
        life: life(&facts),
        lost: String::new(),
    })
}

pub(super) fn lives(net: &Net) -> Result<BTreeMap<String, String>> {
    let all = ask(net, &["neighbor"])?;
    let of = |facts: &Value| Some((text(facts, "/conf/neighbor_address")?.to_owned(), life(facts)));
    Ok(all.as_array().into_iter().flatten().filter_map(of).collect())
}

fn life(facts: &Value) -> String {
    let state = number(facts, "/state/session_state").unwrap_or_default();
    let since = number(facts, "/timers/state/uptime/seconds").unwrap_or_default();
    format!("state {state} since {since}")
}

pub(super) fn table(net: &Net) -> Result<Table> {
    let mut table = Table::new();
    for family in ["ipv4", "ipv6"] {
        let all = ask(net, &["global", "rib", "-a", family])?;
        for (prefix, paths) in all.as_object().into_iter().flatten() {
            let paths = paths.as_array().into_iter().flatten();
            table.insert(prefix.clone(), paths.map(path).collect());
        }
    }
    Ok(table)
}

fn path(value: &Value) -> Path {
    let mut path = Path {
        from: text(value, "/neighbor-ip").unwrap_or_default().to_owned(),
        stale: value.get("stale").and_then(Value::as_bool) == Some(true),
        ..Path::default()
    };
    for attribute in value.get("attrs").and_then(Value::as_array).into_iter().flatten() {
        let items = |field: &str| attribute.get(field).and_then(Value::as_array).into_iter().flatten();
        match number(attribute, "/type") {
            Some(2) => {
                let segments = items("as_paths").filter_map(|segment| segment.get("asns")?.as_array());
                path.as_path = segments.flatten().filter_map(|asn| asn.as_u64()?.try_into().ok()).collect();
            }
            Some(3 | 14) => path.next_hop = text(attribute, "/nexthop").and_then(|hop| hop.parse().ok()),
            Some(4) => path.med = small(attribute, "/metric"),
            Some(5) => path.local_pref = small(attribute, "/value"),
            Some(8) => {
                let standard = items("communities").filter_map(Value::as_u64);
                path.communities.extend(standard.map(|c| format!("{}:{}", c >> 16, c & 0xffff)));
            }
            Some(32) => {
                let part = |large: &Value, field: &str| number(large, field).unwrap_or_default();
                path.communities.extend(items("value").map(|large| {
                    let parts = ["/ASN", "/LocalData1", "/LocalData2"].map(|field| part(large, field));
                    parts.map(|part| part.to_string()).join(":")
                }));
            }
            _ => {}
        }
    }
    path
}
