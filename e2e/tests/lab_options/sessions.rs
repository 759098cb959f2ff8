//! Options of sessions: what was negotiated, and what a change of one session's options does to it and to the others.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    fabric::{NODE_ASN, Segment, TOR},
    lab::DEADLINE,
    objects::{self, Service},
    peer::{Neighbour, Restart},
    wait,
};
use serde_json::Value;

use crate::{
    peers::{ALIAS, SECOND},
    world::{Watch, World, profile},
};

/// At each router and with each node's FRR: whose AS, which families, how long the hold time is, and whose routes are
/// to be kept through a restart.
#[test]
fn negotiated_as_configured() -> Result<()> {
    let world = World::get()?;
    let versions = ["n1", "n2"].map(|node| world.lab.frr(node)?.vtysh("show version"));
    ensure!(
        matches!(&versions, [Ok(one), Ok(two)] if !one.contains("FRRouting 10.") && two.contains("FRRouting 10.")),
        "{versions:?}"
    );
    for standing in &world.standing {
        for node in world.lab.names() {
            let seen = world.seen(standing.object.name, &node)?;
            let families = standing.families.iter().copied().collect();
            ensure!(
                (seen.established, seen.asn, seen.hold, &seen.families)
                    == (true, standing.asn, standing.hold, &families),
                "{} of {node}: {seen:#?}",
                standing.object.name
            );
            let keeps = matches!(&seen.restart, Restart::Keeps(kept) if *kept == families);
            let wanted = matches!(standing.object.name, "f8-v4" | "go");
            ensure!(keeps == wanted, "{} of {node}: {seen:#?}", standing.object.name);
        }
        if standing.object.name == "red" {
            let id = world.seen("red", "n1")?.id;
            ensure!(id == "192.0.2.88".parse().ok(), "the VRF's router id: {id:?}");
        }
    }
    Ok(())
}

/// A Service of both families reaches every router over every session that carries the family, with the AS path and
/// the next hop that the session's options make of it.
#[test]
fn routes_by_every_session() -> Result<()> {
    let world = World::get()?;
    world.lab.manifests.put("advertisement", &crate::world::object("BGPAdvertisement", "all", "{}"))?;
    let addresses = world.lab.add(&Service::new("everywhere", "ads", &world.lab.fabric))?;
    for standing in &world.standing {
        let peer = standing.object.name;
        let as_path = match standing.asn {
            ALIAS => vec![ALIAS],
            _ if matches!(peer, "f10-v4" | "f10-v6" | "bd-v4" | "bd-v6") => vec![],
            _ => vec![NODE_ASN],
        };
        for node in &world.lab.fabric.nodes {
            let segment = if peer == "red" { Segment::Vrf } else { Segment::Tor };
            for ip in &addresses {
                let prefix = ferrolb_e2e::lab::prefix(*ip);
                let hop = match ip {
                    IpAddr::V4(_) => IpAddr::from(segment.v4(node.host())),
                    IpAddr::V6(_) => segment.v6(node.host()).into(),
                };
                let family = if ip.is_ipv4() { "v4" } else { "v6" };
                let carried = standing.families.iter().any(|carried| carried.name() == family);
                world.wait_told(peer, node.name(), &prefix, |path| match path {
                    None => !carried,
                    // by a link-local address, for IPv4 too (RFC 8950)
                    Some(path) if peer == "line" => {
                        path.as_path == as_path
                            && path.next_hop.is_some_and(|hop| hop.to_string().starts_with("fe80:"))
                    }
                    Some(path) => carried && path.as_path == as_path && path.next_hop == Some(hop),
                })?;
            }
        }
    }
    // the kernel hears of it after BGP's table
    wait::until_true(DEADLINE, "IPv4 by an IPv6 next hop in the kernel", || {
        let routes = world.router("line")?.net().ip("-4 -j route show proto bgp")?;
        let routes: Value = serde_json::from_str(&routes)?;
        let via = routes.pointer("/0/via/family").or_else(|| routes.pointer("/0/nexthops/0/via/family"));
        ensure!(via.and_then(Value::as_str) == Some("inet6"), "{routes}");
        Ok(true)
    })?;
    world.lab.remove("everywhere")?;
    world.lab.manifests.remove("advertisement")?;
    world.undisturbed(&[])
}

