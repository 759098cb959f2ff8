//! An installation comes, goes but for its CRDs, comes again to the same addresses, and leaves nothing when it goes for
//! good. Whatever happens to it in between, nobody who asks for its addresses notices; `make bench-install` measures the
//! same for longer.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ferrolb_e2e::{cluster::SYSTEM, install::life};

use crate::world::{FRR, turn};

/// Long enough for every watch to fail and to be tried again.
const API_AWAY: Duration = Duration::from_secs(20);

/// Where the speakers go one after another, the address moves, and one connection of some thousands was seen to lose its
/// first packet on the flat segment (BENCHMARKS.md): at 50 a second an address that nobody serves for a moment costs more.
const MOVES: [&str; 2] = ["restart of the speakers", "upgrade"];

#[test]
fn nobody_notices_what_happens_to_it() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    world.shall_be(None)?;
    world.shall_be(Some(FRR))?;
    let (_, _, addresses) = life::install(&world.installation)?;
    let tell = &mut |seen: &_| println!("{seen}");
    let all = life::happenings(&mut world.installation, &world.tor, &addresses, API_AWAY, tell)?;
    for seen in &all {
        assert!(seen.bgp.sent > 0 && seen.l2.sent > 0, "nobody asked: {seen}");
        assert_eq!((seen.bgp.failed, seen.withdrawn, seen.moved), (0, 0, 0), "{seen}");
        let stray = usize::from(MOVES.contains(&seen.step.as_str()));
        assert!(seen.l2.failed <= stray, "{seen}");
    }
    // the routers were promised a return, and would keep the routes for as long as it may take
    life::retract(&world.installation, (&world.tor, &world.bird), &addresses)?;
    // without its advertisements it is nothing that another test could go on with
    world.shall_be(None)?;
    Ok(())
}

#[test]
fn it_comes_and_goes_and_leaves_nothing() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    world.shall_be(None)?;
    world.shall_be(Some(FRR))?;
    let (first, all, addresses) = life::install(&world.installation)?;
    println!("the first address answers after {first:.1?}, all after {all:.1?}");
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

    // the routers would wait for it, as they did above
    let retracted = life::retract(installation, (&world.tor, &world.bird), &addresses)?;
    installation.uninstall(FRR, None)?;
    let (flat, _) = life::gone(installation, (&world.tor, &world.bird), &addresses)?;
    println!(
        "without advertisements no route after {retracted:.1?}; uninstalled, no answer after {flat:.1?}"
    );
    for kind in ["crd", "clusterrole", "clusterrolebinding", "namespace", "priorityclass"] {
        let names = kubectl.run(&["get", kind, "-o", "name"])?;
        let left: Vec<&str> =
            names.lines().filter(|name| name.contains("metallb") || name.contains("ferrolb")).collect();
        assert!(left.is_empty(), "{left:?} are left");
    }
    world.shall_be(None)?;
    Ok(())
}
