//! What each speaker says of its sessions, whatever they are: unnumbered, in a VRF, at another port.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{lab::DEADLINE, objects::Service, wait};
use serde_json::Value;

use crate::{
    peers::PASSWORD,
    world::{Watch, World, object},
};

/// FRR's configuration is said anew every half a minute, and after something happened.
const REFRESHED: Duration = Duration::from_secs(60);

/// Every session has its series under both namings, the unnumbered one beside the others; a prefix of each family that
/// it carries is counted, and the Service's status names every peer. FRR's configuration is shown without the password
/// that is in it.
#[test]
fn every_session_is_told_of() -> Result<()> {
    let world = World::get()?;
    world.lab.manifests.put("advertisement", &object("BGPAdvertisement", "all", "{}"))?;
    world.lab.add(&Service::new("told", "ads", &world.lab.fabric))?;
    let mut names: Vec<&str> = world.standing.iter().map(|standing| standing.object.name).collect();
    names.sort_unstable();
    for node in world.lab.names() {
        wait::until_true(DEADLINE, &format!("every session in the metrics of {node}"), || {
            let text = metrics(&world, &node)?;
            for standing in &world.standing {
                let field = |field| standing.object.field(field);
                let peer = field("peerAddress").or(field("interface")).context("no peer")?;
                let (vrf, port) = (field("vrf").unwrap_or("default"), field("peerPort").unwrap_or("179"));
                for line in [
                    format!("metallb_bgp_session_up{{peer=\"{peer}:{port}\",vrf=\"{vrf}\"}} 1"),
                    format!(
                        "metallb_bgp_announced_prefixes_total{{peer=\"{peer}:{port}\",vrf=\"{vrf}\"}} {}",
                        standing.families.len()
                    ),
                    format!("frrk8s_bgp_session_up{{peer=\"{peer}\",vrf=\"{vrf}\"}} 1"),
                ] {
                    ensure!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
                }
            }
            Ok(true)
        })
        .with_context(|| world.lab.logs())?;
        wait::until_true(DEADLINE, &format!("every peer in what {node} says of the Service"), || {
            let all = said(&world, &node, "services")?;
            let all: Vec<Value> = serde_saphyr::from_str(&all)?;
            let peers = all.first().and_then(|item| item.get("peers")?.as_array());
            let peers: Vec<&str> = peers.into_iter().flatten().filter_map(Value::as_str).collect();
            ensure!(peers == names, "{peers:?}");
            Ok(true)
        })?;
        ensure!(world.lab.frr(&node)?.vtysh("show running-config")?.contains(PASSWORD), "it has one");
        wait::until_true(REFRESHED, &format!("FRR's configuration as {node} says it"), || {
            let text = said(&world, &node, "frr")?;
            ensure!(!text.contains(PASSWORD), "the password is shown: {text}");
            Ok(text.contains(" password ") && text.contains("neighbor line "))
        })?;
    }
    world.undisturbed(&[])
}

/// BFD over the unnumbered session has its series, and so has the session itself all the time.
#[test]
fn unnumbered_bfd_is_told_of() -> Result<()> {
    let world = World::get()?;
    let told = |wanted: bool| {
        for node in world.lab.names() {
            wait::until_true(DEADLINE, &format!("BFD over the line in what {node} says: {wanted}"), || {
                let text = metrics(&world, &node)?;
                let bgp = "metallb_bgp_session_up{peer=\"line:179\",vrf=\"default\"} 1";
                ensure!(text.lines().any(|line| line == bgp), "no {bgp}");
                let up = |name: &str| {
                    let begin = format!("{name}{{peer=\"fe80:");
                    text.lines().any(|line| line.starts_with(&begin) && line.ends_with("vrf=\"default\"} 1"))
                };
                let bfd = ["metallb_bfd_session_up", "frrk8s_bfd_session_up"].map(up);
                let sessions: Vec<Value> = serde_saphyr::from_str(&said(&world, &node, "sessions")?)?;
                let line = sessions.iter().find(|item| item.get("peer").is_some_and(|peer| peer == "line"));
                let state = line.and_then(|item| item.get("bfdStatus")?.as_str());
                let expected = if wanted { "Up" } else { "N/A" };
                ensure!(bfd == [wanted; 2] && state == Some(expected), "{bfd:?}, {state:?} in\n{text}");
                Ok(true)
            })
            .with_context(|| world.lab.logs())?;
        }
        Ok(())
    };
    world.router_watches("line", Watch::Patiently)?;
    let watched = world.peer("line")?.with("bfdProfile", "slow");
    world.step(&[], || world.put(&watched), || told(true))?;
    world.unwatched("line")?;
    told(false)?;
    world.undisturbed(&[])
}

fn metrics(world: &World, node: &str) -> Result<String> {
    let url = "http://127.0.0.1:7472/metrics";
    let curl = world.lab.fabric.node(node)?.net.command("curl");
    curl.args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*", url]).text()
}

/// A file of what a node's speaker says.
fn said(world: &World, node: &str, file: &str) -> Result<String> {
    let path = world.lab.manifests.dir().join(format!("status/nodes/{node}/{file}.yaml"));
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
