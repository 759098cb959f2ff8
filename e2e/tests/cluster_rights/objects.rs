//! The objects of a row: a Service of its own class, with a pool, an advertisement and whatever else it takes for the
//! row's outcome. Rows share nothing, so that any number of them run side by side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrolb_e2e::{
    cluster::SYSTEM,
    fabric::{NODE_ASN, Segment, TOR_ASN},
};
use serde_json::{Value, json};

use crate::table::{Outcome, Part, Program, Row, Trigger};

/// The peer of all rows but those that are about one.
pub(crate) fn router() -> Value {
    peer("tor", Segment::Tor.v4(1).into(), json!({}))
}

/// The name of everything that is the row's own.
pub(crate) fn id(row: &Row) -> String {
    format!("{}-{}-{}", row.program.name(), row.verb, row.resource.replace('/', "-"))
}

/// Its load balancer class.
pub(crate) fn class(row: &Row) -> String {
    format!("rights.test/{}", id(row))
}

/// The one address of its pool.
pub(crate) fn address(row: &Row, number: u8) -> IpAddr {
    match (row.outcome, row.is_v6()) {
        (Outcome::Reply, _) => Segment::Lan.v4(number.saturating_add(150)).into(),
        (_, false) => Ipv4Addr::new(10, 99, 2, number).into(),
        (_, true) => Ipv6Addr::new(0xfd00, 0x99, 2, 0, 0, 0, 1, number.into()).into(),
    }
}

/// That address as the Service's status.
pub(crate) fn status(address: Option<IpAddr>) -> Value {
    let ingress = address.map(|ip| json!([{"ip": ip}]));
    json!({"status": {"loadBalancer": {"ingress": ingress}}})
}

/// The objects that are there before the program starts.
pub(crate) fn before(row: &Row, number: u8, node: &str) -> Vec<Value> {
    let mut parts = vec![Part::Service, Part::Pool];
    if row.program == Program::Speaker {
        parts.extend([
            Part::Slice,
            match row.outcome {
                Outcome::Reply => Part::L2Advertisement,
                _ if row.resource.starts_with("servicel2") => Part::L2Advertisement,
                _ => Part::Advertisement,
            },
        ]);
    }
    if matches!(row.trigger, Trigger::Arrives(Part::Profile | Part::Secret)) || row.takes_the_peer() {
        parts.push(Part::Peer);
    }
    let late = |part: &Part| row.trigger == Trigger::Arrives(*part);
    parts.into_iter().filter(|part| !late(part)).filter_map(|part| object(row, number, node, part)).collect()
}

/// The object that a part is; none for those that are a change of another's object.
pub(crate) fn object(row: &Row, number: u8, node: &str, part: Part) -> Option<Value> {
    let name = id(row);
    let ip = address(row, number);
    let arrives = |part| row.trigger == Trigger::Arrives(part);
    let ours = |kind: &str, spec: Value| configuration("metallb.io/v1beta1", kind, &name, spec);
    Some(match part {
        Part::Service => json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "namespace": "default", "annotations": {"metallb.io/address-pool": name},
            },
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": class(row), "ports": [{"port": 80}],
                "ipFamilies": [if ip.is_ipv4() { "IPv4" } else { "IPv6" }],
            },
        }),
        Part::Slice => json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": if ip.is_ipv4() { "IPv4" } else { "IPv6" },
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": [if ip.is_ipv4() { "10.244.99.1" } else { "fd00:244:99::1" }]}],
        }),
        Part::Pool => {
            let length = if ip.is_ipv4() { 32 } else { 128 };
            let mut spec = json!({"addresses": [format!("{ip}/{length}")], "autoAssign": false});
            if arrives(Part::NamespaceLabel) {
                set(
                    &mut spec,
                    "serviceAllocation",
                    json!({"namespaceSelectors": [{"matchLabels": {"rights": "open"}}]}),
                );
            }
            ours("IPAddressPool", spec)
        }
        Part::Advertisement => {
            let mut spec = json!({"ipAddressPools": [name]});
            if arrives(Part::Alias) {
                set(&mut spec, "communities", json!([name]));
            }
            if arrives(Part::NodeLabel) {
                set(&mut spec, "nodeSelectors", json!([{"matchLabels": {"rights": "announces"}}]));
            }
            ours("BGPAdvertisement", spec)
        }
        // no speaker of the same class runs on another node, and each takes every node for alive
        Part::L2Advertisement => {
            ours("L2Advertisement", json!({"ipAddressPools": [name], "nodeSelectors": [on(node)]}))
        }
        Part::Peer => {
            // on one node only: there may be two such rows at a time, and the router has one address
            let mut more = json!({"nodeSelectors": [on(node)]});
            if arrives(Part::Profile) {
                set(&mut more, "bfdProfile", json!(name));
            }
            if arrives(Part::Secret) {
                set(&mut more, "passwordSecret", json!({"name": name}));
                return Some(peer(&name, nobody().into(), more));
            }
            peer(&name, Segment::Tor.v6(1).into(), more)
        }
        Part::Profile => ours("BFDProfile", json!({})),
        Part::Alias => ours("Community", json!({"communities": [{"name": name, "value": "64512:99"}]})),
        Part::FrrConfiguration => {
            // a fault, since that is what `/metrics` counts
            let spec = json!({"bgp": {"routers": [{"asn": 0}]}});
            configuration("frrk8s.metallb.io/v1beta1", "FRRConfiguration", &name, spec)
        }
        Part::Secret => json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM},
            "type": "kubernetes.io/basic-auth", "stringData": {"username": "", "password": "rights"},
        }),
        Part::Extras => json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bgpextras", "namespace": SYSTEM},
            "data": {"extras": "! nothing\n"},
        }),
        Part::Addresses | Part::NamespaceLabel | Part::NodeLabel => return None,
    })
}

/// Whom the peer with a password is with: no router is there, and none is needed to see the password in FRR.
pub(crate) fn nobody() -> Ipv6Addr {
    Segment::Tor.v6(250)
}

/// The selector of one node.
fn on(node: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/hostname": node}})
}

fn peer(name: &str, address: IpAddr, mut spec: Value) -> Value {
    for (field, value) in [
        ("myASN", json!(NODE_ASN)),
        ("peerASN", json!(TOR_ASN)),
        ("peerAddress", json!(address)),
        ("connectTime", json!("1s")),
    ] {
        set(&mut spec, field, value);
    }
    configuration("metallb.io/v1beta2", "BGPPeer", name, spec)
}

fn configuration(api: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec,
    })
}

/// Sets a member of an object.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(field.to_owned(), value);
    }
}
