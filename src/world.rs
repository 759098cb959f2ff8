//! The facts: what this program knows of Services, EndpointSlices, Nodes and Namespaces.
//!
//! The only room that reads k8s-openapi's core types. An object is turned into its few facts the moment it is
//! decoded, so that nothing else of it stays in memory. Nothing is judged here: a text that does not parse is kept
//! as the text, for the room that needs it to refuse with a reason.

mod node;
mod service;
mod slice;

pub use node::Node;
pub use service::{
    Address, Class, FamilyPolicy, Ingress, Origin, Port, Service, TrafficPolicy, Transport, annotation,
    annotations,
};
pub use slice::{Slice, SliceKey};

use crate::names::{Namespace, NodeName, ServiceKey};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Every fact, by object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Services of every type: one that stops being a LoadBalancer must lose its address.
    pub services: BTreeMap<ServiceKey, Service>,
    /// EndpointSlices by the Service that they belong to.
    pub slices: BTreeMap<ServiceKey, BTreeMap<SliceKey, Slice>>,
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
        for slice in self.slices.get(service).into_iter().flat_map(BTreeMap::values) {
            all.any |= slice.usable;
            all.nodes.extend(&slice.nodes);
        }
        all
    }
}
