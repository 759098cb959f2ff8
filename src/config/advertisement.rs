//! Advertisements: which pools are announced how.

use super::{Config, Input, Pool, Problems, Selectors, select::any_or_all};
use crate::{
    names::{AdvertisementName, PeerName, PoolName},
    net::Interfaces,
    world::Labels,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Which pools an advertisement is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSelection {
    /// `spec.ipAddressPools`.
    pub names: BTreeSet<PoolName>,
    /// `spec.ipAddressPoolSelectors`.
    pub selectors: Selectors,
}

impl PoolSelection {
    /// Whether `pool` is among them: all are, when nothing is named or selected.
    #[must_use]
    pub fn has(&self, name: &PoolName, pool: &Pool) -> bool {
        (self.names.is_empty() && self.selectors.is_empty())
            || self.names.contains(name)
            || self.selectors.iter().any(|s| s.matches(&pool.labels))
    }
}

/// An L2Advertisement.
#[derive(Clone, Debug, PartialEq)]
pub struct L2Advertisement {
    /// The pools it is for.
    pub pools: PoolSelection,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.serviceSelectors`; empty for every Service.
    pub services: Selectors,
    /// `spec.interfaces`.
    pub interfaces: Interfaces,
    /// `spec.preferredNodeSelectors`: weight and selector.
    pub preferred: Vec<(u32, super::Selector)>,
}

/// A BGP community: standard (RFC 1997) or large (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// `A:B`.
    Standard(u16, u16),
    /// `large:A:B:C`.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

/// A BGPAdvertisement.
#[derive(Clone, Debug, PartialEq)]
pub struct BgpAdvertisement {
    /// The pools it is for.
    pub pools: PoolSelection,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.serviceSelectors`; empty for every Service.
    pub services: Selectors,
    /// `spec.peers`; empty for every peer.
    pub peers: BTreeSet<PeerName>,
    /// `spec.aggregationLength`, 0..=32.
    pub length_v4: u8,
    /// `spec.aggregationLengthV6`, 0..=128.
    pub length_v6: u8,
    /// `spec.localPref`; `None` for 0.
    pub local_pref: Option<u32>,
    /// `spec.communities`, aliases resolved.
    pub communities: BTreeSet<Community>,
}

impl L2Advertisement {
    /// Whether it is for Services with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_all(&self.services, labels)
    }

    /// Whether it is for nodes with these labels.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

impl BgpAdvertisement {
    /// Whether it is for this peer.
    #[must_use]
    pub fn is_for_peer(&self, peer: &PeerName) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// Whether it is for Services with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_all(&self.services, labels)
    }

    /// Whether it is for nodes with these labels.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

pub(super) fn parse_l2(
    _input: &Input,
    _last: &Config,
    _problems: &mut Problems,
) -> BTreeMap<AdvertisementName, Arc<L2Advertisement>> {
    BTreeMap::new()
}

pub(super) fn parse_bgp(
    _input: &Input,
    _last: &Config,
    _pools: &BTreeMap<PoolName, Arc<Pool>>,
    _problems: &mut Problems,
) -> BTreeMap<AdvertisementName, Arc<BgpAdvertisement>> {
    BTreeMap::new()
}
