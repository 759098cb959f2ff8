//! BGP peers and BFD profiles.

use super::{Config, Input, Problems, Selectors, select::any_or_all};
use crate::{
    names::{Asn, BfdName, PeerName, Word},
    world::Labels,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Whom a session is with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbor {
    /// `spec.peerAddress`.
    Address(IpAddr),
    /// `spec.interface`: unnumbered (RFC 5549).
    Interface(Word),
}

/// The neighbour's AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteAs {
    /// `spec.peerASN`.
    Number(Asn),
    /// `spec.dynamicASN: internal`.
    Internal,
    /// `spec.dynamicASN: external`.
    External,
}

/// `timers`, in whole seconds; `hold` 0 switches them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timers {
    /// Seconds between keepalives.
    pub keepalive: u16,
    /// Seconds of silence after which the session ends; 0 or at least 3 (RFC 4271 §4.2).
    pub hold: u16,
}

/// A BGPPeer.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// `spec.myASN`.
    pub my_asn: Asn,
    /// The neighbour's AS.
    pub remote_as: RemoteAs,
    /// Whom to talk to.
    pub neighbor: Neighbor,
    /// `spec.peerPort`.
    pub port: u16,
    /// `spec.sourceAddress`.
    pub source: Option<IpAddr>,
    /// `spec.holdTime` and `spec.keepaliveTime`; `None` leaves FRR's default.
    pub timers: Option<Timers>,
    /// `spec.connectTime`, seconds.
    pub connect_time: Option<u16>,
    /// `spec.routerID`.
    pub router_id: Option<Ipv4Addr>,
    /// `spec.nodeSelectors`; empty for every node.
    pub nodes: Selectors,
    /// `spec.password` (RFC 2385).
    pub password: Option<Word>,
    /// `spec.bfdProfile`.
    pub bfd: Option<BfdName>,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// `spec.ebgpMultiHop`.
    pub ebgp_multihop: bool,
    /// `spec.vrf`.
    pub vrf: Option<Word>,
    /// `spec.dualStackAddressFamily`.
    pub dual_stack: bool,
    /// `spec.localASN`.
    pub local_asn: Option<Asn>,
}

impl Peer {
    /// Whether nodes with these labels have this session.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_all(&self.nodes, labels)
    }
}

/// A BFDProfile; `None` leaves FRR's default. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// The name as FRR will know it.
    pub name: Word,
    /// `receive-interval`.
    pub receive_interval: Option<u32>,
    /// `transmit-interval`.
    pub transmit_interval: Option<u32>,
    /// `detect-multiplier`.
    pub detect_multiplier: Option<u32>,
    /// `echo receive-interval` and `echo transmit-interval`.
    pub echo_interval: Option<u32>,
    /// `echo-mode`.
    pub echo_mode: bool,
    /// `passive-mode`.
    pub passive_mode: bool,
    /// `minimum-ttl`.
    pub minimum_ttl: Option<u32>,
}

pub(super) fn parse_bfd(
    _input: &Input,
    _last: &Config,
    _problems: &mut Problems,
) -> BTreeMap<BfdName, Arc<BfdProfile>> {
    BTreeMap::new()
}

pub(super) fn parse(
    _input: &Input,
    _last: &Config,
    _bfd: &BTreeMap<BfdName, Arc<BfdProfile>>,
    _problems: &mut Problems,
) -> BTreeMap<PeerName, Arc<Peer>> {
    BTreeMap::new()
}
