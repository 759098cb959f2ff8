//! The segment falls in two and is whole again. While it is cut each half has one node that answers; from when the
//! halves hear each other, there is one.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    calm::{self, Round},
    wait,
};

use crate::{PAUSE, QUIET, TAKEOVER, addresses, lab, not_doubled, served};

/// Parts the node at this place of the election's order from the others, and heals; `host` is the Service's.
fn parted(round: &mut Round, host: u8, name: &str, place: usize) -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(host)?;
    let (near, far) = (lab.watch(false, &ips, PAUSE)?, lab.watch(true, &ips, PAUSE)?);
    let order = served(&mut lab, name, &ips, &near)?;
    let (alone, alone_mac) = order.get(place).context("too few nodes")?;
    let others = order.iter().filter(|(node, _)| node != alone);
    let (elected, others) = (order.first().context("no node")?, others.collect::<Vec<_>>());
    let (_, near_mac) = others.first().context("too few nodes")?;
    let (placed, ()) = calm::act(|| lab.place(alone, true))?;
    for ip in ips {
        near.settled(ip, &elected.1, placed.end, QUIET).with_context(|| lab.logs())?;
        far.settled(ip, &elected.1, placed.end, QUIET).with_context(|| lab.logs())?;
    }

    let cut = lab.trunk(false)?;
    for ip in ips {
        for (watch, mac) in [(&near, near_mac), (&far, alone_mac)] {
            let taken = watch.claimed(ip, mac, cut.start).with_context(|| lab.logs())?;
            round.judge(&format!("{alone} parted: {ip} taken over"), cut.end..taken, TAKEOVER);
            watch.settled(ip, mac, cut.end, QUIET).with_context(|| lab.logs())?;
        }
    }

    let healed = lab.trunk(true)?;
    for ip in ips {
        for watch in [&near, &far] {
            watch.settled(ip, &elected.1, healed.end, QUIET).with_context(|| lab.logs())?;
        }
    }
    let took = wait::since_epoch()?.saturating_sub(healed.start).saturating_sub(QUIET);
    eprintln!(
        "{alone} parted: one station everywhere {:.0} ms after the heal at most",
        took.as_secs_f64() * 1e3
    );
    not_doubled(round, &near, &ips, healed.start, "near, after the heal")?;
    not_doubled(round, &far, &ips, healed.start, "far, after the heal")?;
    let (placed, ()) = calm::act(|| lab.place(alone, false))?;
    near.settled(ips[0], &elected.1, placed.end, QUIET).with_context(|| lab.logs())?;
    lab.remove(name)
}

#[test]
fn the_elected_node_is_parted_and_healed() -> Result<()> {
    calm::rounds(|round| parted(round, 211, "parted-first", 0))
}

#[test]
fn the_last_node_is_parted_and_healed() -> Result<()> {
    calm::rounds(|round| parted(round, 212, "parted-last", 2))
}
