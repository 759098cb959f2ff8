//! Schemas that a derive would not write as MetalLB has them, and the last touch before a definition is published.
//!
//! Objects written for MetalLB must be accepted, and those that its schema refuses must be refused: types, formats
//! and bounds here are its.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Reads `null` as if the field were absent: a key without a value is common in files, and the API server drops it.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Lets an object leave out its whole spec, where nothing in it is required: `kind` and `metadata` are enough then.
///
/// The derive of the object asks for the field; reading it through an `Option` makes serde take its absence for one.
macro_rules! optional {
    ($spec:ident) => {
        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Written($spec);
                impl<'de> serde::Deserialize<'de> for Written {
                    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                        $spec::deserialize(from).map(Self)
                    }
                }

                let written = Option::<Written>::deserialize(from)?;
                Ok(written.map_or_else(Self::default, |Written(spec)| spec))
            }
        }
    };
}
pub(super) use optional;

/// What a time between attempts to connect must be; `config` says the same.
pub(super) const CONNECT_TIME: [(&str, &str); 2] = [
    (
        "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
        "connect time should be between 1 seconds to 65535",
    ),
    ("duration(self).getMilliseconds() % 1000 == 0", "connect time should contain a whole number of seconds"),
];

/// CEL rules, each with the message of its refusal.
pub(super) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

/// An AS number that may be 0, which `config` refuses.
pub(super) fn asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
}

/// An AS number.
pub(super) fn local_asn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": u32::MAX })
}

/// A port of a peer; the bound is MetalLB's.
pub(super) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": 16384 })
}

/// A number of 32 bits.
pub(super) fn int32(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32" })
}

/// A number.
pub(super) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// A length of an IPv4 prefix; MetalLB's schema has no upper bound, `config` has.
pub(super) fn length_v4(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1 })
}

/// A weight of a preference.
pub(super) fn weight(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 100 })
}

/// An interval of BFD in milliseconds.
pub(super) fn interval(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 10, "maximum": 60000 })
}

/// A detection multiplier of BFD.
pub(super) fn multiplier(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 2, "maximum": 255 })
}

/// A minimum TTL of BFD.
pub(super) fn ttl(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 254 })
}

/// A label selector; lists and the whole are replaced as one by server-side apply.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "description": "Selects by label: all requirements must hold, and none at all selects everything.",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels with the values they must have.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "description": "Requirements on labels.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "description": "The label." },
                        "operator": {
                            "type": "string",
                            "description": "In, NotIn, Exists or DoesNotExist.",
                        },
                        "values": {
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "description": "For In and NotIn, at least one; for the others, none.",
                            "items": { "type": "string" },
                        },
                    },
                },
            },
        },
    })
}

/// A list of label selectors.
pub(super) fn selectors(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": selector(generator) })
}

/// Takes out of a derived definition what is Rust's and not the user's.
pub(super) fn publish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        if let Some(root) = root {
            tidy(root);
            // A default for a whole spec or status would be stored with every object that has none.
            root.title = None;
            let required = |spec: &JSONSchemaProps| spec.required.as_ref().is_some_and(|r| !r.is_empty());
            if !root.properties.as_ref().and_then(|p| p.get("spec")).is_some_and(required) {
                root.required = None;
            }
            for part in root.properties.iter_mut().flat_map(|p| p.values_mut()) {
                part.default = None;
            }
        }
    }
    crd
}

/// Takes out what Kubernetes reads otherwise. Nothing is nullable: where null is, the API server drops the field, so that CEL's `has()` is false.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    // Kubernetes knows no unsigned formats; the bounds say it all.
    schema.format.take_if(|format| format.starts_with("uint"));
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => tidy(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        tidy(value);
    }
}
