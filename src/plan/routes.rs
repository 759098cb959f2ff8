//! The prefixes that some of the peers are told.
//!
//! Peers for which the same advertisements are share one list: thousands of prefixes, and most peers are told all of
//! them. A sorted list, since it is made once and then only walked and looked up.

use super::Attributes;
use ipnet::IpNet;
use std::sync::Arc;

/// Prefixes in order, each once, with what it carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes(Box<[(IpNet, Arc<Attributes>)]>);

impl Routes {
    /// In order, those of IPv4 first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(IpNet, Arc<Attributes>)> {
        self.0.iter()
    }

    /// Whether `prefix` is one of them.
    #[must_use]
    pub fn has(&self, prefix: &IpNet) -> bool {
        self.0.binary_search_by(|(other, _)| other.cmp(prefix)).is_ok()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(IpNet, Arc<Attributes>)> for Routes {
    /// In any order. A prefix that comes again, from another advertisement or another Service, carries the communities
    /// of all.
    fn from_iter<T: IntoIterator<Item = (IpNet, Arc<Attributes>)>>(all: T) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(prefix, _)| *prefix);
        all.dedup_by(|(again, new), (prefix, attributes)| {
            let same = again == prefix;
            if same && !Arc::ptr_eq(attributes, new) {
                *attributes = Arc::new(both(attributes, new));
            }
            same
        });
        Self(all.into())
    }
}

fn both(a: &Attributes, b: &Attributes) -> Attributes {
    Attributes {
        local_pref: a.local_pref.max(b.local_pref),
        communities: a.communities.union(&b.communities).copied().collect(),
        med: a.med.max(b.med),
        prepend: a.prepend.max(b.prepend),
        ..Attributes::default()
    }
}
