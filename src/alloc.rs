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
    let mut pass = Pass { config, world, under_way, ledger: Ledger::new(config) };
    // By place among the Services: a map that grows in the order of age would cost most of the pass.
    let mut outcomes: Vec<Option<Outcome>> = vec![None; world.services.len()];
    let mut settle = |place: usize, outcome: Outcome| {
        if let Some(slot) = outcomes.get_mut(place) {
            *slot = Some(outcome);
        }
    };
    let (mut halves, mut newcomers) = (Vec::new(), Vec::new());
    for (place, key, service) in in_order(world, under_way) {
        match pass.claim(key, service, class) {
            Err(outcome) => settle(place, outcome),
            Ok(claim) => match pass.keep(&claim) {
                Some(holding) if claim.missing_family().is_some() => halves.push((place, claim, holding)),
                Some(holding) => settle(place, Outcome::Holds(holding)),
                None => newcomers.push((place, claim)),
            },
        }
    }
    for (place, claim, mut holding) in halves {
        pass.complete(&claim, &mut holding);
        settle(place, Outcome::Holds(holding));
    }
    // A stable sort: within each kind the order stays that of age and name.
    newcomers.sort_by_key(|(_, claim)| claim.request.is_none());
    for (place, claim) in newcomers {
        settle(place, pass.serve(&claim));
    }
    world.services.keys().zip(outcomes).filter_map(|(key, outcome)| Some((key.clone(), outcome?))).collect()
}

/// Oldest first, then by name: whom an address belongs to when two hold it. Where the age is not known (in a manifest
/// directory), those that hold something come first. Each with its place among the Services.
fn in_order<'a>(
    world: &'a World,
    under_way: &UnderWay,
) -> impl Iterator<Item = (usize, &'a ServiceKey, &'a Service)> {
    let all: Vec<_> = world.services.iter().map(|(key, service)| (key, &**service)).collect();
    let newcomer = |key: &ServiceKey, service: &Service| match under_way.get(key) {
        Some(ips) => ips.is_empty(),
        None => service.ingress.is_empty(),
    };
    let age = |(place, (key, service)): (usize, &(&ServiceKey, &Service))| {
        (newcomer(key, service), service.created, place)
    };
    let mut order: Vec<_> = all.iter().enumerate().map(age).collect();
    order.sort_unstable();
    order
        .into_iter()
        .filter_map(move |(_, _, place)| all.get(place).map(|(key, service)| (place, *key, *service)))
}

struct Pass<'a> {
    config: &'a Config,
    world: &'a World,
    under_way: &'a UnderWay,
    ledger: Ledger<'a>,
}

impl<'a> Pass<'a> {
    /// What `service` asks for, or what becomes of it without asking.
    fn claim(
        &mut self,
        key: &'a ServiceKey,
        service: &'a Service,
        class: &Class,
    ) -> Result<Claim<'a>, Outcome> {
        if !service.load_balancer && service.misfit.is_none() {
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
        if let Some(misfit) = &service.misfit {
            // What it was before is still in its status, and stays its own until the manifest is mended.
            self.ledger.reserve(key, service, &current);
            return Err(Outcome::Untouched(Reason::Misfit(misfit.clone())));
        }
        if self.config.pools.is_empty() {
            // No pool at all is more likely a configuration on its way than the wish to take every address away.
            return Err(Outcome::Untouched(Reason::NoPools));
        }
        let readable = self.under_way.contains_key(key) || current.len() == service.ingress.len();
        Claim::read(key, service, current, readable).map_err(Outcome::Without)
    }

    /// What a Service can keep of what it holds; `None` for a newcomer.
    fn keep(&mut self, claim: &Claim<'a>) -> Option<Holding> {
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
        Some(Holding { ips: claim.current.clone(), pool, new: false, lacks })
    }

    /// A second address for a Service that prefers two families and holds one.
    fn complete(&mut self, claim: &Claim<'a>, holding: &mut Holding) {
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
