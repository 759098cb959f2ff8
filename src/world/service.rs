//! What is known of a Service.

use super::{Labels, Misfit, misfit};
use crate::{names::ServiceKey, net::Family};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use std::{fmt, net::IpAddr, sync::Arc};

/// The annotations that are read and written; where there are two, today's name and its deprecated twin.
pub mod annotations {
    /// Allocate from this pool.
    pub const ADDRESS_POOL: [&str; 2] = ["metallb.io/address-pool", "metallb.universe.tf/address-pool"];
    /// Allocate these addresses, comma separated.
    pub const LOAD_BALANCER_IPS: [&str; 2] =
        ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];
    /// Services of the same key may share an address.
    pub const ALLOW_SHARED_IP: [&str; 2] =
        ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];
    /// Written by the controller: the pool in use.
    pub const ALLOCATED_FROM: &str = "metallb.io/ip-allocated-from-pool";
}

/// Prefixes of annotations that are kept.
const PREFIXES: [&str; 2] = ["metallb.io/", "metallb.universe.tf/"];

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Two where possible.
    PreferDualStack,
    /// Two or nothing.
    RequireDualStack,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any node may take the traffic.
    #[default]
    Cluster,
    /// Only nodes with an endpoint.
    Local,
}

/// `spec.ports[].protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of a Service.
pub type Port = (Transport, i32);

/// An address as text, read where possible: what the object says, not what it should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// Anything else.
    Text(Arc<str>),
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.into()), Self::Ip)
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

/// An entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// `ip`.
    Ip(Address),
    /// Only a `hostname`.
    Hostname,
}

/// Where an object was read: an API server fills in defaults, a manifest directory does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Kubernetes API server.
    Api,
    /// A manifest directory.
    Manifests,
}

/// The facts of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `metadata.uid`, for events.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`, so that a write never covers what was not seen.
    pub version: Arc<str>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The annotations with one of our prefixes.
    pub annotations: Labels,
    /// `spec.type` is `LoadBalancer`.
    pub load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<Arc<str>>,
    /// `spec.loadBalancerIP`, deprecated.
    pub load_balancer_ip: Option<Arc<str>>,
    /// The families it is reachable by inside the cluster, the primary one first: those of its cluster IPs.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub traffic: TrafficPolicy,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// `spec.selector`.
    pub selector: Labels,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
    /// What its manifest says that no API server would take; the fields above are then not to be relied on.
    pub misfit: Option<Arc<Misfit>>,
}

impl Service {
    /// The facts of `service`.
    #[must_use]
    pub fn observe(service: core::Service, origin: Origin) -> (ServiceKey, Self) {
        let meta = service.metadata;
        let key = ServiceKey::new(
            meta.namespace.as_deref().unwrap_or("default"),
            meta.name.as_deref().unwrap_or_default(),
        );
        let spec = service.spec.unwrap_or_default();
        let ours = |key: &String| PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        let ingress =
            service.status.and_then(|s| s.load_balancer).and_then(|l| l.ingress).unwrap_or_default();
        let facts = Self {
            uid: meta.uid.unwrap_or_default().into(),
            version: meta.resource_version.unwrap_or_default().into(),
            created: meta.creation_timestamp.map(|t| t.0),
            labels: meta.labels.unwrap_or_default().into(),
            annotations: meta
                .annotations
                .unwrap_or_default()
                .into_iter()
                .filter(|(key, _)| ours(key))
                .collect(),
            misfit: match origin {
                Origin::Api => None,
                Origin::Manifests => misfit::of(&spec).map(Arc::new),
            },
            load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
            class: spec.load_balancer_class.as_deref().map(Arc::from),
            load_balancer_ip: spec.load_balancer_ip.as_deref().filter(|ip| !ip.is_empty()).map(Arc::from),
            families: families(&spec, origin),
            policy: match spec.ip_family_policy.as_deref() {
                Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
                Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
                _ => FamilyPolicy::SingleStack,
            },
            traffic: match spec.external_traffic_policy.as_deref() {
                Some("Local") => TrafficPolicy::Local,
                _ => TrafficPolicy::Cluster,
            },
            ports: spec.ports.unwrap_or_default().iter().map(port).collect(),
            selector: spec.selector.unwrap_or_default().into(),
            ingress: ingress
                .iter()
                .map(|i| i.ip.as_deref().map_or(Ingress::Hostname, |ip| Ingress::Ip(ip.into())))
                .collect(),
        };
        (key, facts)
    }

