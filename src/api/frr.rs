//! FRRConfiguration: what users of frr-k8s write, and what FerroLB synthesises for itself before it meets FRR.
//!
//! The schema is frr-k8s' (`frrk8s.metallb.io/v1beta1`), field by field. Numbers and formats that the API server
//! can check are in the schema; what needs two fields or two objects is checked where the objects are merged.
//!
//! The neighbors, what goes to and comes from them, prefixes and EVPN have a file each.

mod evpn;
mod neighbor;
mod prefix;
mod routes;

pub use evpn::*;
pub use neighbor::*;
pub use prefix::*;
pub use routes::*;

use super::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wanted of FRR on the nodes that `nodeSelector` matches.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRConfiguration",
    plural = "frrconfigurations",
    namespaced,
    status = "FRRConfigurationStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct FRRConfigurationSpec {
    /// BGP routers and BFD profiles.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bgp: FRRBgp,
    /// Text for the end of frr.conf, unchecked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub raw: FRRRaw,
    /// Nodes that this object is for; empty for all.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema::selector")]
    pub node_selector: LabelSelector,
}

/// Nothing is reported on the object itself yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRConfigurationStatus {}

/// `spec.bgp`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRBgp {
    /// One entry for each VRF.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub routers: Vec<FRRRouter>,
    /// BFD profiles that neighbors of this object may name.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub bfd_profiles: Vec<FRRBfdProfile>,
}

/// `spec.raw`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRRaw {
    /// Snippets of lower priority come first.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema::integer")]
    pub priority: i64,
    /// The text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw_config: String,
}

/// A BGP instance: `router bgp`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRRouter {
    /// The local AS number.
    #[schemars(schema_with = "schema::asn")]
    pub asn: u32,
    /// The BGP router id; FRR chooses one where it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The VRF of the host; empty for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// Whom to peer with.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub neighbors: Vec<FRRNeighbor>,
    /// Prefixes that neighbors of this router may be told.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<FRRPrefix>,
    /// VRFs whose routes this router imports.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<FRRImport>,
    /// The EVPN address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evpn: Option<FRREvpn>,
}

/// An imported VRF.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRImport {
    /// Its name; `default` is the default VRF.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vrf: String,
}

/// A BFD profile (RFC 5880); FRR's default where a value is not given.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRBfdProfile {
    /// Its name.
    pub name: String,
    /// The shortest interval, in milliseconds, at which we can receive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub receive_interval: Option<u32>,
    /// The shortest interval, in milliseconds, at which we want to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub transmit_interval: Option<u32>,
    /// How many packets may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::multiplier")]
    pub detect_multiplier: Option<u32>,
    /// The interval of echo packets, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub echo_interval: Option<u32>,
    /// Whether to use echo packets; not over several hops, not in a VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Whether to wait for the neighbor to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// The least TTL accepted over several hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ttl")]
    pub minimum_ttl: Option<u32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
