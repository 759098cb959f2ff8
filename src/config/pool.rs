//! Pools of addresses.

use super::{
    Config, Input, Problems, Selectors,
    problem::{Fault, Kind, Report},
    settle,
};
use crate::{
    api,
    names::{Namespace, PoolName},
    net::Range,
    world::Labels,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// An IPAddressPool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its entries, in the order written: addresses are handed out in this order.
    pub ranges: Vec<Range>,
    /// Whether a Service that asks for nothing may get an address of it.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in 0 or 255.
    pub avoid_buggy: bool,
    /// `spec.serviceAllocation`: whom it is for; `None` for a pool for all.
    pub pinning: Option<Pinning>,
    /// Labels of the object, for advertisements that select pools.
    pub labels: Labels,
}

/// `spec.serviceAllocation`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pinning {
    /// Lower is preferred; `None` (0 or unset) comes last.
    pub priority: Option<u32>,
    /// Namespaces by name.
    pub namespaces: BTreeSet<Namespace>,
    /// Namespaces by label.
    pub namespace_selectors: Selectors,
    /// Services by label.
    pub service_selectors: Selectors,
}

impl Pool {
    /// Whether `ip` may be handed out from this pool.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.hands_out(ip) && self.covers(ip)
    }

    /// Whether `ip` lies in one of its ranges. It may be one that it does not hand out any more: what has it keeps it
    /// until it is given another.
    #[must_use]
    pub fn covers(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|r| r.contains(ip))
    }

    /// Whether `ip`, which lies in one of its ranges, is not left out.
    #[must_use]
    pub fn hands_out(&self, ip: IpAddr) -> bool {
        !(self.avoid_buggy && is_buggy(ip))
    }
}

/// An IPv4 address that ends in 0 or 255.
#[must_use]
pub(crate) const fn is_buggy(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [_, _, _, 0 | 255]),
        IpAddr::V6(_) => false,
    }
}

pub(super) fn parse(input: &Input, last: &Config, problems: &mut Problems) -> BTreeMap<PoolName, Arc<Pool>> {
    const KIND: Kind = Kind::IPAddressPool;
    let entries =
        settle::read(KIND, input, &input.pools, &last.pools, problems, |_, pool, r| Some(read(pool, r)));
    settle::settle(KIND, entries, problems, |new, last| new.ranges == last.ranges, claim)
}

/// What `pool` says; meaningful only where nothing was reported.
fn read(pool: &api::IPAddressPool, report: &mut Report<'_>) -> Pool {
    let spec = &pool.spec;
    if spec.addresses.is_empty() {
        report.fault("spec.addresses", "must not be empty");
    }
    let mut ranges: Vec<Range> = Vec::with_capacity(spec.addresses.len());
    for (i, text) in spec.addresses.iter().enumerate() {
        ranges.extend(report.value(&format!("spec.addresses[{i}]"), range(text)));
    }
    Pool {
        ranges,
        auto_assign: spec.auto_assign.unwrap_or(true),
        avoid_buggy: spec.avoid_buggy_ips.unwrap_or(false),
        pinning: spec.service_allocation.as_ref().map(|a| pinning(a, report)),
        labels: pool.metadata.labels.clone().unwrap_or_default().into(),
    }
}

/// What no Service can have: the first and the last of each, and what they are.
const NOBODYS: [(IpAddr, IpAddr, &str); 7] = [
    (v4(0, 0), v4(0, u32::MAX), "0.0.0.0/8, which are nobody's"),
    (v4(127, 0), v4(127, u32::MAX), "127.0.0.0/8, which are loopback addresses"),
    (v4(224, 0), v4(239, u32::MAX), "224.0.0.0/4, which are multicast addresses"),
    (v4(255, u32::MAX), v4(255, u32::MAX), "255.255.255.255, which is the broadcast address"),
    (v6(0, 0), v6(0, 0), "::, which is nobody's"),
    (v6(0, 1), v6(0, 1), "::1, which is the loopback address"),
    (v6(0xff00, 0), v6(0xffff, u128::MAX), "ff00::/8, which are multicast addresses"),
];

