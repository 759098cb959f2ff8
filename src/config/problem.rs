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
    /// A core Secret.
    Secret,
    /// A core ConfigMap.
    ConfigMap,
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
        write!(f, "{}: ", self.object)?;
        told(f, &self.field, &self.what)
    }
}

/// Why an object cannot be read, and which of its fields is to blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// The path of the field; empty when the object as a whole is meant.
    pub field: String,
    /// What is wrong with it, without a full stop.
    pub what: String,
}

impl Unreadable {
    /// `what` is wrong with `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { field: field.into(), what: what.to_string() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(f, &self.field, &self.what)
    }
}

fn told(f: &mut fmt::Formatter<'_>, field: &str, what: &str) -> fmt::Result {
    match field {
        "" => write!(f, "{}", Line(what)),
        field => write!(f, "{}: {}", Line(field), Line(what)),
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

/// The most characters of a value in quotes that are shown.
const VALUE: usize = 64;

/// The most characters of a word that are shown: a name of an object is never longer.
const WORD: usize = 253;

/// The most characters of a text as a whole that are shown.
const TEXT: usize = 1024;

/// `text` without the rest of what is too long in it: whoever wrote ten thousand characters into a field knows them,
/// and what is wrong with them is said after them.
fn brief(text: &str) -> String {
    let mut all = String::with_capacity(text.len().min(TEXT));
    let mut rest = text;
    while let Some(first) = rest.chars().next()
        && all.len() <= TEXT * char::MAX_LEN_UTF8
    {
        let quoted = matches!(first, '"' | '`').then(|| closing(rest, first)).flatten();
        let (length, most) = match quoted {
            Some(end) => (end, VALUE),
            None if first.is_whitespace() => (first.len_utf8(), WORD),
            None => {
                let breaks = |c: char| c.is_whitespace() || matches!(c, '"' | '`');
                let more = rest.get(first.len_utf8()..).unwrap_or_default();
                (first.len_utf8() + more.find(breaks).unwrap_or(more.len()), WORD)
            }
        };
        let (part, next) = rest.split_at(length);
        match (cut(part, most), quoted) {
            (None, _) => all.push_str(part),
            (Some(start), None) => all.extend([start, "…"]),
            (Some(start), Some(_)) => {
                all.extend([start, "…"]);
                all.push(first);
            }
        }
        rest = next;
    }
    if let Some(start) = cut(&all, TEXT) {
        all = format!("{start}…");
    }
    all
}

/// The first `most` characters of `text`, if it has more.
fn cut(text: &str, most: usize) -> Option<&str> {
    text.char_indices().nth(most).and_then(|(at, _)| text.get(..at))
}

/// Where what begins with the quotation mark `mark` has ended.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == mark && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map(|(at, c)| at + c.len_utf8())
}

/// Every problem, in the order of objects, and remarks beside them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Problems {
    faults: BTreeMap<ObjectRef, Vec<Problem>>,
    remarks: BTreeSet<Problem>,
}

impl Problems {
    /// Adds one; values of more than 64 characters are cut.
    pub fn add(&mut self, object: ObjectRef, field: impl Into<String>, what: impl fmt::Display) {
        let (field, what) = (brief(&field.into()), brief(&what.to_string()));
        let problem = Problem { object: object.clone(), field, what };
        self.faults.entry(object).or_default().push(problem);
    }

    /// Notes what has no effect and was hardly meant so; the object is as good as without it, so that only who reads the
    /// log, or asks, is told.
    pub fn remark(&mut self, object: ObjectRef, field: impl Into<String>, what: impl fmt::Display) {
        let (field, what) = (brief(&field.into()), brief(&what.to_string()));
        self.remarks.insert(Problem { object, field, what });
    }

    /// The remarks.
    pub fn remarks(&self) -> impl Iterator<Item = &Problem> {
        self.remarks.iter()
    }

    /// Those of one object.
    #[must_use]
    pub fn of(&self, object: &ObjectRef) -> &[Problem] {
        self.faults.get(object).map_or(&[], Vec::as_slice)
    }

    /// All of them, without the remarks.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.faults.values().flatten()
    }

    /// Whether there is none, remarks or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// These and those.
    pub fn extend(&mut self, other: Self) {
        for (object, problems) in other.faults {
            self.faults.entry(object).or_default().extend(problems);
        }
        self.remarks.extend(other.remarks);
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

    /// Notes something that is no fault, and has no effect.
    pub(super) fn remark(&mut self, field: impl Into<String>, what: impl fmt::Display) {
        self.problems.remark(self.object.clone(), field, what);
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

    /// A list of label selectors, in which none may come twice, nor any part of one.
    pub(super) fn selectors(&mut self, field: &str, list: &[LabelSelector]) -> Selectors {
        let mut seen = BTreeSet::new();
        let mut selectors = Vec::with_capacity(list.len());
        for (i, selector) in list.iter().enumerate() {
            let field = format!("{field}[{i}]");
            selectors.extend(self.selector(&field, selector));
            for expression in select::repetitive(selector) {
                self.fault(format!("{field}.matchExpressions[{expression}]"), "has a value twice");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_what_is_wrong_with_them_is_still_said() {
        let long = "x".repeat(10_000);
        for (what, shown) in [
            (format!("{long:?} is no range"), format!("\"{}…\" is no range", "x".repeat(63))),
            (
                format!("unknown variant `{long} {long}`, expected `a`"),
                format!("unknown variant `{}…`, expected `a`", "x".repeat(63)),
            ),
            (format!("{long}: refused"), format!("{}… refused", "x".repeat(253))),
            (format!("{:?} and more", "\"".repeat(100)), format!("\"{}\\…\" and more", "\\\"".repeat(31))),
            ("ä".repeat(300), format!("{}…", "ä".repeat(253))),
            ("a \"b c\" d ` e \" f".into(), "a \"b c\" d ` e \" f".into()),
            ("a b ".repeat(1000), format!("{}…", "a b ".repeat(256))),
            (String::new(), String::new()),
        ] {
            let mut problems = Problems::default();
            let object = ObjectRef { kind: Kind::Node, name: "n".into() };
            problems.add(object.clone(), "f", &what);
            assert_eq!(problems.of(&object)[0].what, shown);
        }
    }

    #[test]
    fn nothing_of_a_problem_is_a_second_line() {
        let object = ObjectRef { kind: Kind::Node, name: "a\nb".into() };
        let problem = Problem { object, field: "c\nd".into(), what: "e\nf".into() };
        assert_eq!(problem.to_string(), "Node a\\nb: c\\nd: e\\nf");
    }
}
