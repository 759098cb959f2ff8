//! The controller's state between two passes, and what follows from a pass: statuses to write, events to send.
//!
//! No channel and no clock, so that the loop around it stays a loop: `Observed` in, effects out.

use crate::{
    alloc::{self, Holding, Outcome, Reason, UnderWay},
    config::{Config, Kind, ObjectRef, Pool, Problems},
    io::{
        metrics::PoolUse,
        observe::{Change, Observed, Touched},
        write::{Event, Level, Refused, Status, Wrote},
    },
    names::{PoolName, ServiceKey},
    net::Capacity,
    world::{Class, Service, annotations},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What the controller knows and last decided.
pub(super) struct Allocator {
    class: Class,
    /// What was observed.
    pub(super) observed: Observed,
    /// What the configuration objects mean.
    pub(super) config: Config,
    /// What is wrong with them.
    pub(super) problems: Problems,
    outcomes: BTreeMap<ServiceKey, Outcome>,
    /// Statuses that are on their way: what they say counts already, and none is followed by a second one for the same
    /// Service before it is answered.
    writing: UnderWay,
    /// What else belongs to them.
    sent: BTreeMap<ServiceKey, Sent>,
    /// Services whose status could not be written: not tried again before [`Allocator::retry`].
    resting: BTreeSet<ServiceKey>,
    /// Services whose last status could not be written, which has been told.
    unwritten: BTreeSet<ServiceKey>,
    /// The last reason told about each Service, so that an event marks a transition.
    told: BTreeMap<ServiceKey, Reason>,
    stale: bool,
}

/// A status on its way.
struct Sent {
    /// The version that it was decided on.
    version: Arc<str>,
    /// What is told when it has arrived.
    news: Vec<Event>,
}

/// What a pass asks the shell to do.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Statuses to write.
    pub(super) statuses: Vec<Status>,
    /// Events to send.
    pub(super) events: Vec<Event>,
}

/// What follows from the answer to a status.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// Whether it must be tried again later.
    pub(super) again: bool,
    /// Events to send: what was written is so only now.
    pub(super) events: Vec<Event>,
}

impl Allocator {
    /// Nothing known yet.
    #[must_use]
    pub(super) fn new(class: Class, observed: Observed) -> Self {
        Self {
            class,
            observed,
            config: Config::default(),
            problems: Problems::default(),
            outcomes: BTreeMap::new(),
            writing: UnderWay::new(),
            sent: BTreeMap::new(),
            resting: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            told: BTreeMap::new(),
            stale: true,
        }
    }

    /// Takes `change` in.
    pub(super) fn observe(&mut self, change: Change) {
        let ours = match &change {
            Change::Service(key, Some(_)) if self.writing.contains_key(key) => Some(key.clone()),
            _ => None,
        };
        if let Change::Service(key, _) = &change {
            self.stale |= self.resting.remove(key);
        }
        let touched = self.observed.apply(change);
        // The watch can be faster than the answer to a write. What was written is what was decided: nothing to decide
        // anew, so that a burst of writes does not cost a pass for each.
        if touched.config || !ours.is_some_and(|key| self.is_as_decided(&key)) {
            self.note(touched);
        }
    }

    /// Reads the configuration objects anew.
    pub(super) fn refresh(&mut self) {
        (self.config, self.problems) = self.observed.parse(&self.config);
    }

    fn note(&mut self, touched: Touched) {
        if self.observed.is_to_be_parsed(touched) {
            self.refresh();
        }
        self.stale |= touched.any();
    }

