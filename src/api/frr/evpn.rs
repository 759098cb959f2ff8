//! The EVPN address family of a router of a FRRConfiguration: VNIs, route distinguishers and route targets.

use crate::api::schema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

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
    /// How its routes are told apart.
    #[serde(flatten)]
    pub marks: FRRRouteMarks,
}

/// An L3 VNI.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRL3Vni {
    /// Its number.
    #[schemars(schema_with = "vni")]
    pub vni: i32,
    /// How its routes are told apart.
    #[serde(flatten)]
    pub marks: FRRRouteMarks,
    /// What is advertised.
    #[serde(rename = "advertisePrefixes")]
    #[schemars(length(min = 1, max = 1))]
    pub advertise_prefixes: Vec<FRRAdvertisePrefixes>,
}

/// How the routes of a VNI are told apart from others.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct FRRRouteMarks {
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

fn vni(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 16777215})
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
