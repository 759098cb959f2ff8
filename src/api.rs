//! The wire: every kind of object that this program reads or writes, with its schema and its CEL rules.
//!
//! Serde, schema and nothing else: a field here is what the user typed. What it means is decided in `config`.
//! Decoding is lenient where the API server has judged before (an address is a text here), so that one odd object
//! does not stop a watch.

mod bgp;
mod duration;
mod frr;
mod l2;
mod pool;
mod schema;

pub use bgp::*;
pub use duration::{Duration, DurationError};
pub use frr::*;
pub use l2::*;
pub use pool::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

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
    ]
    .into_iter()
    .map(|crd| (format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural), schema::publish(crd)))
    .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
