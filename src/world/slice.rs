//! What is known of an EndpointSlice: whether something usable is behind it, and on which nodes.

use crate::names::{NodeName, ServiceKey};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::{collections::BTreeSet, sync::Arc};

/// The label that joins a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Name of an EndpointSlice in its namespace.
pub type SliceKey = Arc<str>;

/// The usable endpoints of one slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// At least one endpoint is usable and has an address.
    pub usable: bool,
    /// The nodes of usable endpoints that have an address, each once.
    pub nodes: Box<[NodeName]>,
}

impl Slice {
    /// The facts of `slice`, and the Service it belongs to; `None` for a slice of no Service.
    #[must_use]
    pub fn observe(slice: &EndpointSlice) -> Option<(ServiceKey, SliceKey, Self)> {
        let meta = &slice.metadata;
        let service = meta.labels.as_ref()?.get(SERVICE_NAME)?;
        let key = ServiceKey::new(meta.namespace.as_deref().unwrap_or("default"), service);
        let usable = || slice.endpoints.iter().filter(|e| is_usable(e));
        let nodes: BTreeSet<NodeName> =
            usable().filter_map(|e| e.node_name.as_deref()).map(NodeName::from).collect();
        Some((
            key,
            meta.name.as_deref()?.into(),
            Self { usable: usable().next().is_some(), nodes: nodes.into_iter().collect() },
        ))
    }
}

/// Ready, or not said, or at least still serving: a terminating endpoint that serves counts (KEP-1672).
fn is_usable(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(false);
    (ready || serving) && !endpoint.addresses.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::discovery::v1::EndpointConditions;

    #[test]
    fn readiness() {
        for (ready, serving, usable) in [
            (None, Some(false), true),
            (Some(false), Some(true), true),
            (Some(false), None, false),
            (Some(true), None, true),
            (Some(false), Some(false), false),
        ] {
            let endpoint = Endpoint {
                addresses: vec!["10.0.0.1".into()],
                conditions: Some(EndpointConditions { ready, serving, terminating: None }),
                ..Endpoint::default()
            };
            assert_eq!(is_usable(&endpoint), usable, "{ready:?} {serving:?}");
        }
        assert!(!is_usable(&Endpoint::default()), "an endpoint without an address serves nobody");
    }
}
