//! What a neighbour may tell us, and which next hops it is told: the parts of a neighbour that are no session.

use super::{Faults, combine::Conflict};
use crate::{
    api,
    frr::{Gate, ListName, Model, Range},
    names::Word,
    net::Family,
};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Next hops to name, by the family of the prefixes.
pub(super) type NextHops = BTreeMap<Family, IpAddr>;

#[derive(Clone, Debug, Default)]
pub(super) struct Hearing {
    accept: BTreeSet<Range>,
    pub(super) next_hops: NextHops,
}

/// Places in an in-map, before the one that ends it.
const PLACES: [(bool, Family, u16); 4] =
    [(false, Family::V4, 2), (false, Family::V6, 3), (true, Family::V4, 4), (true, Family::V6, 5)];

impl Hearing {
    /// What `from` says of it; `None` after a fault that would send traffic elsewhere than was meant.
    pub(super) fn of(
        from: &api::FRRNeighbor,
        families: &BTreeSet<Family>,
        at: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let next_hops = match next_hops(&from.to_advertise.next_hop, families) {
            Ok(next_hops) => next_hops,
            Err((field, what)) => {
                faults.add(format!("{at}.toAdvertise.nextHop.{field}"), what);
                return None;
            }
        };
        let allowed = &from.to_receive.allowed;
        let mut accept = BTreeSet::new();
        if allowed.mode == api::FRRAllowMode::All {
            accept.extend([Family::V4, Family::V6].map(Range::all));
        }
        for (i, selector) in allowed.prefixes.iter().enumerate() {
            let mut fault = |what: String| {
                faults.add(format!("{at}.toReceive.allowed.prefixes[{i}]"), what);
            };
            let bound = |length: u32| u8::try_from(length).unwrap_or(u8::MAX);
            let given = |length: u32| (length != 0).then(|| bound(length));
            match &selector.prefix {
                api::FRRPrefix::Net(net) => match Range::new(*net, given(selector.ge), given(selector.le)) {
                    Ok(range) => {
                        accept.insert(range);
                    }
                    Err(what) => fault(what.to_string()),
                },
                api::FRRPrefix::Text(text) => fault(format!("unknown ipfamily: {text:?} is not a prefix")),
            }
        }
        Some(Self { accept, next_hops })
    }

    /// Both, of which no next hop contradicts another.
    pub(super) fn join(mut self, other: Self, name: &Word) -> Result<Self, Conflict> {
        for (family, hop) in other.next_hops {
            let had = *self.next_hops.entry(family).or_insert(hop);
            if had != hop {
                let what = format!("multiple next hops specified for {name}: {had} and {hop}");
                return Err(("toAdvertise.nextHop", what));
            }
        }
        self.accept.extend(other.accept);
        Ok(self)
    }
}

fn next_hops(
    from: &api::FRRNextHop,
    families: &BTreeSet<Family>,
) -> Result<NextHops, (&'static str, String)> {
    let mut hops = NextHops::new();
    if !from.ipv4.is_empty() {
        match from.ipv4.parse::<Ipv4Addr>() {
            Err(_) => return Err(("ipv4", format!("{:?} is not an IPv4 address", from.ipv4))),
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() => {
                return Err(("ipv4", format!("{ip} is nobody's address")));
            }
            Ok(_) if !families.contains(&Family::V4) => {
                return Err(("ipv4", "is for a neighbor without an ipv4 address family".to_owned()));
            }
            Ok(ip) => hops.insert(Family::V4, ip.into()),
        };
    }
    if !from.ipv6.is_empty() {
        match from.ipv6.parse::<Ipv6Addr>() {
            Err(_) => return Err(("ipv6", format!("{:?} is not an IPv6 address", from.ipv6))),
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() => {
                return Err(("ipv6", format!("{ip} is no global address")));
            }
            Ok(_) if !families.contains(&Family::V6) => {
                return Err(("ipv6", "is for a neighbor without an ipv6 address family".to_owned()));
            }
            Ok(ip) => hops.insert(Family::V6, ip.into()),
        };
    }
    Ok(hops)
}

/// Writes the gates of the neighbour `policy`, and their lists.
pub(super) fn settle(
    policy: &Word,
    families: &BTreeSet<Family>,
    heard: &Hearing,
    block: &[IpNet],
    model: &mut Model,
) {
    let Some(entry) = model.policies.get_mut(policy) else { return };
    let kind = match (families.contains(&Family::V4), families.contains(&Family::V6)) {
        (true, true) => "dual",
        (false, true) => "ipv6",
        (true, false) => "ipv4",
        (false, false) => return,
    };
    for (permit, family, place) in PLACES.into_iter().filter(|(_, family, _)| families.contains(family)) {
        let (name, ranges): (_, BTreeSet<Range>) = match permit {
            true => (format!("{policy}-inpl-{kind}"), heard.accept.clone()),
            false => {
                (format!("{policy}-denied-inpl-{kind}"), block.iter().copied().map(Range::inside).collect())
            }
        };
        // every name of a policy is short enough that another word fits
        let Ok(name) = Word::new(&name) else { continue };
        let mut ranges: BTreeSet<Range> = ranges.into_iter().filter(|r| r.family() == family).collect();
        if ranges.is_empty() {
            continue;
        }
        if ranges.contains(&Range::all(family)) {
            ranges = [Range::all(family)].into();
        }
        let list = ListName { family, name };
        model.lists.insert(list.clone(), placed(&ranges));
        model.guard |= permit;
        entry.plain = true;
        entry.gates.insert(place, Gate { permit, list });
    }
}

/// Each with a number of its own: whatever else is in the list, it does not move.
fn placed(ranges: &BTreeSet<Range>) -> BTreeMap<u32, Range> {
    let mut list = BTreeMap::new();
    for range in ranges {
        let digest = Sha256::digest(range.to_string());
        let number = digest.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte));
        let first = number % (u32::MAX - 1) + 1;
        let free = (first..u32::MAX).chain(1..first).find(|place| !list.contains_key(place));
        list.extend(free.map(|place| (place, *range)));
    }
    list
}