/// The address that begins with `first`, and ends as `rest` does.
const fn v4(first: u8, rest: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(((first as u32) << 24) | (rest >> 8)))
}

/// The address that begins with `first`, and ends as `rest` does.
const fn v6(first: u16, rest: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(((first as u128) << 112) | (rest & (u128::MAX >> 16))))
}

/// An entry of `spec.addresses`. Whoever writes what no Service can have means something else: the entry is refused
/// as a whole.
fn range(text: &str) -> Result<Range, String> {
    let range = text.parse::<Range>().map_err(|fault| fault.to_string())?;
    let holds = |(first, last, _): &&(IpAddr, IpAddr, &str)| range.first() <= *last && *first <= range.last();
    match NOBODYS.iter().find(holds) {
        Some((.., what)) => Err(format!("no Service can have {text:?}: it has addresses of {what}")),
        None => Ok(range),
    }
}

fn pinning(allocation: &api::ServiceAllocation, report: &mut Report<'_>) -> Pinning {
    let at = |field: &str| format!("spec.serviceAllocation.{field}");
    let priority = match allocation.priority.unwrap_or(0) {
        0 => None,
        priority => report.value(
            &at("priority"),
            u32::try_from(priority).map_err(|_| format!("must be 0 to {}, is {priority}", u32::MAX)),
        ),
    };
    Pinning {
        priority,
        namespaces: report.set(&at("namespaces"), &allocation.namespaces),
        namespace_selectors: report.selectors(&at("namespaceSelectors"), &allocation.namespace_selectors),
        service_selectors: report.selectors(&at("serviceSelectors"), &allocation.service_selectors),
    }
}

/// Every range that is taken, by its first address. No two of them overlap, so the neighbours of a range tell.
#[derive(Default)]
struct Taken(BTreeMap<IpAddr, (Range, PoolName)>);

fn claim(taken: &mut Taken, name: &PoolName, pool: &Pool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut own = Vec::new();
    for (i, range) in pool.ranges.iter().enumerate() {
        let before = taken.0.range(..=range.first()).next_back();
        let after = taken.0.range(range.first()..).next();
        match before.into_iter().chain(after).find(|(_, (other, _))| other.overlaps(range)) {
            Some((_, (other, owner))) => faults.push((
                format!("spec.addresses[{i}]"),
                format!("{range} overlaps with already defined CIDR {other} of pool {owner}"),
            )),
            None => {
                own.push(range.first());
                taken.0.insert(range.first(), (*range, name.clone()));
            }
        }
    }
    if !faults.is_empty() {
        own.iter().for_each(|first| drop(taken.0.remove(first)));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_service_can_have_is_in_a_pool() {
        for (text, part) in [
            ("0.0.0.0/32", "nobody's"),
            ("0.255.255.255/32", "nobody's"),
            ("0.0.0.0/0", "nobody's"),
            ("127.0.0.1/32", "loopback"),
            ("126.0.0.1-127.0.0.0", "loopback"),
            ("224.0.0.5/32", "multicast"),
            ("239.255.255.255/32", "multicast"),
            ("255.255.255.255/32", "broadcast"),
            ("240.0.0.0/4", "broadcast"),
            ("::/128", "nobody's"),
            ("::1/128", "loopback"),
            ("::1-::5", "loopback"),
            ("ff02::1/128", "multicast"),
            ("2000::-ff00::", "multicast"),
        ] {
            let why = range(text).unwrap_err();
            assert!(why.contains(part) && why.contains(text), "{why}");
        }
        for text in [
            "1.0.0.0/8",
            "128.0.0.0/2",
            "169.254.0.0/16",
            "240.0.0.0/5",
            "255.255.255.254/32",
            "::2/128",
            "fe80::/10",
            "2001:db8::/32",
        ] {
            assert_eq!(
                range(text).map(|range| range.first()),
                text.parse().map(|r: Range| r.first()).map_err(|e| e.to_string())
            );
        }
    }
}
