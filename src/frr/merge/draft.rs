//! The model while objects are added to it.

use super::{
    Faults, combine,
    evpn::Evpn,
    hear::{self, Hearing},
    neighbor, optional,
    routes::{Known, Telling},
};
use crate::{
    api,
    config::{self, Problems},
    frr::{BfdProfile, Model, Policy, RawLine, Router, Session, Subject, policy_name, raw},
    names::{Asn, Word},
    net::Family,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::Ipv4Addr,
};

/// Whose object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// Ours.
    Ours,
    /// A user's.
    User,
}

/// Prefixes of one object, by VRF.
type KnownPrefixes = BTreeMap<Option<Word>, Known>;

#[derive(Clone, Default)]
pub(super) struct Draft {
    model: Model,
    telling: Telling,
    hearing: BTreeMap<Word, Hearing>,
    /// Sessions that we asked for ourselves.
    own: BTreeSet<Word>,
    owners: BTreeMap<Subject, BTreeSet<String>>,
    evpn: Evpn,
    /// By priority, then by name.
    raw: BTreeMap<(i64, String), Vec<RawLine>>,
}

impl Draft {
    /// Adds what is sound in `object`.
    pub(super) fn offer(&mut self, object: &api::FRRConfiguration, tier: Tier) -> Problems {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        self.add(object, name, tier)
    }

    /// This with `object` of a user, and what is wrong with that.
    pub(super) fn with(&self, object: &api::FRRConfiguration, name: &str) -> (Self, Problems) {
        let mut next = self.clone();
        let problems = next.add(object, name, Tier::User);
        (next, problems)
    }

    fn add(&mut self, object: &api::FRRConfiguration, name: &str, tier: Tier) -> Problems {
        let mut faults = Faults::of(name);
        let mut part = Part {
            draft: self,
            name,
            tier,
            faults: &mut faults,
            known: BTreeMap::new(),
            profiles: BTreeSet::new(),
        };
        part.profiles(&object.spec.bgp.bfd_profiles);
        part.routers(&object.spec.bgp.routers);
        match raw::parse(&object.spec.raw.raw_config, name) {
            Ok(lines) => drop(self.raw.insert((object.spec.raw.priority, name.to_owned()), lines)),
            Err(fault) => faults.add("spec.raw.rawConfig", fault),
        }
        faults.problems
    }

    /// Adds raw lines of another object, after all others.
    pub(super) fn extras(&mut self, name: &str, text: &str, problems: &mut Problems) {
        match raw::parse(text, name) {
            Ok(lines) => drop(self.raw.insert((i64::MAX, name.to_owned()), lines)),
            Err(fault) => problems.add(super::object(name), "", fault),
        }
    }

    /// What has all objects in it.
    pub(super) fn finish(
        mut self,
        block: &[IpNet],
        problems: &mut Problems,
    ) -> (Model, BTreeMap<Subject, BTreeSet<String>>) {
        let importer = self.model.routers.values().find(|router| !router.imports.is_empty());
        if let Some(asn) = importer.map(|router| router.asn) {
            // FRR makes one itself as soon as something is imported, and would not let it go
            self.model.routers.entry(None).or_insert_with(|| Router::new(asn, None));
        }
        for session in self.model.routers.values_mut().flat_map(|router| router.sessions.values_mut()) {
            session.connect_time.get_or_insert(Session::CONNECT_TIME);
        }
        let hops = self.hearing.iter().map(|(policy, hearing)| (policy, &hearing.next_hops)).collect();
        self.telling.settle(&hops, &mut self.model);
        let sessions: Vec<(Word, BTreeSet<Family>)> = self
            .model
            .routers
            .iter()
            .flat_map(|(vrf, router)| router.sessions.iter().map(move |(n, s)| (vrf, n, s)))
            .filter_map(|(vrf, n, s)| Some((policy_name(n, vrf.as_ref())?, s.families.clone())))
            .collect();
        for (policy, families) in sessions {
            let heard = self.hearing.remove(&policy).unwrap_or_default();
            hear::settle(&policy, &families, &heard, block, &mut self.model);
        }
        let mut raw = self.evpn.settle(&self.model, problems);
        raw.extend(self.raw.into_values().flatten());
        (raw::overlay(self.model, raw), self.owners)
    }
}

impl Router {
    /// An instance without anything in it.
    const fn new(asn: Asn, id: Option<Ipv4Addr>) -> Self {
        Self {
            asn,
            id,
            prepared: true,
            sessions: BTreeMap::new(),
            networks: BTreeMap::new(),
            imports: BTreeSet::new(),
        }
    }
}

