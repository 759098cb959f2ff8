//! One node's fate: its speaker dies, its links go, a link comes and goes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ferrolb_e2e::{calm, wait};

use crate::{PAUSE, QUIET, TAKEOVER, addresses, lab, not_doubled, served};

/// Only the speaker dies: the next node claims both addresses; the first has them back when it returns.
#[test]
fn a_killed_speaker_is_replaced() -> Result<()> {
    calm::rounds(|round| {
        let mut lab = lab()?;
        let ips = addresses(201)?;
        let watch = lab.watch(false, &ips, PAUSE)?;
        let order = served(&mut lab, "killed", &ips, &watch)?;
        let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
        let killed = lab.kill_speaker(elected)?;
        for ip in ips {
            let taken = watch.claimed(ip, next, killed.start).with_context(|| lab.logs())?;
            let what = format!("the speaker of {elected} killed: {ip} taken over");
            round.judge(&what, killed.end..taken, TAKEOVER);
            watch.settled(ip, next, killed.end, QUIET)?;
        }
        not_doubled(round, &watch, &ips, killed.start, "after the kill")?;

        let back = wait::since_epoch()?;
        lab.start_speaker(elected)?;
        for ip in ips {
            watch.settled(ip, mac, back, QUIET).with_context(|| lab.logs())?;
        }
        not_doubled(round, &watch, &ips, back, "when it is back")?;
        lab.remove("killed")
    })
}

/// The machine loses its power: speaker and cables at once.
#[test]
fn a_dead_node_is_replaced() -> Result<()> {
    calm::rounds(|round| {
        let mut lab = lab()?;
        let ips = addresses(202)?;
        let watch = lab.watch(false, &ips, PAUSE)?;
        let order = served(&mut lab, "dead", &ips, &watch)?;
        let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
        let (cables, ()) = calm::act(|| lab.fabric.node(elected)?.unplug())?;
        let killed = lab.kill_speaker(elected)?;
        for ip in ips {
            let taken = watch.claimed(ip, next, cables.start).with_context(|| lab.logs())?;
            round.judge(&format!("{elected} dead: {ip} taken over"), killed.end..taken, TAKEOVER);
            watch.settled(ip, next, killed.end, QUIET)?;
        }
        let back = wait::since_epoch()?;
        lab.fabric.node(elected)?.replug()?;
        lab.start_speaker(elected)?;
        for ip in ips {
            watch.settled(ip, mac, back, QUIET).with_context(|| lab.logs())?;
        }
        not_doubled(round, &watch, &ips, back, "when it is back")?;
        lab.remove("dead")
    })
}

/// A cable with a loose contact: whoever has the carrier may answer, but never two for long, and the elected node in
/// the end.
#[test]
fn a_flapping_link_never_leaves_two() -> Result<()> {
    calm::rounds(|round| {
        let mut lab = lab()?;
        let ips = addresses(203)?;
        let watch = lab.watch(false, &ips, PAUSE)?;
        let order = served(&mut lab, "flapping", &ips, &watch)?;
        let [(elected, mac), (_, next), ..] = order.as_slice() else { return Ok(()) };
        // shorter than the gossip takes to notice, about as long, and until another has both addresses for good
        for away in [Some(100), Some(300), Some(500), Some(900), None] {
            let node = lab.fabric.node(elected)?;
            let (down, ()) = calm::act(|| node.unplug())?;
            match away {
                Some(away) => wait::pass(Duration::from_millis(away)),
                None => {
                    for ip in ips {
                        watch.settled(ip, next, down.end, QUIET).with_context(|| lab.logs())?;
                    }
                }
            }
            let (up, ()) = calm::act(|| node.replug())?;
            for ip in ips {
                watch.settled(ip, mac, up.end, QUIET).with_context(|| lab.logs())?;
            }
            let what = format!("a link away for {:?}", up.start.saturating_sub(down.end));
            not_doubled(round, &watch, &ips, up.start, &what)?;
        }
        lab.remove("flapping")
    })
}
