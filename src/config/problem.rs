//! What is wrong with an object: which object, which field, what.
//!
//! The same value goes to the log, to the metric, to the object's status and to the answer of `ferrolb render`.

use super::{Selector, Selectors, select};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

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
        write!(f, "{} {}", self.kind, Line(&self.name))
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
            "" => write!(f, "{}: {}", self.object, Line(&self.what)),
            field => write!(f, "{}: {field}: {}", self.object, Line(&self.what)),
        }
    }
}

/// Text of users on one line: what they write cannot forge another line of a log.
struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        self.0
            .chars()
            .try_for_each(|c| if control(c) { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
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

/// A fault of a field: its path and what is wrong with it.
pub(super) type Fault = (String, String);

/// Collects the faults of one object while it is read.
pub(super) struct Report<'a> {
    object: ObjectRef,
    problems: &'a mut Problems,
    clean: bool,
}

impl<'a> Report<'a> {
    /// A report on the object `name` of `kind`, without a fault so far.
    pub(super) fn new(kind: Kind, name: &str, problems: &'a mut Problems) -> Self {
        Self { object: ObjectRef { kind, name: name.into() }, problems, clean: true }
    }

    /// Whether nothing was found.
    pub(super) const fn clean(&self) -> bool {
        self.clean
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, field: impl Into<String>, what: impl fmt::Display) {
        self.clean = false;
        self.problems.add(self.object.clone(), field, what);
    }

    /// The value, or `None` and a fault.
    pub(super) fn value<T, E: fmt::Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|what| self.fault(field, what)).ok()
    }

    /// The values of a list as a set; an item that comes twice is a fault.
    pub(super) fn set<T: Ord + for<'b> From<&'b str>>(
        &mut self,
        field: &str,
        items: &[String],
    ) -> BTreeSet<T> {
        let mut set = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            if !set.insert(T::from(item)) {
                self.fault(format!("{field}[{i}]"), format_args!("duplicate {item:?}"));
            }
        }
        set
    }

    /// A list of label selectors, in which none may come twice.
    pub(super) fn selectors(&mut self, field: &str, list: &[LabelSelector]) -> Selectors {
        let mut seen = BTreeSet::new();
        let mut selectors = Vec::with_capacity(list.len());
        for (i, selector) in list.iter().enumerate() {
            let field = format!("{field}[{i}]");
            selectors.extend(self.selector(&field, selector));
            match select::written(selector) {
                Ok(written) if seen.insert(written.clone()) => {}
                Ok(_) => self.fault(field, "duplicate selector"),
                Err(twice) => {
                    self.fault(format!("{field}.matchExpressions[{twice}]"), "duplicate expression");
                }
            }
        }
        selectors
    }

    /// A label selector.
    pub(super) fn selector(&mut self, field: &str, selector: &LabelSelector) -> Option<Selector> {
        for (path, what) in Selector::faults(selector) {
            self.fault(format!("{field}{path}"), what);
        }
        Selector::parse(selector).ok()
    }
}
