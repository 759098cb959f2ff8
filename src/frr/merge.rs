//! FRRConfigurations → [`Model`]: everything in them is checked here, and what cannot be honoured gets a problem.
//!
//! Our own object comes first; users' objects widen it later. An object's fault costs the smallest part it is in:
//! a prefix, a neighbour, a profile, a router.

mod neighbor;
mod routes;

use super::{BfdProfile, Model, Router};
use crate::{
    api,
    config::{self, Kind, ObjectRef, Problems},
    names::{Asn, Word},
};
use routes::Routes;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

/// What FRR should run.
#[must_use]
pub fn merge(
    ours: &api::FRRConfiguration,
    users: &BTreeMap<String, api::FRRConfiguration>,
) -> (Model, Problems) {
    let mut model = Model::default();
    let mut faults = Faults::of(ours.metadata.name.as_deref().unwrap_or_default());
    let mut routes: BTreeMap<Option<Word>, Routes> = BTreeMap::new();
    for (i, profile) in ours.spec.bgp.bfd_profiles.iter().enumerate() {
        let at = format!("spec.bgp.bfdProfiles[{i}]");
        if let Some((name, profile)) = bfd(profile, &at, &mut faults) {
            match model.bfd.entry(name) {
                Entry::Vacant(slot) => {
                    slot.insert(profile);
                }
                Entry::Occupied(slot) => {
                    faults.add(&at, format!("multiple bfd profiles specified for {}", slot.key()));
                }
            }
        }
    }
    for (i, router) in ours.spec.bgp.routers.iter().enumerate() {
        let at = format!("spec.bgp.routers[{i}]");
        add_router(&mut model, &mut routes, router, &at, &mut faults);
    }
    if !ours.spec.raw.raw_config.is_empty() {
        faults.add("spec.raw", "is not implemented yet and has no effect");
    }
    for (vrf, routes) in routes {
        if let Some(router) = model.routers.get_mut(&vrf) {
            routes.settle(router, vrf.as_ref(), &mut model.classes, &mut model.policies);
        }
    }
    let mut problems = faults.problems;
    for name in users.keys() {
        let object = ObjectRef { kind: Kind::FRRConfiguration, name: name.clone() };
        problems.add(object, "spec", "merging of FRRConfigurations is not implemented yet: it has no effect");
    }
    (model, problems)
}

fn add_router(
    model: &mut Model,
    routes: &mut BTreeMap<Option<Word>, Routes>,
    router: &api::FRRRouter,
    at: &str,
    faults: &mut Faults,
) {
    let vrf = match optional(&router.vrf) {
        Ok(vrf) => vrf,
        Err(fault) => return faults.add(format!("{at}.vrf"), fault),
    };
    let Some(asn) = Asn::new(router.asn) else {
        return faults.add(format!("{at}.asn"), "must not be 0");
    };
    let id = match router.id.as_str() {
        "" => None,
        text => match text.parse() {
            Ok(id) => Some(id),
            Err(_) => return faults.add(format!("{at}.id"), format!("{text:?} is not an IPv4 address")),
        },
    };
    if !router.imports.is_empty() {
        faults.add(format!("{at}.imports"), "is not implemented yet and has no effect");
    }
    if router.evpn.is_some() {
        faults.add(format!("{at}.evpn"), "is not implemented yet and has no effect");
    }
    let empty = || Router { asn, id, prepared: true, sessions: BTreeMap::new(), networks: BTreeMap::new() };
    let existing = model.routers.entry(vrf.clone()).or_insert_with(empty);
    if existing.asn != asn {
        return faults.add(format!("{at}.asn"), format!("different asns: {} and {asn}", existing.asn));
    }
    match (existing.id, id) {
        (Some(a), Some(b)) if a != b => {
            return faults.add(format!("{at}.id"), format!("different router ids: {a} and {b}"));
        }
        (a, b) => existing.id = a.or(b),
    }
    let routes = routes.entry(vrf.clone()).or_default();
    let known = routes::Known::of(&router.prefixes, at, faults);
    for (i, neighbor) in router.neighbors.iter().enumerate() {
        let at = format!("{at}.neighbors[{i}]");
        let parsed = neighbor::session(neighbor, asn, &model.bfd, &at, faults);
        let Some((key, session)) = parsed else { continue };
        let Some(policy) = super::policy_name(&key, vrf.as_ref()) else {
            faults.add(at, "its name is too long together with that of the VRF");
            continue;
        };
        if existing.sessions.contains_key(&key) || model.policies.contains_key(&policy) {
            faults.add(at, format!("neighbor {policy} is there already"));
            continue;
        }
        model.policies.insert(policy.clone(), super::Policy { inbound: true, ..Default::default() });
        routes.tell(policy, &session.families, &neighbor.to_advertise, &known, &at, faults);
        existing.sessions.insert(key, session);
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

/// A text that may be empty.
fn optional(text: &str) -> Result<Option<Word>, crate::names::WordError> {
    if text.is_empty() { Ok(None) } else { Word::new(text).map(Some) }
}

/// Problems of one object.
pub(super) struct Faults {
    object: ObjectRef,
    problems: Problems,
}

impl Faults {
    fn of(name: &str) -> Self {
        let object = ObjectRef { kind: Kind::FRRConfiguration, name: name.to_owned() };
        Self { object, problems: Problems::default() }
    }

    pub(super) fn add(&mut self, field: impl Into<String>, what: impl fmt::Display) {
        self.problems.add(self.object.clone(), field, what);
    }
}