/// One object on its way in.
struct Part<'a> {
    draft: &'a mut Draft,
    name: &'a str,
    tier: Tier,
    faults: &'a mut Faults,
    known: KnownPrefixes,
    /// Profiles that its neighbours may name.
    profiles: BTreeSet<Word>,
}

impl Part<'_> {
    fn owns(&mut self, subject: Subject) {
        if self.tier == Tier::User {
            self.draft.owners.entry(subject).or_default().insert(self.name.to_owned());
        }
    }

    fn profiles(&mut self, profiles: &[api::FRRBfdProfile]) {
        for (i, profile) in profiles.iter().enumerate() {
            let at = format!("spec.bgp.bfdProfiles[{i}]");
            let Some((name, profile)) = bfd(profile, &at, self.faults) else { continue };
            let again = !self.profiles.insert(name.clone());
            match self.draft.model.bfd.entry(name.clone()) {
                Entry::Vacant(slot) => {
                    slot.insert(profile);
                }
                Entry::Occupied(slot) if again || *slot.get() != profile => {
                    self.faults.add(&at, format!("multiple bfd profiles specified for {name}"));
                    continue;
                }
                Entry::Occupied(_) => {}
            }
            self.owns(Subject::BfdProfile(name));
        }
    }

    fn routers(&mut self, routers: &[api::FRRRouter]) {
        let read = |vrf: &str| if vrf == "default" { Ok(None) } else { optional(vrf) };
        for (i, router) in routers.iter().enumerate() {
            if let Ok(vrf) = read(&router.vrf) {
                let known = Known::of(&router.prefixes, &format!("spec.bgp.routers[{i}]"), self.faults);
                self.known.entry(vrf).or_default().join(known);
            }
        }
        for (i, router) in routers.iter().enumerate() {
            let at = format!("spec.bgp.routers[{i}]");
            match read(&router.vrf) {
                Ok(vrf) => self.router(router, vrf, &at),
                Err(fault) => self.faults.add(format!("{at}.vrf"), fault),
            }
        }
    }

    fn router(&mut self, router: &api::FRRRouter, vrf: Option<Word>, at: &str) {
        let Some((asn, id)) = self.instance(router, at) else { return };
        let imports = self.imports(router, at);
        let empty = || Router::new(asn, id);
        let existing = self.draft.model.routers.entry(vrf.clone()).or_insert_with(empty);
        if existing.asn != asn {
            let what = format!("different asns: {} and {asn}", existing.asn);
            return self.faults.add(format!("{at}.asn"), what);
        }
        match (existing.id, id) {
            (Some(a), Some(b)) if a != b => {
                return self.faults.add(format!("{at}.id"), format!("different router ids: {a} and {b}"));
            }
            (a, b) => existing.id = a.or(b),
        }
        existing.imports.extend(imports.iter().cloned());
        self.owns(Subject::Router(vrf.clone()));
        self.networks(&vrf);
        if let Some(evpn) = &router.evpn {
            self.draft.evpn.add(&vrf, evpn, self.name, at, self.faults);
        }
        for (i, neighbor) in router.neighbors.iter().enumerate() {
            self.neighbor(neighbor, asn, &vrf, &imports, &format!("{at}.neighbors[{i}]"));
        }
    }

    fn instance(&mut self, router: &api::FRRRouter, at: &str) -> Option<(Asn, Option<Ipv4Addr>)> {
        let Some(asn) = Asn::new(router.asn) else {
            self.faults.add(format!("{at}.asn"), "must not be 0");
            return None;
        };
        match router.id.as_str() {
            "" => Some((asn, None)),
            text => match text.parse::<Ipv4Addr>() {
                Ok(id) if !id.is_unspecified() => Some((asn, Some(id))),
                _ => {
                    self.faults
                        .add(format!("{at}.id"), format!("{text:?} is not the IPv4 address of a router"));
                    None
                }
            },
        }
    }

    /// The VRFs that `router` imports: each must have a router in the same object.
    fn imports(&mut self, router: &api::FRRRouter, at: &str) -> BTreeSet<Option<Word>> {
        let mut imports = BTreeSet::new();
        for (i, import) in router.imports.iter().enumerate() {
            let field = format!("{at}.imports[{i}].vrf");
            let vrf = match import.vrf.as_str() {
                "default" => None,
                text => match Word::new(text) {
                    Ok(vrf) => Some(vrf),
                    Err(fault) => {
                        self.faults.add(field, fault);
                        continue;
                    }
                },
            };
            if import.vrf == router.vrf || (vrf.is_none() && router.vrf.is_empty()) {
                self.faults.add(field, "a router cannot import its own VRF");
            } else if self.known.contains_key(&vrf) {
                imports.insert(vrf);
            } else {
                self.faults.add(field, format!("no router of VRF {} in this object", import.vrf));
            }
        }
        imports
    }

    fn networks(&mut self, vrf: &Option<Word>) {
        let Some(known) = self.known.get(vrf) else { return };
        self.draft.telling.know(vrf, known);
        if self.tier == Tier::User {
            for prefix in known.iter() {
                let subject = Subject::Prefix(vrf.clone(), *prefix);
                self.draft.owners.entry(subject).or_default().insert(self.name.to_owned());
            }
        }
    }

    fn neighbor(
        &mut self,
        from: &api::FRRNeighbor,
        asn: Asn,
        vrf: &Option<Word>,
        imports: &BTreeSet<Option<Word>>,
        at: &str,
    ) {
        let (faults, model) = (&mut *self.faults, &mut self.draft.model);
        let Some(found) = neighbor::session(from, asn, &self.profiles, at, faults) else { return };
        let neighbor::Found { neighbor: key, session, hearing } = found;
        let Some(policy) = policy_name(&key, vrf.as_ref()) else {
            return faults.add(at, "its name is too long together with that of the VRF");
        };
        let Some(router) = model.routers.get_mut(vrf) else { return };
        let families = session.families.clone();
        match router.sessions.get_mut(&key) {
            Some(had) => {
                let own = self.draft.own.contains(&policy);
                let joined = combine::sessions(had, &session, own, &policy).and_then(|session| {
                    let heard = self.draft.hearing.get(&policy).cloned().unwrap_or_default();
                    Ok((session, heard.join(hearing, &policy)?))
                });
                match joined {
                    Ok((session, hearing)) => {
                        *had = session;
                        self.draft.hearing.insert(policy.clone(), hearing);
                    }
                    Err((field, what)) => return faults.add(format!("{at}.{field}"), what),
                }
            }
            None if model.policies.contains_key(&policy) => {
                return faults.add(at, format!("neighbor {policy} is there already"));
            }
            None => {
                router.sessions.insert(key.clone(), session);
                model.policies.insert(policy.clone(), Policy { inbound: true, ..Default::default() });
                self.draft.hearing.insert(policy.clone(), hearing);
                if self.tier == Tier::Ours {
                    self.draft.own.insert(policy.clone());
                }
            }
        }
        let none = Known::default();
        let known =
            std::iter::once(vrf).chain(imports).map(|vrf| (vrf, self.known.get(vrf).unwrap_or(&none)));
        let known: Vec<_> = known.collect();
        self.draft.telling.tell(&policy, &families, &from.to_advertise, &known, at, self.faults);
        if from.address_families.contains(&api::FRRAddressFamily::Evpn) {
            self.draft.evpn.carry(vrf, &key, self.name);
        }
        self.owns(Subject::Neighbor(vrf.clone(), key));
        self.owns(Subject::Policy(policy));
    }
}

