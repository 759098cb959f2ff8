//! Which node answers ARP and NDP for a Service: an election that every node computes alike.

use super::{Candidate, Reason, Viewpoint};
use crate::{
    config::{Config, L2Advertisement},
    names::{NodeName, PoolName},
    net::Interfaces,
    world::{Labels, Members, TrafficPolicy, World, annotations},
};
use sha2::{Digest, Sha256};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::LazyLock,
};

/// A node's rank for an address: SHA-256 of `node#ip`; the lowest bytes win.
#[must_use]
pub fn digest(node: &NodeName, ip: IpAddr) -> [u8; 32] {
    Sha256::new().chain_update(node.as_str()).chain_update("#").chain_update(ip.to_string()).finalize().into()
}

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);

/// What all elections of a plan have in common.
pub(super) struct Elections<'a> {
    me: &'a Viewpoint,
    /// Nodes that may be elected at all, with their labels.
    nodes: BTreeMap<&'a NodeName, &'a Labels>,
    /// The advertisements of each pool.
    advertisements: BTreeMap<&'a PoolName, Vec<&'a L2Advertisement>>,
}

impl<'a> Elections<'a> {
    pub(super) fn new(me: &'a Viewpoint, config: &'a Config, world: &'a World, members: &'a Members) -> Self {
        let nodes = members.keys().filter_map(|name| match world.nodes.get(name) {
            Some(node) if node.network_unavailable || node.excluded() && !me.ignore_exclude_label => None,
            // every node sees it: the next one takes over
            Some(node) if me.drains(node) => None,
            Some(node) => Some((name, &node.labels)),
            None => Some((name, &*NO_LABELS)),
        });
        let of_pool = |(name, pool)| {
            (name, config.l2.values().map(|ad| &**ad).filter(|ad| ad.pools.has(name, pool)).collect())
        };
        let advertisements =
            config.pools.iter().map(|(name, pool)| (name, pool.as_ref())).map(of_pool).collect();
        Self { me, nodes: nodes.collect(), advertisements }
    }

    /// Adds the addresses of `candidate` to `wanted` if this node is elected.
    pub(super) fn announce(
        &self,
        candidate: &Candidate<'_>,
        wanted: &mut BTreeMap<IpAddr, Interfaces>,
    ) -> Result<(), Reason> {
        let service = candidate.service;
        let ads: Vec<&L2Advertisement> = self
            .advertisements
            .get(candidate.pool)
            .into_iter()
            .flatten()
            .copied()
            .filter(|ad| ad.selects_service(&service.labels))
            .collect();
        if ads.is_empty() {
            return Err(Reason::NoAdvertisement(candidate.pool.clone()));
        }
        if service.annotation(annotations::ALLOW_SHARED_IP).is_some()
            && ads.iter().any(|ad| !ad.services.is_empty())
        {
            return Err(Reason::SharedWithServiceSelector);
        }
        let endpoints = &candidate.endpoints;
        if !endpoints.any() {
            return Err(Reason::NoEndpoints);
        }
        let first = candidate.ips.first().copied().ok_or(Reason::NoAddress)?;
        let elected = self
            .nodes
            .iter()
            .filter(|(name, labels)| {
                ads.iter().any(|ad| ad.selects_node(labels))
                    && (service.traffic == TrafficPolicy::Cluster || endpoints.on(name))
            })
            .min_by_key(|(name, labels)| (Reverse(score(&ads, labels)), digest(name, first)));
        let Some((winner, labels)) = elected else { return Err(Reason::NoCandidate) };
        if **winner != self.me.node {
            return Err(Reason::ElectedElsewhere((*winner).clone()));
        }
        let here = ads.iter().filter(|ad| ad.selects_node(labels)).map(|ad| ad.interfaces.clone());
        let interfaces = here.reduce(|a, b| a.union(&b)).unwrap_or(Interfaces::All);
        for ip in &candidate.ips {
            match wanted.entry(*ip) {
                Entry::Vacant(entry) => {
                    entry.insert(interfaces.clone());
                }
                Entry::Occupied(mut entry) => {
                    let both = entry.get().clone().union(&interfaces);
                    entry.insert(both);
                }
            }
        }
        Ok(())
    }
}

/// The weights of all preferences that a node fulfils, in the advertisements that select it.
fn score(ads: &[&L2Advertisement], labels: &Labels) -> u64 {
    ads.iter()
        .filter(|ad| ad.selects_node(labels))
        .flat_map(|ad| &ad.preferred)
        .filter(|(_, selector)| selector.matches(labels))
        .map(|(weight, _)| u64::from(*weight))
        .sum()
}
