//! What a neighbor of a FRRConfiguration is told, and what is accepted from it.

use super::{FRRPrefix, is_default};
use crate::api::schema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a neighbor is told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRAdvertise {
    /// Which prefixes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed: FRRAllowedOut,
    /// The next hop to name in place of our own address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub next_hop: FRRNextHop,
    /// Local preferences.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub with_local_pref: Vec<FRRLocalPref>,
    /// Communities.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub with_community: Vec<FRRCommunity>,
    /// MEDs. Ours, not in frr-k8s' schema: no API server keeps it, and nobody can ask for it there.
    #[serde(default, rename = "withMED", skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub with_med: Vec<FRRMed>,
    /// AS path prepends. Ours, like the MEDs.
    #[serde(default, rename = "withASPathPrepend", skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub with_as_path_prepend: Vec<FRRPrepend>,
}

/// What is accepted from a neighbor.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRReceive {
    /// Which prefixes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed: FRRAllowedIn,
}

/// Which of all prefixes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FRRAllowMode {
    /// Those listed.
    #[default]
    Filtered,
    /// Every one.
    All,
}

/// Prefixes that a neighbor is told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRAllowedOut {
    /// The prefixes.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "<[_]>::is_empty")]
    pub prefixes: FRRPrefixes,
    /// Whether only those, or all of the router.
    #[serde(default)]
    pub mode: FRRAllowMode,
}

/// Prefixes that are accepted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRAllowedIn {
    /// The prefixes.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<FRRPrefixSelector>,
    /// Whether only those, or all.
    #[serde(default)]
    pub mode: FRRAllowMode,
}

/// A prefix, or with `le` and `ge` the longer ones inside it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRPrefixSelector {
    /// The prefix.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "cidr")]
    pub prefix: FRRPrefix,
    /// The greatest length that matches; 0 for unset.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "length_bound")]
    pub le: u32,
    /// The least length that matches; 0 for unset.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "length_bound")]
    pub ge: u32,
}

/// Next hops by family.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRNextHop {
    /// For IPv4 prefixes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// For IPv6 prefixes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
}

/// Prefixes, shared by neighbors that are told the same.
pub type FRRPrefixes = Arc<[FRRPrefix]>;

/// A local preference and the prefixes that carry it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRLocalPref {
    /// The prefixes.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(schema_with = "cidrs")]
    pub prefixes: FRRPrefixes,
    /// The preference.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "preference")]
    pub local_pref: u32,
}

/// A community and the prefixes that carry it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRCommunity {
    /// The prefixes.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(schema_with = "cidrs")]
    pub prefixes: FRRPrefixes,
    /// `A:B`, or `large:A:B:C`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub community: String,
}

/// A MED, and the prefixes that carry it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRMed {
    /// The prefixes.
    pub prefixes: FRRPrefixes,
    /// The value.
    pub med: u32,
}

/// How often our AS comes once more in the paths of these prefixes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRPrepend {
    /// The prefixes.
    pub prefixes: FRRPrefixes,
    /// 1 to 10.
    pub times: u8,
}

fn preference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX})
}

fn length_bound(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 128})
}

fn cidr(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "cidr"})
}

fn cidrs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "items": {"type": "string", "format": "cidr"}})
}
