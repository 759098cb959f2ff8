//! What was observed so far: every source speaks in [`Change`]s, [`Observed`] is their sum.
//!
//! A plain value without I/O, so that `run` owns it and tests need no runtime. Only facts are kept, never an object
//! of a core kind. An object that cannot be read leaves its last facts standing. Nothing here knows whether the
//! source is an API server or a directory.

mod decode;
mod strict;

pub use decode::{EXTRAS, decode, removed, unknown};

use crate::{
    api,
    config::{self, Config, Input, Kind, ObjectRef, Problems, Unreadable},
    names::{Namespace, NodeName, ServiceKey},
    world::{Labels, Node, Secret, Service, Slice, SliceKey, World, annotations::ALLOCATED_FROM},
};
use std::collections::{BTreeMap, BTreeSet};

/// Who observes: each program sees only what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Allocates addresses.
    Controller,
    /// Announces them.
    Speaker,
}

impl Role {
    /// The kinds that it needs to see, all of them before its first decision.
    #[must_use]
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Controller => &[Kind::Service, Kind::Namespace, Kind::IPAddressPool],
            Self::Speaker => &[
                Kind::Service,
                Kind::EndpointSlice,
                Kind::Node,
                Kind::IPAddressPool,
                Kind::L2Advertisement,
                Kind::BGPAdvertisement,
                Kind::BGPPeer,
                Kind::BFDProfile,
                Kind::Community,
                Kind::FRRConfiguration,
                Kind::Secret,
                Kind::ConfigMap,
            ],
        }
    }
}

impl Role {
    /// Whether anything it does can depend on `service`: a speaker has nothing to do with one that has no address, and
    /// every new one has none at first.
    const fn minds(self, service: &Service) -> bool {
        match self {
            Self::Controller => true,
            Self::Speaker => service.load_balancer && !service.ingress.is_empty(),
        }
    }
}

/// Something that was seen. In the variants of one object, `None` means that it is gone.
#[derive(Clone, Debug)]
pub enum Change {
    /// A full listing of this kind begins: what does not come before its `Synced` is gone.
    Listing(Kind),
    /// The store of this kind has been seen whole.
    Synced(Kind),
    /// An object that does not decode, and why; its last facts stand until it decodes or goes.
    Unreadable(ObjectRef, Vec<Unreadable>),
    /// A Service.
    Service(ServiceKey, Option<Box<Service>>),
    /// What the API server answered to our own write of a Service; never brings back a Service that has gone.
    Wrote(ServiceKey, Box<Service>),
    /// An EndpointSlice, and the Service it belongs to.
    Slice(Namespace, SliceKey, Option<(ServiceKey, Slice)>),
    /// A Node.
    Node(NodeName, Option<Node>),
    /// A Namespace's labels.
    Namespace(Namespace, Option<Labels>),
    /// An IPAddressPool.
    Pool(String, Option<Box<api::IPAddressPool>>),
    /// An L2Advertisement.
    L2Advertisement(String, Option<Box<api::L2Advertisement>>),
    /// A BGPAdvertisement.
    BgpAdvertisement(String, Option<Box<api::BGPAdvertisement>>),
    /// A BGPPeer.
    Peer(String, Option<Box<api::BGPPeer>>),
    /// A BFDProfile.
    BfdProfile(String, Option<Box<api::BFDProfile>>),
    /// A Community.
    Community(String, Option<Box<api::Community>>),
    /// An FRRConfiguration.
    FrrConfiguration(String, Option<Box<api::FRRConfiguration>>),
    /// A Secret of our namespace.
    Secret(String, Option<Secret>),
    /// The ConfigMap `bgpextras`, what it has for the end of FRR's configuration.
    Extras(String, Option<String>),
}

/// Which parts a [`Change`] changed; none of them when it said nothing new (a heartbeat, our own write's echo).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// [`World::services`]; not for a mere new version, and for a speaker only those with an address.
    pub services: bool,
    /// [`World::slices`], of the same Services.
    pub slices: bool,
    /// [`World::nodes`].
    pub nodes: bool,
    /// [`World::namespaces`].
    pub namespaces: bool,
    /// [`Observed::input`].
    pub config: bool,
    /// [`Observed::synced`] became true.
    pub synced: bool,
}

