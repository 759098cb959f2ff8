//! What is left to nodes that are back, until it is conceded address by address: from the first word on nothing of it is
//! answered for, however much it is.

use crate::{
    l2::schedule::Place,
    names::NodeName,
    net::{IfIndex, Mac},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Addresses by the node that they are left to and the interface, and where that node is.
#[derive(Clone, Debug, Default)]
pub(super) struct Yielding(BTreeMap<(NodeName, IfIndex), (Mac, BTreeSet<IpAddr>)>);

impl Yielding {
    /// From now on `ips` are left to `node`, which is at `by`. As fast for thousands as for one.
    pub(super) fn add(&mut self, node: &NodeName, link: IfIndex, by: Mac, ips: BTreeSet<IpAddr>) {
        if !ips.is_empty() {
            self.0.insert((node.clone(), link), (by, ips));
        }
    }

    /// Whether the address is left to somebody on that interface.
    pub(super) fn has(&self, (ip, link): Place) -> bool {
        self.0.iter().any(|((_, on), (_, ips))| *on == link && ips.contains(&ip))
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them, with the node and where it is.
    pub(super) fn take(&mut self) -> Option<(Place, NodeName, Mac)> {
        let mut entry = self.0.first_entry()?;
        let ((node, link), by) = (entry.key().clone(), entry.get().0);
        let ip = entry.get_mut().1.pop_first();
        if entry.get().1.is_empty() {
            entry.remove();
        }
        Some(((ip?, link), node, by))
    }
}
