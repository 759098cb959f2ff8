//! The speaker's state between two passes, and what follows from a pass: what layer 2 and FRR must do, and the events.
//!
//! No channel and no clock, so that the loop around it stays a loop: `Observed` in, desired state out.

mod layer2;
mod presence;

use crate::{
    api,
    config::{self, Config, Kind, ObjectRef, Problems},
    frr::{self, Built, Merged, Subject},
    io::{
        l2::Claims,
        observe::{Change, EXTRAS, Observed, Touched},
        write::{Event, Level},
    },
    l2::Rivals,
    names::{NodeName, ServiceKey},
    net::{Interfaces, Mac},
    plan::{self, Leave, Plan, Protocol, Reason, Verdict, Viewpoint},
    world::Labels,
};
use ipnet::IpNet;
use presence::Presence;
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
    /// The frr-k8s that drives FRR in our place.
    elsewhere: Option<frr::Elsewhere>,
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
    /// The interfaces that this node can announce on; `None` while that is not known.
    interfaces: Option<BTreeMap<Arc<str>, Mac>>,
    /// Who is there.
    presence: Presence,
    /// Where the other nodes are on the wire, those that are away too.
    stations: BTreeMap<NodeName, BTreeSet<Mac>>,
    /// What others claim of the addresses that this node answers for.
    claims: Claims,
    plan: Arc<Plan>,
    untold: Untold,
    built: Option<Built>,
    /// Those of users' FRRConfigurations that are from Secrets.
    passwords: config::Passwords,
    /// The text of the ConfigMap `bgpextras`.
    extras: Option<String>,
    /// The last merge, but for its model.
    merged: Merged,
    /// What no neighbour may tell us.
    block: Vec<IpNet>,
    /// Whether there was a pass that knew who is there.
    decided: bool,
    stale: bool,
}

/// What is new, until it was told.
#[derive(Default)]
enum Untold {
    #[default]
    Nothing,
    /// The first pass.
    First,
    /// What is other than in this plan.
    Since(Arc<Plan>),
}

/// What a pass asks the shell to do.
#[derive(Debug)]
pub(super) struct Desired {
    /// The addresses to answer for.
    pub(super) l2: Arc<BTreeMap<IpAddr, Interfaces>>,
    /// Who else may.
    pub(super) rivals: Arc<Rivals>,
    /// What FRR must run; `None` where there is none.
    pub(super) frr: Option<Arc<frr::Model>>,
    /// What frr-k8s must have; `None` where FRR is ours.
    pub(super) object: Option<Arc<api::FRRConfiguration>>,
}

impl Announcer {
    /// Nothing known yet.
    #[must_use]
    pub(super) fn new(me: Viewpoint, log: frr::LogLevel, block: Vec<IpNet>, observed: Observed) -> Self {
        Self {
            me,
            log,
            elsewhere: None,
            observed,
            config: Config::default(),
            misread: Problems::default(),
            unfit: Problems::default(),
            refused: Problems::default(),
            refusing: Problems::default(),
            interfaces: None,
            presence: Presence::default(),
            stations: BTreeMap::new(),
            claims: Claims::default(),
            plan: Arc::default(),
            untold: Untold::Nothing,
            built: None,
            passwords: config::Passwords::new(),
            extras: None,
            merged: Merged::default(),
            block,
            decided: false,
            stale: true,
        }
    }

    /// The same, with an frr-k8s that drives FRR; `passthrough` when the Secrets are none of our business.
    #[must_use]
    pub(super) fn with_frr_k8s(mut self, elsewhere: frr::Elsewhere, passthrough: bool) -> Self {
        self.elsewhere = Some(elsewhere);
        self.observed.input.secrets_elsewhere = passthrough;
        self
    }

    /// Takes `change` in.
    pub(super) fn observe(&mut self, change: Change) {
        let touched: Touched = self.observed.apply(change);
        if self.observed.is_to_be_parsed(touched) {
            self.refresh();
        }
        self.stale |= touched.any();
    }

    /// Reads the configuration objects anew.
    pub(super) fn refresh(&mut self) {
        (self.config, self.misread) = self.observed.parse(&self.config);
    }

