//! A thousand addresses lose their node at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    capture::Capture,
    fabric::LAN,
    flat::Flat,
    lab::DEADLINE,
    neighbour::{self, claims},
    wait,
};

use crate::TAKEOVER;

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
