//! What else a BFD profile has: echo, passive mode, and how far away packets may come from.
//!
//! But for one test nothing here lets BFD end a session that has to come back by itself, and both ends are patient: see
//! [`who_was_missed_comes_back`].

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    capture::{Capture, Frame},
    fabric::{Node, Segment, TOR},
    lab::DEADLINE,
    peer::name,
    wait,
};
use pnet::packet::{Packet as _, ethernet::EthernetPacket, ipv4::Ipv4Packet};
use serde_json::Value;

use crate::{
    peers::HOP,
    world::{Watch, World, profile},
};

/// Echo packets are on the wire from each node once the profile says so, as often as the router was told that they may
/// come back; the router's own view of it is that of the profile.
#[test]
fn echo() -> Result<()> {
    let world = World::get()?;
    let router = world.router("f10-v4")?;
    let frr = router.frr().context("it runs FRR")?;
    let wire = Capture::start(&world.lab.fabric.warden, router.net(), TOR, "udp port 3785")?;
    world.router_watches("f10-v4", Watch::Patiently)?;
    let echo = "{receiveInterval: 310, transmitInterval: 320, detectMultiplier: 50, echoMode: true, echoInterval: 90}";
    world.lab.manifests.put("echo", &profile("echo", echo))?;
    let watched = world.peer("f10-v4")?.with("bfdProfile", "echo");
    let come = || {
        for node in &world.lab.fabric.nodes {
            let at = name(&world.at("f10-v4", node.name())?);
            let mut last = None;
            wait::until_true(DEADLINE, &format!("BFD with {} and its echo", node.name()), || {
                let session = of(&frr.json("show bfd peers json")?, &at);
                let fields = ["remote-receive-interval", "remote-echo-receive-interval"];
                let seen = fields.map(|field| session.as_ref().and_then(|s| s.get(field)?.as_u64()));
                last = session;
                Ok(seen == [Some(310), Some(90)])
            })
            .with_context(|| format!("the router has {last:#?}\n{}", world.lab.logs()))?;
            let from = tor(node);
            wait::until_true(DEADLINE, &format!("ten echoes of {}", node.name()), || {
                Ok(wire.frames()?.iter().filter(|frame| source(frame) == Some(from)).count() >= 10)
            })?;
        }
        Ok(())
    };
    world.step(&[], || world.put(&watched), come)?;
    world.unwatched("f10-v4")?;
    world.lab.manifests.remove("echo")
}

/// In passive mode a node says nothing until the router has: whoever speaks first is the router, and without passive mode
/// it is the node, since the router does not watch yet.
#[test]
fn passive_mode() -> Result<()> {
    let world = World::get()?;
    let router = world.router("f10-v4")?;
    let intervals = "receiveInterval: 310, transmitInterval: 320, detectMultiplier: 50";
    world.lab.manifests.put("waits", &profile("waits", &format!("{{{intervals}, passiveMode: true}}")))?;
    world.lab.manifests.put("calls", &profile("calls", &format!("{{{intervals}}}")))?;
    let (has, up) = (node_has(&world), node_is(&world, "up"));
    for (name, waits) in [("calls", false), ("waits", true)] {
        let wire = Capture::start(&world.lab.fabric.warden, router.net(), TOR, "udp port 3784")?;
        let firsts = || -> Result<Vec<Option<bool>>> {
            let frames = wire.frames()?;
            let first = |node: &Node| {
                let ends = [tor(node), Segment::Tor.v4(32).into()];
                let mut between = frames.iter().filter_map(|frame| {
                    let from = source(frame)?;
                    (ends.contains(&from) && ends.contains(&target(frame)?)).then_some(from)
                });
                between.next().map(|from| from == ends[0])
            };
            Ok(world.lab.fabric.nodes.iter().map(first).collect())
        };
        let watched = world.peer("f10-v4")?.with("bfdProfile", name);
        world.step(&[], || world.put(&watched), || has(name))?;
        if waits {
            // whoever is not passive says something every second
            wait::pass(Duration::from_secs(3));
            ensure!(firsts()? == [None; 2], "{name}: {:?}", firsts()?);
        } else {
            wait::until_true(DEADLINE, "the nodes to call", || Ok(firsts()? == [Some(true); 2]))?;
        }
        world.router_watches("f10-v4", Watch::Patiently)?;
        up("f10-v4")?;
        // the capture may be a moment behind
        wait::until_true(DEADLINE, "the first words of both ends", || {
            let firsts = firsts()?;
            ensure!(firsts == [Some(!waits); 2], "{name}: {firsts:?}");
            Ok(true)
        })?;
        world.unwatched("f10-v4")?;
        world.lab.manifests.remove(name)?;
    }
    Ok(())
}

