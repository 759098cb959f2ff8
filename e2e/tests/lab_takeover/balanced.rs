//! `ferrolb.io/l2-placement: balanced`: thirty addresses on three nodes, by who answers for them on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    calm::{self, Round},
    fabric::LAN,
    flat::{Flat, POOL, Watch},
    lab::DEADLINE,
    objects, wait,
};

use crate::{QUIET, not_doubled};

const COUNT: u8 = 30;

/// From question to question, for each of them.
const PAUSE: Duration = Duration::from_millis(20);

fn ips(first: u8, count: u8) -> Vec<IpAddr> {
    (first..first + count).map(|number| Ipv4Addr::new(172, 30, 110, number).into()).collect()
}

/// Which node alone has answered for each of these for [`QUIET`].
fn holders(lab: &Flat, watch: &Watch, ips: &[IpAddr]) -> Result<BTreeMap<IpAddr, String>> {
    let macs: BTreeMap<String, String> = lab
        .fabric
        .nodes
        .iter()
        .map(|node| Ok((node.net.mac(LAN)?, node.name().to_owned())))
        .collect::<Result<_>>()?;
    wait::until(DEADLINE, "one station for each address", || {
        let since = wait::since_epoch()?.saturating_sub(QUIET);
        let mut by: BTreeMap<IpAddr, BTreeSet<&String>> = BTreeMap::new();
        let claims = watch.claims()?;
        for claim in claims.iter().filter(|claim| claim.at >= since) {
            by.entry(claim.ip).or_default().extend(macs.get(&claim.mac));
        }
        let of = |ip: &IpAddr| {
            let nodes = by.get(ip).filter(|nodes| nodes.len() == 1)?;
            Some((*ip, (*nodes.first()?).clone()))
        };
        Ok(ips.iter().map(of).collect())
    })
    .with_context(|| lab.logs())
}

/// How many each node has: none has more than a quarter above its share.
fn spread(holders: &BTreeMap<IpAddr, String>, nodes: usize) -> BTreeMap<&str, usize> {
    let mut loads = BTreeMap::new();
    for node in holders.values() {
        *loads.entry(node.as_str()).or_default() += 1;
    }
    eprintln!("{} addresses on {nodes} nodes: {loads:?}", holders.len());
    let bound = (holders.len() * 5).div_ceil(nodes * 4);
    assert!(loads.len() == nodes && loads.values().all(|load| *load <= bound), "{loads:?}, not over {bound}");
    loads
}

#[test]
fn addresses_are_spread_and_stay_where_they_are() -> Result<()> {
    calm::rounds(spread_and_stay)
}

fn spread_and_stay(round: &mut Round) -> Result<()> {
    let mut lab = Flat::start(3, &["172.30.110.0/24"], "")?;
    let balanced = "metadata:\n  annotations: {ferrolb.io/l2-placement: balanced}\n";
    let advertisement = objects::l2_advertisement(POOL).replacen("metadata:\n", balanced, 1);
    assert!(advertisement.contains(balanced), "{advertisement}");
    lab.manifests.put("advertisements", &advertisement)?;
    let (first, more) = (ips(1, COUNT), ips(100, 6));
    let all = [first.clone(), more.clone()].concat();
    let watch = lab.watch(false, &all, PAUSE)?;
    lab.serve_many("spread", &first)?;
    let before = holders(&lab, &watch, &first)?;
    spread(&before, 3);

    // one dies: only what was its own moves, over both others
    let at = lab.kill_speaker("n1")?;
    wait::until_true(DEADLINE, "others to claim what was n1's", || {
        let claims = watch.claims()?;
        let n1 = lab.fabric.node("n1")?.net.mac(LAN)?;
        let moved: BTreeSet<IpAddr> = claims
            .iter()
            .filter(|claim| claim.at > at.end && claim.mac != n1)
            .map(|claim| claim.ip)
            .collect();
        Ok(before.keys().all(|ip| moved.contains(ip)))
    })
    .with_context(|| lab.logs())?;
    let without = holders(&lab, &watch, &first)?;
    spread(&without, 2);
    for (ip, node) in &before {
        assert!(node == "n1" || without.get(ip) == Some(node), "{ip} of {node} has moved: {without:?}");
    }
    not_doubled(round, &watch, &first, at.start, "one dies")?;

    // it comes back, and takes nothing away; of what is new it has as much as others may not have, so it was there
    let back = wait::since_epoch()?;
    lab.start_speaker("n1")?;
    assert_eq!(holders(&lab, &watch, &first)?, without);
    lab.serve_many("new", &more)?;
    let new = holders(&lab, &watch, &more)?;
    eprintln!("of the new ones {new:?}");
    assert!(new.values().filter(|node| *node == "n1").count() >= 3, "{new:?}");
    assert_eq!(holders(&lab, &watch, &first)?, without);
    let n1 = lab.fabric.node("n1")?.net.mac(LAN)?;
    let taken =
        watch.claims()?.into_iter().find(|it| it.at >= back && it.mac == n1 && first.contains(&it.ip));
    assert!(taken.is_none(), "{taken:?}");
    Ok(())
}
