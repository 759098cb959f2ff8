//! BGPAdvertisement, BFDProfile, Community.

use super::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user wrote of a BGPAdvertisement; all of it can be left out.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "BGPAdvertisementStatus",
    doc = "Tells BGP peers the addresses of pools.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10)
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[(
    "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || \
     ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
     (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
    "serviceSelectors and aggregationLength are mutually exclusive: a prefix of several addresses cannot be \
     announced for some of their Services only",
)])))]
pub struct BGPAdvertisementSpec {
    /// Announce IPv4 addresses as the prefix of this length that holds them.
    #[serde(default = "host_v4")]
    #[schemars(schema_with = "schema::length_v4")]
    pub aggregation_length: Option<i32>,
    /// Announce IPv6 addresses as the prefix of this length that holds them.
    #[serde(default = "host_v6", rename = "aggregationLengthV6")]
    #[schemars(schema_with = "schema::int32")]
    pub aggregation_length_v6: Option<i32>,
    /// LOCAL_PREF of the routes, for internal peers; 0 leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::int32")]
    pub local_pref: Option<i64>,
    /// Communities of the routes: 64500:100, large:64500:1:2, or an alias that a Community gives.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// Pools by name.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label. Where neither a name nor a selector is given, all pools are meant.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that are next hops; every node where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// BGPPeers to tell, by name; every one where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Services to announce; every one where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

schema::optional!(BGPAdvertisementSpec);

/// Nothing is reported here yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BGPAdvertisementStatus {}

/// What the user wrote of a BFDProfile; what is left out is FRR's default.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    plural = "bfdprofiles",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "BFDProfileStatus",
    doc = "How BFD watches the sessions of the BGP peers that name this profile.",
    printcolumn(name = "Passive Mode", type_ = "boolean", json_path = ".spec.passiveMode"),
    printcolumn(name = "Transmit Interval", type_ = "integer", json_path = ".spec.transmitInterval"),
    printcolumn(name = "Receive Interval", type_ = "integer", json_path = ".spec.receiveInterval"),
    printcolumn(name = "Multiplier", type_ = "integer", json_path = ".spec.detectMultiplier")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct BFDProfileSpec {
    /// Milliseconds between control packets that this side can take; FRR's default is 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub receive_interval: Option<u32>,
    /// Milliseconds between control packets that this side wants to send; FRR's default is 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub transmit_interval: Option<u32>,
    /// Intervals without a packet after which the session is down; FRR's default is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::multiplier")]
    pub detect_multiplier: Option<u32>,
    /// Milliseconds between echo packets; FRR's default is 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interval")]
    pub echo_interval: Option<u32>,
    /// Send echo packets. Not over several hops, and over IPv4 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Wait for the other side to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// Over several hops: the lowest TTL that a packet may arrive with; FRR's default is 254.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ttl")]
    pub minimum_ttl: Option<u32>,
}

schema::optional!(BFDProfileSpec);

/// Nothing is reported here yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BFDProfileStatus {}

/// What the user wrote of a Community.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "CommunityStatus",
    doc = "Names for BGP communities."
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct CommunitySpec {
    /// The names. No name may be given twice, in this object or in another.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityAlias>,
}

schema::optional!(CommunitySpec);

/// A name for a BGP community.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CommunityAlias {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The community: 64500:100 or large:64500:1:2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Nothing is reported here yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommunityStatus {}

fn host_v4() -> Option<i32> {
    Some(32)
}

fn host_v6() -> Option<i32> {
    Some(128)
}