impl Touched {
    /// Whether anything changed.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// What either changed.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            services: self.services | other.services,
            slices: self.slices | other.slices,
            nodes: self.nodes | other.nodes,
            namespaces: self.namespaces | other.namespaces,
            config: self.config | other.config,
            synced: self.synced | other.synced,
        }
    }
}

/// The sum of all changes.
#[derive(Debug)]
pub struct Observed {
    /// Facts of the core kinds.
    pub world: World,
    /// The configuration objects.
    pub input: Input,
    role: Role,
    /// Stores that have not been seen whole yet.
    waiting: BTreeSet<Kind>,
    /// What came since a listing began, by kind.
    listing: BTreeMap<Kind, BTreeSet<String>>,
    /// Whose each slice is: the label that says so can change.
    owners: BTreeMap<(Namespace, SliceKey), ServiceKey>,
    /// Versions of our own writes that the watch has not shown yet: what is older is stale.
    written: BTreeMap<ServiceKey, u64>,
}

impl Observed {
    /// Nothing yet; no decision may be taken before every store that `role` needs is [`Change::Synced`].
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            world: World::default(),
            input: Input::default(),
            role,
            waiting: role.kinds().iter().copied().collect(),
            listing: BTreeMap::new(),
            owners: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Whether every store has been seen whole once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The stores that are still missing.
    pub fn waiting(&self) -> impl Iterator<Item = Kind> {
        self.waiting.iter().copied()
    }

    /// Whether the configuration objects are to be read anew after this. What excludes each other is decided once all of
    /// it is there, or who comes first would stand.
    #[must_use]
    pub fn is_to_be_parsed(&self, touched: Touched) -> bool {
        touched.synced || touched.config && self.synced()
    }

    /// Reads the configuration objects anew; where one has a problem, its version in `last` stands.
    pub fn parse(&mut self, last: &Config) -> (Config, Problems) {
        let mark = |service: &Service| service.annotations.get(ALLOCATED_FROM).map(str::to_owned);
        let holders = self.world.services.values().filter(|service| !service.ingress.is_empty());
        self.input.holding = holders.filter_map(|service| mark(service)).collect();
        config::parse(&self.input, last)
    }

    /// Takes `change` in, and says what it changed.
    pub fn apply(&mut self, change: Change) -> Touched {
        match change {
            Change::Listing(kind) => {
                self.listing.insert(kind, BTreeSet::new());
                Touched::default()
            }
            Change::Synced(kind) => {
                let swept = self.sweep(kind);
                Touched { synced: self.waiting.remove(&kind) && self.waiting.is_empty(), ..swept }
            }
            Change::Unreadable(object, faults) => {
                self.saw(object.kind, || object.name.clone());
                let config = put(&mut self.input.unreadable, object, Some(faults));
                Touched { config, ..Touched::default() }
            }
            Change::Service(key, facts) => self.service(key, facts),
            Change::Wrote(key, facts) => self.wrote(key, facts),
            Change::Slice(namespace, name, facts) => self.slice(namespace, name, facts),
            Change::Node(name, facts) => {
                let readable = self.read(Kind::Node, || name.as_str().to_owned(), facts.is_some());
                let nodes = put(&mut self.world.nodes, name, facts);
                Touched { nodes, ..readable }
            }
            Change::Namespace(name, labels) => {
                let readable = self.read(Kind::Namespace, || name.as_str().to_owned(), labels.is_some());
                let namespaces = put(&mut self.world.namespaces, name, labels);
                Touched { namespaces, ..readable }
            }
            Change::Pool(name, object) => {
                self.config(Kind::IPAddressPool, name, object, |input| &mut input.pools)
            }
            Change::L2Advertisement(name, object) => {
                self.config(Kind::L2Advertisement, name, object, |input| &mut input.l2_advertisements)
            }
            Change::BgpAdvertisement(name, object) => {
                self.config(Kind::BGPAdvertisement, name, object, |input| &mut input.bgp_advertisements)
            }
            Change::Peer(name, object) => self.config(Kind::BGPPeer, name, object, |input| &mut input.peers),
            Change::BfdProfile(name, object) => {
                self.config(Kind::BFDProfile, name, object, |input| &mut input.bfd_profiles)
            }
            Change::Community(name, object) => {
                self.config(Kind::Community, name, object, |input| &mut input.communities)
            }
            Change::FrrConfiguration(name, object) => {
                self.config(Kind::FRRConfiguration, name, object, |input| &mut input.frr_configurations)
            }
            Change::Extras(name, text) => {
                self.config(Kind::ConfigMap, name, text.map(Box::new), |input| &mut input.extras)
            }
            Change::Secret(name, facts) => {
                self.config(Kind::Secret, name, facts.map(Box::new), |input| &mut input.secrets)
            }
        }
    }

