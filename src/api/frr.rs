//! FRRConfiguration: what users of frr-k8s write, and what FerroLB synthesises for itself before it meets FRR.
//!
//! The schema is frr-k8s' (`frrk8s.metallb.io/v1beta1`), field by field. Numbers and formats that the API server
//! can check are in the schema; what needs two fields or two objects is checked where the objects are merged.

use super::{Duration, schema};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt};

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
    #[schemars(extend("x-kubernetes-validations" = schema::rules(&[
        ("duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
         "connect time should be between 1 seconds to 65535"),
        ("duration(self).getMilliseconds() % 1000 == 0",
         "connect time should contain a whole number of seconds"),
    ])))]
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

/// A MED, and the prefixes that carry it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRMed {
    /// The prefixes.
    pub prefixes: Vec<FRRPrefix>,
    /// The value.
    pub med: u32,
}

/// How often our AS comes once more in the paths of these prefixes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRPrepend {
    /// The prefixes.
    pub prefixes: Vec<FRRPrefix>,
    /// 1 to 10.
    pub times: u8,
}

/// Prefixes that a neighbor is told.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRAllowedOut {
    /// The prefixes.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<FRRPrefix>,
    /// Whether only those, or all of the router.
    #[serde(default)]
    pub mode: FRRAllowMode,
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

/// A prefix as it was written.
///
/// Kept parsed where it parses: our own object names every prefix several times, ten thousand of them are usual,
/// and texts would be most of the cost of every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FRRPrefix {
    /// A prefix; bits beyond its length may be set.
    Net(IpNet),
    /// A text that is none.
    Text(String),
}

impl Default for FRRPrefix {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl fmt::Display for FRRPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for FRRPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FRRPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().map_or(Self::Text(text), Self::Net))
    }
}

impl JsonSchema for FRRPrefix {
    fn schema_name() -> Cow<'static, str> {
        "FRRPrefix".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// A local preference and the prefixes that carry it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FRRLocalPref {
    /// The prefixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cidrs")]
    pub prefixes: Vec<FRRPrefix>,
    /// The preference.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "preference")]
    pub local_pref: u32,
}

/// A community and the prefixes that carry it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRCommunity {
    /// The prefixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cidrs")]
    pub prefixes: Vec<FRRPrefix>,
    /// `A:B`, or `large:A:B:C`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub community: String,
}

/// What is accepted from a neighbor.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRReceive {
    /// Which prefixes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed: FRRAllowedIn,
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

/// Whether local VNIs are advertised.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FRRAdvertiseVnis {
    /// None.
    Disabled,
    /// All.
    All,
}

/// What an L3 VNI advertises.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FRRAdvertisePrefixes {
    /// Unicast routes of the VRF, as type-5 routes (RFC 9136).
    Unicast,
}

/// The EVPN address family of a router.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRREvpn {
    /// Which local VNIs are advertised; none where it is not given.
    #[serde(default, rename = "advertiseVNIs", skip_serializing_if = "Option::is_none")]
    pub advertise_vnis: Option<FRRAdvertiseVnis>,
    /// Whether the addresses of SVIs are advertised.
    #[serde(default, rename = "advertiseSVI", skip_serializing_if = "Option::is_none")]
    pub advertise_svi: Option<bool>,
    /// L2 VNIs with values of their own.
    #[serde(default, deserialize_with = "schema::or_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub l2vnis: Vec<FRRL2Vni>,
    /// The L3 VNI of this router's VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l3vni: Option<FRRL3Vni>,
}

/// An L2 VNI.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRL2Vni {
    /// Its number.
    #[schemars(schema_with = "vni")]
    pub vni: i32,
    /// Route distinguisher.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "distinguisher")]
    pub rd: String,
    /// Route targets that are imported.
    #[serde(default, rename = "importRTs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "import_targets")]
    pub import_rts: Vec<String>,
    /// Route targets that are exported.
    #[serde(default, rename = "exportRTs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "export_targets")]
    pub export_rts: Vec<String>,
}

/// An L3 VNI.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRL3Vni {
    /// Its number.
    #[schemars(schema_with = "vni")]
    pub vni: i32,
    /// Route distinguisher.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "distinguisher")]
    pub rd: String,
    /// Route targets that are imported.
    #[serde(default, rename = "importRTs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "import_targets")]
    pub import_rts: Vec<String>,
    /// Route targets that are exported.
    #[serde(default, rename = "exportRTs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "export_targets")]
    pub export_rts: Vec<String>,
    /// What is advertised.
    #[serde(rename = "advertisePrefixes")]
    #[schemars(length(min = 1, max = 1))]
    pub advertise_prefixes: Vec<FRRAdvertisePrefixes>,
}

fn unicast() -> Vec<FRRAddressFamily> {
    vec![FRRAddressFamily::Unicast]
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": 16384})
}

fn vni(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 16777215})
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

/// What an AS number or an address before the colon, and the number after it, may be: six octets together
/// (RFC 4364 §4.2, RFC 4360).
const RANGES: [(&str, &str); 4] = [
    (
        "self.startsWith('*') || self.contains('.') || int(self.split(':')[0]) <= 4294967295",
        "the AS number must be at most 4294967295",
    ),
    ("int(self.split(':')[1]) <= 4294967295", "the number after the colon must be at most 4294967295"),
    (
        "!self.contains('.') || int(self.split(':')[1]) <= 65535",
        "after an IPv4 address the number must be at most 65535",
    ),
    (
        "self.startsWith('*') || self.contains('.') || int(self.split(':')[0]) <= 65535 \
         || int(self.split(':')[1]) <= 65535",
        "after an AS number above 65535 the number must be at most 65535",
    ),
];

/// A route distinguisher, or a target.
fn distinguisher(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 21,
        "pattern": r"^((25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(\.(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}|[0-9]{1,10}):[0-9]{1,10}$",
        "x-kubernetes-validations": schema::rules(&RANGES),
    })
}

fn export_targets(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 100, "items": distinguisher(generator)})
}

/// Targets of any administrator are imported where `*` stands for it.
fn import_targets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 100,
        "items": {
            "type": "string",
            "maxLength": 21,
            "pattern": r"^((25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(\.(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}|[0-9]{1,10}|\*):[0-9]{1,10}$",
            "x-kubernetes-validations": schema::rules(&RANGES),
        },
    })
}
