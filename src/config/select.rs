//! Label selectors, compiled.

use crate::world::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeSet;

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
}

/// A label selector: all requirements must hold; none at all matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(BTreeSet<Requirement>);

/// A list of selectors, of which one must match; what an empty list means is up to the field that holds it.
pub type Selectors = Vec<Selector>;

impl Selector {
    /// Compiles `selector`.
    ///
    /// # Errors
    /// What is wrong, with the path below the selector's field.
    pub fn parse(selector: &LabelSelector) -> Result<Self, (String, String)> {
        let mut all = BTreeSet::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            all.insert(Requirement::In(key.clone(), [value.clone()].into()));
        }
        for (i, e) in selector.match_expressions.iter().flatten().enumerate() {
            let values: BTreeSet<String> = e.values.iter().flatten().cloned().collect();
            let fault = |what: &str| Err((format!(".matchExpressions[{i}]"), what.to_owned()));
            if values.len() != e.values.as_ref().map_or(0, Vec::len) {
                return fault("has a value twice");
            }
            let requirement = match e.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => return fault("needs values"),
                "In" => Requirement::In(e.key.clone(), values),
                "NotIn" => Requirement::NotIn(e.key.clone(), values),
                "Exists" | "DoesNotExist" if !values.is_empty() => return fault("takes no values"),
                "Exists" => Requirement::Exists(e.key.clone()),
                "DoesNotExist" => Requirement::DoesNotExist(e.key.clone()),
                other => return fault(&format!("{other:?} is not a valid label selector operator")),
            };
            all.insert(requirement);
        }
        Ok(Self(all))
    }

    /// Whether `labels` satisfy it.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|r| match r {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

/// Whether one of `selectors` matches, or there is none: how node, pool and service selectors read.
#[must_use]
pub(crate) fn any_or_all(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
}
