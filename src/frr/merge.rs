//! FRRConfigurations → [`Model`]: everything in them is checked here, and what cannot be honoured gets a problem.
//!
//! Our own object comes first, those of users widen it, one at a time: the older first, then by name. Where two
//! disagree, what came first stands, and the other one loses the smallest part that the fault is in: a prefix, a
//! neighbour, a profile, a router. A user's object that has a fault counts as the last version of it that had none,
//! as long as that has none still; otherwise, as after a restart, what is sound in it counts.
//!
//! A field that is not given has no opinion: an object that only repeats address and AS of a neighbour takes nothing
//! away from it. Prefixes, profiles and imported VRFs are looked up in the same object only.

mod combine;
mod draft;
mod evpn;
mod hear;
mod neighbor;
mod routes;

use super::{Model, Subject};
use crate::{
    api,
    config::{Kind, ObjectRef, Problems, Selector},
};
use draft::{Draft, Tier};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// What is merged.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The object that stands for the plan.
    pub ours: &'a api::FRRConfiguration,
    /// Those of users, by name. One with the name of ours, as MetalLB leaves behind, is not one of them.
    pub users: &'a BTreeMap<String, api::FRRConfiguration>,
    /// Whether this node is one of those that a selector is for.
    pub selects: &'a dyn Fn(&Selector) -> bool,
    /// Lines for FRR that belong to no FRRConfiguration: the name of the object that has them, and the text.
    pub extras: Option<(&'a str, &'a str)>,
    /// What no neighbour may tell us.
    pub block: &'a [IpNet],
    /// What stood after the merge before this one.
    pub last: &'a Standing,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("users", &self.users.keys()).finish_non_exhaustive()
    }
}

static NOBODY: BTreeMap<String, api::FRRConfiguration> = BTreeMap::new();
static NOTHING: Standing = Standing(BTreeMap::new());

impl<'a> Sources<'a> {
    /// Our own object, and nothing else.
    #[must_use]
    pub fn only(ours: &'a api::FRRConfiguration) -> Self {
        Self { ours, users: &NOBODY, selects: &|_| true, extras: None, block: &[], last: &NOTHING }
    }
}

/// The versions of users' objects in which nothing was wrong.
#[derive(Clone, Debug, Default)]
pub struct Standing(BTreeMap<String, Arc<api::FRRConfiguration>>);

/// What a merge comes to.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// What FRR should run.
    pub model: Model,
    /// What is wrong with the objects.
    pub problems: Problems,
    /// For the next merge.
    pub standing: Standing,
    owners: BTreeMap<Subject, BTreeSet<String>>,
}

impl Merged {
    /// The users' objects that asked for `subject`.
    pub fn owners<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = ObjectRef> + 'a {
        let raw = match subject {
            Subject::Raw(name) => Some(name),
            _ => None,
        };
        let names = self.owners.get(subject).into_iter().flatten();
        names.chain(raw).map(|name| object(name))
    }
}

/// What FRR should run.
#[must_use]
pub fn merge(sources: &Sources<'_>) -> Merged {
    let own = sources.ours.metadata.name.as_deref().unwrap_or_default();
    let mut draft = Draft::default();
    let mut problems = draft.offer(sources.ours, Tier::Ours);
    let mut standing = BTreeMap::new();
    let mut users: Vec<_> = sources.users.iter().filter(|(name, _)| *name != own).collect();
    users.sort_by_key(|(name, object)| {
        let created = object.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (created.is_none(), created, *name)
    });
    for (name, user) in users {
        let last = sources.last.0.get(name);
        let here = match Selector::parse(&user.spec.node_selector) {
            Ok(selector) => (sources.selects)(&selector),
            Err((path, what)) => {
                let what = format!("invalid NodeSelector: {what}");
                problems.add(object(name), format!("spec.nodeSelector{path}"), what);
                // nobody knows where it is for, but where it was
                if let Some(last) = last {
                    let (next, _) = draft.with(last, name);
                    draft = next;
                    standing.insert(name.clone(), last.clone());
                }
                continue;
            }
        };
        if !here {
            continue;
        }
        let (next, faults) = draft.with(user, name);
        if faults.is_empty() {
            draft = next;
            let same = last.filter(|last| last.spec == user.spec).cloned();
            standing.insert(name.clone(), same.unwrap_or_else(|| Arc::new(user.clone())));
            continue;
        }
        problems.extend(faults);
        draft = match last.filter(|last| last.spec != user.spec).map(|last| (last, draft.with(last, name))) {
            Some((last, (former, faults))) if faults.is_empty() => {
                standing.insert(name.clone(), last.clone());
                former
            }
            _ => next,
        };
    }
    if let Some((name, text)) = sources.extras {
        draft.extras(name, text, &mut problems);
    }
    let (model, owners) = draft.finish(sources.block, &mut problems);
    Merged { model, problems, standing: Standing(standing), owners }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::FRRConfiguration, name: name.to_owned() }
}

/// A text that may be empty.
fn optional(text: &str) -> Result<Option<crate::names::Word>, crate::names::WordError> {
    if text.is_empty() { Ok(None) } else { crate::names::Word::new(text).map(Some) }
}

/// Problems of one object.
pub(super) struct Faults {
    object: ObjectRef,
    problems: Problems,
}

impl Faults {
    fn of(name: &str) -> Self {
        Self { object: object(name), problems: Problems::default() }
    }

    pub(super) fn add(&mut self, field: impl Into<String>, what: impl fmt::Display) {
        self.problems.add(self.object.clone(), field, what);
    }
}

#[cfg(test)]
mod tests;