/// Each change interrupts the session that it is about, or not even that one.
#[test]
fn a_change_is_one_sessions_own() -> Result<()> {
    let world = World::get()?;

    // whose AS: a number for `external`, which FRR begins anew with
    let changed = world.peer("f8-v6")?.without("dynamicASN").with("peerASN", 65031);
    let before = world.lab.names().into_iter().map(|node| Ok((world.seen("f8-v6", &node)?.life, node)));
    let before = before.collect::<Result<Vec<_>>>()?;
    let anew = || {
        before.iter().try_for_each(|(life, node)| {
            world.wait_seen("f8-v6", node, "anew", |seen| seen.established && seen.life != *life).map(drop)
        })
    };
    world.step(&["f8-v6"], || world.put(&changed), anew)?;

    // two hops away only with multihop
    let near = world.peer("hop")?.without("ebgpMultiHop");
    world.step(&["hop"], || world.put(&near), || world.down("hop"))?;
    world.step(&["hop"], || world.put(&world.peer("hop")?), || world.up("hop"))?;

    // no common network, with both families too
    world.step(&["loop"], || world.remove("loop"), || world.down("loop"))?;
    let dual = world.peer("loop")?.with("dualStackAddressFamily", true);
    world.step(&["loop"], || world.put(&dual), || world.up("loop"))?;

    // from another address of the node's
    let n1 = world.lab.fabric.node("n1")?;
    n1.net.addresses(TOR, &[&format!("{SECOND}/24")])?;
    let from = world.peer("bd-v4")?.with("sourceAddress", SECOND);
    let from = from.with("nodeSelectors", "[{matchLabels: {kubernetes.io/hostname: n1}}]");
    let second = Neighbour::new(SECOND.into(), NODE_ASN).at;
    world.step(
        &["bd-v4"],
        || world.put(&from),
        || {
            let router = world.router("bd-v4")?;
            wait::until_true(DEADLINE, "a session from the second address", || {
                Ok(router.seen(&second)?.established)
            })
            .with_context(|| world.lab.logs())?;
            world.down("bd-v4")
        },
    )?;
    world.step(&["bd-v4"], || world.put(&world.peer("bd-v4")?), || world.up("bd-v4"))?;
    n1.net.ip(&format!("addr del {SECOND}/24 dev {TOR}"))?;

    // nodes by their labels
    let edge = world.peer("alias")?.with("nodeSelectors", "[{matchLabels: {tier: edge}}]");
    world.step(&["alias"], || world.put(&edge), || world.down("alias"))?;
    for node in ["n2", "n1"] {
        let up = || world.wait_seen("alias", node, "up", |seen| seen.established).map(drop);
        world.step(&["alias"], || world.label(node, "tier: edge"), up)?;
    }
    let down = || world.wait_seen("alias", "n2", "down", |seen| !seen.established).map(drop);
    world.step(&["alias"], || world.label("n2", "tier: core"), down)?;
    ensure!(world.seen("alias", "n1")?.established, "n1 still has its label");
    Ok(())
}

/// Other timers are those of the next session, as FRR has it: the running one is left alone with what it has negotiated.
#[test]
fn timers_are_the_next_sessions() -> Result<()> {
    let world = World::get()?;
    let address = world.address("f8-v4")?;
    let line = |line: &str| {
        for node in world.lab.names() {
            let frr = world.lab.frr(&node)?;
            let line = format!("neighbor {address} timers {line}");
            wait::until_true(DEADLINE, &format!("{line:?} in the FRR of {node}"), || {
                Ok(frr.vtysh("show running-config")?.lines().any(|found| found.trim() == line))
            })
            .with_context(|| world.lab.logs())?;
        }
        Ok(())
    };
    let held = |hold: u64| {
        let wanted = format!("up with a hold time of {hold} s");
        let mut nodes = world.lab.fabric.nodes.iter();
        nodes.try_for_each(|node| {
            let right = |seen: &ferrolb_e2e::peer::Seen| seen.established && seen.hold == hold;
            world.wait_seen("f8-v4", node.name(), &wanted, right).map(drop)
        })
    };
    let often = world.peer("f8-v4")?.with("keepaliveTime", "2s").with("holdTime", "12s");
    world.step(&[], || world.put(&often), || line("2 12"))?;
    held(21)?;
    world.step(&["f8-v4"], || world.end_by_router("f8-v4"), || held(12))?;
    world.step(&[], || world.put(&world.peer("f8-v4")?), || line("3 21"))?;
    held(12)?;
    world.step(&["f8-v4"], || world.end_by_router("f8-v4"), || held(21))
}

/// A router id is every session's of its VRF, and of no other.
#[test]
fn a_router_id_is_the_vrfs() -> Result<()> {
    let world = World::get()?;
    let (in_vrf, others): (Vec<_>, Vec<_>) =
        world.standing.iter().map(|standing| standing.object.name).partition(|name| *name == "red");
    let id = "192.0.2.99";
    for name in &others {
        world.put(&world.peer(name)?.with("routerID", id))?;
    }
    for name in &others {
        for node in world.lab.names() {
            world.wait_seen(name, &node, "with its router id", |seen| {
                seen.established && seen.id == id.parse().ok()
            })?;
        }
    }
    world.undisturbed(&others)?;
    // `tidy` takes it back, in the next test; here it may not matter to the VRF
    ensure!(in_vrf == ["red"], "{in_vrf:?}");
    Ok(())
}

