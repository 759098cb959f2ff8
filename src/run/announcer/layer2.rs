//! The announcer's part that is about links: interfaces, other nodes on the wire, and what they claim.

use super::Announcer;
use crate::{
    io::{
        l2::Claims,
        members::Word,
        states::{Answering, Layer2},
        write::{Event, Level},
    },
    l2::{Claim, Rivals},
    names::{NodeName, ServiceKey},
    net::{Interfaces, Links, Mac},
    plan::Protocol,
    world::{Members, Service},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

impl Announcer {
    /// Takes in the interfaces that layer 2 has; none where it has no sockets.
    pub(in crate::run) fn links(&mut self, links: &Links) {
        let usable = links.values().filter(|link| link.can_announce());
        let interfaces = usable.filter_map(|link| Some((Arc::clone(&link.name), link.mac?))).collect();
        let interfaces = Some(interfaces);
        self.stale |= interfaces != self.interfaces;
        self.interfaces = interfaces;
    }

    /// The other nodes, for the plan of this pass. Where one is stays known as long as there is such a Node: it may be
    /// cut off, and come back.
    pub(super) fn rivals(&mut self, members: &Members) -> Rivals {
        self.stations.retain(|node, _| self.observed.world.nodes.contains_key(node));
        for (node, member) in members.iter().filter(|(node, _)| **node != self.me.node) {
            if let Some(interfaces) = &member.interfaces {
                self.stations.insert(node.clone(), interfaces.values().copied().collect());
            }
        }
        let station = |(node, macs): (&NodeName, &BTreeSet<Mac>)| {
            macs.iter().map(|mac| (*mac, node.clone())).collect::<Vec<_>>()
        };
        let mut owners = self.plan.in_place_of.clone();
        owners.retain(|_, owners| {
            // one that did not renew knows that it has nothing any more
            owners.retain(|owner| !self.presence.went(owner) && self.presence.word() == Word::Heard);
            !owners.is_empty()
        });
        Rivals {
            me: Some(self.me.node.clone()),
            stations: self.stations.iter().flat_map(station).collect(),
            live: members.keys().cloned().collect(),
            owners,
            lapsed: self.presence.word() == Word::Lapsed,
        }
    }

    /// Where this node answers for each Service.
    pub(in crate::run) fn layer2(&self) -> Layer2 {
        let known = |name: &Arc<str>| self.interfaces.as_ref().is_none_or(|all| all.contains_key(name));
        let mut all = BTreeMap::<ServiceKey, Answering>::new();
        // its first address stands for it
        for (key, _, ip) in self.announced().filter(|(_, protocol, _)| *protocol == Protocol::Layer2) {
            let interfaces = match self.plan.l2.get(&ip) {
                Some(Interfaces::Named(names)) => names.iter().filter(|name| known(name)).cloned().collect(),
                Some(Interfaces::All) | None => Vec::new(),
            };
            let at =
                all.entry(key.clone()).or_insert_with(|| Answering { interfaces, ..Answering::default() });
            let stranger = self.claims.get(&ip).filter(|claim| claim.node.is_none());
            at.conflicts.extend(stranger.map(|claim| (ip, claim.by)));
        }
        // thousands of Services are mostly answered for alike
        let mut last = Arc::<Answering>::default();
        let mut shared = |at: Answering| {
            if *last != at {
                last = Arc::new(at);
            }
            Arc::clone(&last)
        };
        all.into_iter().map(|(key, at)| (key, shared(at))).collect()
    }

    /// Whether another node has the address now, though the plan has it here.
    pub(super) fn conceded(&self, ip: &IpAddr) -> bool {
        self.claims.get(ip).is_some_and(|claim| claim.conceded)
    }

    /// Takes in what others claim; an event for each Service that this is news for.
    pub(in crate::run) fn claimed(&mut self, claims: Claims) -> Vec<Event> {
        let before = std::mem::replace(&mut self.claims, claims);
        let news: BTreeMap<IpAddr, &Claim> = self
            .claims
            .iter()
            .filter(|(ip, claim)| before.get(ip) != Some(claim))
            .map(|(ip, c)| (*ip, c))
            .collect();
        let over = |ip: &&IpAddr| !self.claims.contains_key(*ip) && self.plan.l2.contains_key(*ip);
        for ip in before.keys().filter(over) {
            tracing::info!(%ip, "no other station claims the address any more");
        }
        if news.is_empty() {
            return Vec::new();
        }
        let here = self.plan.why.iter().filter(|verdict| verdict.layer2.is_ok());
        let services = here.filter_map(|verdict| {
            Some((&verdict.service, self.observed.world.services.get(&verdict.service)?))
        });
        let event = |(key, service): (&ServiceKey, &Service), ip: IpAddr, claim: &Claim| {
            let (me, by) = (&self.me.node, claim.by);
            let message = match &claim.node {
                Some(node) => format!(
                    "node \"{me}\" leaves \"{ip}\" to node \"{node}\" ({by}), which announces it too and comes first"
                ),
                None => format!(
                    "\"{ip}\" of node \"{me}\" is claimed by another station, no known node of this cluster ({by}): node \"{me}\" goes on answering for it"
                ),
            };
            tracing::warn!(service = %key, message, "address conflict");
            let (key, uid) = (key.clone(), service.uid.clone());
            Event { key, uid, level: Level::Warning, reason: "addressConflict", message }
        };
        services
            .flat_map(|service| {
                let ips = service.1.addresses().flatten().filter_map(|ip| Some((ip, *news.get(&ip)?)));
                ips.map(|(ip, claim)| event((service.0, service.1), ip, claim)).collect::<Vec<_>>()
            })
            .collect()
    }
}
