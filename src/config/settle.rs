//! From the objects of one kind to those that stand: the last valid version for the faulty, and one winner where
//! two exclude each other.
//!
//! Which one wins never depends on the order in which the objects arrived: what stood before and did not change
//! goes first, then what stood before, then what Services have addresses of, then the older object, then the name.

use super::{
    Input, annotation,
    problem::{Fault, Kind, ObjectRef, Problems, Report},
};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

/// An object on its way into the configuration.
pub(super) struct Entry<T> {
    value: Arc<T>,
    last: Option<Arc<T>>,
    created: Option<Timestamp>,
    /// Whether Services have something of it.
    held: bool,
}

/// Entries of one kind, by name.
pub(super) type Entries<N, T> = BTreeMap<N, Entry<T>>;

/// Reads every object of a kind with `parse`; what has a fault, or could not be read, is its version in `last`.
pub(super) fn read<O, N, T>(
    kind: Kind,
    input: &Input,
    objects: &BTreeMap<String, O>,
    last: &BTreeMap<N, Arc<T>>,
    problems: &mut Problems,
    mut parse: impl FnMut(&str, &O, &mut Report<'_>) -> Option<T>,
) -> Entries<N, T>
where
    O: Resource,
    N: Ord + Borrow<str> + for<'a> From<&'a str>,
    T: PartialEq,
{
    let mut entries = BTreeMap::new();
    let unreadable = |name: &str| input.unreadable.contains_key(&ObjectRef { kind, name: name.into() });
    for (name, object) in objects {
        let mut report = Report::new(kind, name, problems);
        annotation::unknown(kind, object.meta(), &mut report);
        let parsed = parse(name, object, &mut report).filter(|_| report.clean() && !unreadable(name));
        let last = last.get(name.as_str()).cloned();
        let value = match (parsed, &last) {
            (Some(value), Some(last)) if **last == value => last.clone(),
            (Some(value), _) => Arc::new(value),
            (None, Some(last)) => last.clone(),
            (None, None) => continue,
        };
        let created = object.meta().creation_timestamp.as_ref().map(|t| t.0);
        let held = kind == Kind::IPAddressPool && input.holding.contains(name);
        entries.insert(N::from(name.as_str()), Entry { value, last, created, held });
    }
    for object in input.unreadable.keys().filter(|o| o.kind == kind && !objects.contains_key(&o.name)) {
        if let Some(value) = last.get(object.name.as_str()) {
            let entry = Entry { value: value.clone(), last: Some(value.clone()), created: None, held: true };
            entries.insert(N::from(object.name.as_str()), entry);
        }
    }
    entries
}

/// The objects of a kind whose members do not exclude each other.
pub(super) fn all<N: Ord, T>(entries: Entries<N, T>) -> BTreeMap<N, Arc<T>> {
    entries.into_iter().map(|(name, entry)| (name, entry.value)).collect()
}

/// The objects of a kind whose members can exclude each other.
///
/// `claim` enters an object into the ledger, or says why the ledger has no room for it. `same` tells whether an
/// object claims no more than its last version did. An object that is refused is its last version, which then goes
/// before all others; one whose last version is no better stands with its problem, since taking away what works
/// helps nobody.
pub(super) fn settle<N: Ord + Clone + Borrow<str>, T: PartialEq, L: Default>(
    kind: Kind,
    mut entries: Entries<N, T>,
    problems: &mut Problems,
    same: impl Fn(&T, &T) -> bool,
    claim: impl Fn(&mut L, &N, &T) -> Vec<Fault>,
) -> BTreeMap<N, Arc<T>> {
    let mut refused: BTreeMap<N, Vec<Fault>> = BTreeMap::new();
    let (standing, dropped) = loop {
        match round(&entries, &same, &claim) {
            Round::Settled { standing, faulty } => break (standing, faulty),
            Round::Refused { name, faults } => {
                if let Some(entry) = entries.get_mut::<N>(&name)
                    && let Some(last) = &entry.last
                {
                    entry.value = last.clone();
                }
                refused.insert(name, faults);
            }
        }
    };
    for (name, faults) in dropped {
        refused.entry(name).or_insert(faults);
    }
    for (name, faults) in refused {
        let mut report = Report::new(kind, name.borrow(), problems);
        for (field, what) in faults {
            report.fault(field, what);
        }
    }
    standing
}

enum Round<N, T> {
    /// Every object has its place or none.
    Settled { standing: BTreeMap<N, Arc<T>>, faulty: Vec<(N, Vec<Fault>)> },
    /// This one must go back to its last version; others may then lose what they have claimed.
    Refused { name: N, faults: Vec<Fault> },
}

fn round<N: Ord + Clone, T: PartialEq, L: Default>(
    entries: &Entries<N, T>,
    same: impl Fn(&T, &T) -> bool,
    claim: impl Fn(&mut L, &N, &T) -> Vec<Fault>,
) -> Round<N, T> {
    let rank = |entry: &Entry<T>| match &entry.last {
        Some(last) if same(&entry.value, last) => 0,
        Some(_) => 1,
        None if entry.held => 2,
        None => 3,
    };
    let mut order: Vec<_> = entries.iter().collect();
    order.sort_by_key(|(name, e)| (rank(e), e.created.is_none(), e.created, *name));
    let (mut ledger, mut standing, mut faulty) = (L::default(), BTreeMap::new(), Vec::new());
    for (name, entry) in order {
        let faults = claim(&mut ledger, name, &entry.value);
        let refused = !faults.is_empty();
        match &entry.last {
            Some(last) if refused && *last != entry.value => {
                return Round::Refused { name: name.clone(), faults };
            }
            None if refused => faulty.push((name.clone(), faults)),
            Some(_) | None => {
                if refused {
                    faulty.push((name.clone(), faults));
                }
                standing.insert(name.clone(), entry.value.clone());
            }
        }
    }
    Round::Settled { standing, faulty }
}
