//! What this node announces, and why not.
//!
//! Every node runs the same function on the same facts, so they agree without talking. Pure: no clock, no log.

use crate::{
    config::{Community, Config, Peer},
    names::{NodeName, PeerName, ServiceKey},
    net::Interfaces,
    world::World,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// What one prefix carries to one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Communities, standard and large.
    pub communities: BTreeSet<Community>,
}

/// A session of this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The peer.
    pub peer: Arc<Peer>,
    /// What it is told.
    pub routes: BTreeMap<IpNet, Arc<Attributes>>,
}

/// Why a Service is not announced by this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Placeholder.
    NotOwner,
}

/// Everything this node announces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Addresses to answer ARP and NDP for, and where.
    pub l2: BTreeMap<IpAddr, Interfaces>,
    /// BGP sessions and their routes.
    pub bgp: BTreeMap<PeerName, Session>,
    /// For each Service and protocol: announced, or why not.
    pub why: BTreeMap<(ServiceKey, Protocol), Result<(), Reason>>,
}

/// The plan of node `me`, where `alive` are the nodes with a live speaker.
#[must_use]
pub fn plan(_me: &NodeName, _config: &Config, _world: &World, _alive: &BTreeSet<NodeName>) -> Plan {
    Plan::default()
}