    /// Takes in what became of a status.
    pub(super) fn wrote(&mut self, wrote: Wrote) -> Answered {
        self.writing.remove(&wrote.key);
        let sent = self.sent.remove(&wrote.key);
        match wrote.result {
            Ok(change) => {
                if self.unwritten.remove(&wrote.key) {
                    tracing::info!(service = %wrote.key, "the status is written again");
                }
                let touched = self.observed.apply(change);
                if self.is_as_decided(&wrote.key) {
                    self.stale |= touched.config;
                } else {
                    // Also when this answer says nothing new: the watch may have told all of it before, in a pass that
                    // had to leave this Service alone.
                    self.note(touched);
                    self.stale = true;
                }
                Answered { again: false, events: sent.map(|sent| sent.news).unwrap_or_default() }
            }
            Err(Refused::Conflict) => {
                // Decided anew on what the Service is now, which the watch has told already or is about to tell.
                let now = self.observed.world.services.get(&wrote.key).map(|service| &service.version);
                if now == sent.as_ref().map(|sent| &sent.version) {
                    self.resting.insert(wrote.key);
                } else {
                    self.stale = true;
                }
                Answered { again: true, ..Answered::default() }
            }
            Err(Refused::Gone) => {
                self.stale = true;
                Answered::default()
            }
            Err(refused @ (Refused::Forbidden(_) | Refused::Failed(_))) => {
                if self.unwritten.insert(wrote.key.clone()) {
                    tracing::error!(service = %wrote.key, fault = %refused, "the status was not written: trying again");
                } else {
                    tracing::debug!(service = %wrote.key, fault = %refused, "the status was not written again");
                }
                self.resting.insert(wrote.key);
                Answered { again: true, ..Answered::default() }
            }
        }
    }

    /// Gives up waiting for the status of `key`: the writer had no room for it. The next answer makes room.
    pub(super) fn unsent(&mut self, key: &ServiceKey) {
        self.writing.remove(key);
        self.sent.remove(key);
        self.stale = true;
    }

    /// Time to try again what could not be written.
    pub(super) fn retry(&mut self) {
        self.stale |= !self.resting.is_empty();
        self.resting.clear();
    }

    fn is_as_decided(&self, key: &ServiceKey) -> bool {
        match (self.outcomes.get(key), self.observed.world.services.get(key)) {
            (Some(outcome), Some(service)) => {
                target(outcome).is_none_or(|target| target.is_shown_by(service))
            }
            _ => false,
        }
    }

    /// Decides, if anything has changed since the last time, and says what follows.
    pub(super) fn decide(&mut self) -> Option<Effects> {
        if !self.stale || !self.observed.synced() {
            return None;
        }
        let mut effects = Effects::default();
        self.stale = false;
        let world = &self.observed.world;
        self.outcomes = alloc::assign(&self.config, world, &self.class, &self.writing);
        self.told.retain(|key, _| world.services.contains_key(key));
        self.unwritten.retain(|key| world.services.contains_key(key));
        // Both maps have the same keys: there is an outcome for every Service.
        for ((key, outcome), service) in self.outcomes.iter().zip(world.services.values()) {
            if let Some(target) = target(outcome).filter(|target| !target.is_shown_by(service))
                && !self.resting.contains(key)
                && !self.writing.contains_key(key)
            {
                self.writing.insert(key.clone(), target.ips.to_vec());
                let news = assignment(key, service, outcome);
                self.sent.insert(key.clone(), Sent { version: service.version.clone(), news });
                let status = Status {
                    key: key.clone(),
                    version: service.version.clone(),
                    ips: target.ips.to_vec(),
                    pool: target.pool.cloned(),
                };
                effects.statuses.push(status);
            }
            effects.events.extend(complaint(&mut self.told, key, service, outcome));
        }
        Some(effects)
    }

    /// What keeps Services from what they ask for, by Service: for who cannot see events. No problem of the
    /// configuration.
    pub(super) fn complaints(&self) -> Problems {
        let mut all = Problems::default();
        for (key, outcome) in &self.outcomes {
            let Some((Level::Warning, _, reason)) = failure(outcome) else { continue };
            let object = ObjectRef { kind: Kind::Service, name: key.to_string() };
            match reason {
                Reason::Misfit(misfit) => all.add(object, &misfit.field, &misfit.what),
                reason => all.add(object, "", reason),
            }
        }
        all
    }

