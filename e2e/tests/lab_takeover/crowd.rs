//! A thousand addresses at once: they lose their node, and they come together again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    calm::{self, Round},
    capture::Capture,
    fabric::LAN,
    flat::{Flat, Watch},
    lab::DEADLINE,
    neighbour::{self, Claim, claims},
    wait,
};

use crate::{PAUSE, QUIET, TAKEOVER, not_doubled};

const COUNT: u8 = 250;
const BLOCKS: u8 = 4;

fn ip(block: u8, number: u8) -> IpAddr {
    Ipv4Addr::new(172, 30, 100 + block, number).into()
}

#[test]
fn a_thousand_addresses_move_at_once() -> Result<()> {
    calm::rounds(move_at_once)
}

fn move_at_once(round: &mut Round) -> Result<()> {
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
        Ok(announced(&|node| node != "n1", at.start)?.len() == wanted)
    })
    .with_context(|| lab.logs())?;
    let moved = announced(&|node| node != "n1", at.start)?;
    let after = |time: Option<&Duration>| time.copied().unwrap_or_default().saturating_sub(at.end);
    for name in lab.names() {
        let by = announced(&|node| node == name, at.start)?;
        let (first, last) = (after(by.values().min()), after(by.values().max()));
        eprintln!(
            "{name} announced {} addresses, the first after {first:?}, the last after {last:?}",
            by.len()
        );
    }
    // from the first to the last they wait for nothing but the processor: that is for `BENCHMARKS.md` to say
    let first = moved.values().min().context("nothing has moved")?;
    round.judge("the first of a thousand taken over", at.end..*first, TAKEOVER);
    // each by one node only, once more too: of the first time there may be one frame left, of two
    let last = moved.values().max().copied().unwrap_or_default();
    let mut by: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    wait::until_true(DEADLINE, "a thousand addresses to be announced once more", || {
        by.clear();
        // the nodes answer for their own addresses, too
        let ours = |claim: &Claim| claim.at > last && moved.contains_key(&claim.ip);
        for claim in claims(&capture.frames()?).into_iter().filter(ours) {
            by.entry(claim.ip).or_default().push(claim.mac);
        }
        Ok(by.len() == wanted && by.values().all(|macs| macs.len() > 1))
    })
    .with_context(|| lab.logs())?;
    by.retain(|_, macs| macs.iter().any(|mac| macs.first() != Some(mac)));
    assert!(by.is_empty(), "{by:?}");
    Ok(())
}

/// A thousand addresses on three nodes; one is cut off and takes all, the others take what was its own. When the halves
/// hear each other again no address has two stations for longer than it may, and everybody learns where each is.
#[test]
fn a_thousand_addresses_are_in_one_hand_after_a_heal() -> Result<()> {
    calm::rounds(one_hand_after_a_heal)
}

fn one_hand_after_a_heal(round: &mut Round) -> Result<()> {
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
    // which of them were not announced
    let missing = |watch: &Watch, ips: &[IpAddr], since: Duration, by: &dyn Fn(&IpAddr, &str) -> bool| {
        let of = watch.claims()?.into_iter().filter(|claim| claim.at >= since && !claim.answer);
        let of: BTreeSet<IpAddr> =
            of.filter(|claim| by(&claim.ip, &claim.mac)).map(|claim| claim.ip).collect();
        Ok::<_, anyhow::Error>(ips.iter().filter(|ip| !of.contains(*ip)).count())
    };
    let right = |ip: &IpAddr, mac: &str| elected.get(ip).is_some_and(|elected| elected == mac);
    lab.serve_many("halves", &ips)?;
    lab.place("n3", true)?;
    wait::until_true(DEADLINE, "all addresses", || Ok(missing(&near, &ips, Duration::ZERO, &right)? == 0))
        .with_context(|| lab.logs())?;

    let n3 = lab.fabric.node("n3")?.net.mac(LAN)?;
    let theirs = of.remove("n3").context("n3 is elected for none")?;
    let others: Vec<IpAddr> = of.into_values().flatten().collect();
    let cut = lab.trunk(false)?;
    wait::until_true(DEADLINE, "the far half to have all", || {
        Ok(missing(&far, &others, cut.start, &|_, mac| mac == n3)? == 0)
    })
    .with_context(|| lab.logs())?;
    for ip in &asked {
        far.settled(*ip, &n3, cut.end, QUIET).with_context(|| lab.logs())?;
    }
    wait::until_true(DEADLINE, "the near half to have all", || {
        Ok(missing(&near, &theirs, cut.start, &|_, mac| mac != n3)? == 0)
    })
    .with_context(|| lab.logs())?;

    let healed = lab.trunk(true)?;
    for watch in [&near, &far] {
        for ip in &asked {
            let mac = elected.get(ip).context("not elected")?;
            watch.settled(*ip, mac, healed.end, QUIET).with_context(|| lab.logs())?;
        }
        wait::until_true(DEADLINE, "every address where it belongs", || {
            Ok(missing(watch, &ips, healed.start, &right)? == 0)
        })
        .with_context(|| lab.logs())?;
    }
    not_doubled(round, &near, &asked, healed.start, "near, after the heal")?;
    not_doubled(round, &far, &asked, healed.start, "far, after the heal")
}