    /// The value of an annotation; today's name wins where it is present, even empty.
    #[must_use]
    pub fn annotation(&self, names: [&str; 2]) -> Option<&str> {
        names.iter().find_map(|name| self.annotations.get(name))
    }

    /// Whether the controller has marked it as holding an address of a pool.
    #[must_use]
    pub fn has_our_mark(&self) -> bool {
        self.annotations.contains_key(annotations::ALLOCATED_FROM)
    }

    /// The addresses of its status; `None` for an entry that is none.
    pub fn addresses(&self) -> impl Iterator<Item = Option<IpAddr>> {
        self.ingress.iter().map(|i| match i {
            Ingress::Ip(Address::Ip(ip)) => Some(*ip),
            Ingress::Ip(Address::Text(_)) | Ingress::Hostname => None,
        })
    }
}

/// The load balancer class that is served: `--lb-class`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class(Option<Arc<str>>);

impl Class {
    /// Class `name`; empty for the Services without a class.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Some(name).filter(|n| !n.is_empty()).map(Arc::from))
    }

    /// Whether `service` is of this class.
    #[must_use]
    pub fn is_ours(&self, service: &Service) -> bool {
        service.class == self.0
    }
}

fn port(port: &core::ServicePort) -> Port {
    let transport = match port.protocol.as_deref() {
        Some("UDP") => Transport::Udp,
        Some("SCTP") => Transport::Sctp,
        _ => Transport::Tcp,
    };
    (transport, port.port)
}

/// From the cluster IPs; in a manifest directory, where nobody allocates those, from `ipFamilies`, IPv4 by default.
fn families(spec: &core::ServiceSpec, origin: Origin) -> Vec<Family> {
    let one = spec.cluster_ip.iter().cloned().collect();
    let ips = spec.cluster_ips.clone().filter(|ips| !ips.is_empty()).unwrap_or(one);
    let found: Vec<Family> = ips.iter().filter_map(|ip| ip.parse().ok()).map(Family::of).collect();
    if origin == Origin::Api || !found.is_empty() {
        return found;
    }
    let said: Vec<Family> = spec
        .ip_families
        .iter()
        .flatten()
        .map(|f| if f == "IPv6" { Family::V6 } else { Family::V4 })
        .collect();
    if said.is_empty() { vec![Family::V4] } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(value: serde_json::Value, origin: Origin) -> Service {
        Service::observe(serde_json::from_value(value).unwrap(), origin).1
    }

    #[test]
    fn families_come_from_cluster_ips_or_from_the_manifest() {
        let spec =
            serde_json::json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}});
        assert_eq!(observe(spec, Origin::Api).families, [Family::V4, Family::V6]);
        let spec = serde_json::json!({"spec": {"clusterIP": "None"}});
        assert_eq!(observe(spec.clone(), Origin::Api).families, []);
        assert_eq!(observe(spec, Origin::Manifests).families, [Family::V4]);
        let spec = serde_json::json!({"spec": {"ipFamilies": ["IPv6"]}});
        assert_eq!(observe(spec, Origin::Manifests).families, [Family::V6]);
        let spec = serde_json::json!({"spec": {"type": "LoadBalancer", "ipFamilies": ["IPv9"]}});
        assert!(observe(spec.clone(), Origin::Manifests).misfit.is_some());
        assert!(observe(spec, Origin::Api).misfit.is_none());
    }

    #[test]
    fn todays_annotation_prefix_wins_even_when_empty() {
        let service = observe(
            serde_json::json!({"metadata": {"annotations": {
                "metallb.io/address-pool": "", "metallb.universe.tf/address-pool": "old",
                "metallb.universe.tf/loadBalancerIPs": "10.0.0.1", "other": "x"}}}),
            Origin::Api,
        );
        assert_eq!(service.annotation(annotations::ADDRESS_POOL), Some(""));
        assert_eq!(service.annotation(annotations::LOAD_BALANCER_IPS), Some("10.0.0.1"));
        assert!(!service.annotations.contains_key("other"));
    }

    #[test]
    fn status_keeps_what_it_cannot_read() {
        let service = observe(
            serde_json::json!({"status": {"loadBalancer": {"ingress": [
                {"ip": "10.0.0.1", "ipMode": "VIP"}, {"ip": "x"}, {"hostname": "h"}]}}}),
            Origin::Api,
        );
        let addresses: Vec<_> = service.addresses().collect();
        assert_eq!(addresses, [Some("10.0.0.1".parse().unwrap()), None, None]);
    }
}