/// A profile with a minimum TTL, at a router two hops away: BFD is up over the hops, and comes and goes without an
/// interruption of BGP. (FRR sets the TTL of a BGP session's BFD by the session's own hops, and the profile does not count.)
#[test]
fn minimum_ttl() -> Result<()> {
    let world = World::get()?;
    let far = "{receiveInterval: 310, transmitInterval: 320, detectMultiplier: 50, minimumTtl: 200}";
    world.lab.manifests.put("far", &profile("far", far))?;
    let watched = world.peer("hop")?.with("bfdProfile", "far");
    world.step(&[], || world.put(&watched), || node_is(&world, "up")("hop"))?;
    for node in world.lab.names() {
        let frr = world.lab.frr(&node)?;
        let running = frr.vtysh("show running-config")?;
        ensure!(running.lines().any(|line| line.trim() == "minimum-ttl 200"), "{running}");
        let all = frr.json("show bfd peers json")?;
        let session = of(&all, &format!("{HOP}.2")).with_context(|| format!("no BFD in {all:#}"))?;
        println!("{node}: {} of a profile with 200", session.get("minimum-ttl").unwrap_or(&Value::Null));
    }
    world.step(&["hop"], || world.remove("hop"), || world.down("hop"))?;
    world.step(&["hop"], || world.put(&world.peer("hop")?), || world.up("hop"))?;
    world.lab.manifests.remove("far")
}

/// That a router is several hops away is said only when BFD has already found nobody over one: both come up all the same.
#[test]
fn hops_that_are_said_later() -> Result<()> {
    let world = World::get()?;
    let far = "{receiveInterval: 310, transmitInterval: 320, detectMultiplier: 50}";
    world.lab.manifests.put("far", &profile("far", far))?;
    let watched = world.peer("hop")?.with("bfdProfile", "far");
    let alone = || {
        node_is(&world, "down")("hop")?;
        world.down("hop")
    };
    world.step(&["hop"], || world.put(&watched.clone().without("ebgpMultiHop")), alone)?;
    let both = || {
        world.up("hop")?;
        node_is(&world, "up")("hop")
    };
    world.step(&["hop"], || world.put(&watched), both)?;
    world.afresh("hop")?;
    world.lab.manifests.remove("far")
}

