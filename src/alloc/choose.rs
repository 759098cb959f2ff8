//! Addresses for a Service that names none.

use super::{
    Reason,
    claim::{Claim, sharing_key},
    ledger::{Ledger, is_for},
};
use crate::{
    config::Pool,
    names::PoolName,
    net::Family,
    world::{FamilyPolicy, World},
};
use std::{iter, net::IpAddr, sync::Arc};

/// The addresses for `claim`: from the pool it names, or else from the pools pinned to it, or else from the others.
pub(super) fn choose(
    ledger: &mut Ledger<'_>,
    world: &World,
    claim: &Claim<'_>,
) -> Result<Vec<IpAddr>, Reason> {
    let pools = &ledger.config().pools;
    if let Some(name) = &claim.pool {
        let (name, pool) = pools.get_key_value(name).ok_or_else(|| Reason::UnknownPool(name.clone()))?;
        if !is_for(pool, world, claim) {
            return Err(Reason::PoolNotForService(name.clone()));
        }
        return best(ledger, claim, &[(name, pool)]).ok_or_else(|| Reason::PoolExhausted {
            pool: name.clone(),
            families: claim.service.families.clone(),
        });
    }
    let usable = |(_, pool): &(&PoolName, &Arc<Pool>)| pool.auto_assign && is_for(pool, world, claim);
    let (mut pinned, others): (Vec<_>, Vec<_>) =
        pools.iter().filter(usable).partition(|(_, pool)| pool.pinning.is_some());
    // Lowest priority first, none last, then by name (the order of the map, which the sort keeps).
    pinned.sort_by_key(|(_, pool)| pool.pinning.as_ref().and_then(|p| p.priority).unwrap_or(u32::MAX));
    best(ledger, claim, &pinned).or_else(|| best(ledger, claim, &others)).ok_or(Reason::Exhausted)
}

/// From the first of `pools` that has an address of every family; a Service that only prefers two families is content
/// with one, of its primary family where possible.
fn best(
    ledger: &mut Ledger<'_>,
    claim: &Claim<'_>,
    pools: &[(&PoolName, &Arc<Pool>)],
) -> Option<Vec<IpAddr>> {
    let families = claim.service.families.as_slice();
    if let [_, _, ..] = families {
        for (name, _) in pools {
            let v4 = first_free(ledger, claim, name, Family::V4);
            let v6 = first_free(ledger, claim, name, Family::V6);
            if let (Some(v4), Some(v6)) = (v4, v6) {
                return Some(vec![v4, v6]);
            }
        }
        if claim.service.policy != FamilyPolicy::PreferDualStack {
            return None;
        }
    }
    // One family: the only one, or the primary one before the secondary one.
    families
        .iter()
        .find_map(|family| pools.iter().find_map(|(name, _)| first_free(ledger, claim, name, *family)))
        .map(|ip| vec![ip])
}

/// The lowest address of `family` in `pool`, in the order of its entries, that `claim` may have.
pub(super) fn first_free(
    ledger: &mut Ledger<'_>,
    claim: &Claim<'_>,
    pool: &PoolName,
    family: Family,
) -> Option<IpAddr> {
    let pool = ledger.config().pools.get(pool)?;
    let mut ranges = pool.ranges.iter().filter(|range| range.family() == family);
    if sharing_key(claim.service).is_none() {
        return ranges.find_map(|range| ledger.first_free(pool, range));
    }
    ranges.find_map(|range| {
        iter::successors(Some(range.first()), |ip| range.after(*ip))
            .find(|ip| pool.hands_out(*ip) && ledger.may_use(claim, *ip).is_ok())
    })
}
