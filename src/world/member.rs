//! What a live speaker says of its own node, to all others.

use crate::{names::NodeName, net::Mac};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The nodes with a live speaker that announces, this one among them.
pub type Members = BTreeMap<NodeName, Arc<Member>>;

/// What one of them says. Nothing is said where there is no membership: every Node counts as a member then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Whether it goes: what it still answers for is others' to take over.
    pub leaving: bool,
    /// The interfaces that it can announce on; `None` where it does not say, and may have any.
    pub interfaces: Option<BTreeMap<Arc<str>, Mac>>,
    /// The addresses that it answers for and that stay where they are (`ferrolb.io/l2-placement: balanced`).
    pub held: BTreeSet<IpAddr>,
}
