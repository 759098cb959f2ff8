//! BGPPeer.

use super::{Duration, schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user wrote of a BGPPeer.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "BGPPeerStatus",
    doc = "A router that is told the addresses of Services over BGP.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// The AS number of this side.
    #[serde(rename = "myASN")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: u32,
    /// The AS number of the router. Either this or dynamicASN.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: Option<u32>,
    /// Takes any AS number of the router that makes the session internal or external. Either this or peerASN.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// An AS number to show to this router in place of myASN.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_asn")]
    pub local_asn: Option<u32>,
    /// The router's address. Either this or interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// The interface behind which the router is, for a session without addresses. Either this or peerAddress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address of this side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The router's TCP port.
    #[serde(default = "bgp_port")]
    #[schemars(schema_with = "schema::port")]
    pub peer_port: Option<u16>,
    /// How long the router may be silent before the session ends; 0 switches this off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<Duration>,
    /// How often to break the silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// How long to wait between attempts to connect: whole seconds, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&schema::CONNECT_TIME)))]
    pub connect_time: Option<Duration>,
    /// The BGP identifier of this side, written as an IPv4 address.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Nodes that have this session; every node where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// The password of TCP MD5. Either this or passwordSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A Secret of type kubernetes.io/basic-auth with the password of TCP MD5 under the key password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// The BFDProfile that watches the session; without one, nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Asks the router to keep forwarding while this side restarts. Cannot change: it takes a new session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
        ("self == oldSelf", "EnableGracefulRestart cannot be changed after creation"),
    ])))]
    pub enable_graceful_restart: Option<bool>,
    /// The router is more than one hop away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF that the session lives in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Without effect. Once kept a session to the family of its addresses, which is now always so.
    #[serde(default = "no", rename = "disableMP")]
    pub disable_mp: Option<bool>,
    /// Announce both families over this session, not only that of its addresses.
    #[serde(default = "no")]
    pub dual_stack_address_family: Option<bool>,
}

/// Which AS numbers a router may have.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// That of this side only.
    Internal,
    /// Any but that of this side.
    External,
}

/// A Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace; the one that this program runs in is taken, whatever is written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Nothing is reported here yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BGPPeerStatus {}

fn bgp_port() -> Option<u16> {
    Some(179)
}

fn no() -> Option<bool> {
    Some(false)
}
