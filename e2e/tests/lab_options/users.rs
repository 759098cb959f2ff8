//! What users add of their own, at the routers: text for FRR, and routes between VRFs.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{fabric::NODE_ASN, lab::DEADLINE, wait};
use serde_json::Value;

use crate::world::{World, object, users};

/// Tells f8's neighbours of this, for as long as a test of users' text runs.
const THEIRS: &str = "10.123.0.0/24";

/// `route-map PEER-in permit 20` in the ConfigMap `bgpextras` lets everything of this peer in, as with MetalLB; the others
/// go on refusing, and without the ConfigMap so does this one. No session notices.
#[test]
fn extras_let_routes_in() -> Result<()> {
    let world = World::get()?;
    let router = world.router("f8-v4")?;
    let frr = router.frr().context("it runs FRR")?;
    let at = "router bgp 65031\naddress-family ipv4 unicast";
    frr.vtysh(&format!(
        "configure terminal\nrouter bgp 65031\nno bgp network import-check\n{at}\nnetwork {THEIRS}"
    ))?;
    let peer = world.address("f8-v4")?;
    let heard = |node: &str| -> Result<bool> {
        let table: Value = world.lab.frr(node)?.json("show bgp ipv4 unicast json")?;
        Ok(table.pointer("/routes").and_then(|routes| routes.get(THEIRS)).is_some())
    };
    let all = |wanted: bool| {
        for node in world.lab.names() {
            wait::until_true(DEADLINE, &format!("{node} to have heard of {THEIRS}: {wanted}"), || {
                Ok(heard(&node)? == wanted)
            })
            .with_context(|| world.lab.logs())?;
        }
        Ok(())
    };
    let extras = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bgpextras\n  namespace: metallb-system\ndata:\n  extras: |\n    \
         route-map {peer}-in permit 20\n"
    );
    all(false)?;
    world.step(&[], || world.lab.manifests.put("extras", &extras), || all(true))?;
    // something else changes, and it stays
    let pass = object("BGPAdvertisement", "all", "{}");
    world.step(&[], || world.lab.manifests.put("advertisement", &pass), || settled(&world))?;
    all(true)?;
    world.step(&[], || world.lab.manifests.remove("extras"), || all(false))?;
    frr.vtysh(&format!("configure terminal\n{at}\nno network {THEIRS}"))?;
    world.undisturbed(&[])
}

/// Raw `timers` take the place of ours: they stay when other things change, count for the next session, and go with their
/// object, when ours are there again. What was never raw is as it was.
#[test]
fn raw_timers_stay() -> Result<()> {
    let world = World::get()?;
    let peer = world.address("f8-v4")?;
    let raw = format!("{{raw: {{rawConfig: \"router bgp {NODE_ASN}\\n neighbor {peer} timers 4 12\\n\"}}}}");
    let line = |line: String| {
        for node in world.lab.names() {
            let frr = world.lab.frr(&node)?;
            wait::until_true(DEADLINE, &format!("{line:?} in the FRR of {node}"), || {
                let text = frr.vtysh("show running-config")?;
                let mut lines = text.lines().filter(|line| line.contains(&format!("neighbor {peer} timers")));
                let first = lines.find(|line| !line.contains("connect"));
                Ok(first.map(str::trim) == Some(&line))
            })
            .with_context(|| world.lab.logs())?;
        }
        Ok(())
    };
    let (ours, theirs) = (format!("neighbor {peer} timers 3 21"), format!("neighbor {peer} timers 4 12"));
    line(ours.clone())?;
    world.step(&[], || world.lab.manifests.put("raw", &users("raw", &raw)), || line(theirs.clone()))?;
    let pass = object("BGPAdvertisement", "all", "{}");
    world.step(&[], || world.lab.manifests.put("advertisement", &pass), || settled(&world))?;
    line(theirs)?;
    // the router ends the session: the next one is with the user's hold time
    let held = |seconds: u64| {
        world.end_by_router("f8-v4")?;
        for node in world.lab.names() {
            world.wait_seen("f8-v4", &node, "with another hold time", |seen| {
                seen.established && seen.hold == seconds
            })?;
        }
        Ok(())
    };
    world.step(&["f8-v4"], || Ok(()), || held(12))?;
    world.step(&[], || world.lab.manifests.remove("raw"), || line(ours))?;
    world.step(&["f8-v4"], || Ok(()), || held(21))
}

/// A VRF imports the default one: its neighbour is told of a prefix of there that a user names, and no longer when the
/// import has gone. FRR 8.4 imports it too, but tells nobody: it takes the prefix for unreachable, since no route leads
/// to it.
#[test]
fn a_vrf_imports_another() -> Result<()> {
    let world = World::get()?;
    let prefix = "10.77.0.0/24";
    let red = world.address("red")?;
    let with = |imports: &str, allowed: &str| {
        let neighbor =
            format!("{{address: {red}, asn: 65039, toAdvertise: {{allowed: {{prefixes: [{allowed}]}}}}}}");
        let spec = format!(
            "{{bgp: {{routers: [{{asn: {NODE_ASN}, prefixes: [{prefix}]}}, \
             {{asn: {NODE_ASN}, vrf: red, imports: [{imports}], neighbors: [{neighbor}]}}]}}}}"
        );
        world.lab.manifests.put("imports", &users("imports", &spec))
    };
    let told = |wanted: bool| {
        let frr = world.lab.frr("n1")?;
        wait::until_true(DEADLINE, &format!("{prefix} in the VRF of n1: {wanted}"), || {
            let table = frr.json("show bgp vrf red ipv4 unicast json")?;
            Ok(table.pointer("/routes").and_then(|routes| routes.get(prefix)).is_some() == wanted)
        })?;
        world.wait_told("red", "n2", prefix, |path| path.is_some() == wanted)
    };
    world.step(&[], || with("", ""), || told(false))?;
    world.step(&[], || with("{vrf: default}", prefix), || told(true))?;
    world.step(&[], || with("", ""), || told(false))?;
    world.lab.manifests.remove("imports")?;
    settled(&world)?;
    world.undisturbed(&[])
}

/// Waits until every speaker has done what the manifests say now: a prefix that is advertised for the purpose has come
/// to f8, which is told of it after everything before.
pub(crate) fn settled(world: &World) -> Result<()> {
    let ours = "10.78.0.0/24";
    let spec = format!(
        "{{bgp: {{routers: [{{asn: {NODE_ASN}, prefixes: [{ours}], neighbors: [{{address: {}, asn: 65031, \
         toAdvertise: {{allowed: {{prefixes: [{ours}]}}}}}}]}}]}}}}",
        world.address("f8-v4")?
    );
    for (edit, there) in [(Some(users("settled", &spec)), true), (None, false)] {
        match edit {
            Some(text) => world.lab.manifests.put("settled", &text)?,
            None => world.lab.manifests.remove("settled")?,
        }
        for node in world.lab.names() {
            world.wait_told("f8-v4", &node, ours, |path| path.is_some() == there)?;
        }
    }
    Ok(())
}