    /// How full each pool is.
    pub(super) fn pools(&self) -> BTreeMap<PoolName, PoolUse> {
        let mut used: BTreeMap<&PoolName, BTreeSet<IpAddr>> = BTreeMap::new();
        for outcome in self.outcomes.values() {
            if let Outcome::Holds(holding) = outcome {
                used.entry(&holding.pool).or_default().extend(&holding.ips);
            }
        }
        let none = BTreeSet::new();
        let usage = |(name, pool): (&PoolName, &Arc<Pool>)| {
            let ips = used.get(name).unwrap_or(&none);
            let capacity = Capacity::of(&pool.ranges, pool.avoid_buggy);
            let v4 = ips.iter().filter(|ip| ip.is_ipv4()).count();
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            let in_use = Capacity { v4: count(v4), v6: count(ips.len() - v4) };
            (name.clone(), PoolUse { capacity, in_use })
        };
        self.config.pools.iter().map(usage).collect()
    }
}

/// What a status must show.
struct Target<'a> {
    ips: &'a [IpAddr],
    pool: Option<&'a PoolName>,
}

fn target(outcome: &Outcome) -> Option<Target<'_>> {
    match outcome {
        Outcome::Holds(Holding { ips, pool, .. }) => Some(Target { ips, pool: Some(pool) }),
        Outcome::Without(_) => Some(Target { ips: &[], pool: None }),
        Outcome::Untouched(_) => None,
    }
}

impl Target<'_> {
    /// Only what matters is compared: `ipMode`, which an API server fills in, does not.
    fn is_shown_by(&self, service: &Service) -> bool {
        let mark = service.annotations.get(annotations::ALLOCATED_FROM);
        service.addresses().eq(self.ips.iter().copied().map(Some)) && mark == self.pool.map(PoolName::as_str)
    }
}

fn event(key: &ServiceKey, service: &Service, level: Level, reason: &'static str, message: String) -> Event {
    Event { key: key.clone(), uid: Arc::clone(&service.uid), level, reason, message }
}

/// Addresses given, and addresses given up.
fn assignment(key: &ServiceKey, service: &Service, outcome: &Outcome) -> Vec<Event> {
    let held: Vec<IpAddr> = service.addresses().flatten().collect();
    let mut events = Vec::new();
    let now: &[IpAddr] = match outcome {
        Outcome::Holds(holding) => &holding.ips,
        Outcome::Without(_) | Outcome::Untouched(_) => &[],
    };
    if held.iter().any(|ip| !now.contains(ip)) {
        let message = format!("{} given up", list(&held));
        events.push(event(key, service, Level::Normal, "ClearAssignment", message));
    }
    if let Outcome::Holds(holding) = outcome
        && holding.new
    {
        let message = format!("Assigned IP {}", list(&holding.ips));
        events.push(event(key, service, Level::Normal, "IPAllocated", message));
    }
    events
}

/// Why a Service does not have what it asks for, and how an event says so.
fn failure(outcome: &Outcome) -> Option<(Level, &'static str, &Reason)> {
    Some(match outcome {
        Outcome::Without(Reason::NotLoadBalancer)
        | Outcome::Untouched(Reason::NotLoadBalancer | Reason::ForeignClass)
        | Outcome::Holds(Holding { lacks: None, .. }) => return None,
        Outcome::Without(reason) | Outcome::Untouched(reason) => (Level::Warning, "AllocationFailed", reason),
        Outcome::Holds(Holding { lacks: Some(reason @ Reason::NoSecondAddress(..)), .. }) => {
            (Level::Normal, "AdditionalAssignFailed", reason)
        }
        Outcome::Holds(Holding { lacks: Some(reason), .. }) => (Level::Warning, "LoadBalancerFailed", reason),
    })
}

/// Why a Service does not have what it asks for, when that is news.
fn complaint(
    told: &mut BTreeMap<ServiceKey, Reason>,
    key: &ServiceKey,
    service: &Service,
    outcome: &Outcome,
) -> Option<Event> {
    let Some((level, name, reason)) = failure(outcome) else {
        if !matches!(outcome, Outcome::Untouched(_)) {
            told.remove(key);
        }
        return None;
    };
    if told.get(key) == Some(reason) {
        return None;
    }
    told.insert(key.clone(), reason.clone());
    tracing::info!(service = %key, reason = %reason, "{name}");
    let message = match name {
        "AllocationFailed" => format!("Failed to allocate IP for {key:?}: {reason}"),
        _ => reason.to_string(),
    };
    Some(event(key, service, level, name, message))
}

fn list(ips: &[IpAddr]) -> String {
    let quoted: Vec<String> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests;
