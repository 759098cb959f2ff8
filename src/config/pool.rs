//! Pools of addresses.

use super::{Config, Input, Problems, Selectors};
use crate::{
    names::{Namespace, PoolName},
    net::Range,
    world::Labels,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
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
        self.hands_out(ip) && self.ranges.iter().any(|r| r.contains(ip))
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

pub(super) fn parse(
    _input: &Input,
    _last: &Config,
    _problems: &mut Problems,
) -> BTreeMap<PoolName, Arc<Pool>> {
    BTreeMap::new()
}
