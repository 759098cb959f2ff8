//! What is wrong with an object: which object, which field, what.
//!
//! The same value goes to the log, to the metric, to the object's status and to the answer of `ferrolb render`.

use std::{collections::BTreeMap, fmt};

/// Kinds of objects that can have a problem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `metallb.io` IPAddressPool.
    IPAddressPool,
    /// `metallb.io` L2Advertisement.
    L2Advertisement,
    /// `metallb.io` BGPAdvertisement.
    BGPAdvertisement,
    /// `metallb.io` BGPPeer.
    BGPPeer,
    /// `metallb.io` BFDProfile.
    BFDProfile,
    /// `metallb.io` Community.
    Community,
    /// `frrk8s.metallb.io` FRRConfiguration.
    FRRConfiguration,
    /// A core Service.
    Service,
    /// A core Node.
    Node,
    /// A core Namespace.
    Namespace,
    /// A discovery EndpointSlice.
    EndpointSlice,
    /// A file of a manifest directory, where not even the kind could be read.
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object, as a problem names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name; `namespace/name` for a Service.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One fault of one object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Problem {
    /// The object.
    pub object: ObjectRef,
    /// The path of the field, `spec.addresses[1]`; empty when the object as a whole is meant.
    pub field: String,
    /// What is wrong with it, without a full stop.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "{}: {}", self.object, self.what),
            field => write!(f, "{}: {field}: {}", self.object, self.what),
        }
    }
}

/// Every problem, in the order of objects.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Problems(BTreeMap<ObjectRef, Vec<Problem>>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, object: ObjectRef, field: impl Into<String>, what: impl fmt::Display) {
        let problem = Problem { object: object.clone(), field: field.into(), what: what.to_string() };
        self.0.entry(object).or_default().push(problem);
    }

    /// Those of one object.
    #[must_use]
    pub fn of(&self, object: &ObjectRef) -> &[Problem] {
        self.0.get(object).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.values().flatten()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and those.
    pub fn extend(&mut self, other: Self) {
        for (object, problems) in other.0 {
            self.0.entry(object).or_default().extend(problems);
        }
    }
}
