//! What this node announces, and why not.
//!
//! Every node runs the same function on the same facts, so they agree without talking to each other. Pure: no clock,
//! no log, no write.

mod balance;
mod bgp;
mod l2;
mod reason;
mod routes;

pub use l2::digest;
pub use reason::Reason;
pub use routes::Routes;

use crate::{
    config::{Community, Config, Peer, Pool},
    names::{NodeName, PeerName, PoolName, ServiceKey},
    net::Interfaces,
    world::{Class, Endpoints, Ingress, Members, Node, Service, World},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// How an address is made reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// BGP.
    Bgp,
    /// ARP and NDP.
    Layer2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bgp => "bgp",
            Self::Layer2 => "layer2",
        })
    }
}

/// What one prefix carries to one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Communities, standard and large.
    pub communities: BTreeSet<Community>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// How often our AS is prepended.
    pub prepend: Option<u8>,
    /// NEXT_HOP, of the prefix's family, in place of our own address. No plan asks for one, users'
    /// FRRConfigurations do.
    pub next_hop: Option<IpAddr>,
}

/// A session of this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The peer.
    pub peer: Arc<Peer>,
    /// What it is told.
    pub routes: Arc<Routes>,
}

/// Everything this node announces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Addresses to answer ARP and NDP for, and where.
    pub l2: BTreeMap<IpAddr, Interfaces>,
    /// The nodes that some of those addresses belong to, and that have no live speaker now: who comes back where a
    /// network was cut answers for them still.
    pub in_place_of: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// BGP sessions and their routes.
    pub bgp: BTreeMap<PeerName, Session>,
    /// For each Service, in the order of their names: announced, or why not. A list, since it is made in that order
    /// and only ever walked: a map would cost a third of the plan of thousands.
    pub why: Vec<Verdict>,
    /// Addresses of [`Plan::l2`] that are balanced, the first one of each Service: they stay here as long as they may.
    pub held: BTreeSet<IpAddr>,
}

/// What became of one Service on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The Service.
    pub service: ServiceKey,
    /// Announced over BGP, or why not.
    pub bgp: Result<(), Reason>,
    /// Answered for on the links, or why not.
    pub layer2: Result<(), Reason>,
}

impl Verdict {
    /// By protocol.
    pub fn by_protocol(&self) -> impl Iterator<Item = (Protocol, &Result<(), Reason>)> {
        [(Protocol::Bgp, &self.bgp), (Protocol::Layer2, &self.layer2)].into_iter()
    }
}

/// Where the plan is made for.
#[derive(Clone, Debug)]
pub struct Viewpoint {
    /// This node.
    pub node: NodeName,
    /// The load balancer class that is served.
    pub class: Class,
    /// Whether it has an FRR to announce with.
    pub frr: bool,
    /// `--ignore-exclude-lb`: announce from nodes whose label keeps load balancers away, too.
    pub ignore_exclude_label: bool,
    /// `--drain-on=cordon`: a cordoned node is drained, too.
    pub drain_on_cordon: bool,
    /// How far this node has left.
    pub leave: Leave,
}

impl Viewpoint {
    /// Whether `node` is to carry no traffic, as far as that can be chosen.
    #[must_use]
    pub const fn drains(&self, node: &Node) -> bool {
        node.drained || self.drain_on_cordon && node.cordoned
    }
}

/// How far a node has left the routers. It ceases to answer on its links at once, since another node takes over there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Not at all.
    #[default]
    Staying,
    /// Its routes are marked as going (RFC 8326), so that routers prefer others.
    Leaving,
    /// It has no routes. Its sessions stay.
    Left,
}

/// A Service that has addresses, all of one pool.
struct Candidate<'a> {
    service: &'a Service,
    ips: Vec<IpAddr>,
    pool: &'a PoolName,
    endpoints: Endpoints<'a>,
}

/// The plan of `me`, where `members` are the nodes with a live speaker.
#[must_use]
pub fn plan(me: &Viewpoint, config: &Config, world: &World, members: &Members) -> Plan {
    let mut l2 = l2::Elections::new(me, config, world, members);
    if l2.balances() {
        for (_, service, endpoints) in served(me, world) {
            if let Ok(candidate) = candidate(config, service, endpoints) {
                l2.note(&candidate);
            }
        }
        l2.balance();
    }
    let mut sessions = bgp::Sessions::new(me, config, world);
    let mut plan = Plan::default();
    plan.why.reserve_exact(world.services.len());
    for (key, service, endpoints) in served(me, world) {
        let (bgp, layer2) = match candidate(config, service, endpoints) {
            Ok(candidate) => (sessions.announce(&candidate), l2.announce(&candidate, &mut plan)),
            Err(reason) => (Err(reason.clone()), Err(reason)),
        };
        plan.why.push(Verdict { service: key.clone(), bgp, layer2 });
    }
    plan.bgp = sessions.finish();
    plan
}

/// The Services that are ours, with their endpoints.
fn served<'a>(
    me: &'a Viewpoint,
    world: &'a World,
) -> impl Iterator<Item = (&'a ServiceKey, &'a Service, Endpoints<'a>)> {
    world.served().filter(|(_, service, _)| service.load_balancer && me.class.is_ours(service))
}

fn candidate<'a>(
    config: &'a Config,
    service: &'a Service,
    endpoints: Endpoints<'a>,
) -> Result<Candidate<'a>, Reason> {
    let ips: Option<Vec<IpAddr>> = service.addresses().collect();
    let Some(ips) = ips else {
        let text = service.ingress.iter().find_map(|i| match i {
            Ingress::Ip(crate::world::Address::Text(text)) => Some(text.to_string()),
            Ingress::Ip(_) | Ingress::Hostname => None,
        });
        return Err(Reason::InvalidAddress(text.unwrap_or_default().into()));
    };
    let first = ips.first().ok_or(Reason::NoAddress)?;
    let (name, pool): (_, &Arc<Pool>) = config.pool_of(*first).ok_or(Reason::NotInAPool(*first))?;
    match ips.iter().find(|ip| !pool.covers(**ip)) {
        Some(stray) => Err(Reason::NotInAPool(*stray)),
        None => Ok(Candidate { service, ips, pool: name, endpoints }),
    }
}

#[cfg(test)]
mod tests;