    fn service(&mut self, key: ServiceKey, facts: Option<Box<Service>>) -> Touched {
        let readable = self.read(Kind::Service, || key.to_string(), facts.is_some());
        let Some(facts) = facts else {
            self.written.remove(&key);
            let gone = self.world.services.remove(&key);
            return Touched { services: gone.is_some_and(|gone| self.role.minds(&gone)), ..readable };
        };
        if let (Some(ours), Some(theirs)) = (self.written.get(&key), number(&facts.version)) {
            if theirs < *ours {
                return readable;
            }
            self.written.remove(&key);
        }
        Touched { services: self.put_service(key, facts), ..readable }
    }

    fn wrote(&mut self, key: ServiceKey, facts: Box<Service>) -> Touched {
        let Some(known) = self.world.services.get(&key) else { return Touched::default() };
        let (before, after) = (number(&known.version), number(&facts.version));
        if known.uid != facts.uid || before.zip(after).is_some_and(|(before, after)| after <= before) {
            return Touched::default();
        }
        if let Some(version) = after {
            self.written.insert(key.clone(), version);
        }
        Touched { services: self.put_service(key, facts), ..Touched::default() }
    }

    /// A new version alone is kept, for the next write, but is no news.
    fn put_service(&mut self, key: ServiceKey, facts: Box<Service>) -> bool {
        match self.world.services.get_mut(&key) {
            Some(known) => {
                known.version.clone_from(&facts.version);
                let changed = *known != facts && (self.role.minds(known) || self.role.minds(&facts));
                *known = facts;
                changed
            }
            None => {
                let minds = self.role.minds(&facts);
                self.world.services.insert(key, facts);
                minds
            }
        }
    }

    fn slice(&mut self, namespace: Namespace, name: SliceKey, facts: Option<(ServiceKey, Slice)>) -> Touched {
        let readable = self.read(Kind::EndpointSlice, || slice_name(&namespace, &name), facts.is_some());
        // thousands of slices need not have names of their own for what already has one
        let facts = facts.map(|(owner, facts)| match self.world.services.get_key_value(&owner) {
            Some((owner, _)) => (owner.clone(), facts),
            None => (owner, facts),
        });
        let namespace = match &facts {
            Some((owner, _)) if owner.namespace == namespace => owner.namespace.clone(),
            _ => namespace,
        };
        let id = (namespace, name.clone());
        let owner = facts.as_ref().map(|(owner, _)| owner);
        let (services, role) = (&self.world.services, self.role);
        let minded = |owner: &ServiceKey| services.get(owner).is_some_and(|service| role.minds(service));
        let mut slices = false;
        if self.owners.get(&id) != owner
            && let Some(old) = self.owners.remove(&id)
        {
            let minded = minded(&old);
            slices |= self.world.slices.remove(&(old, name.clone())).is_some() && minded;
        }
        if let Some((owner, facts)) = facts {
            let minded = minded(&owner);
            slices |= put(&mut self.world.slices, (owner.clone(), name), Some(facts)) && minded;
            self.owners.insert(id, owner);
        }
        Touched { slices, ..readable }
    }

