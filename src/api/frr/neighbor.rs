//! Neighbors of a FRRConfiguration: whom a router peers with, and how.

use super::{FRRAdvertise, FRRReceive, is_default};
use crate::api::{Duration, schema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A BGP neighbor.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRNeighbor {
    /// The neighbor's AS number. Exactly one of `asn` and `dynamicASN` is given.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema::asn")]
    pub asn: u32,
    /// The neighbor's AS, by what it is to us.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<FRRDynamicAsn>,
    /// Address or interface that the session comes from.
    #[serde(default, rename = "sourceaddress", skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// The neighbor's address. Exactly one of `address` and `interface` is given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The interface of an unnumbered session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The port to dial; 179 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "port")]
    pub port: Option<u16>,
    /// TCP-MD5 password (RFC 2385). At most one of `password` and `passwordSecret` is given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// A Secret of type `kubernetes.io/basic-auth` that holds the password.
    #[serde(default, skip_serializing_if = "is_default")]
    pub password_secret: FRRSecretReference,
    /// Silence after which the session ends: 0 or at least 3 s; 180 s where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<Duration>,
    /// Time between keepalives; 60 s where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// Time between attempts to connect, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&schema::CONNECT_TIME)))]
    pub connect_time: Option<Duration>,
    /// Whether the neighbor is more than one hop away.
    #[serde(default, skip_serializing_if = "is_default", rename = "ebgpMultiHop")]
    pub ebgp_multi_hop: bool,
    /// A BFD profile of this object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// Graceful restart (RFC 4724) with this neighbor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enable_graceful_restart: bool,
    /// What the neighbor is told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub to_advertise: FRRAdvertise,
    /// What is accepted from the neighbor.
    #[serde(default, skip_serializing_if = "is_default")]
    pub to_receive: FRRReceive,
    /// Has no effect: a session carries one family unless `dualStackAddressFamily` is set.
    #[serde(default, skip_serializing_if = "is_default", rename = "disableMP")]
    pub disable_mp: bool,
    /// Whether the session carries IPv4 and IPv6.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dual_stack_address_family: bool,
    /// The AS number to show to this neighbor in place of the router's.
    #[serde(default, skip_serializing_if = "is_default", rename = "localASN")]
    #[schemars(schema_with = "schema::local_asn")]
    pub local_asn: u32,
    /// How many hops away the neighbor may be; 0 for no such check. Ours, not in frr-k8s' schema.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(skip)]
    pub ttl_security_hops: u8,
    /// Which routes the session carries.
    #[serde(default = "unicast")]
    #[schemars(length(max = 2))]
    pub address_families: Vec<FRRAddressFamily>,
}

impl Default for FRRNeighbor {
    fn default() -> Self {
        Self {
            asn: 0,
            dynamic_asn: None,
            source_address: String::new(),
            address: String::new(),
            interface: String::new(),
            port: None,
            password: String::new(),
            password_secret: FRRSecretReference::default(),
            hold_time: None,
            keepalive_time: None,
            connect_time: None,
            ebgp_multi_hop: false,
            bfd_profile: String::new(),
            enable_graceful_restart: false,
            to_advertise: FRRAdvertise::default(),
            to_receive: FRRReceive::default(),
            disable_mp: false,
            dual_stack_address_family: false,
            local_asn: 0,
            ttl_security_hops: 0,
            address_families: unicast(),
        }
    }
}

/// A neighbor's AS, relative to ours.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FRRDynamicAsn {
    /// The same as ours.
    Internal,
    /// Any other.
    External,
}

/// Which routes a session carries.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FRRAddressFamily {
    /// IPv4 and IPv6 unicast, as the neighbor's address and `dualStackAddressFamily` say.
    Unicast,
    /// L2VPN EVPN.
    Evpn,
}

/// A Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct FRRSecretReference {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Ignored: the Secret is looked up in the namespace of this program.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

fn unicast() -> Vec<FRRAddressFamily> {
    vec![FRRAddressFamily::Unicast]
}

fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": 16384})
}
