//! A prefix of a FRRConfiguration, kept as it was written where it is none.

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt};

/// A prefix as it was written.
///
/// Kept parsed where it parses: our own object names every prefix several times, ten thousand of them are usual,
/// and texts would be most of the cost of every change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
