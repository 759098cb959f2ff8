//! The objects that a lab's user writes, as YAML text: what one would `kubectl apply`.
//!
//! Pools: `routed` for the routers, `flat` for the flat segment; a Service asks for one by name.

use std::net::IpAddr;

use crate::{
    fabric::{BIRD_ASN, Fabric, NODE_ASN, Node, Segment, TOR_ASN},
    pod,
    tor::Family,
};

/// A Service of type LoadBalancer and where its pods are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, in the namespace `default`.
    pub name: String,
    /// The pool that it asks for.
    pub pool: &'static str,
    /// Its families, the first one first.
    pub families: Vec<Family>,
    /// The nodes whose pods serve it.
    pub endpoints: Vec<String>,
    /// Whether only those nodes may attract its traffic (`externalTrafficPolicy: Local`).
    pub local: bool,
}

/// The port of every Service of the lab.
pub const PORT: u16 = 80;

impl Service {
    /// One of both families that every node's pod serves.
    #[must_use]
    pub fn new(name: &str, pool: &'static str, fabric: &Fabric) -> Self {
        let endpoints = fabric.nodes.iter().map(|node| node.name().to_owned()).collect();
        Self { name: name.to_owned(), pool, families: Family::ALL.to_vec(), endpoints, local: false }
    }

    /// The Service and its EndpointSlices.
    #[must_use]
    pub fn yaml(&self, fabric: &Fabric) -> String {
        let families: Vec<&str> = self.families.iter().map(|family| long(*family)).collect();
        let policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        let name = &self.name;
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\n  annotations:\n    \
             metallb.io/address-pool: {}\nspec:\n  type: LoadBalancer\n  ipFamilyPolicy: {policy}\n  \
             ipFamilies: [{}]\n  externalTrafficPolicy: {}\n  selector: {{app: {name}}}\n  ports:\n  - port: {PORT}\n    targetPort: {}\n    \
             protocol: TCP\n",
            self.pool,
            families.join(", "),
            if self.local { "Local" } else { "Cluster" },
            pod::PORT
        );
        for family in &self.families {
            let kind = long(*family);
            text += &format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{}\n  \
                 namespace: default\n  labels:\n    kubernetes.io/service-name: {name}\naddressType: {kind}\nports:\n\
                 - port: {}\n  protocol: TCP\nendpoints:\n",
                family.name(),
                pod::PORT
            );
            let serving =
                fabric.nodes.iter().filter(|node| self.endpoints.iter().any(|name| name == node.name()));
            for node in serving {
                let address = match family {
                    Family::V4 => IpAddr::from(node.pod_v4()),
                    Family::V6 => node.pod_v6().into(),
                };
                text += &format!(
                    "- addresses: [\"{address}\"]\n  nodeName: {}\n  conditions: {{ready: true, serving: true}}\n",
                    node.name()
                );
            }
        }
        text
    }
}

/// A Node that is ready, with its addresses on the flat segment.
#[must_use]
pub fn node(node: &Node) -> String {
    node_at(node.name(), &[Segment::Lan.v4(node.host()).into(), Segment::Lan.v6(node.host()).into()])
}

/// A Node that is ready, with these addresses.
#[must_use]
pub fn node_at(name: &str, addresses: &[IpAddr]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels:\n    kubernetes.io/hostname: {name}\n\
         status:\n  conditions:\n  - {{type: Ready, status: \"True\"}}\n  addresses:\n"
    );
    for address in addresses {
        text += &format!("  - {{type: InternalIP, address: \"{address}\"}}\n");
    }
    text
}

/// The two pools.
#[must_use]
pub fn pools() -> String {
    pool("routed", &["10.99.0.0/24", "fd00:99::/120"])
        + "---\n"
        + &pool("flat", &["172.30.0.200-172.30.0.219", "fd00:30::200-fd00:30::219"])
}

/// A pool of these addresses.
#[must_use]
pub fn pool(name: &str, addresses: &[&str]) -> String {
    let mut text = head("IPAddressPool", "v1beta1", name) + "spec:\n  addresses:\n";
    for entry in addresses {
        text += &format!("  - \"{entry}\"\n");
    }
    text
}

/// An advertisement of each kind: `routed` over BGP, `flat` by ARP and NDP.
#[must_use]
pub fn advertisements() -> String {
    [("BGPAdvertisement", "routed"), ("L2Advertisement", "flat")]
        .map(|(kind, pool)| head(kind, "v1beta1", pool) + &format!("spec:\n  ipAddressPools: [{pool}]\n"))
        .join("---\n")
}

/// An advertisement of this pool by ARP and NDP.
#[must_use]
pub fn l2_advertisement(pool: &str) -> String {
    head("L2Advertisement", "v1beta1", pool) + &format!("spec:\n  ipAddressPools: [{pool}]\n")
}

/// A peer per router and family: `tor-v4`, `tor-v6`, `bird-v4`, `bird-v6`.
#[must_use]
pub fn peers() -> String {
    let mut peers = Vec::new();
    for (router, segment, asn) in [("tor", Segment::Tor, TOR_ASN), ("bird", Segment::Bird, BIRD_ASN)] {
        for (family, address) in [("v4", IpAddr::from(segment.v4(1))), ("v6", segment.v6(1).into())] {
            peers.push(peer(&format!("{router}-{family}"), &address.to_string(), asn));
        }
    }
    peers.join("---\n")
}

/// A peer at this address; more lines of its spec may follow.
#[must_use]
pub fn peer(name: &str, address: &str, asn: u32) -> String {
    head("BGPPeer", "v1beta2", name)
        + &format!(
            "spec:\n  myASN: {NODE_ASN}\n  peerASN: {asn}\n  peerAddress: \"{address}\"\n  holdTime: 9s\n  \
             keepaliveTime: 3s\n  connectTime: 1s\n"
        )
}

/// A BFD profile of this name: a session is down after 900 ms of silence.
#[must_use]
pub fn bfd_profile(name: &str) -> String {
    head("BFDProfile", "v1beta1", name) + "spec:\n  receiveInterval: 300\n  transmitInterval: 300\n"
}

fn head(kind: &str, version: &str, name: &str) -> String {
    format!(
        "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: metallb-system\n"
    )
}

fn long(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}
