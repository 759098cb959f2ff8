//! Why a node does not announce a Service.

use crate::{
    names::{AdvertisementName, NodeName, PoolName},
    net::Interfaces,
};
use ipnet::IpNet;
use std::net::IpAddr;

/// Why not: as small as its usual cases, since there are two for each of thousands of Services. Its text is what the user reads; its [`word`](Reason::word) is what logs and dashboards match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The Service has no address yet.
    #[error("the Service has no address")]
    NoAddress,
    /// An entry of the status is no IP address.
    #[error("the Service's status has an entry that is no IP address: {0:?}")]
    InvalidAddress(Box<str>),
    /// No pool holds the address, or not the pool of the Service's other address.
    #[error("address {0} is in no IPAddressPool")]
    NotInAPool(IpAddr),
    /// No advertisement is for the pool and the Service.
    #[error("no advertisement selects pool {0:?} and this Service")]
    NoAdvertisement(PoolName),
    /// The advertisements are for other nodes.
    #[error("the node selectors of the advertisements leave this node out")]
    NodeNotSelected,
    /// The speaker was told that there is no FRR.
    #[error("this node's speaker runs without FRR, so it has no BGP")]
    NoFrr,
    /// No peer of the advertisements is this node's.
    #[error("no BGPPeer of the advertisements selects this node")]
    NoPeer,
    /// Two advertisements give the same prefix different local preferences, MEDs or AS path prepends.
    #[error(
        "advertisements {:?} and {:?} give the same prefix different local preferences, MEDs or AS path prepends",
        .0.0, .0.1
    )]
    ConflictingAdvertisements(Box<(AdvertisementName, AdvertisementName)>),
    /// The advertisements together give a prefix more communities than a route can have.
    #[error("the advertisements together give prefix {} {} communities, a route can have 63", .0.0, .0.1)]
    TooManyCommunities(Box<(IpNet, usize)>),
    /// Condition `NetworkUnavailable`.
    #[error("the node's network is unavailable")]
    NodeNetworkUnavailable,
    /// Label `node.kubernetes.io/exclude-from-external-load-balancers`.
    #[error("the node is labelled to be excluded from external load balancers")]
    NodeExcluded,
    /// Annotation `ferrolb.io/drain`, or a cordon where that counts.
    #[error("the node is drained")]
    NodeDraining,
    /// No usable endpoint.
    #[error("the Service has no ready endpoint")]
    NoEndpoints,
    /// `externalTrafficPolicy: Local`, and none here.
    #[error("the Service has no ready endpoint on this node, and its externalTrafficPolicy is Local")]
    NoLocalEndpoints,
    /// Another node is elected.
    #[error("node {0} is elected")]
    ElectedElsewhere(NodeName),
    /// No node can announce it.
    #[error(
        "no node can announce it: none is alive, selected and, for externalTrafficPolicy Local, has an endpoint"
    )]
    NoCandidate,
    /// This node would be elected, were it not for its interfaces.
    #[error("the node can announce on none of the interfaces that the advertisements are for ({0})")]
    NoInterface(Box<Interfaces>),
    /// A shared address cannot be elected by Service.
    #[error("a Service that shares its address cannot be selected by an L2Advertisement's serviceSelectors")]
    SharedWithServiceSelector,
}

impl Reason {
    /// MetalLB's word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoAddress => "noIPAllocated",
            Self::InvalidAddress(_) => "invalidIP",
            Self::NotInAPool(_) => "ipNotAllowed",
            Self::NoAdvertisement(_) => "noMatchingAdvertisement",
            Self::NodeNotSelected | Self::ElectedElsewhere(_) | Self::NoCandidate => "notOwner",
            Self::NoFrr => "noFRR",
            Self::NoPeer => "noPeer",
            Self::TooManyCommunities(_) => "tooManyCommunities",
            Self::ConflictingAdvertisements(_) => "conflictingAdvertisements",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeExcluded => "nodeLabeledExcludeBalancers",
            Self::NodeDraining => "nodeDraining",
            Self::NoEndpoints => "noEndpoints",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoInterface(_) => "noInterface",
            Self::SharedWithServiceSelector => "sharedIPWithServiceSelector",
        }
    }
}
