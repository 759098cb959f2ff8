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
    time::Instant,
};

/// Addresses by the node that they are left to and the interface, and where that node is.
#[derive(Clone, Debug, Default)]
pub(super) struct Yielding {
    left: BTreeMap<(NodeName, IfIndex), (Mac, BTreeSet<IpAddr>)>,
    /// Since when there is something; `None` while there is nothing.
    since: Option<Instant>,
}

impl Yielding {
    /// From now on `ips` are left to `node`, which is at `by`. As fast for thousands as for one.
    pub(super) fn add(
        &mut self,
        now: Instant,
        node: &NodeName,
        link: IfIndex,
        by: Mac,
        ips: BTreeSet<IpAddr>,
    ) {
        if !ips.is_empty() {
            self.left.insert((node.clone(), link), (by, ips));
            self.since.get_or_insert(now);
        }
    }

    /// Whether the address is left to somebody on that interface.
    pub(super) fn has(&self, (ip, link): Place) -> bool {
        self.left.iter().any(|((_, on), (_, ips))| *on == link && ips.contains(&ip))
    }

    /// Since when there is something.
    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// One of them, with the node and where it is.
    pub(super) fn take(&mut self) -> Option<(Place, NodeName, Mac)> {
        let mut entry = self.left.first_entry()?;
        let ((node, link), by) = (entry.key().clone(), entry.get().0);
        let ip = entry.get_mut().1.pop_first();
        if entry.get().1.is_empty() {
            entry.remove();
        }
        if self.left.is_empty() {
            self.since = None;
        }
        Some(((ip?, link), node, by))
    }
}
