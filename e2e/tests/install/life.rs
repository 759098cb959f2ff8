//! An installation's life: nobody outside notices that it is restarted, upgraded, or left alone by the API server, and
//! nothing is left when it goes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    cluster::SYSTEM,
    install::{life, witness::Seen},
};

use crate::world::{FRR, turn};

/// With graceful restart on its peers: what is done on purpose costs no request and no route.
#[test]
fn nobody_outside_notices_what_happens_to_it() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    world.shall_be(None)?;
    world.shall_be(Some(FRR))?;
    let (first, all, addresses) = life::install(&world.installation)?;
    println!("the first address answers after {first:.1?}, all after {all:.1?}");
    let mut tell = |seen: &Seen| println!("{seen}");
    let away = Duration::from_secs(40);
    let seen = life::happenings(&mut world.installation, &world.tor, &addresses, away, &mut tell)?;
    for seen in &seen {
        let failed = seen.bgp.failed + seen.l2.failed;
        ensure!(seen.bgp.sent > 0 && seen.l2.sent > 0, "nobody looked: {seen}");
        // there a route must go: whoever does not see that does not see anything
        let noticed = if seen.step.starts_with(life::WITHOUT) {
            seen.moved
        } else {
            failed + seen.withdrawn + seen.moved
        };
        ensure!((noticed > 0) == seen.step.starts_with(life::WITHOUT), "{seen}");
    }

    let installation = &world.installation;
    let kubectl = installation.cluster.kubectl();
    // without the CRDs, as README says
    installation.uninstall(FRR, Some("app=metallb"))?;
    let (flat, routed) = life::gone(installation, (&world.tor, &world.bird), &addresses)?;
    println!("uninstalled but for the CRDs: no answer after {flat:.1?}, no route after {routed:.1?}");
    let pools = kubectl.run(&["-n", SYSTEM, "get", "ipaddresspools.metallb.io", "-o", "name"])?;
    assert_eq!(pools.lines().count(), 2, "{pools}");
    installation.cluster.install()?;
    for (client, ips) in [("client", &addresses.flat), ("remote", &addresses.routed)] {
        let fabric = installation.cluster.fabric();
        let from = [&fabric.client, &fabric.remote].into_iter().find(|net| net.role() == client);
        for ip in ips {
            installation.wait_for_answer(from.context("no such client")?, *ip)?;
        }
    }
    assert_eq!(installation.addresses("routed")?, addresses.routed);
    assert_eq!(installation.addresses("flat")?, addresses.flat);

    installation.uninstall(FRR, None)?;
    let (flat, routed) = life::gone(installation, (&world.tor, &world.bird), &addresses)?;
    println!("uninstalled: no answer after {flat:.1?}, no route after {routed:.1?}");
    for kind in ["crd", "clusterrole", "clusterrolebinding", "namespace", "priorityclass"] {
        let names = kubectl.run(&["get", kind, "-o", "name"])?;
        let left: Vec<&str> =
            names.lines().filter(|name| name.contains("metallb") || name.contains("ferrolb")).collect();
        assert!(left.is_empty(), "{left:?} are left");
    }
    world.shall_be(None)?;
    Ok(())
}
