//! What a BGPAdvertisement must agree on with the pools, the peers and the other advertisements.
//!
//! Nodes are not known here. Where an answer needs them, only what holds for any nodes is a problem; the rest is
//! decided per node when it is announced.

use super::{
    BfdProfile, BgpAdvertisement, Peer, Pool, Problems,
    problem::{Fault, Kind},
    settle::{self, Entries},
};
use crate::{
    names::{AdvertisementName, BfdName, PeerName, PoolName},
    net::Family,
};
use std::{collections::BTreeMap, sync::Arc};

type Named<'a, N, T> = &'a BTreeMap<N, Arc<T>>;

/// The advertisements that can stand together.
pub(super) fn settle(
    entries: Entries<AdvertisementName, BgpAdvertisement>,
    pools: Named<'_, PoolName, Pool>,
    peers: Named<'_, PeerName, Peer>,
    bfd: Named<'_, BfdName, BfdProfile>,
    problems: &mut Problems,
) -> BTreeMap<AdvertisementName, Arc<BgpAdvertisement>> {
    let echo: BTreeMap<&PeerName, &BfdName> = peers
        .iter()
        .filter_map(|(name, peer)| Some((name, peer.bfd.as_ref()?)))
        .filter(|(_, profile)| bfd.get(*profile).is_some_and(|p| p.echo_mode))
        .collect();
    let claim = |standing: &mut Standing, name: &AdvertisementName, new: &BgpAdvertisement| {
        let mut faults = Vec::new();
        let chosen = pools.iter().filter(|(name, pool)| new.pools.has(name, pool));
        let chosen: Vec<(&PoolName, &Pool)> = chosen.map(|(name, pool)| (name, &**pool)).collect();
        for (pool_name, pool) in &chosen {
            faults.extend(aggregation(new, pool));
            faults.extend(echo_over_v6(new, pool_name, pool, &echo));
            faults.extend(standing.clashes(new, pool_name, pool));
        }
        if faults.is_empty() && new.services.is_empty() {
            let new = Arc::new(new.clone());
            for (pool, _) in chosen {
                standing.0.entry(pool.clone()).or_default().push((name.clone(), new.clone()));
            }
        }
        faults
    };
    settle::settle(Kind::BGPAdvertisement, entries, problems, |new, last| new == last, claim)
}

/// A prefix that is announced must lie within one entry of the pool: FRR would attract foreign addresses otherwise.
fn aggregation(new: &BgpAdvertisement, pool: &Pool) -> impl Iterator<Item = Fault> {
    let fields = [
        (Family::V4, "spec.aggregationLength", new.length_v4),
        (Family::V6, "spec.aggregationLengthV6", new.length_v6),
    ];
    fields.into_iter().filter(|(family, _, length)| *length < family.bits()).filter_map(
        |(family, field, length)| {
            let (range, widest) = pool.ranges.iter().filter(|r| r.family() == family).find_map(|range| {
                let widest = range.prefixes().iter().map(ipnet::IpNet::prefix_len).min()?;
                (length < widest).then_some((range, widest))
            })?;
            let what = format!(
                "invalid aggregation length {length}: prefix {widest} in this pool is more specific than the \
             aggregation length for addresses {range}"
            );
            Some((field.to_owned(), what))
        },
    )
}

/// FRR sends echo packets over IPv4 only.
fn echo_over_v6(
    new: &BgpAdvertisement,
    name: &PoolName,
    pool: &Pool,
    echo: &BTreeMap<&PeerName, &BfdName>,
) -> Option<Fault> {
    let v6 = pool.ranges.iter().any(|r| r.family() == Family::V6);
    let reached = |peer: &PeerName| new.peers.is_empty() || new.peers.contains(peer);
    let (peer, profile) = echo.iter().find(|(peer, _)| v6 && reached(peer))?;
    let what = format!(
        "pool {name} has IPv6 addresses, and peer {peer} has bfd profile {profile} with echoMode, which is for \
         IPv4 only"
    );
    Some(("spec.peers".to_owned(), what))
}

/// Advertisements without service selectors that were found good, by pool.
#[derive(Default)]
struct Standing(BTreeMap<PoolName, Vec<(AdvertisementName, Arc<BgpAdvertisement>)>>);

impl Standing {
    /// One prefix can carry one of each [`SINGLE`] attribute to one peer.
    fn clashes(&self, new: &BgpAdvertisement, name: &PoolName, pool: &Pool) -> Vec<Fault> {
        let standing = self.0.get(name).filter(|_| new.services.is_empty());
        let others: Vec<_> = standing.into_iter().flatten().filter(|(_, old)| meet(old, new, pool)).collect();
        let clash = |(field, noun, value): &(&str, &str, Value)| {
            let (other, theirs) =
                others.iter().map(|(other, old)| (other, value(old))).find(|(_, v)| *v != value(new))?;
            let (own, theirs) = (shown(value(new)), shown(theirs));
            let what = format!(
                "invalid {noun} {own}: BGPAdvertisement {other} has {theirs} for the same addresses of pool {name}"
            );
            Some(((*field).to_owned(), what))
        };
        SINGLE.iter().filter_map(clash).collect()
    }
}

/// Reads an attribute of an advertisement.
type Value = fn(&BgpAdvertisement) -> Option<u32>;

/// Attributes of which a prefix has one towards a peer: the field, its name, its value.
const SINGLE: [(&str, &str, Value); 3] = [
    ("spec.localPref", "local preference", |ad| Some(ad.local_pref.unwrap_or(0))),
    ("metadata.annotations[ferrolb.io/med]", "MED", |ad| ad.med),
    ("metadata.annotations[ferrolb.io/as-path-prepend]", "AS path prepend", |ad| ad.prepend.map(u32::from)),
];

fn shown(value: Option<u32>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// Whether two advertisements tell one prefix of `pool` to one peer from one node, for any nodes.
fn meet(a: &BgpAdvertisement, b: &BgpAdvertisement, pool: &Pool) -> bool {
    let has = |family| pool.ranges.iter().any(|r| r.family() == family);
    let (v4, v6) = (a.length_v4 == b.length_v4, a.length_v6 == b.length_v6);
    let prefixes = (has(Family::V4) && v4) || (has(Family::V6) && v6);
    let peers = a.peers.is_empty() || b.peers.is_empty() || !a.peers.is_disjoint(&b.peers);
    let nodes = a.nodes.is_empty() || b.nodes.is_empty() || a.nodes.iter().any(|s| b.nodes.contains(s));
    prefixes && peers && nodes
}
