//! The facts: what this program knows of Services, EndpointSlices, Nodes, Namespaces and Secrets.
//!
//! The only room that reads k8s-openapi's core types. An object is turned into its few facts the moment it is
//! decoded, so that nothing else of it stays in memory. Nothing is judged here: a text that does not parse is kept
//! as the text, for the room that needs it to refuse with a reason.

mod labels;
mod member;
mod misfit;
mod node;
mod secret;
mod service;
mod slice;

pub use labels::Labels;
pub use member::{Member, Members};
pub use misfit::Misfit;
pub use node::{DRAIN, Node};
pub use secret::Secret;
pub use service::{
    Address, Class, FamilyPolicy, Ingress, Origin, Port, Service, TrafficPolicy, Transport, annotations,
};
pub use slice::{Slice, SliceKey};

use crate::names::{Namespace, NodeName, ServiceKey};
use std::collections::BTreeMap;

/// Every fact, by object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Services of every type: one that stops being a LoadBalancer must lose its address. Boxed, since a map of thousands
    /// of large things is mostly room for more of them.
    pub services: BTreeMap<ServiceKey, Box<Service>>,
    /// EndpointSlices, those of a Service beside each other.
    pub slices: BTreeMap<(ServiceKey, SliceKey), Slice>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Labels of Namespaces.
    pub namespaces: BTreeMap<Namespace, Labels>,
}

/// The slices of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints<'a>(Vec<&'a Slice>);

impl Endpoints<'_> {
    /// Whether there is a usable endpoint somewhere.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.iter().any(|slice| slice.usable)
    }

    /// Whether there is a usable endpoint on `node`.
    #[must_use]
    pub fn on(&self, node: &NodeName) -> bool {
        self.0.iter().any(|slice| slice.nodes.contains(node))
    }
}

impl World {
    /// Every Service with its endpoints. One walk over both maps, which have the same order: a lookup for each of
    /// thousands would be most of what a pass costs.
    pub fn served(&self) -> impl Iterator<Item = (&ServiceKey, &Service, Endpoints<'_>)> {
        let mut slices = self.slices.iter().peekable();
        self.services.iter().map(move |(key, service)| {
            while slices.next_if(|((owner, _), _)| owner < key).is_some() {}
            let mut own = Vec::new();
            while let Some((_, slice)) = slices.next_if(|((owner, _), _)| owner == key) {
                own.push(slice);
            }
            (key, &**service, Endpoints(own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_its_own_slices() {
        let mut world = World::default();
        let key = |name: &str| ServiceKey::new("n", name);
        for name in ["b", "d"] {
            world.services.insert(key(name), Box::default());
        }
        for (owner, name, node) in [("a", "1", "x"), ("b", "1", "x"), ("b", "2", "y"), ("c", "1", "z")] {
            let slice = Slice { usable: node != "x", nodes: [node.into()].into() };
            world.slices.insert((key(owner), name.into()), slice);
        }
        let served: Vec<_> = world
            .served()
            .map(|(key, _, e)| (key.name.to_string(), e.any(), e.on(&"x".into()), e.on(&"z".into())))
            .collect();
        assert_eq!(served, [("b".to_owned(), true, true, false), ("d".to_owned(), false, false, false)]);
    }
}