/// A node's sessions have the id of its annotation; without one, on a node that has no IPv4 address, one that is made of
/// its name. A VRF whose peer names an id of its own keeps that, and its session.
#[test]
fn a_router_id_is_the_nodes() -> Result<()> {
    let world = World::get()?;
    let n1 = world.lab.fabric.node("n1")?;
    let life = || Ok::<_, anyhow::Error>(world.seen("red", "n1")?.life);
    let (red, own) = (life()?, objects::node(n1));
    let annotated =
        own.replacen("  labels:\n", "  annotations: {ferrolb.io/router-id: 192.0.2.77}\n  labels:\n", 1);
    let no_v4 = objects::node_at("n1", &[Segment::Lan.v6(n1.host()).into()]);
    // CRC-32 of `n1`, the last octet first
    for (node, id) in [(annotated, "192.0.2.77"), (no_v4, "236.84.121.235")] {
        world.lab.manifests.put("node-n1", &node)?;
        for standing in world.standing.iter().filter(|standing| standing.object.name != "red") {
            world.wait_seen(standing.object.name, "n1", &format!("as {id}"), |seen| {
                seen.established && seen.id == id.parse().ok()
            })?;
        }
        ensure!(life()? == red, "the VRF's session was interrupted");
        world.undisturbed(&["@n1"])?;
    }
    Ok(())
}

/// BFD at the peer: the intervals that a profile asks for, and others, without an interruption; and nothing of it once no
/// session wants it, nor of the last profile. A router that gives up BFD first may end the session, and must get it
/// back.
///
/// Sessions that BFD has ended are another test's: [`crate::bfd::who_was_missed_comes_back`].
#[test]
fn bfd_profiles() -> Result<()> {
    let world = World::get()?;
    let frr = world.router("f10-v4")?.frr().context("it runs FRR")?;
    let bfd = |node: &str| -> Result<Option<[Option<u64>; 3]>> {
        let at = ferrolb_e2e::peer::name(&world.at("f10-v4", node)?);
        let all = frr.json("show bfd peers json")?;
        let of = |session: &&Value| session.get("peer").and_then(Value::as_str) == Some(&at);
        let up = |session: &&Value| session.get("status").and_then(Value::as_str) == Some("up");
        let fields = ["remote-receive-interval", "remote-transmit-interval", "remote-detect-multiplier"];
        let session = all.as_array().into_iter().flatten().find(of).filter(up);
        Ok(session.map(|session| fields.map(|field| session.get(field).and_then(Value::as_u64))))
    };
    let wait = |wanted: [u64; 3]| {
        let wanted = Some(wanted.map(Some));
        for node in world.lab.names() {
            let mut last = None;
            wait::until_true(DEADLINE, &format!("BFD with {node} as {wanted:?}"), || {
                last = bfd(&node)?;
                Ok(last == wanted)
            })
            .with_context(|| format!("the router has {last:?}\n{}", world.lab.logs()))?;
        }
        Ok(())
    };
    world.router_watches("f10-v4", Watch::Patiently)?;
    let watched = world.peer("f10-v4")?.with("bfdProfile", "slow");
    world.step(&[], || world.put(&watched), || wait([400, 500, 50]))?;
    let faster = profile("slow", "{receiveInterval: 350, transmitInterval: 450, detectMultiplier: 70}");
    world.step(&[], || world.lab.manifests.put("bfd", &faster), || wait([350, 450, 70]))?;
    // a second profile, and the session moves to it
    let second = profile("second", "{receiveInterval: 600, transmitInterval: 700, detectMultiplier: 60}");
    let moved = watched.with("bfdProfile", "second");
    world.step(&[], || world.lab.manifests.put("second", &second), || Ok(()))?;
    world.step(&[], || world.put(&moved), || wait([600, 700, 60]))?;
    // nobody wants it any more
    world.unwatched("f10-v4")?;
    world.lab.manifests.remove("second")?;
    world.lab.manifests.remove("bfd")?;
    for node in world.lab.names() {
        let frr = world.lab.frr(&node)?;
        wait::until_true(DEADLINE, &format!("{node} without BFD"), || {
            let text = frr.vtysh("show running-config")?;
            let peers = frr.json("show bfd peers json")?;
            Ok(!text.contains("profile") && peers.as_array().is_some_and(Vec::is_empty))
        })
        .with_context(|| world.lab.logs())?;
    }
    world.undisturbed(&[])
}
