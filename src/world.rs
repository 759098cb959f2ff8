//! The facts: what this program knows of Services, EndpointSlices, Nodes and Namespaces.
//!
//! The only room that reads k8s-openapi's core types. An object is turned into its few facts the moment it is
//! decoded, so that nothing else of it stays in memory. Nothing is judged here: a text that does not parse is kept
//! as the text, for the room that needs it to refuse with a reason.

mod labels;
mod node;
mod service;
mod slice;

pub use labels::Labels;
pub use node::Node;
pub use service::{
    Address, Class, FamilyPolicy, Ingress, Origin, Port, Service, TrafficPolicy, Transport, annotations,
};
pub use slice::{Slice, SliceKey};

use crate::names::{Namespace, NodeName, ServiceKey};
use std::collections::{BTreeMap, BTreeSet};

/// Every fact, by object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Services of every type: one that stops being a LoadBalancer must lose its address.
    pub services: BTreeMap<ServiceKey, Service>,
    /// EndpointSlices, those of a Service beside each other.
    pub slices: BTreeMap<(ServiceKey, SliceKey), Slice>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Labels of Namespaces.
    pub namespaces: BTreeMap<Namespace, Labels>,
}

/// Where a Service can be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints<'a> {
    /// At least one usable endpoint somewhere.
    pub any: bool,
    /// The nodes that have a usable endpoint.
    pub nodes: BTreeSet<&'a NodeName>,
}

impl World {
    /// The usable endpoints of `service`, over all its slices.
    #[must_use]
    pub fn endpoints(&self, service: &ServiceKey) -> Endpoints<'_> {
        let mut all = Endpoints::default();
        let first = (service.clone(), SliceKey::default());
        for (_, slice) in self.slices.range(first..).take_while(|((owner, _), _)| owner == service) {
            all.any |= slice.usable;
            all.nodes.extend(&slice.nodes);
        }
        all
    }
}
