//! Graceful restart: a node's FRR that dies, at routers that were told to keep its routes and at routers that were not.

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{lab::DEADLINE, objects::Service, peer::Restart, wait};

use crate::world::{World, object};

/// The sessions with `enableGracefulRestart`, and those at routers that drop what they were not told to keep. BIRD keeps
/// the routes of whoever speaks of it at all.
const KEPT: [&str; 2] = ["f8-v4", "go"];
const DROPPED: [&str; 3] = ["f10-v6", "f8-v6", "line"];

/// All daemons of a node are killed at once, of FRR 8 and of FRR 10. Where the peer has graceful restart its routes stay
/// in the table as stale ones, without it they are gone; once FRR runs again all of them are there and fresh. The
/// other node's sessions do not notice.
#[test]
fn routes_are_kept_where_it_is_asked_for() -> Result<()> {
    let mut world = World::get()?;
    world.lab.manifests.put("advertisement", &object("BGPAdvertisement", "all", "{}"))?;
    let addresses = world.lab.add(&Service::new("steady", "ads", &world.lab.fabric))?;
    let prefix = |peer: &str| {
        let v6 = peer.ends_with("v6");
        let ip = addresses.iter().find(|ip| ip.is_ipv6() == v6).context("an address of each family")?;
        Ok::<_, anyhow::Error>(ferrolb_e2e::lab::prefix(*ip))
    };
    for node in world.lab.names() {
        for peer in KEPT.iter().chain(&DROPPED) {
            world.wait_told(peer, &node, &prefix(peer)?, |path| path.is_some_and(|path| !path.stale))?;
        }
    }
    for node in world.lab.names() {
        let start = wait::now();
        world.lab.kill_frr(&node, &["bgpd", "zebra", "bfdd"])?;
        for peer in DROPPED {
            world.wait_told(peer, &node, &prefix(peer)?, |path| path.is_none())?;
        }
        let gone = start.elapsed();
        for peer in KEPT {
            let kept = |path: Option<&ferrolb_e2e::peer::Path>| path.is_some_and(|path| path.stale);
            world.wait_told(peer, &node, &prefix(peer)?, kept)?;
            ensure!(!world.seen(peer, &node)?.established, "{peer}: it was killed");
        }
        world.lab.resume_frr(&node)?;
        for peer in KEPT.iter().chain(&DROPPED) {
            let fresh = |path: Option<&ferrolb_e2e::peer::Path>| path.is_some_and(|path| !path.stale);
            world.wait_told(peer, &node, &prefix(peer)?, fresh)?;
        }
        println!("{node}: gone after {gone:.1?}, all back {:.1?} after the kill", start.elapsed());
        for peer in KEPT {
            let seen = world.wait_seen(peer, &node, "up", |seen| seen.established)?;
            ensure!(matches!(seen.restart, Restart::Keeps(_)), "{peer}: {seen:#?}");
        }
        for standing in &world.standing {
            world.wait_seen(standing.object.name, &node, "up again", |seen| seen.established)?;
        }
        world.undisturbed(&[&format!("@{node}")])?;
    }
    wait::until_true(DEADLINE, "nothing stale", || {
        let table = world.router("go")?.table()?;
        Ok(table.values().flatten().all(|path| !path.stale))
    })
}