    /// Whether this node is to be drained.
    #[must_use]
    pub(super) fn drains(&self) -> bool {
        self.observed.world.nodes.get(&self.me.node).is_some_and(|node| self.me.drains(node))
    }

    /// Whether what it announces is all that it has to. Before, nobody is told: it would seem withdrawn.
    #[must_use]
    pub(super) const fn decided(&self) -> bool {
        self.decided
    }

    /// How far it has left from now on.
    pub(super) fn leave(&mut self, leave: Leave) {
        self.stale |= self.me.leave != leave;
        self.me.leave = leave;
    }

    /// Decides, if anything has changed since the last time, and says what must be so.
    pub(super) fn decide(&mut self) -> Option<Desired> {
        if !self.stale || !self.observed.synced() {
            return None;
        }
        let alive = self.alive();
        let looked = alive.is_some();
        // Routers need not know who else is there: until that is known nobody is, and nothing is answered for.
        let members = alive.unwrap_or_default();
        self.stale = false;
        let plan = plan::plan(&self.me, &self.config, &self.observed.world, &members);
        let (model, object) = match &self.elsewhere {
            Some(elsewhere) => (None, Some(self.build_for(&elsewhere.clone(), &plan))),
            None if self.me.frr => (Some(self.build(&plan)), None),
            None => (self.cannot_speak(&plan), None),
        };
        let before = std::mem::replace(&mut self.plan, Arc::new(plan));
        if looked {
            self.untold = match std::mem::replace(&mut self.decided, true) {
                true => Untold::Since(before),
                false => Untold::First,
            };
            self.presence.decided(&members);
        }
        let l2 = Arc::new(self.plan.l2.clone());
        let rivals = Arc::new(self.rivals(&members));
        let leaving = self.me.leave != Leave::Staying;
        let model = model.map(|model| Arc::new(frr::Model { leaving, ..model }));
        Some(Desired { l2, rivals, frr: model, object: object.map(Arc::new) })
    }

    /// What frr-k8s must have for `plan`. Users' objects are its own to merge.
    fn build_for(&mut self, elsewhere: &frr::Elsewhere, plan: &Plan) -> api::FRRConfiguration {
        let built = self.built_for(plan);
        let (object, unfit) = built.elsewhere(elsewhere, plan, &self.config);
        self.unfit = built.problems.clone();
        self.unfit.extend(unfit);
        if self.observed.input.extras.values().any(|text| !text.trim().is_empty()) {
            let extras = ObjectRef { kind: Kind::ConfigMap, name: EXTRAS.to_owned() };
            let what =
                "has no effect: frr-k8s drives FRR, and reads raw text of FRRConfigurations (spec.raw)";
            self.unfit.add(extras, "data.extras", what);
        }
        self.built = Some(built);
        object
    }

    fn built_for(&self, plan: &Plan) -> Built {
        let node = &self.me.node;
        let facts = self.observed.world.nodes.get(node);
        let home = frr::Home {
            node,
            addresses: facts.map_or(&[], |facts| &facts.addresses),
            router_id: facts.and_then(|facts| facts.router_id.as_deref()),
        };
        frr::build(&home, plan, &self.config, self.built.as_ref())
    }

    /// What FRR must run for `plan`.
    fn build(&mut self, plan: &Plan) -> frr::Model {
        let built = self.built_for(plan);
        self.warn_of_extras();
        let input = &self.observed.input;
        let users = config::resolve(&input.frr_configurations, &input.secrets, &self.passwords);
        let none = Labels::default();
        let labels = self.observed.world.nodes.get(&self.me.node).map_or(&none, |facts| &facts.labels);
        let mut merged = frr::merge(&frr::Sources {
            ours: &built.object,
            users: &users.objects,
            selects: &|selector| selector.matches(labels),
            extras: self.extras.as_deref().map(|text| (frr::EXTRAS, text)),
            block: &self.block,
            last: &self.merged.standing,
        });
        self.passwords = users.passwords;
        self.unfit = built.problems.clone();
        self.unfit.extend(users.problems);
        self.unfit.extend(frr::blame_extras(&built.blame(merged.problems.clone())));
        self.built = Some(built);
        let model = std::mem::take(&mut merged.model);
        self.merged = merged;
        frr::Model { log: Some(self.log), ..model }
    }

