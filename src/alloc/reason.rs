//! Why a Service has no address, or not the one it asked for.

use crate::{
    names::{PoolName, ServiceKey},
    net::Family,
    world::{Misfit, Transport},
};
use std::{fmt, net::IpAddr, sync::Arc};

/// Why not. Its text is what the user reads in an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `spec.type` is another.
    #[error("not of type LoadBalancer")]
    NotLoadBalancer,
    /// `spec.loadBalancerClass` is not the one this controller serves.
    #[error("spec.loadBalancerClass is another controller's")]
    ForeignClass,
    /// Its manifest says what no API server would take.
    #[error("{0}")]
    Misfit(Arc<Misfit>),
    /// No IPAddressPool exists.
    #[error("there is no IPAddressPool")]
    NoPools,
    /// Headless, or the API server has not assigned one.
    #[error("the Service has no cluster IP, so its address family is not known")]
    NoClusterIp,
    /// `RequireDualStack` with one cluster IP.
    #[error("spec.ipFamilyPolicy is RequireDualStack, but the Service has cluster IPs of one family only")]
    NotDualStack,
    /// `spec.loadBalancerIP` together with the annotation.
    #[error("spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs exclude each other")]
    TwoRequests,
    /// A requested address that is none.
    #[error("requested address {0:?} is not an IP address")]
    NotAnAddress(Arc<str>),
    /// More than one address of a family is requested.
    #[error("requested addresses {0:?}: at most one of each family")]
    TooMany(Arc<str>),
    /// Request and cluster IPs are of different families.
    #[error("requested addresses {} do not have the families of the Service's cluster IPs ({})", list(.0), list(.1))]
    Families(Vec<IpAddr>, Vec<Family>),
    /// `metallb.io/address-pool` names no pool.
    #[error("unknown pool {0:?}")]
    UnknownPool(PoolName),
    /// An address that no pool holds.
    #[error("{} is not allowed in config", list(.0))]
    NotInAPool(Vec<IpAddr>),
    /// The requested addresses are of another pool than the one requested.
    #[error("{} is not in the requested pool {pool:?}", list(.ips))]
    NotInRequestedPool {
        /// The requested addresses.
        ips: Vec<IpAddr>,
        /// The requested pool.
        pool: PoolName,
    },
    /// `spec.serviceAllocation` keeps this Service out.
    #[error("pool {0:?} is not for this Service: its serviceAllocation selects others")]
    PoolNotForService(PoolName),
    /// Somebody has it who does not share.
    #[error(
        "address {0} is in use by Service {1:?}, and the two do not share: both need the same metallb.io/allow-shared-ip"
    )]
    InUse(IpAddr, ServiceKey),
    /// Sharing, but with Local traffic to other Pods.
    #[error("address {0} is shared with Service {1:?}, whose externalTrafficPolicy Local selects other Pods")]
    OtherBackends(IpAddr, ServiceKey),
    /// Sharing, but the port is taken.
    #[error("port {port}/{transport} of address {ip} is in use by Service {user:?}")]
    PortInUse {
        /// The address.
        ip: IpAddr,
        /// The protocol of the port.
        transport: Transport,
        /// The port.
        port: i32,
        /// Who has it.
        user: ServiceKey,
    },
    /// The pool asked for is full.
    #[error("no available IPs in pool {pool:?} for {}", list(.families))]
    PoolExhausted {
        /// The pool.
        pool: PoolName,
        /// What was wanted of it.
        families: Vec<Family>,
    },
    /// Every pool it may have is full.
    #[error("no available IPs")]
    Exhausted,
    /// `PreferDualStack`, and the pool has no address of the other family to add.
    #[error("pool {0:?} has no {1} address to add")]
    NoSecondAddress(PoolName, Family),
}

fn list(items: &[impl fmt::Display]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", quoted.join(" "))
}