    fn config<T: PartialEq>(
        &mut self,
        kind: Kind,
        name: String,
        object: Option<Box<T>>,
        store: fn(&mut Input) -> &mut BTreeMap<String, T>,
    ) -> Touched {
        let readable = self.read(kind, || name.clone(), object.is_some());
        let config = put(store(&mut self.input), name, object.map(|object| *object));
        Touched { config: config || readable.config, ..readable }
    }

    /// The object decoded, or went: it is no longer unreadable.
    fn read(&mut self, kind: Kind, name: impl Fn() -> String, there: bool) -> Touched {
        if there {
            self.saw(kind, &name);
        }
        if self.input.unreadable.is_empty() {
            return Touched::default();
        }
        let cleared = self.input.unreadable.remove(&ObjectRef { kind, name: name() }).is_some();
        Touched { config: cleared, ..Touched::default() }
    }

    fn saw(&mut self, kind: Kind, name: impl FnOnce() -> String) {
        if let Some(seen) = self.listing.get_mut(&kind) {
            seen.insert(name());
        }
    }

    /// A listing is over: what did not come in it is gone.
    fn sweep(&mut self, kind: Kind) -> Touched {
        let Some(seen) = self.listing.remove(&kind) else { return Touched::default() };
        let (world, input) = (&self.world, &self.input);
        let gone = |names: &mut dyn Iterator<Item = &str>| -> Vec<Change> {
            names.filter(|name| !seen.contains(*name)).filter_map(|name| removed(kind, "", name)).collect()
        };
        let changes = match kind {
            Kind::Service => {
                let keys = world.services.keys().filter(|key| !seen.contains(&key.to_string()));
                keys.map(|key| Change::Service(key.clone(), None)).collect()
            }
            Kind::EndpointSlice => {
                let ids = self.owners.keys().filter(|(space, name)| !seen.contains(&slice_name(space, name)));
                ids.map(|(space, name)| Change::Slice(space.clone(), name.clone(), None)).collect()
            }
            Kind::Node => gone(&mut world.nodes.keys().map(NodeName::as_str)),
            Kind::Namespace => gone(&mut world.namespaces.keys().map(Namespace::as_str)),
            Kind::IPAddressPool => gone(&mut input.pools.keys().map(String::as_str)),
            Kind::L2Advertisement => gone(&mut input.l2_advertisements.keys().map(String::as_str)),
            Kind::BGPAdvertisement => gone(&mut input.bgp_advertisements.keys().map(String::as_str)),
            Kind::BGPPeer => gone(&mut input.peers.keys().map(String::as_str)),
            Kind::BFDProfile => gone(&mut input.bfd_profiles.keys().map(String::as_str)),
            Kind::Community => gone(&mut input.communities.keys().map(String::as_str)),
            Kind::FRRConfiguration => gone(&mut input.frr_configurations.keys().map(String::as_str)),
            Kind::ConfigMap => gone(&mut input.extras.keys().map(String::as_str)),
            Kind::Secret => gone(&mut input.secrets.keys().map(String::as_str)),
            Kind::File => Vec::new(),
        };
        let forgotten = self.forget(kind, &seen);
        changes.into_iter().map(|change| self.apply(change)).fold(forgotten, Touched::or)
    }

    /// Forgets unreadable objects of `kind` that are not among `seen`.
    fn forget(&mut self, kind: Kind, seen: &BTreeSet<String>) -> Touched {
        let before = self.input.unreadable.len();
        self.input.unreadable.retain(|object, _| object.kind != kind || seen.contains(&object.name));
        Touched { config: self.input.unreadable.len() != before, ..Touched::default() }
    }
}

fn slice_name(namespace: &Namespace, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// A resource version as the number that it is; `None` leaves it without order.
fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

/// Puts or removes; whether that changed anything.
fn put<K: Ord, V: PartialEq>(store: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> bool {
    match value {
        None => store.remove(&key).is_some(),
        Some(value) => match store.get_mut(&key) {
            Some(old) if *old == value => false,
            Some(old) => {
                *old = value;
                true
            }
            None => store.insert(key, value).is_none(),
        },
    }
}

#[cfg(test)]
mod tests;
