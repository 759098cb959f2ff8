//! Which node answers ARP and NDP for a Service: an election that every node computes alike.

use super::{Candidate, Plan, Reason, Viewpoint, balance};
use crate::{
    config::{Config, L2Advertisement},
    names::{NodeName, PoolName},
    net::{Interfaces, Mac},
    world::{Endpoints, Labels, Members, TrafficPolicy, World, annotations},
};
use sha2::{Digest, Sha256};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::{Arc, LazyLock},
};

/// A node's rank for an address: SHA-256 of `node#ip`; the lowest bytes win. A sixth of a microsecond each where the
/// processor knows it, 1.6 ms for 1,000 Services on 10 nodes: none is kept for the next pass.
#[must_use]
pub fn digest(node: &NodeName, ip: IpAddr) -> [u8; 32] {
    Sha256::new().chain_update(node.as_str()).chain_update("#").chain_update(ip.to_string()).finalize().into()
}

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::default);

/// What all elections of a plan have in common.
pub(super) struct Elections<'a> {
    me: &'a Viewpoint,
    /// Nodes that may be elected at all.
    nodes: BTreeMap<&'a NodeName, Standing<'a>>,
    /// Nodes that might be, had they a live speaker.
    absent: BTreeMap<&'a NodeName, Standing<'a>>,
    /// The advertisements of each pool.
    advertisements: BTreeMap<&'a PoolName, Vec<&'a L2Advertisement>>,
    members: &'a Members,
    /// The addresses that are balanced, each with those that may have it, the first one first.
    units: BTreeMap<IpAddr, Vec<&'a NodeName>>,
    /// Where they go.
    placed: BTreeMap<IpAddr, NodeName>,
}

/// What an election has to know of a node.
#[derive(Clone, Copy)]
struct Standing<'a> {
    labels: &'a Labels,
    /// The interfaces that it can announce on; `None` where that is not known.
    interfaces: Option<&'a BTreeMap<Arc<str>, Mac>>,
}

impl Standing<'_> {
    /// Whether it can announce on an interface that `ads` are for here, as far as that is known.
    fn has_interface(&self, ads: &[&L2Advertisement]) -> bool {
        let reaches = |has: &BTreeMap<Arc<str>, Mac>| {
            let mut here = ads.iter().filter(|ad| ad.selects_node(self.labels));
            here.any(|ad| has.keys().any(|name| ad.interfaces.has(name)))
        };
        self.interfaces.is_none_or(reaches)
    }
}

/// What nodes are judged by, for one Service.
struct Race<'a> {
    /// The advertisements that are for it.
    ads: Vec<&'a L2Advertisement>,
    /// Its endpoints, where a node needs one of its own.
    local: Option<&'a Endpoints<'a>>,
    /// All its addresses go where this one does.
    first: IpAddr,
}

impl Race<'_> {
    /// Whether a node may be elected, its interfaces aside.
    fn admits(&self, name: &NodeName, node: &Standing<'_>) -> bool {
        self.ads.iter().any(|ad| ad.selects_node(node.labels))
            && self.local.is_none_or(|endpoints| endpoints.on(name))
    }

    /// Whether the address is placed with a view to all others.
    fn balanced(&self) -> bool {
        self.ads.iter().any(|ad| ad.balanced)
    }

    /// The lowest is elected.
    fn rank(&self, name: &NodeName, node: &Standing<'_>) -> (Reverse<u64>, [u8; 32]) {
        (Reverse(score(&self.ads, node.labels)), digest(name, self.first))
    }

    /// The interfaces that it is announced on by a node, those of all its advertisements there.
    fn interfaces(&self, node: &Standing<'_>) -> Interfaces {
        let here = self.ads.iter().filter(|ad| ad.selects_node(node.labels)).map(|ad| ad.interfaces.clone());
        here.reduce(|a, b| a.union(&b)).unwrap_or(Interfaces::All)
    }
}

impl<'a> Elections<'a> {
    pub(super) fn new(me: &'a Viewpoint, config: &'a Config, world: &'a World, members: &'a Members) -> Self {
        let standing = |name: &NodeName, interfaces| match world.nodes.get(name) {
            Some(node) if node.network_unavailable || node.excluded() && !me.ignore_exclude_label => None,
            // every node sees it: the next one takes over
            Some(node) if me.drains(node) => None,
            Some(node) => Some(Standing { labels: &node.labels, interfaces }),
            None => Some(Standing { labels: &NO_LABELS, interfaces }),
        };
        let nodes = members
            .iter()
            .filter(|(_, member)| !member.leaving)
            .filter_map(|(name, member)| Some((name, standing(name, member.interfaces.as_ref())?)))
            .collect();
        let absent = world.nodes.keys().filter(|name| !members.contains_key(*name));
        let absent = absent.filter_map(|name| Some((name, standing(name, None)?))).collect();
        let of_pool = |(name, pool)| {
            (name, config.l2.values().map(|ad| &**ad).filter(|ad| ad.pools.has(name, pool)).collect())
        };
        let advertisements =
            config.pools.iter().map(|(name, pool)| (name, pool.as_ref())).map(of_pool).collect();
        let (units, placed) = (BTreeMap::new(), BTreeMap::new());
        Self { me, nodes, absent, advertisements, members, units, placed }
    }

