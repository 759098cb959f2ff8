//! Which Service holds which address.
//!
//! One pass over everything, without hidden memory: the Services' statuses are the database. Who holds an address
//! keeps it, the oldest first, as long as it is still right; newcomers are served after all holders, those that name
//! their addresses before those that take what comes. Any order of events, and any restart, gives the same answer.
//! No clock, no log, no write.

mod choose;
mod claim;
mod ledger;
mod reason;

pub use reason::Reason;

use crate::{
    config::Config,
    names::{PoolName, ServiceKey},
    world::{Class, Service, World},
};
use claim::Claim;
use ledger::Ledger;
use std::{collections::BTreeMap, net::IpAddr};

/// What becomes of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has addresses.
    Holds(Holding),
    /// It has none, and its status must say so.
    Without(Reason),
    /// Its status is left as it is.
    Untouched(Reason),
}

/// The addresses of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// In the order of the status.
    pub ips: Vec<IpAddr>,
    /// The pool that all of them are from.
    pub pool: PoolName,
    /// Whether an address was added in this pass.
    pub new: bool,
    /// What it asked for and did not get, while it keeps what it has.
    pub lacks: Option<Reason>,
}

/// Addresses whose statuses are being written: what counts for these Services, in place of what their status says.
pub type UnderWay = BTreeMap<ServiceKey, Vec<IpAddr>>;

/// The outcome for every Service of `world`.
#[must_use]
pub fn assign(
    config: &Config,
    world: &World,
    class: &Class,
    under_way: &UnderWay,
) -> BTreeMap<ServiceKey, Outcome> {
    let mut pass = Pass { config, world, under_way, ledger: Ledger::new(config), outcomes: BTreeMap::new() };
    let (mut halves, mut newcomers) = (Vec::new(), Vec::new());
    for (key, service) in in_order(world, under_way) {
        match pass.claim(key, service, class) {
            Err(outcome) => pass.settle(key, outcome),
            Ok(claim) => match pass.keep(&claim) {
                Some(outcome) => {
                    pass.settle(key, outcome);
                    halves.extend(claim.missing_family().map(|_| claim));
                }
                None => newcomers.push(claim),
            },
        }
    }
    for claim in &halves {
        pass.complete(claim);
    }
    // A stable sort: within each kind the order stays that of age and name.
    newcomers.sort_by_key(|claim| claim.request.is_none());
    for claim in newcomers {
        let outcome = pass.serve(&claim);
        pass.settle(claim.key, outcome);
    }
    pass.outcomes
}

/// Oldest first, then by name: whom an address belongs to when two hold it. Where the age is not known (in a manifest
/// directory), those that hold something come first.
fn in_order<'a>(world: &'a World, under_way: &UnderWay) -> Vec<(&'a ServiceKey, &'a Service)> {
    let mut all: Vec<_> = world.services.iter().collect();
    all.sort_by_key(|(key, service)| {
        (under_way.get(*key).map_or(service.ingress.is_empty(), Vec::is_empty), service.created)
    });
    all
}

struct Pass<'a> {
    config: &'a Config,
    world: &'a World,
    under_way: &'a UnderWay,
    ledger: Ledger<'a>,
    outcomes: BTreeMap<ServiceKey, Outcome>,
}

impl<'a> Pass<'a> {
    fn settle(&mut self, key: &ServiceKey, outcome: Outcome) {
        self.outcomes.insert(key.clone(), outcome);
    }

    /// What `service` asks for, or what becomes of it without asking.
    fn claim(
        &mut self,
        key: &'a ServiceKey,
        service: &'a Service,
        class: &Class,
    ) -> Result<Claim<'a>, Outcome> {
        if !service.load_balancer {
            return Err(if service.has_our_mark() {
                Outcome::Without(Reason::NotLoadBalancer)
            } else {
                Outcome::Untouched(Reason::NotLoadBalancer)
            });
        }
        let said = || service.addresses().flatten().collect();
        let current: Vec<IpAddr> = self.under_way.get(key).cloned().unwrap_or_else(said);
        if !class.is_ours(service) {
            // Somebody else's Service, but maybe with an address of ours: nobody else may get that.
            self.ledger.reserve(key, service, &current);
            return Err(Outcome::Untouched(Reason::ForeignClass));
        }
        if self.config.pools.is_empty() {
            // No pool at all is more likely a configuration on its way than the wish to take every address away.
            return Err(Outcome::Untouched(Reason::NoPools));
        }
        let readable = self.under_way.contains_key(key) || current.len() == service.ingress.len();
        Claim::read(key, service, current, readable).map_err(Outcome::Without)
    }

    /// The outcome of a Service that can keep what it holds; `None` for a newcomer.
    fn keep(&mut self, claim: &Claim<'a>) -> Option<Outcome> {
        if claim.current.is_empty() || !claim.families_fit() {
            return None;
        }
        let pool = self.ledger.take(self.world, claim, &claim.current).ok()?;
        let lacks = match (&claim.request, &claim.pool) {
            (_, Some(wanted)) if *wanted != pool => None,
            (Some(Err(fault)), _) => Some(Some(fault.clone())),
            (Some(Ok(wanted)), _) if !claim.holds_exactly(wanted) => None,
            _ => Some(None),
        };
        let Some(lacks) = lacks else {
            self.ledger.release(claim.key, &claim.current);
            return None;
        };
        Some(Outcome::Holds(Holding { ips: claim.current.clone(), pool, new: false, lacks }))
    }

    /// A second address for a Service that prefers two families and holds one.
    fn complete(&mut self, claim: &Claim<'a>) {
        let Some(Outcome::Holds(holding)) = self.outcomes.get_mut(claim.key) else { return };
        let Some(family) = claim.missing_family() else { return };
        let free = choose::first_free(&mut self.ledger, claim, &holding.pool, family);
        match free.filter(|ip| self.ledger.take(self.world, claim, &[*ip]).is_ok()) {
            Some(ip) => {
                holding.ips.push(ip);
                holding.new = true;
            }
            None => holding.lacks = Some(Reason::NoSecondAddress(holding.pool.clone(), family)),
        }
    }

    /// Addresses for a newcomer.
    fn serve(&mut self, claim: &Claim<'a>) -> Outcome {
        let taken = match &claim.request {
            Some(Err(fault)) => Err(fault.clone()),
            Some(Ok(ips)) => claim.check_request(ips).and_then(|()| {
                let pool = self.ledger.take(self.world, claim, ips)?;
                match &claim.pool {
                    Some(wanted) if *wanted != pool => {
                        self.ledger.release(claim.key, ips);
                        Err(Reason::NotInRequestedPool { ips: ips.clone(), pool: wanted.clone() })
                    }
                    _ => Ok((ips.clone(), pool)),
                }
            }),
            None => choose::choose(&mut self.ledger, self.world, claim).and_then(|ips| {
                let pool = self.ledger.take(self.world, claim, &ips)?;
                Ok((ips, pool))
            }),
        };
        match taken {
            Ok((ips, pool)) => Outcome::Holds(Holding { ips, pool, new: true, lacks: None }),
            Err(reason) => Outcome::Without(reason),
        }
    }
}

#[cfg(test)]
mod tests;
