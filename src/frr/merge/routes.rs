//! What the neighbours of a router are told, sorted into policy classes.
//!
//! Ten thousand prefixes and a few kinds of them is the usual shape. So nothing is kept for a prefix but the number
//! of the kind that it is so far: adding an attribute, or a neighbour, is a step from kind to kind, remembered.

use super::Faults;
use crate::{
    api,
    config::{BgpAdvertisement, Community},
    frr::{Class, ClassId, Entry, Policy, Router, policy_name},
    names::{Asn, Word},
    net::Family,
    plan::Attributes,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The prefixes of one router of one object: neighbours of that object may be told these.
pub(super) struct Known(Vec<IpNet>);

impl Known {
    pub(super) fn of(prefixes: &[api::FRRPrefix], at: &str, faults: &mut Faults) -> Self {
        let mut known = Vec::with_capacity(prefixes.len());
        for (i, prefix) in prefixes.iter().enumerate() {
            known.extend(net(prefix, || format!("{at}.prefixes[{i}]"), faults));
        }
        known.sort_unstable();
        known.dedup();
        Self(known)
    }
}

/// The networks of one router.
#[derive(Default)]
pub(super) struct Routes {
    /// Sorted.
    kinds: Vec<(IpNet, u32)>,
    classes: Kinds<(Word, u32), Class>,
    attributes: Kinds<Attribute, Attributes>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Attribute {
    LocalPref(u32),
    Community(Community),
    Med(u32),
    Prepend(u8),
}

impl Attribute {
    const fn noun(&self) -> &'static str {
        match self {
            Self::LocalPref(_) => "local preference",
            Self::Community(_) => "community",
            Self::Med(_) => "MED",
            Self::Prepend(_) => "AS path prepend",
        }
    }
}

impl Routes {
    /// Adds what the neighbour `policy` is told.
    pub(super) fn tell(
        &mut self,
        policy: Word,
        families: &BTreeSet<Family>,
        told: &api::FRRAdvertise,
        known: &Known,
        at: &str,
        faults: &mut Faults,
    ) {
        let at = format!("{at}.toAdvertise");
        let mut routes: Vec<(IpNet, u32)> = match told.allowed.mode {
            api::FRRAllowMode::All => {
                let carried = known.0.iter().filter(|p| families.contains(&Family::of_net(**p)));
                carried.map(|prefix| (*prefix, 0)).collect()
            }
            api::FRRAllowMode::Filtered => {
                let mut routes = Vec::with_capacity(told.allowed.prefixes.len());
                let mut near = 0;
                for (i, prefix) in told.allowed.prefixes.iter().enumerate() {
                    let field = || format!("{at}.allowed.prefixes[{i}]");
                    let Some(prefix) = net(prefix, field, faults) else { continue };
                    if seek(&known.0, &mut near, |p| p, &prefix).is_none() {
                        faults.add(field(), format!("trying to advertise non configured prefix {prefix}"));
                    } else if !families.contains(&Family::of_net(prefix)) {
                        faults.add(field(), format!("{prefix} is not of a family of this neighbor"));
                    } else {
                        routes.push((prefix, 0));
                    }
                }
                routes.sort_unstable();
                routes.dedup();
                routes
            }
        };
        for (i, list) in told.with_local_pref.iter().enumerate() {
            let at = format!("{at}.withLocalPref[{i}]");
            self.mark(&mut routes, &Attribute::LocalPref(list.local_pref), &list.prefixes, &at, faults);
        }
        for (i, list) in told.with_community.iter().enumerate() {
            let at = format!("{at}.withCommunity[{i}]");
            match community(&list.community) {
                Some(community) => {
                    let attribute = Attribute::Community(community);
                    self.mark(&mut routes, &attribute, &list.prefixes, &at, faults);
                }
                None => {
                    let what = format!("{:?} is neither A:B nor large:A:B:C", list.community);
                    faults.add(format!("{at}.community"), what);
                }
            }
        }
        for (i, list) in told.with_med.iter().enumerate() {
            let at = format!("{at}.withMED[{i}]");
            self.mark(&mut routes, &Attribute::Med(list.med), &list.prefixes, &at, faults);
        }
        for (i, list) in told.with_as_path_prepend.iter().enumerate() {
            let at = format!("{at}.withASPathPrepend[{i}]");
            if (1..=BgpAdvertisement::PREPEND).contains(&list.times.into()) {
                self.mark(&mut routes, &Attribute::Prepend(list.times), &list.prefixes, &at, faults);
            } else {
                faults.add(format!("{at}.times"), format!("must be 1 to {}", BgpAdvertisement::PREPEND));
            }
        }
        self.join(&policy, &routes);
    }

    fn mark(
        &mut self,
        routes: &mut [(IpNet, u32)],
        attribute: &Attribute,
        prefixes: &[api::FRRPrefix],
        at: &str,
        faults: &mut Faults,
    ) {
        let (mut last, mut near) = (None, 0);
        for (i, prefix) in prefixes.iter().enumerate() {
            let field = || format!("{at}.prefixes[{i}]");
            let Some(prefix) = net(prefix, field, faults) else { continue };
            let found = seek(routes, &mut near, |(p, _)| p, &prefix);
            let Some((_, kind)) = found.and_then(|i| routes.get_mut(i)) else {
                faults.add(field(), format!("associated to non existing prefix {prefix}"));
                continue;
            };
            let next = match last {
                Some((from, to)) if from == *kind => Some(to),
                _ => self.attributes.step(*kind, attribute, |a| add(a, attribute)),
            };
            match next {
                Some(next) => {
                    last = Some((*kind, next));
                    *kind = next;
                }
                None => {
                    let what = format!("another {} is already defined for {prefix}", attribute.noun());
                    faults.add(field(), what);
                }
            }
        }
    }

    /// Adds one neighbour to the classes of `routes`, sorted.
    fn join(&mut self, policy: &Word, routes: &[(IpNet, u32)]) {
        let mut last = None;
        let (classes, attributes) = (&mut self.classes, &self.attributes);
        let mut next = |kind: u32, attribute: u32| match last {
            Some((from, by, to)) if (from, by) == (kind, attribute) => to,
            _ => {
                let step = (policy.clone(), attribute);
                let to = classes.step(kind, &step, |class: &Class| {
                    let mut class = class.clone();
                    class.0.insert(policy.clone(), attributes.get(attribute));
                    Some(class)
                });
                let to = to.unwrap_or(kind);
                last = Some((kind, attribute, to));
                to
            }
        };
        let before = std::mem::take(&mut self.kinds);
        self.kinds.reserve(before.len().max(routes.len()));
        let mut before = before.into_iter().peekable();
        for (prefix, attribute) in routes {
            while let Some(other) = before.next_if(|(p, _)| p < prefix) {
                self.kinds.push(other);
            }
            let kind = before.next_if(|(p, _)| p == prefix).map_or(0, |(_, kind)| kind);
            self.kinds.push((*prefix, next(kind, *attribute)));
        }
        self.kinds.extend(before);
    }

    /// Writes the networks, their classes and the entries of the out-maps.
    pub(super) fn settle(
        self,
        router: &mut Router,
        vrf: Option<&Word>,
        classes: &mut BTreeSet<ClassId>,
        policies: &mut BTreeMap<Word, Policy>,
    ) {
        let ids: Vec<ClassId> = self.classes.all.iter().map(|class| class.id()).collect();
        router.networks =
            self.kinds.iter().filter_map(|(p, kind)| Some((*p, *ids.get(*kind as usize)?))).collect();
        let used: BTreeSet<u32> = self.kinds.iter().map(|(_, kind)| *kind).collect();
        let wanted: BTreeMap<ClassId, Arc<Class>> =
            used.iter().filter_map(|k| Some((*ids.get(*k as usize)?, self.classes.get(*k)))).collect();
        // what a neighbour knows us by: that is what is prepended
        let sessions = router.sessions.iter();
        let own_as: BTreeMap<Word, Asn> = sessions
            .filter_map(|(key, s)| Some((policy_name(key, vrf)?, s.local_as.unwrap_or(router.asn))))
            .collect();
        for (id, class) in wanted {
            classes.insert(id);
            for (name, attributes) in &class.0 {
                if let Some(policy) = policies.get_mut(name) {
                    let own_as = attributes.prepend.and_then(|_| own_as.get(name).copied());
                    place(&mut policy.entries, id, attributes, own_as);
                }
            }
        }
    }
}

/// Gives the class its place in an out-map, or the next free one. Classes come in the order of their ids.
fn place(entries: &mut BTreeMap<u16, Entry>, class: ClassId, attributes: &Attributes, own_as: Option<Asn>) {
    let first = class.place();
    let free = (first..Policy::LAST).chain(1..first).find(|place| !entries.contains_key(place));
    if let Some(place) = free {
        entries.insert(place, Entry { class: Some(class), attributes: attributes.clone(), own_as });
    }
}

/// Where `prefix` is in a sorted list: looked for where the search before it ended, since lists mostly have one order.
fn seek<T>(list: &[T], near: &mut usize, key: impl Fn(&T) -> &IpNet, prefix: &IpNet) -> Option<usize> {
    let found = match list.get(*near) {
        Some(item) if key(item) == prefix => *near,
        _ => list.binary_search_by(|item| key(item).cmp(prefix)).ok()?,
    };
    *near = found + 1;
    Some(found)
}

fn add(attributes: &Attributes, attribute: &Attribute) -> Option<Attributes> {
    fn only<T: Copy + PartialEq>(slot: &mut Option<T>, value: T) -> bool {
        slot.replace(value).is_none_or(|other| other == value)
    }
    let mut attributes = attributes.clone();
    let agrees = match attribute {
        Attribute::LocalPref(preference) => only(&mut attributes.local_pref, *preference),
        Attribute::Med(med) => only(&mut attributes.med, *med),
        Attribute::Prepend(times) => only(&mut attributes.prepend, *times),
        Attribute::Community(community) => {
            attributes.communities.insert(*community);
            true
        }
    };
    agrees.then_some(attributes)
}

/// Kinds of things, and how one becomes another; kind 0 is the empty one.
struct Kinds<S, T> {
    all: Vec<Arc<T>>,
    steps: BTreeMap<(u32, S), Option<u32>>,
}

impl<S, T: Default> Default for Kinds<S, T> {
    fn default() -> Self {
        Self { all: vec![Arc::default()], steps: BTreeMap::new() }
    }
}

impl<S: Ord + Clone, T: Default> Kinds<S, T> {
    fn get(&self, kind: u32) -> Arc<T> {
        self.all.get(kind as usize).cloned().unwrap_or_default()
    }

    fn step(&mut self, from: u32, by: &S, to: impl FnOnce(&T) -> Option<T>) -> Option<u32> {
        if let Some(known) = self.steps.get(&(from, by.clone())) {
            return *known;
        }
        let next = to(&self.get(from)).and_then(|thing| {
            let next = u32::try_from(self.all.len()).ok()?;
            self.all.push(Arc::new(thing));
            Some(next)
        });
        self.steps.insert((from, by.clone()), next);
        next
    }
}

fn net(prefix: &api::FRRPrefix, field: impl FnOnce() -> String, faults: &mut Faults) -> Option<IpNet> {
    match prefix {
        api::FRRPrefix::Net(net) => Some(net.trunc()),
        api::FRRPrefix::Text(text) => {
            faults.add(field(), format!("unknown ipfamily: {text:?} is not a prefix"));
            None
        }
    }
}

/// `A:B` or `large:A:B:C`.
fn community(text: &str) -> Option<Community> {
    let decimal = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok())?;
    match text.strip_prefix("large:") {
        Some(large) => {
            let mut parts = large.split(':').map(decimal);
            let (a, b, c) = (parts.next()??, parts.next()??, parts.next()??);
            parts.next().is_none().then_some(Community::Large(a, b, c))
        }
        None => {
            let (a, b) = text.split_once(':')?;
            Some(Community::Standard(decimal(a)?.try_into().ok()?, decimal(b)?.try_into().ok()?))
        }
    }
}
