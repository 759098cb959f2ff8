//! The announcer's part that is about who is there: what the gossip says, what it is told, and what moved to whom.

use super::Announcer;
use crate::{
    io::members::{Fact, Stage, View, Word},
    names::NodeName,
    plan::Reason,
    world::{Member, Members},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Who is there.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// As the speakers' gossip has it; `None` where there is none, and who is listed is taken for alive.
    view: Option<Arc<View>>,
    /// What this speaker says of itself.
    stage: Stage,
    /// Who said that it goes, and has not come back: nobody that is cut off.
    departed: BTreeSet<NodeName>,
    /// Who was there in the last pass, and in the one before.
    members: BTreeSet<NodeName>,
    before: BTreeSet<NodeName>,
}

impl Presence {
    /// Whether this node went of its own accord.
    pub(super) fn went(&self, node: &NodeName) -> bool {
        self.departed.contains(node)
    }

    /// How it is known who is there.
    pub(super) fn word(&self) -> Word {
        self.view.as_ref().map_or_else(Word::default, |view| view.word)
    }

    /// There was a pass with these.
    pub(super) fn decided(&mut self, members: &Members) {
        self.before = std::mem::replace(&mut self.members, members.keys().cloned().collect());
        if self.stage == Stage::Starting {
            self.stage = Stage::Ready;
        }
    }
}

impl Announcer {
    /// Takes in who is there. After the first call nothing is answered for before the gossip has looked around.
    pub(in crate::run) fn members(&mut self, view: Arc<View>) {
        self.stale |= self.presence.view.as_ref() != Some(&view);
        for (node, member) in &view.members {
            match member.leaving {
                true => self.presence.departed.insert(node.clone()),
                false => self.presence.departed.remove(node),
            };
        }
        self.presence.view = Some(view);
    }

    /// From now on leaves what it answers for to others, if there are any. Whether there are.
    pub(in crate::run) fn go(&mut self) -> bool {
        self.stale = true;
        self.presence.stage = Stage::Leaving;
        self.presence.view.as_ref().is_some_and(|view| view.members.len() > 1)
    }

    /// What the other speakers are to know.
    pub(in crate::run) fn fact(&self) -> Fact {
        Fact { stage: self.presence.stage, member: self.member() }
    }

    fn member(&self) -> Arc<Member> {
        let leaving = self.presence.stage == Stage::Leaving;
        // without a gossip the others do not know, and all must decide alike
        let held = self.presence.view.as_ref().map(|_| self.plan.held.clone()).unwrap_or_default();
        Arc::new(Member { interfaces: self.interfaces.clone(), leaving, held })
    }

    /// The nodes with a live speaker; `None` when that is not known yet.
    pub(super) fn alive(&self) -> Option<Members> {
        let mut members = match &self.presence.view {
            Some(view) if !view.settled => return None,
            Some(view) => view.members.clone(),
            // who is listed is taken for alive
            None => self.observed.world.nodes.keys().map(|node| (node.clone(), Arc::default())).collect(),
        };
        // the gossip may not have heard of our own interfaces yet
        members.entry(self.me.node.clone()).and_modify(|me| *me = self.member());
        Some(members)
    }

    /// Which of these addresses the last pass left to which other node that was there before: one that has come
    /// answers already. Without a gossip nobody knows where the other's interfaces are, and nothing is left slowly.
    pub(in crate::run) fn moved(&self, addresses: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, NodeName> {
        if addresses.is_empty() || self.presence.view.is_none() {
            return BTreeMap::new();
        }
        let to = |reason: &Reason| match reason {
            Reason::ElectedElsewhere(node) if self.presence.before.contains(node) => Some(node.clone()),
            _ => None,
        };
        let moved = self.plan.why.iter().filter_map(|verdict| {
            let node = to(verdict.layer2.as_ref().err()?)?;
            Some((self.observed.world.services.get(&verdict.service)?, node))
        });
        let ips =
            moved.flat_map(|(service, node)| service.addresses().flatten().map(move |ip| (ip, node.clone())));
        ips.filter(|(ip, _)| addresses.contains(ip)).collect()
    }
}