    /// Whether there is anything to balance.
    pub(super) fn balances(&self) -> bool {
        self.advertisements.values().flatten().any(|ad| ad.balanced)
    }

    /// Takes note of `candidate` if it is to be balanced. Services that share an address go where the first one goes.
    pub(super) fn note(&mut self, candidate: &Candidate<'_>) {
        let Ok(race) = self.race(candidate) else { return };
        if !race.balanced() || self.units.contains_key(&race.first) {
            return;
        }
        let mut runners: Vec<_> =
            self.runners(&race).map(|(name, node)| (race.rank(name, node), *name)).collect();
        runners.sort_unstable();
        // preferences come first here, too
        let best = runners.first().map(|((score, _), _)| *score);
        let nodes = runners.into_iter().filter(|((score, _), _)| Some(*score) == best).map(|(_, name)| name);
        let (first, nodes) = (race.first, nodes.collect());
        self.units.insert(first, nodes);
    }

    /// Spreads what was noted.
    pub(super) fn balance(&mut self) {
        self.placed = balance::place(&self.units, self.members);
    }

    /// Those that can announce what `race` is about.
    fn runners<'r>(
        &'r self,
        race: &'r Race<'_>,
    ) -> impl Iterator<Item = (&'r &'a NodeName, &'r Standing<'a>)> {
        self.nodes.iter().filter(|(name, node)| race.admits(name, node) && node.has_interface(&race.ads))
    }

    /// Who is to announce it.
    fn elected<'r>(&'r self, race: &'r Race<'_>) -> Option<(&'r NodeName, &'r Standing<'a>)> {
        let elected = match race.balanced() {
            true => {
                let placed = self.placed.get(&race.first)?;
                self.runners(race).find(|(name, _)| **name == placed)
            }
            false => self.runners(race).min_by_key(|(name, node)| race.rank(name, node)),
        };
        elected.map(|(name, node)| (*name, node))
    }

    /// Adds the addresses of `candidate` to `plan` if this node is elected.
    pub(super) fn announce(&self, candidate: &Candidate<'_>, plan: &mut Plan) -> Result<(), Reason> {
        let race = self.race(candidate)?;
        let runners = || self.nodes.iter().filter(|(name, node)| race.admits(name, node));
        let elected = self.elected(&race);
        let Some((winner, node)) = elected.filter(|(winner, _)| **winner == self.me.node) else {
            // Another one is, or should be? Who would be but for its interfaces has something to tell.
            let lacking = runners()
                .find(|(name, node)| ***name == self.me.node && !node.has_interface(&race.ads))
                .filter(|(name, node)| {
                    let rank = race.rank(name, node);
                    runners().all(|(other, node)| other == *name || rank < race.rank(other, node))
                });
            return Err(match (lacking, elected) {
                (Some((_, node)), _) => Reason::NoInterface(Box::new(race.interfaces(node))),
                (None, Some((winner, _))) => Reason::ElectedElsewhere(winner.clone()),
                (None, None) => Reason::NoCandidate,
            });
        };
        let rank = race.rank(winner, node);
        let before = |name: &NodeName, node| race.admits(name, node) && race.rank(name, node) < rank;
        let owners: Vec<&NodeName> =
            self.absent.iter().filter(|(name, node)| before(name, node)).map(|(name, _)| *name).collect();
        let interfaces = race.interfaces(node);
        if race.balanced() {
            plan.held.insert(race.first);
        }
        for ip in &candidate.ips {
            match plan.l2.entry(*ip) {
                Entry::Vacant(entry) => {
                    entry.insert(interfaces.clone());
                }
                Entry::Occupied(mut entry) => {
                    let both = entry.get().clone().union(&interfaces);
                    entry.insert(both);
                }
            }
            if !owners.is_empty() {
                plan.in_place_of.entry(*ip).or_default().extend(owners.iter().copied().cloned());
            }
        }
        Ok(())
    }

    /// What the nodes are judged by for `candidate`, if any of them may announce it.
    fn race<'c>(&'c self, candidate: &'c Candidate<'_>) -> Result<Race<'c>, Reason> {
        let service = candidate.service;
        let of_pool = self.advertisements.get(candidate.pool).into_iter().flatten().copied();
        let ads: Vec<&L2Advertisement> = of_pool.filter(|ad| ad.selects_service(&service.labels)).collect();
        if ads.is_empty() {
            return Err(Reason::NoAdvertisement(candidate.pool.clone()));
        }
        if service.annotation(annotations::ALLOW_SHARED_IP).is_some()
            && ads.iter().any(|ad| !ad.services.is_empty())
        {
            return Err(Reason::SharedWithServiceSelector);
        }
        let endpoints = &candidate.endpoints;
        if !endpoints.any() {
            return Err(Reason::NoEndpoints);
        }
        let first = candidate.ips.first().copied().ok_or(Reason::NoAddress)?;
        let local = (service.traffic == TrafficPolicy::Local).then_some(endpoints);
        Ok(Race { ads, local, first })
    }
}

/// The weights of all preferences that a node fulfils, in the advertisements that select it.
fn score(ads: &[&L2Advertisement], labels: &Labels) -> u64 {
    ads.iter()
        .filter(|ad| ad.selects_node(labels))
        .flat_map(|ad| &ad.preferred)
        .filter(|(_, selector)| selector.matches(labels))
        .map(|(weight, _)| u64::from(*weight))
        .sum()
}
