//! BGP and BFD that wait for each other.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{lab::DEADLINE, wait};

use crate::{
    bfd::node_is,
    world::{Watch, World, profile},
};

/// A router that has forgotten its BFD, and begins with it only when BGP speaks, is met again: by FRR 8.4, which does
/// not wait for BFD, and by FRR 10, which does. (Over iBGP a router of FRR 10 begins so, since it learns its own address
/// from the session; others always do.)
#[test]
fn who_begins_with_bgp_is_met_again() -> Result<()> {
    let world = World::get()?;
    let peer = "f10-v4";
    world.lab.manifests.put("fast", &profile("fast", "{receiveInterval: 100, transmitInterval: 100}"))?;
    world.router_watches(peer, Watch::Closely)?;
    world.put(&world.peer(peer)?.with("bfdProfile", "fast"))?;
    let router = world.router(peer)?.frr().context("it runs FRR")?;
    for node in world.lab.names() {
        node_is(&world, "up")(peer)?;
        world.cut(peer, &node)?;
        world.wait_seen(peer, &node, "missed", |seen| !seen.established)?;
        // all of its BGP, and with it its BFD
        let running = router.vtysh("show running-config")?;
        let (_, instance) = running.split_once("router bgp ").context("no BGP")?;
        let (instance, _) = instance.split_once("\nexit\n").context("no end")?;
        let (asn, _) = instance.split_once('\n').context("an empty instance")?;
        router.vtysh(&format!("configure terminal\nno router bgp {asn}"))?;
        wait::until_true(DEADLINE, "the router to forget its BFD", || {
            Ok(router.json("show bfd peers json")?.as_array().is_some_and(Vec::is_empty))
        })?;
        router.vtysh(&format!("configure terminal\nrouter bgp {instance}\nexit"))?;
        world.mend(peer)?;
        for node in world.lab.names() {
            world.wait_seen(peer, &node, "back", |seen| seen.established)?;
        }
    }
    node_is(&world, "up")(peer)?;
    world.router_watches(peer, Watch::Off)?;
    world.put(&world.peer(peer)?)?;
    world.no_bfd()?;
    world.all_up()?;
    world.lab.manifests.remove("fast")
}
