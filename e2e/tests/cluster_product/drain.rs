//! `ferrolb drain` against the real API server: an annotation, and what a router sees of it.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{bins, fabric::Segment, lab::prefix, process::Spawn, wait};
use serde_json::Value;

use crate::world::{DEADLINE, World, n2, world};

/// A drain's time: for as long the routes say that they will go.
const DRAIN: Duration = Duration::from_secs(30);

/// That, and some.
const LEFT: Duration = Duration::from_mins(2);

fn ask(world: &World, command: &str) -> Result<()> {
    let ferrolb = Spawn::new(bins::product("ferrolb")?).args([command, "--node", "n2", "--kubeconfig"]);
    let config = world.kubectl().config().to_owned();
    ferrolb.arg(config).in_net(world.cluster.fabric().control.path()).text().map(drop)
}

/// Whether the Node has the annotation.
fn annotated(world: &World) -> Result<bool> {
    let node = world.kubectl().get(&["node", "n2"])?;
    Ok(node.pointer("/metadata/annotations/ferrolb.io~1drain").and_then(Value::as_str) == Some("true"))
}

/// What the router knows of an address from n2: the communities, where there is a path.
fn told(world: &World, ip: IpAddr) -> Result<Option<String>> {
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    let from = if ip.is_ipv4() { Segment::Tor.v4(12).into() } else { IpAddr::from(Segment::Tor.v6(12)) };
    let route = world.tor.frr.json(&format!("show bgp {family} unicast {} json", prefix(ip)))?;
    let paths = route.get("paths").and_then(Value::as_array);
    let mut paths = paths.into_iter().flatten();
    let path =
        paths.find(|path| path.pointer("/peer/peerId").and_then(Value::as_str) == Some(&from.to_string()));
    let text =
        |path: &Value| path.pointer("/community/string").and_then(Value::as_str).unwrap_or("").to_owned();
    Ok(path.map(text))
}

/// The Node is annotated, the routes say that they will go, they go, and the sessions stay; undrained, all is as before.
#[test]
fn a_node_is_drained_by_its_annotation() -> Result<()> {
    let world = world()?;
    world.service("leaving", &["metallb.io/address-pool: routed"])?;
    let addresses = world.addressed("leaving")?;
    let sessions = || {
        let ours: [IpAddr; 2] = [Segment::Tor.v4(12).into(), Segment::Tor.v6(12).into()];
        ours.iter().map(|ip| world.tor.session(*ip)?.context("no session")).collect::<Result<Vec<_>>>()
    };
    let all = |limit, what: &str, wanted: &dyn Fn(&Option<String>) -> bool| {
        wait::until_true(limit, what, || {
            let told = addresses.iter().map(|ip| told(world, *ip)).collect::<Result<Vec<_>>>()?;
            ensure!(told.iter().all(wanted), "the router knows {told:?}");
            Ok(true)
        })
    };
    all(DEADLINE, "routes by n2", &|told| told.as_deref() == Some(""))?;
    let before = sessions()?;
    let alone = n2();
    ask(world, "drain")?;
    ensure!(annotated(world)?, "no annotation");
    // FRR's word for 65535:0
    all(DRAIN, "routes that will go", &|told| {
        told.as_deref().is_some_and(|text| ["graceful-shutdown", "65535:0"].contains(&text))
    })?;
    all(LEFT, "no route by n2", &Option::is_none)?;
    let hops: Vec<BTreeSet<IpAddr>> =
        addresses.iter().map(|ip| world.tor.next_hops(&prefix(*ip))).collect::<Result<_>>()?;
    ensure!(hops.iter().all(|hops| hops.len() == 1), "n1 alone: {hops:?}");

    ask(world, "undrain")?;
    ensure!(!annotated(world)?, "the annotation is left");
    all(DEADLINE, "routes by n2 again", &|told| told.as_deref() == Some(""))?;
    drop(alone);
    for (before, now) in before.iter().zip(sessions()?) {
        ensure!((before.came_up, before.dropped) == (now.came_up, now.dropped), "{before:?}, then {now:?}");
    }
    world.kubectl().run(&["-n", "default", "delete", "svc", "leaving"])?;
    world.cluster.no_right_missing()
}
