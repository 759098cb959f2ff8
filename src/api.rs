//! The wire: every kind of object that this program reads or writes, with its schema and its CEL rules.
//!
//! Serde, schema and nothing else: a field here is what the user typed. What it means is decided in `config`.
//! Decoding is lenient where the API server has judged before (an address is a text here), so that one odd object
//! does not stop a watch.

#![expect(clippy::duplicated_attributes, reason = "clippy takes two printer columns of one type for a slip")]

mod bgp;
mod duration;
mod frr;
mod l2;
mod peer;
mod pool;
mod schema;
mod state;
mod status;

pub use bgp::*;
pub use duration::{Duration, DurationError};
pub use frr::*;
pub use l2::*;
pub use peer::*;
pub use pool::*;
pub use state::*;
pub use status::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

/// Every definition with the name of its file in `manifests/crds`, in the order of those names.
#[must_use]
pub fn crds() -> Vec<(String, CustomResourceDefinition)> {
    let mut all: Vec<_> = [
        BFDProfile::crd(),
        BGPAdvertisement::crd(),
        BGPPeer::crd(),
        Community::crd(),
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        FRRConfiguration::crd(),
        BGPSessionState::crd(),
        FRRNodeState::crd(),
        ConfigurationState::crd(),
        ServiceBGPStatus::crd(),
        ServiceL2Status::crd(),
    ]
    .into_iter()
    .map(|crd| (format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural), schema::publish(crd)))
    .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// The text of a definition, as `kubectl apply` takes it: the same text for the same definition, always.
///
/// # Errors
/// A value that YAML cannot hold; no definition of [`crds`] has one.
pub fn manifest(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(crd)?;
    ordered(&mut value);
    Ok(format!("---\n{}", serde_saphyr::to_string(&value)?))
}

/// Sorts keys, whatever order the maps of serde_json keep, and writes bounds as the whole numbers that they are.
fn ordered(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = std::mem::take(map).into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (key, mut value) in entries {
                ordered(&mut value);
                map.insert(key, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(ordered),
        Value::Number(n) => {
            // The only fractions in a schema are bounds, which Kubernetes types as floating-point numbers.
            if let Some(whole) = n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15) {
                *n = (whole as i64).into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