    /// Text that nobody has checked changes what FRR does: whoever looks for a cause should see when.
    fn warn_of_extras(&mut self) {
        let text = self.observed.input.extras.values().next().filter(|text| !text.trim().is_empty());
        if self.extras.as_ref() != text {
            match text {
                Some(text) => tracing::warn!(
                    bytes = text.len(),
                    "ConfigMap bgpextras: its text is added to FRR's configuration as it is"
                ),
                None => {
                    tracing::warn!(
                        "ConfigMap bgpextras is gone, and with it its text in FRR's configuration"
                    );
                }
            }
            self.extras = text.cloned();
        }
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
            let field = frr::field(&object, subject, line, &self.observed.input);
            self.refusing.add(object, field, &what);
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
            let services: BTreeSet<_> = self.announced().filter_map(of).collect();
            return services.into_iter().chain(self.merged.owners(subject)).collect();
        }
        let owner = self.built.as_ref().and_then(|built| built.owner(subject));
        let users: Vec<_> = self.merged.owners(subject).map(frr::or_extras).collect();
        if owner.is_none() && !users.is_empty() {
            return users;
        }
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
        self.observed
            .world
            .services
            .iter()
            .flat_map(move |(key, service)| {
                while verdicts.next_if(|verdict| verdict.service < *key).is_some() {}
                let verdict = verdicts.next_if(|verdict| verdict.service == *key);
                let announced =
                    verdict.into_iter().flat_map(Verdict::by_protocol).filter(|(_, why)| why.is_ok());
                announced.flat_map(move |(protocol, _)| {
                    service.addresses().flatten().map(move |ip| (key, protocol, ip))
                })
            })
            .filter(|(_, protocol, ip)| *protocol != Protocol::Layer2 || !self.conceded(ip))
    }

    /// What the last pass changed, to be asked after it was carried out: an event for each Service that this node
    /// begins to announce, or cannot, a log line for each that it ceases to.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let before = match std::mem::take(&mut self.untold) {
            Untold::Nothing => return Vec::new(),
            Untold::First => return self.failures(),
            Untold::Since(before) => before,
        };
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

    /// The first pass finds what was announced before a restart: that is no news. What cannot be announced is.
    fn failures(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for verdict in &self.plan.why {
            for (protocol, why) in verdict.by_protocol().filter(|(_, why)| why.is_err()) {
                events.extend(self.change(&verdict.service, protocol, None, why));
            }
        }
        events
    }

    fn change(
        &self,
        key: &ServiceKey,
        protocol: Protocol,
        was: Option<&Result<(), Reason>>,
        why: &Result<(), Reason>,
    ) -> Vec<Event> {
        match (was, why) {
            (Some(Ok(())), Ok(())) | (None, Err(Reason::NoAddress)) => return Vec::new(),
            (Some(Err(before)), Err(reason)) if before == reason => return Vec::new(),
            (_, Ok(())) => tracing::info!(service = %key, %protocol, "announcing"),
            (Some(Ok(())), Err(reason)) => {
                tracing::info!(service = %key, %protocol, reason = reason.word(), why = %reason, "withdrawn");
            }
            (_, Err(reason)) => {
                tracing::debug!(service = %key, %protocol, reason = reason.word(), why = %reason, "not announced");
            }
        }
        let Some(service) = self.observed.world.services.get(key) else { return Vec::new() };
        let node = &self.me.node;
        let event = |level, reason, message| {
            let (key, uid) = (key.clone(), service.uid.clone());
            Event { key, uid, level, reason, message }
        };
        match why {
            Ok(()) => {
                let message = format!("announcing from node \"{node}\" with protocol \"{protocol}\"");
                vec![event(Level::Normal, "nodeAssigned", message)]
            }
            Err(why @ Reason::NoInterface(_)) => {
                let failed = |ip| {
                    let what =
                        format!("cannot announce \"{ip}\" from node \"{node}\" with protocol \"{protocol}\"");
                    event(Level::Warning, "announceFailed", format!("{what}: {why}"))
                };
                service.addresses().flatten().map(failed).collect()
            }
            Err(_) => Vec::new(),
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
