//! A thousand addresses at once: they lose their node, and they come together again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    capture::Capture,
    fabric::LAN,
    flat::{Flat, Watch},
    lab::DEADLINE,
    neighbour::{self, claims},
    wait,
};

use crate::{PAUSE, QUIET, TAKEOVER, assert_not_doubled};

const COUNT: u8 = 250;
const BLOCKS: u8 = 4;

/// From the first of them that is announced to the last: they wait for nothing but the processor.
const ALL: Duration = Duration::from_millis(500);

fn ip(block: u8, number: u8) -> IpAddr {
    Ipv4Addr::new(172, 30, 100 + block, number).into()
}

#[test]
fn a_thousand_addresses_move_at_once() -> Result<()> {
    // all on the node that is preferred
    let preferred = "  preferredNodeSelectors:\n  - weight: 10\n    preference:\n      matchLabels: \
                     {kubernetes.io/hostname: n1}\n";
    let mut lab = Flat::start(3, &["172.30.100.0-172.30.103.255"], preferred)?;
    let warden = &lab.fabric.warden;
    let capture = Capture::start(warden, &lab.fabric.switch, LAN, neighbour::FILTER)?;
    let macs: BTreeMap<String, String> = lab
        .fabric
        .nodes
        .iter()
        .map(|node| Ok((node.net.mac(LAN)?, node.name().to_owned())))
        .collect::<Result<_>>()?;
    let ips: Vec<IpAddr> =
        (0..BLOCKS).flat_map(|block| (0..COUNT).map(move |number| ip(block, number))).collect();
    lab.serve_many("crowd", &ips)?;
    let wanted = ips.len();
    let announced = |by: &dyn Fn(&str) -> bool, since: Duration| -> Result<BTreeMap<IpAddr, Duration>> {
        let mut first = BTreeMap::new();
        for claim in claims(&capture.frames()?) {
            let by = macs.get(&claim.mac).is_some_and(|node| by(node));
            if by && claim.at >= since && !claim.answer {
                first.entry(claim.ip).or_insert(claim.at);
            }
        }
        Ok(first)
    };
    wait::until_true(DEADLINE, "a thousand addresses at n1", || {
        Ok(announced(&|node| node == "n1", Duration::ZERO)?.len() == wanted)
    })
    .with_context(|| lab.logs())?;

    let at = lab.kill_speaker("n1")?;
    wait::until_true(DEADLINE, "a thousand addresses elsewhere", || {
        Ok(announced(&|node| node != "n1", at)?.len() == wanted)
    })
    .with_context(|| lab.logs())?;
    let moved = announced(&|node| node != "n1", at)?;
    let after = |time: Option<&Duration>| time.copied().unwrap_or_default().saturating_sub(at);
    for name in lab.names() {
        let by = announced(&|node| node == name, at)?;
        let (first, last) = (after(by.values().min()), after(by.values().max()));
        eprintln!(
            "{name} announced {} addresses, the first after {first:?}, the last after {last:?}",
            by.len()
        );
    }
    let (first, last) = (after(moved.values().min()), after(moved.values().max()));
    assert!(first < TAKEOVER && last - first < ALL, "the first after {first:?}, the last after {last:?}");
    // each by one node only
    let claims = claims(&capture.frames()?);
    let mut by: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.at > at + last) {
        by.entry(claim.ip).or_default().insert(&claim.mac);
    }
    assert!(by.values().all(|macs| macs.len() == 1), "{by:?}");
    Ok(())
}

/// A thousand addresses on three nodes; one is cut off and takes all, the others take what was its own. When the halves
/// hear each other again no address has two stations for longer than it may, and everybody learns where each is.
#[test]
fn a_thousand_addresses_are_in_one_hand_after_a_heal() -> Result<()> {
    let lab = Flat::start(3, &["172.30.100.0-172.30.103.255"], "")?;
    let ips: Vec<IpAddr> =
        (0..BLOCKS).flat_map(|block| (0..COUNT).map(move |number| ip(block, number))).collect();
    // who should have each
    let names = lab.names();
    let (mut elected, mut of) = (BTreeMap::new(), BTreeMap::<&str, Vec<IpAddr>>::new());
    for ip in &ips {
        let node = lab.elected(&names, *ip)?;
        elected.insert(*ip, node.net.mac(LAN)?);
        of.entry(node.name()).or_default().push(*ip);
    }
    // the first and the last of each node are asked for
    let asked: Vec<IpAddr> =
        of.values().flat_map(|ips| [ips.first(), ips.last()]).flatten().copied().collect();
    let (near, far) = (lab.watch(false, &asked, PAUSE)?, lab.watch(true, &asked, PAUSE)?);
    let announced = |watch: &Watch, since: Duration, by: &dyn Fn(&IpAddr, &str) -> bool| {
        let of = watch.claims()?.into_iter().filter(|claim| claim.at >= since && !claim.answer);
        let of: BTreeSet<IpAddr> =
            of.filter(|claim| by(&claim.ip, &claim.mac)).map(|claim| claim.ip).collect();
        Ok::<_, anyhow::Error>(ips.iter().filter(|ip| !of.contains(*ip)).count())
    };
    let right = |ip: &IpAddr, mac: &str| elected.get(ip).is_some_and(|elected| elected == mac);
    lab.serve_many("halves", &ips)?;
    lab.place("n3", true)?;
    wait::until_true(DEADLINE, "all addresses", || Ok(announced(&near, Duration::ZERO, &right)? == 0))
        .with_context(|| lab.logs())?;

    let n3 = lab.fabric.node("n3")?.net.mac(LAN)?;
    let at = lab.trunk(false)?;
    wait::until_true(DEADLINE, "the far half to have all", || {
        Ok(announced(&far, at, &|_, mac| mac == n3)? < of.get("n3").map_or(0, Vec::len) + 1)
    })
    .with_context(|| lab.logs())?;
    for ip in &asked {
        far.settled(*ip, &n3, QUIET).with_context(|| lab.logs())?;
    }
    wait::until_true(DEADLINE, "the near half to have all", || {
        let left = announced(&near, at, &|ip, mac| mac != n3 && !right(ip, mac))?;
        Ok(left + of.get("n3").map_or(0, Vec::len) == ips.len())
    })
    .with_context(|| lab.logs())?;

    let healed = lab.trunk(true)?;
    for watch in [&near, &far] {
        for ip in &asked {
            let mac = elected.get(ip).context("not elected")?;
            watch.settled(*ip, mac, QUIET).with_context(|| lab.logs())?;
        }
        wait::until_true(DEADLINE, "every address where it belongs", || {
            Ok(announced(watch, healed, &right)? == 0)
        })
        .with_context(|| lab.logs())?;
    }
    assert_not_doubled(&near, &asked, healed, "near, after the heal")?;
    assert_not_doubled(&far, &asked, healed, "far, after the heal")
}
