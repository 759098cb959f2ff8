//! One node's fate: its speaker dies, its links go, a link comes and goes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ferrolb_e2e::{neighbour::first, wait};

use crate::{PAUSE, QUIET, TAKEOVER, addresses, assert_not_doubled, lab, served};

/// Only the speaker dies: the next node claims both addresses; the first has them back when it returns.
#[test]
fn a_killed_speaker_is_replaced() -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(201)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, "killed", &ips, &watch)?;
    let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
    let at = lab.kill_speaker(elected)?;
    for ip in ips {
        let took = watch.claimed(ip, next, at).with_context(|| lab.logs())?.saturating_sub(at);
        eprintln!(
            "the speaker of {elected} killed: {ip} taken over after {:.0} ms",
            took.as_secs_f64() * 1e3
        );
        assert!(took < TAKEOVER, "{ip} was taken over after {took:?}");
        watch.settled(ip, next, QUIET)?;
    }
    assert_not_doubled(&watch, &ips, at, "after the kill")?;

    let back = wait::since_epoch()?;
    lab.start_speaker(elected)?;
    for ip in ips {
        watch.claimed(ip, mac, back).with_context(|| lab.logs())?;
        watch.settled(ip, mac, QUIET).with_context(|| lab.logs())?;
    }
    assert_not_doubled(&watch, &ips, back, "when it is back")?;
    lab.remove("killed")
}

/// The machine loses its power: speaker and cables at once.
#[test]
fn a_dead_node_is_replaced() -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(202)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, "dead", &ips, &watch)?;
    let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
    let at = wait::since_epoch()?;
    lab.fabric.node(elected)?.unplug()?;
    lab.kill_speaker(elected)?;
    for ip in ips {
        let took = watch.claimed(ip, next, at).with_context(|| lab.logs())?.saturating_sub(at);
        eprintln!("{elected} dead: {ip} taken over after {:.0} ms", took.as_secs_f64() * 1e3);
        assert!(took < TAKEOVER, "{ip} was taken over after {took:?}");
        watch.settled(ip, next, QUIET)?;
    }
    let back = wait::since_epoch()?;
    lab.fabric.node(elected)?.replug()?;
    lab.start_speaker(elected)?;
    for ip in ips {
        watch.settled(ip, mac, QUIET).with_context(|| lab.logs())?;
    }
    assert_not_doubled(&watch, &ips, back, "when it is back")?;
    lab.remove("dead")
}

/// A cable with a loose contact: whoever has the carrier may answer, but never two for long, and the elected node in
/// the end.
#[test]
fn a_flapping_link_never_leaves_two() -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(203)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, "flapping", &ips, &watch)?;
    let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
    // shorter than the gossip takes to notice, about as long, and longer
    for away in [100, 300, 500, 900, 1500].map(Duration::from_millis) {
        let node = lab.fabric.node(elected)?;
        let down = wait::since_epoch()?;
        node.unplug()?;
        wait::pass(away);
        let up = wait::since_epoch()?;
        node.replug()?;
        for ip in ips {
            watch.claimed(ip, mac, up).with_context(|| lab.logs())?;
            watch.settled(ip, mac, QUIET).with_context(|| lab.logs())?;
        }
        assert_not_doubled(&watch, &ips, up, &format!("a link away for {away:?}"))?;
        if away > TAKEOVER {
            let claims = watch.claims()?;
            let taken = ips.iter().all(|ip| first(&claims, *ip, next, down).is_some_and(|at| at < up));
            assert!(taken, "nobody took over in {away:?}");
        }
    }
    lab.remove("flapping")
}
