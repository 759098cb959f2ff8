//! What a speaker's own settings do to FRR and to the routers; and that a speaker which is started anew for them
//! disturbs nobody.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{NODE_ASN, TOR},
    lab::{DEADLINE, prefix},
    objects::{self, Service},
    process::Spawn,
    updates::updates,
    wait,
};
use serde_json::Value;

use crate::world::{World, object, users};

/// What f8 tells: of the second the nodes are to hear nothing, nor of what is in it.
const OPEN: &str = "10.123.0.0/24";
const BLOCKED: [&str; 2] = ["10.124.0.0/16", "10.124.7.0/24"];

/// A router of each make, of another AS.
const PEERS: [&str; 3] = ["f8-v4", "go", "hop"];

/// `--always-block` keeps out what a user lets in, and what is in it; FRR's own log is as loud as it is told to be;
/// a cordon is a drain where that is wanted, and else is none. Each time the speaker ends and starts no session ends and
/// no prefix is withdrawn.
#[test]
fn settings_of_the_speaker() -> Result<()> {
    let mut world = World::get()?;
    let router = world.router("f8-v4")?.frr().context("it runs FRR")?;
    let networks = |no: &str| {
        let lines: String =
            [OPEN].iter().chain(&BLOCKED).map(|prefix| format!("\n{no}network {prefix}")).collect();
        router.vtysh(&format!(
            "configure terminal\nrouter bgp 65031\nno bgp network import-check\naddress-family ipv4 unicast{lines}"
        ))
    };
    networks("")?;
    world.lab.manifests.put("advertisement", &object("BGPAdvertisement", "all", "{}"))?;
    let neighbor = format!(
        "{{address: {}, asn: 65031, toReceive: {{allowed: {{mode: all}}}}}}",
        world.address("f8-v4")?
    );
    let spec = format!("{{bgp: {{routers: [{{asn: {NODE_ASN}, neighbors: [{neighbor}]}}]}}}}");
    world.lab.manifests.put("receive", &users("receive", &spec))?;
    let addresses = world.lab.add(&Service::new("steady", "ads", &world.lab.fabric))?;
    let steady = prefix(addresses.iter().copied().find(|ip| ip.is_ipv4()).context("no IPv4 address")?);
    hear(&world, &[OPEN, BLOCKED[0], BLOCKED[1]])?;
    marked(&world, &steady, false)?;
    cordon(&world, true)?;
    crate::users::settled(&world)?;
    marked(&world, &steady, false)?;
    cordon(&world, false)?;
    crate::users::settled(&world)?;

    let wire = Capture::start(&world.lab.fabric.warden, world.router("f8-v4")?.net(), TOR, "tcp port 179")?;
    let with = |spawn: Spawn| {
        let spawn = spawn.args(["--always-block", BLOCKED[0], "--drain-on", "cordon", "--drain-time", "600"]);
        spawn.env("FRR_LOGGING_LEVEL", "debugging")
    };
    for node in world.lab.names() {
        world.lab.restart_speaker(&node, with)?;
    }
    hear(&world, &[OPEN])?;
    logged(&world, "debugging", true)?;
    crate::users::settled(&world)?;
    world.undisturbed(&[])?;
    let gone = withdrawn(&wire)?;
    ensure!(gone.is_empty(), "{gone:?} withdrawn by a restart");

    cordon(&world, true)?;
    marked(&world, &steady, true)?;
    cordon(&world, false)?;
    marked(&world, &steady, false)?;

    for node in world.lab.names() {
        world.lab.restart_speaker(&node, |spawn| spawn)?;
    }
    hear(&world, &[OPEN, BLOCKED[0], BLOCKED[1]])?;
    logged(&world, "informational", false)?;
    world.undisturbed(&[])?;
    let gone = withdrawn(&wire)?;
    ensure!(gone.is_empty(), "{gone:?} withdrawn");
    world.router("f8-v4")?.frr().context("it runs FRR")?.vtysh(&format!(
        "configure terminal\nrouter bgp 65031\naddress-family ipv4 unicast\nno network {OPEN}\nno network {}\nno network {}",
        BLOCKED[0], BLOCKED[1]
    ))?;
    Ok(())
}

/// What the nodes have withdrawn from f8 so far, but for what [`crate::users::settled`] takes back.
fn withdrawn(wire: &Capture) -> Result<BTreeSet<String>> {
    let all =
        updates(&wire.frames_past(wait::since_epoch()?)?)?.into_iter().flat_map(|update| update.withdrawn);
    Ok(all.filter(|prefix| !prefix.starts_with("10.78.") && !prefix.starts_with("10.12")).collect())
}

/// Waits until each node has heard from f8 of these prefixes and of no other.
fn hear(world: &World, wanted: &[&str]) -> Result<()> {
    let peer = world.address("f8-v4")?;
    for node in world.lab.names() {
        wait::until_true(DEADLINE, &format!("{node} to have heard of {wanted:?}"), || {
            let table = world.lab.frr(&node)?.json("show bgp ipv4 unicast json")?;
            let routes = table.get("routes").and_then(Value::as_object).context("no routes")?;
            let from = |paths: &Value| {
                let mut paths = paths.as_array().into_iter().flatten();
                paths.any(|path| path.get("peerId").and_then(Value::as_str) == Some(&peer))
            };
            let heard: BTreeSet<&str> =
                routes.iter().filter(|(_, paths)| from(paths)).map(|(prefix, _)| prefix.as_str()).collect();
            ensure!(heard == wanted.iter().copied().collect(), "{heard:?}");
            Ok(true)
        })
        .with_context(|| world.lab.logs())?;
    }
    Ok(())
}

/// Waits until each node's bgpd and bfdd log so much. The other daemons learn a level when they start.
fn logged(world: &World, level: &str, debug: bool) -> Result<()> {
    for node in world.lab.names() {
        for (daemon, line) in [("bgpd", "debug bgp updates"), ("bfdd", "debug bfd peer")] {
            wait::until_true(DEADLINE, &format!("the log of {node}'s {daemon} at {level}"), || {
                let text = world.lab.frr(&node)?.vtysh(&format!("show running-config {daemon}"))?;
                let shown = text.lines().find_map(|line| line.strip_prefix("log stdout")).map(str::trim);
                // FRR leaves that level out
                let shown = shown.map(|shown| if shown.is_empty() { "debugging" } else { shown });
                ensure!(shown == Some(level), "{text}");
                Ok(text.lines().any(|there| there.starts_with(line)) == debug)
            })
            .with_context(|| world.lab.logs())?;
        }
    }
    Ok(())
}

/// Waits until n1's prefix has, or has not, the mark of one that goes (RFC 8326) at each router; n2's never has.
fn marked(world: &World, prefix: &str, wanted: bool) -> Result<()> {
    for peer in PEERS {
        for node in world.lab.names() {
            world.wait_told(peer, &node, prefix, |path| {
                path.is_some_and(|path| path.communities.contains("65535:0") == (wanted && node == "n1"))
            })?;
        }
    }
    Ok(())
}

/// `kubectl cordon n1`, and `uncordon`.
fn cordon(world: &World, on: bool) -> Result<()> {
    let node = objects::node(world.lab.fabric.node("n1")?);
    let spec = if on { "spec: {unschedulable: true}\nstatus:\n" } else { "status:\n" };
    world.lab.manifests.put("node-n1", &node.replacen("status:\n", spec, 1))
}