/// Whom BFD misses comes back: a node that was silent for a while, and one that lost its power. FRR 8.4, which n1 has,
/// begins with BFD only when BGP speaks; a router of FRR 10 whose BFD has ended the session waits for BFD before it
/// speaks. Those two never meet again, so that the image has the FRR of n2.
#[test]
fn who_was_missed_comes_back() -> Result<()> {
    let mut world = World::get()?;
    world.lab.manifests.put("fast", &profile("fast", "{receiveInterval: 100, transmitInterval: 100}"))?;
    for (peer, runs_frr) in [("f8-v4", true), ("f10-v4", true), ("hop", false)] {
        // BIRD watches all the time
        if runs_frr {
            world.router_watches(peer, Watch::Closely)?;
        }
        let watched = world.peer(peer)?.with("bfdProfile", "fast");
        world.step(&[peer], || world.put(&watched), || node_is(&world, "up")(peer))?;
        for node in world.lab.names() {
            // the profile leaves to FRR how many packets may be missing
            let all = world.lab.frr(&node)?.json("show bfd peers json")?;
            let session = of(&all, &world.address(peer)?).with_context(|| format!("no BFD in {all:#}"))?;
            let multiplier = session.get("detect-multiplier").and_then(Value::as_u64);
            ensure!(multiplier == Some(3), "{session:#}");
            world.cut(peer, &node)?;
            world.wait_seen(peer, &node, "missed", |seen| !seen.established)?;
            world.mend(peer)?;
            world.wait_seen(peer, &node, "back after a silence", |seen| seen.established)?;
            if (peer, node.as_str()) == ("f10-v4", "n1") {
                continue;
            }
            // nobody is missed who is not watched
            node_is(&world, "up")(peer)?;
            world.cut(peer, &node)?;
            world.wait_seen(peer, &node, "missed", |seen| !seen.established)?;
            world.lab.kill_frr(&node, &["bgpd", "zebra", "bfdd"])?;
            world.lab.resume_frr(&node)?;
            world.mend(peer)?;
            world.wait_seen(peer, &node, "back with its power", |seen| seen.established)?;
        }
        node_is(&world, "up")(peer)?;
        if runs_frr {
            world.router_watches(peer, Watch::Off)?;
        } else {
            world.remove(peer)?;
            world.down(peer)?;
        }
        world.put(&world.peer(peer)?)?;
        world.no_bfd()?;
        world.all_up()?;
    }
    world.lab.manifests.remove("fast")
}

/// Waits until every node's f10-v4 is watched with this profile, whatever comes of it.
fn node_has(world: &World) -> impl Fn(&str) -> Result<()> + '_ {
    |profile| {
        let peer = world.address("f10-v4")?;
        for node in world.lab.names() {
            let frr = world.lab.frr(&node)?;
            wait::until_true(DEADLINE, &format!("BFD {profile} of {node}"), || {
                let text = frr.vtysh("show running-config")?;
                let there = of(&frr.json("show bfd peers json")?, &peer).is_some();
                Ok(there && text.contains(&format!("neighbor {peer} bfd profile {profile}")))
            })?;
        }
        Ok(())
    }
}

/// Waits until every node's BFD with a peer is so.
pub(crate) fn node_is<'a>(world: &'a World, status: &'a str) -> impl Fn(&str) -> Result<()> + 'a {
    move |peer| {
        let at = world.address(peer)?;
        for node in world.lab.names() {
            let frr = world.lab.frr(&node)?;
            let mut last = None;
            wait::until_true(DEADLINE, &format!("BFD of {node} with {peer} to be {status}"), || {
                last = of(&frr.json("show bfd peers json")?, &at);
                Ok(last.as_ref().and_then(|session| session.get("status")?.as_str()) == Some(status))
            })
            .with_context(|| format!("{last:#?}\n{}", world.lab.logs()))?;
        }
        Ok(())
    }
}

/// The BFD session with a peer, of FRR's list of them.
fn of(all: &Value, peer: &str) -> Option<Value> {
    let mut all = all.as_array()?.iter();
    all.find(|session| session.get("peer").and_then(Value::as_str) == Some(peer)).cloned()
}

fn tor(node: &Node) -> IpAddr {
    Segment::Tor.v4(node.host()).into()
}

fn source(frame: &Frame) -> Option<IpAddr> {
    ip(frame, |ip| ip.get_source().into())
}

fn target(frame: &Frame) -> Option<IpAddr> {
    ip(frame, |ip| ip.get_destination().into())
}

fn ip<T>(frame: &Frame, what: impl FnOnce(&Ipv4Packet<'_>) -> T) -> Option<T> {
    let ethernet = EthernetPacket::new(&frame.bytes)?;
    Some(what(&Ipv4Packet::new(ethernet.payload())?))
}
