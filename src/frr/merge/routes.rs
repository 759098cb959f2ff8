//! What the neighbours of routers are told, sorted into policy classes.
//!
//! Ten thousand prefixes and a few kinds of them is the usual shape. So nothing is kept for a prefix but the number
//! of the kind that it is so far: adding an attribute, or a neighbour, is a step from kind to kind, remembered.

use super::{Faults, hear::NextHops};
use crate::{
    api,
    config::{BgpAdvertisement, Community, RemoteAs},
    frr::{Class, ClassId, Entry, Model, Policy, policy_name},
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
#[derive(Default)]
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

    /// These and those.
    pub(super) fn join(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.extend(other.0);
            self.0.sort_unstable();
            self.0.dedup();
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &IpNet> {
        self.0.iter()
    }
}

/// Prefixes that a neighbour may be told: those of its own router, and those of VRFs that it imports.
pub(super) type Sources<'a> = [(&'a Option<Word>, &'a Known)];

/// What the neighbours of all routers are told.
#[derive(Clone, Default)]
pub(super) struct Telling {
    routers: BTreeMap<Option<Word>, Routes>,
    classes: Kinds<(Word, u32), Class>,
    attributes: Kinds<Attribute, Attributes>,
}

/// The networks of one router, sorted, each with the kind of class that it has.
type Routes = Vec<(IpNet, u32)>;

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

impl Telling {
    /// Adds the prefixes of a router, whoever is told them.
    pub(super) fn know(&mut self, vrf: &Option<Word>, known: &Known) {
        let routes = self.routers.entry(vrf.clone()).or_default();
        *routes = merged(std::mem::take(routes), known.iter().map(|prefix| (*prefix, ())), |kind, ()| kind);
    }

    /// Adds what the neighbour `policy` is told.
    pub(super) fn tell(
        &mut self,
        policy: &Word,
        families: &BTreeSet<Family>,
        told: &api::FRRAdvertise,
        known: &Sources<'_>,
        at: &str,
        faults: &mut Faults,
    ) {
        let at = format!("{at}.toAdvertise");
        let mut routes = match told.allowed.mode {
            api::FRRAllowMode::All => {
                let all = known.iter().flat_map(|(_, known)| known.iter());
                all.filter(|p| families.contains(&Family::of_net(**p))).map(|prefix| (*prefix, 0)).collect()
            }
            api::FRRAllowMode::Filtered => filtered(&told.allowed.prefixes, families, known, &at, faults),
        };
        routes.sort_unstable();
        routes.dedup();
        for (i, list) in told.with_local_pref.iter().enumerate() {
            let at = format!("{at}.withLocalPref[{i}]");
            if told.with_local_pref.iter().take(i).any(|other| other.local_pref == list.local_pref) {
                faults.add(&at, format!("local preference {} is already defined", list.local_pref));
            }
            self.mark(&mut routes, &Attribute::LocalPref(list.local_pref), &list.prefixes, &at, faults);
        }
        for (i, list) in told.with_community.iter().enumerate() {
            let at = format!("{at}.withCommunity[{i}]");
            if told.with_community.iter().take(i).any(|other| other.community == list.community) {
                faults.add(&at, format!("community {} is already defined", list.community));
            }
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
        match known {
            [(vrf, _)] => self.join(vrf, policy, &routes, &at, faults),
            several => {
                for (vrf, known) in several {
                    let mut near = 0;
                    let own = routes.iter().filter(|(p, _)| seek(&known.0, &mut near, |p| p, p).is_some());
                    self.join(vrf, policy, &own.copied().collect::<Vec<_>>(), &at, faults);
                }
            }
        }
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
    fn join(
        &mut self,
        vrf: &Option<Word>,
        policy: &Word,
        routes: &[(IpNet, u32)],
        at: &str,
        faults: &mut Faults,
    ) {
        let mut last = None;
        let (classes, attributes) = (&mut self.classes, &self.attributes);
        let mut clashes: BTreeSet<u32> = BTreeSet::new();
        let mut next = |kind: u32, attribute: u32| match last {
            Some((from, by, to)) if (from, by) == (kind, attribute) => to,
            _ => {
                let step = (policy.clone(), attribute);
                let new = attributes.get(attribute);
                let had = classes.get(kind).0.get(policy).cloned();
                if had.as_ref().is_some_and(|had| clash(had, &new)) {
                    clashes.extend(new.local_pref);
                }
                let to = classes.step(kind, &step, |class: &Class| {
                    let mut class = class.clone();
                    let both = had.map_or_else(|| new.clone(), |had| both(&had, &new));
                    class.0.insert(policy.clone(), both);
                    Some(class)
                });
                let to = to.unwrap_or(kind);
                last = Some((kind, attribute, to));
                to
            }
        };
        let before = self.routers.entry(vrf.clone()).or_default();
        *before = merged(std::mem::take(before), routes.iter().copied(), &mut next);
        for preference in clashes {
            let what = format!("multiple local prefs: {preference} is not what its prefixes have already");
            faults.add(format!("{at}.withLocalPref"), what);
        }
    }

    /// Writes the networks, their classes and the entries of the out-maps.
    pub(super) fn settle(&mut self, hops: &BTreeMap<&Word, &NextHops>, model: &mut Model) {
        let own_as = own_as(model);
        let mut ids: BTreeMap<(u32, Family), ClassId> = BTreeMap::new();
        let mut wanted: BTreeMap<ClassId, Arc<Class>> = BTreeMap::new();
        for (vrf, routes) in std::mem::take(&mut self.routers) {
            let Some(router) = model.routers.get_mut(&vrf) else { continue };
            let class = |(prefix, kind): (IpNet, u32)| {
                let family = Family::of_net(prefix);
                let id = *ids.entry((kind, family)).or_insert_with(|| {
                    let class = with_hops(self.classes.get(kind), hops, family);
                    let id = class.id();
                    wanted.insert(id, class);
                    id
                });
                (prefix, id)
            };
            router.networks = routes.into_iter().map(class).collect();
        }
        for (id, class) in wanted {
            model.classes.insert(id);
            for (name, attributes) in &class.0 {
                if let Some(policy) = model.policies.get_mut(name) {
                    let own_as = attributes.prepend.and_then(|_| own_as.get(name).copied());
                    let attributes =
                        Attributes { prepend: own_as.and(attributes.prepend), ..(**attributes).clone() };
                    place(&mut policy.entries, id, attributes, own_as);
                }
            }
        }
    }
}

/// What each neighbour knows us by, which is what is prepended; none of our own AS, which would take it for a loop.
fn own_as(model: &Model) -> BTreeMap<Word, Asn> {
    let mut own = BTreeMap::new();
    for (vrf, router) in &model.routers {
        let internal = [RemoteAs::Internal, RemoteAs::Number(router.asn)];
        let sessions = router.sessions.iter().filter(|(_, session)| !internal.contains(&session.remote_as));
        own.extend(sessions.filter_map(|(neighbor, session)| {
            Some((policy_name(neighbor, vrf.as_ref())?, session.local_as.unwrap_or(router.asn)))
        }));
    }
    own
}

/// The prefixes that are listed, of those that are known and of a family that the session carries.
fn filtered(
    prefixes: &[api::FRRPrefix],
    families: &BTreeSet<Family>,
    known: &Sources<'_>,
    at: &str,
    faults: &mut Faults,
) -> Vec<(IpNet, u32)> {
    let mut routes = Vec::with_capacity(prefixes.len());
    let mut near = vec![0; known.len()];
    for (i, prefix) in prefixes.iter().enumerate() {
        let field = || format!("{at}.allowed.prefixes[{i}]");
        let Some(prefix) = net(prefix, field, faults) else { continue };
        let mut lists = known.iter().zip(&mut near);
        if !lists.any(|((_, known), near)| seek(&known.0, near, |p| p, &prefix).is_some()) {
            faults.add(field(), format!("trying to advertise non configured prefix {prefix}"));
        } else if !families.contains(&Family::of_net(prefix)) {
            faults.add(field(), format!("{prefix} is not of a family of this neighbor"));
        } else {
            routes.push((prefix, 0));
        }
    }
    routes
}

/// `before` with what comes from `news`, both sorted; a prefix that is in neither has kind 0.
fn merged<T>(
    before: Routes,
    news: impl ExactSizeIterator<Item = (IpNet, T)>,
    mut kind_of: impl FnMut(u32, T) -> u32,
) -> Routes {
    let mut all = Vec::with_capacity(before.len().max(news.len()));
    let mut before = before.into_iter().peekable();
    for (prefix, new) in news {
        while let Some(other) = before.next_if(|(p, _)| *p < prefix) {
            all.push(other);
        }
        let kind = before.next_if(|(p, _)| *p == prefix).map_or(0, |(_, kind)| kind);
        all.push((prefix, kind_of(kind, new)));
    }
    all.extend(before);
    all
}

/// The class with the next hops that its neighbours are told for prefixes of `family`.
fn with_hops(class: Arc<Class>, hops: &BTreeMap<&Word, &NextHops>, family: Family) -> Arc<Class> {
    let hop = |policy: &Word| hops.get(policy).and_then(|hops| hops.get(&family)).copied();
    if !class.0.keys().any(|policy| hop(policy).is_some()) {
        return class;
    }
    let told = class.0.iter().map(|(policy, attributes)| match hop(policy) {
        None => (policy.clone(), attributes.clone()),
        next_hop => (policy.clone(), Arc::new(Attributes { next_hop, ..(**attributes).clone() })),
    });
    Arc::new(Class(told.collect()))
}

/// Whether two objects want different local preferences.
fn clash(had: &Attributes, new: &Attributes) -> bool {
    had.local_pref.zip(new.local_pref).is_some_and(|(a, b)| a != b)
}

/// What two objects ask for; where they exclude each other, the first one.
fn both(had: &Attributes, new: &Attributes) -> Arc<Attributes> {
    Arc::new(Attributes {
        local_pref: had.local_pref.or(new.local_pref),
        med: had.med.or(new.med),
        prepend: had.prepend.or(new.prepend),
        communities: had.communities.union(&new.communities).copied().collect(),
        ..had.clone()
    })
}

/// Gives the class its place in an out-map, or the next free one. Classes come in the order of their ids.
fn place(entries: &mut BTreeMap<u16, Entry>, class: ClassId, attributes: Attributes, own_as: Option<Asn>) {
    let first = class.place();
    let free = (first..Policy::LAST).chain(1..first).find(|place| !entries.contains_key(place));
    if let Some(place) = free {
        entries.insert(place, Entry { class: Some(class), attributes, own_as });
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
#[derive(Clone)]
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
