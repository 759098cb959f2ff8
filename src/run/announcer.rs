//! The speaker's state between two passes, and what follows from a pass: what layer 2 and FRR must do, and the events.
//!
//! No channel and no clock, so that the loop around it stays a loop: `Observed` in, desired state out.

use crate::{
    config::{self, Config, Kind, ObjectRef, Problems},
    frr::{self, Built, Subject},
    io::{
        observe::{Change, Observed, Touched},
        write::{Event, Level},
    },
    names::{NodeName, ServiceKey},
    net::Interfaces,
    plan::{self, Plan, Protocol, Reason, Verdict, Viewpoint},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What the speaker knows and last decided.
pub(super) struct Announcer {
    me: Viewpoint,
    /// How much FRR logs.
    log: frr::LogLevel,
    /// What was observed.
    pub(super) observed: Observed,
    config: Config,
    /// What is wrong with the configuration objects as such.
    misread: Problems,
    /// What is wrong with them on this node.
    unfit: Problems,
    /// What FRR refused, of what it was last told, and of what it is being told.
    refused: Problems,
    refusing: Problems,
    plan: Arc<Plan>,
    /// The plan before this one, until it was told what is new.
    before: Option<Arc<Plan>>,
    built: Option<Built>,
    /// Whether there was a pass.
    decided: bool,
    stale: bool,
}

/// What a pass asks the shell to do.
#[derive(Debug)]
pub(super) struct Desired {
    /// The addresses to answer for.
    pub(super) l2: Arc<BTreeMap<IpAddr, Interfaces>>,
    /// What FRR must run; `None` where there is none.
    pub(super) frr: Option<Arc<frr::Model>>,
}

impl Announcer {
    /// Nothing known yet.
    #[must_use]
    pub(super) fn new(me: Viewpoint, log: frr::LogLevel, observed: Observed) -> Self {
        Self {
            me,
            log,
            observed,
            config: Config::default(),
            misread: Problems::default(),
            unfit: Problems::default(),
            refused: Problems::default(),
            refusing: Problems::default(),
            plan: Arc::default(),
            before: None,
            built: None,
            decided: false,
            stale: true,
        }
    }

    /// Takes `change` in.
    pub(super) fn observe(&mut self, change: Change) {
        let touched: Touched = self.observed.apply(change);
        if touched.config {
            self.refresh();
        }
        self.stale |= touched.any();
    }

    /// Reads the configuration objects anew.
    pub(super) fn refresh(&mut self) {
        (self.config, self.misread) = config::parse(&self.observed.input, &self.config);
    }

    /// Decides, if anything has changed since the last time, and says what must be so.
    pub(super) fn decide(&mut self) -> Option<Desired> {
        if !self.stale || !self.observed.synced() {
            return None;
        }
        self.stale = false;
        // Who is listed is taken for alive.
        let alive: BTreeSet<NodeName> = self.observed.world.nodes.keys().cloned().collect();
        let plan = plan::plan(&self.me, &self.config, &self.observed.world, &alive);
        let model = if self.me.frr { Some(self.build(&plan)) } else { self.cannot_speak(&plan) };
        // The first pass finds what was announced before a restart: that is no news.
        let before = std::mem::replace(&mut self.plan, Arc::new(plan));
        self.before = std::mem::replace(&mut self.decided, true).then_some(before);
        Some(Desired { l2: Arc::new(self.plan.l2.clone()), frr: model.map(Arc::new) })
    }

    /// What FRR must run for `plan`.
    fn build(&mut self, plan: &Plan) -> frr::Model {
        let node = &self.me.node;
        let facts = self.observed.world.nodes.get(node);
        let home = frr::Home { node, addresses: facts.map_or(&[], |facts| &facts.addresses) };
        let built = frr::build(&home, plan, &self.config, self.built.as_ref());
        let (mut model, unfit) = frr::merge(&built.object, &self.observed.input.frr_configurations);
        model.log = Some(self.log);
        self.unfit = built.problems.clone();
        self.unfit.extend(built.blame(unfit));
        self.built = Some(built);
        model
    }

    /// Peers of a node without FRR have a problem, and nothing is built.
    fn cannot_speak(&mut self, plan: &Plan) -> Option<frr::Model> {
        self.unfit = Problems::default();
        for peer in plan.bgp.keys() {
            let object = ObjectRef { kind: Kind::BGPPeer, name: peer.to_string() };
            let what = "the speaker runs without FRR (--frr-vty-dir is empty): there is no session";
            self.unfit.add(
                object,
                "spec.nodeSelectors",
                format!("node {} is selected, but {what}", self.me.node),
            );
        }
        None
    }

    /// Everything that is wrong with the objects.
    #[must_use]
    pub(super) fn problems(&self) -> Problems {
        let mut all = self.misread.clone();
        all.extend(self.unfit.clone());
        all.extend(self.refused.clone());
        if !self.observed.world.nodes.contains_key(&self.me.node) {
            let node = ObjectRef { kind: Kind::Node, name: self.me.node.to_string() };
            all.add(node, "", "there is no such Node: nothing is known of it but its name (--node-name)");
        }
        all
    }

    /// FRR did not take a line.
    pub(super) fn refused(&mut self, subject: &Subject, line: &str, answer: &str) {
        let what = format!("FRR refuses the line {line:?}: {answer}");
        for object in self.owners(subject) {
            self.refusing.add(object, "", &what);
        }
    }

    /// FRR has taken everything but what was refused since the last time.
    pub(super) fn applied(&mut self) {
        self.refused = std::mem::take(&mut self.refusing);
    }

    /// The objects that a line of FRR is there for.
    fn owners(&self, subject: &Subject) -> Vec<ObjectRef> {
        if let Subject::Prefix(_, prefix) = subject {
            let of = |(key, _, ip): (&ServiceKey, Protocol, IpAddr)| {
                prefix.contains(&ip).then(|| ObjectRef { kind: Kind::Service, name: key.to_string() })
            };
            return self.announced().filter_map(of).collect::<BTreeSet<_>>().into_iter().collect();
        }
        let owner = self.built.as_ref().and_then(|built| built.owner(subject));
        vec![owner.unwrap_or_else(|| ObjectRef { kind: Kind::Node, name: self.me.node.to_string() })]
    }

    /// The plan of the last pass.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// What FRR refused, and what is wrong with everything else.
    pub(super) fn refusals(&self) -> (&Problems, Problems) {
        let mut other = self.misread.clone();
        other.extend(self.unfit.clone());
        (&self.refused, other)
    }

    /// What is announced: Service, protocol, address, in that order.
    pub(super) fn announced(&self) -> impl Iterator<Item = (&ServiceKey, Protocol, IpAddr)> {
        let mut verdicts = self.plan.why.iter().peekable();
        // One walk over both, which have the same order.
        self.observed.world.services.iter().flat_map(move |(key, service)| {
            while verdicts.next_if(|verdict| verdict.service < *key).is_some() {}
            let verdict = verdicts.next_if(|verdict| verdict.service == *key);
            let announced = verdict.into_iter().flat_map(Verdict::by_protocol).filter(|(_, why)| why.is_ok());
            announced.flat_map(move |(protocol, _)| {
                service.addresses().flatten().map(move |ip| (key, protocol, ip))
            })
        })
    }

    /// What the last pass changed, to be asked after it was carried out: an event for each Service that this node
    /// begins to announce, a log line for each that it ceases to.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let Some(before) = self.before.take() else { return Vec::new() };
        let mut events = Vec::new();
        let mut old = before.why.iter().peekable();
        for verdict in &self.plan.why {
            while let Some(gone) = old.next_if(|other| other.service < verdict.service) {
                log_gone(gone);
            }
            let was = old.next_if(|other| other.service == verdict.service);
            if was == Some(verdict) {
                continue;
            }
            for (protocol, why) in verdict.by_protocol() {
                let was =
                    was.into_iter().flat_map(Verdict::by_protocol).find(|(other, _)| *other == protocol);
                events.extend(self.change(&verdict.service, protocol, was.map(|(_, why)| why), why));
            }
        }
        old.for_each(log_gone);
        events
    }

    fn change(
        &self,
        key: &ServiceKey,
        protocol: Protocol,
        was: Option<&Result<(), Reason>>,
        why: &Result<(), Reason>,
    ) -> Option<Event> {
        match (was, why) {
            (Some(Ok(())), Ok(())) | (None, Err(Reason::NoAddress)) => None,
            (_, Ok(())) => {
                let service = self.observed.world.services.get(key)?;
                let message =
                    format!("announcing from node \"{}\" with protocol \"{protocol}\"", self.me.node);
                tracing::info!(service = %key, %protocol, "announcing");
                let (key, uid) = (key.clone(), service.uid.clone());
                Some(Event { key, uid, level: Level::Normal, reason: "nodeAssigned", message })
            }
            (Some(Err(before)), Err(reason)) if before == reason => None,
            (Some(Ok(())), Err(reason)) => {
                tracing::info!(service = %key, %protocol, reason = reason.word(), why = %reason, "withdrawn");
                None
            }
            (_, Err(reason)) => {
                tracing::debug!(service = %key, %protocol, reason = reason.word(), why = %reason, "not announced");
                None
            }
        }
    }
}

fn log_gone(verdict: &Verdict) {
    for (protocol, _) in verdict.by_protocol().filter(|(_, why)| why.is_ok()) {
        tracing::info!(service = %verdict.service, %protocol, "withdrawn: the Service is gone");
    }
}

#[cfg(test)]
mod tests;
