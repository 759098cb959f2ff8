//! L2Advertisement.

use super::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user wrote of an L2Advertisement; all of it can be left out.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "L2AdvertisementStatus",
    doc = "Answers ARP and NDP for the addresses of pools.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10)
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct L2AdvertisementSpec {
    /// Pools by name.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label. Where neither a name nor a selector is given, all pools are meant.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce; every node where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Interfaces to announce on, by name; every one where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Services to announce; every one where none is given.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that are preferred among those that may announce; the weights of all that match a node add up.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
}

schema::optional!(L2AdvertisementSpec);

/// A preference for some nodes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodeSelector {
    /// How strong it is, 1 to 100.
    #[schemars(schema_with = "schema::weight")]
    pub weight: i32,
    /// The nodes.
    #[schemars(schema_with = "schema::selector")]
    pub preference: LabelSelector,
}

/// Nothing is reported here yet.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L2AdvertisementStatus {}
