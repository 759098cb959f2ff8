//! Who uses which address, in this pass.

use super::{
    Reason,
    claim::{Claim, backends, sharing_key},
};
use crate::{
    config::{Config, Pool},
    names::{PoolName, ServiceKey},
    net::Range,
    world::{Service, World},
};
use std::{collections::BTreeMap, iter, net::IpAddr};

type User<'a> = (&'a ServiceKey, &'a Service);

/// Who uses an address: nearly always one, which costs no memory of its own.
#[derive(Default)]
struct Users<'a> {
    one: Option<User<'a>>,
    more: Vec<User<'a>>,
}

impl<'a> Users<'a> {
    fn add(&mut self, user: User<'a>) {
        match self.one {
            None => self.one = Some(user),
            Some(_) => self.more.push(user),
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        self.more.retain(|(user, _)| *user != key);
        if self.one.is_some_and(|(user, _)| user == key) {
            self.one = self.more.pop();
        }
    }

    fn iter(&self) -> impl Iterator<Item = &User<'a>> {
        self.one.iter().chain(&self.more)
    }
}

pub(super) struct Ledger<'a> {
    config: &'a Config,
    users: BTreeMap<IpAddr, Users<'a>>,
    /// By range: an address before which none is free. Keeps a pass over many newcomers linear.
    full_until: BTreeMap<Range, IpAddr>,
}

impl<'a> Ledger<'a> {
    pub(super) const fn new(config: &'a Config) -> Self {
        Self { config, users: BTreeMap::new(), full_until: BTreeMap::new() }
    }

    pub(super) const fn config(&self) -> &'a Config {
        self.config
    }

    /// Notes that `service`, which is not ours, uses `ips`.
    pub(super) fn reserve(&mut self, key: &'a ServiceKey, service: &'a Service, ips: &[IpAddr]) {
        for ip in ips {
            self.users.entry(*ip).or_default().add((key, service));
        }
    }

    /// Notes that `claim` uses `ips`, all of one pool, if it may.
    pub(super) fn take(
        &mut self,
        world: &World,
        claim: &Claim<'a>,
        ips: &[IpAddr],
    ) -> Result<PoolName, Reason> {
        let outside = || Reason::NotInAPool(ips.to_vec());
        let (name, pool) = ips.first().and_then(|ip| self.config.pool_of(*ip)).ok_or_else(outside)?;
        if !ips.iter().all(|ip| pool.contains(*ip)) {
            return Err(outside());
        }
        if !is_for(pool, world, claim) {
            return Err(Reason::PoolNotForService(name.clone()));
        }
        for ip in ips {
            self.may_use(claim, *ip)?;
        }
        self.reserve(claim.key, claim.service, ips);
        Ok(name.clone())
    }

    /// Forgets that the Service `key` uses `ips`.
    pub(super) fn release(&mut self, key: &ServiceKey, ips: &[IpAddr]) {
        self.full_until.clear();
        for ip in ips {
            if let Some(users) = self.users.get_mut(ip) {
                users.remove(key);
            }
        }
    }

    /// The lowest address of `range` that `pool` hands out and nobody has.
    pub(super) fn first_free(&mut self, pool: &Pool, range: &Range) -> Option<IpAddr> {
        let start = *self.full_until.get(range).unwrap_or(&range.first());
        let found = self.gap(pool, range, start);
        self.full_until.insert(*range, found.unwrap_or(range.last()));
        found
    }

    /// One walk along the addresses in use: a lookup for each would be most of what a newcomer costs.
    fn gap(&self, pool: &Pool, range: &Range, start: IpAddr) -> Option<IpAddr> {
        let mut candidate = start;
        for (used, _) in self.users.range(start..=range.last()).filter(|(_, users)| users.one.is_some()) {
            while candidate < *used {
                if pool.hands_out(candidate) {
                    return Some(candidate);
                }
                candidate = range.after(candidate)?;
            }
            candidate = range.after(candidate)?;
        }
        iter::successors(Some(candidate), |ip| range.after(*ip)).find(|ip| pool.hands_out(*ip))
    }

    /// Whether `claim` may use `ip` beside those who have it: same key, same Pods where that matters, other ports.
    pub(super) fn may_use(&self, claim: &Claim<'_>, ip: IpAddr) -> Result<(), Reason> {
        let key = sharing_key(claim.service);
        for (user, service) in self.users.get(&ip).into_iter().flat_map(Users::iter) {
            if *user == claim.key {
                continue;
            }
            if key.is_none() || key != sharing_key(service) {
                return Err(Reason::InUse(ip, (*user).clone()));
            }
            if backends(claim.service) != backends(service) {
                return Err(Reason::OtherBackends(ip, (*user).clone()));
            }
            if let Some((transport, port)) = claim.ports().iter().find(|port| service.ports.contains(port)) {
                return Err(Reason::PortInUse {
                    ip,
                    transport: *transport,
                    port: *port,
                    user: (*user).clone(),
                });
            }
        }
        Ok(())
    }
}

/// Whether `pool` is for the Service of `claim`: its namespace and its labels are among those the pool names.
pub(super) fn is_for(pool: &Pool, world: &World, claim: &Claim<'_>) -> bool {
    let Some(pinning) = &pool.pinning else { return true };
    let namespace = &claim.key.namespace;
    let any_namespace = pinning.namespaces.is_empty() && pinning.namespace_selectors.is_empty();
    let selected = || {
        let labels = world.namespaces.get(namespace).cloned().unwrap_or_default();
        pinning.namespace_selectors.iter().any(|s| s.matches(&labels))
    };
    (any_namespace || pinning.namespaces.contains(namespace) || selected())
        && (pinning.service_selectors.is_empty()
            || pinning.service_selectors.iter().any(|s| s.matches(&claim.service.labels)))
}