fn bfd(profile: &api::FRRBfdProfile, at: &str, faults: &mut Faults) -> Option<(Word, BfdProfile)> {
    let name = match Word::new(&profile.name) {
        Ok(name) if name.as_str().len() <= config::BfdProfile::NAME_MAX => name,
        Ok(_) => {
            let limit = config::BfdProfile::NAME_MAX;
            faults.add(format!("{at}.name"), format!("is longer than {limit} bytes"));
            return None;
        }
        Err(fault) => {
            faults.add(format!("{at}.name"), fault);
            return None;
        }
    };
    let mut bounded = |value: Option<u32>, default: u32, min: u32, max: u32, field: &str| {
        let value = value?;
        if (min..=max).contains(&value) {
            return Some(value).filter(|v| *v != default);
        }
        faults.add(format!("{at}.{field}"), format!("{value} is not in {min}..{max}"));
        None
    };
    let profile = BfdProfile {
        detect_multiplier: bounded(profile.detect_multiplier, 3, 2, 255, "detectMultiplier"),
        transmit_interval: bounded(profile.transmit_interval, 300, 10, 60000, "transmitInterval"),
        receive_interval: bounded(profile.receive_interval, 300, 10, 60000, "receiveInterval"),
        minimum_ttl: bounded(profile.minimum_ttl, 254, 1, 254, "minimumTtl"),
        passive_mode: profile.passive_mode.unwrap_or_default(),
        echo_mode: profile.echo_mode.unwrap_or_default(),
        echo_transmit_interval: bounded(profile.echo_interval, 50, 10, 60000, "echoInterval"),
        echo_receive_interval: profile.echo_interval.filter(|v| *v != 50 && (10..=60000).contains(v)),
    };
    Some((name, profile))
}
