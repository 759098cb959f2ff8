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
    /// The first thing that is wrong, with the path below the selector's field.
    pub fn parse(selector: &LabelSelector) -> Result<Self, (String, String)> {
        match Self::faults(selector).into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(Self(requirements(selector).collect())),
        }
    }

    /// Everything that is wrong with `selector`: paths below its field, and what.
    #[must_use]
    pub fn faults(selector: &LabelSelector) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            let mut fault =
                |what: Option<String>| faults.extend(what.map(|what| (".matchLabels".to_owned(), what)));
            fault(key_fault(key));
            fault(value_fault(value));
        }
        for (i, e) in selector.match_expressions.iter().flatten().enumerate() {
            let mut fault = |what: String| faults.push((format!(".matchExpressions[{i}]"), what));
            let values = e.values.as_deref().unwrap_or_default();
            match e.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => fault("needs values".into()),
                "Exists" | "DoesNotExist" if !values.is_empty() => fault("takes no values".into()),
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => fault(format!("{other:?} is not a valid label selector operator")),
            }
            key_fault(&e.key).into_iter().chain(values.iter().filter_map(|v| value_fault(v))).for_each(fault);
        }
        faults
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

/// What a selector without faults asks for.
fn requirements(selector: &LabelSelector) -> impl Iterator<Item = Requirement> {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| Requirement::In(key.clone(), [value.clone()].into()));
    let expressions = selector.match_expressions.iter().flatten().filter_map(|e| {
        let values = || e.values.iter().flatten().cloned().collect();
        match e.operator.as_str() {
            "In" => Some(Requirement::In(e.key.clone(), values())),
            "NotIn" => Some(Requirement::NotIn(e.key.clone(), values())),
            "Exists" => Some(Requirement::Exists(e.key.clone())),
            "DoesNotExist" => Some(Requirement::DoesNotExist(e.key.clone())),
            _ => None,
        }
    });
    labels.chain(expressions)
}

/// The expressions that have a value twice: no fault of a selector, but of one in a list in which nothing may come twice.
pub(super) fn repetitive(selector: &LabelSelector) -> impl Iterator<Item = usize> {
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    let twice = expressions.filter(|(_, e)| {
        let values = e.values.as_deref().unwrap_or_default();
        values.iter().collect::<BTreeSet<_>>().len() != values.len()
    });
    twice.map(|(i, _)| i)
}

/// An expression with its values in order.
type Expression<'a> = (&'a str, &'a str, Vec<&'a str>);

/// Labels and expressions of a selector.
type Written<'a> = (Vec<(&'a str, &'a str)>, BTreeSet<Expression<'a>>);

/// A selector as it was written, but for the order of its parts: what two selectors are compared by.
///
/// # Errors
/// An expression comes twice: the index of the second.
pub(super) fn written(selector: &LabelSelector) -> Result<Written<'_>, usize> {
    let labels = selector.match_labels.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut expressions = BTreeSet::new();
    for (i, e) in selector.match_expressions.iter().flatten().enumerate() {
        let mut values: Vec<&str> = e.values.iter().flatten().map(String::as_str).collect();
        values.sort_unstable();
        if !expressions.insert((e.key.as_str(), e.operator.as_str(), values)) {
            return Err(i);
        }
    }
    Ok((labels, expressions))
}

/// What Kubernetes refuses of a label's key: `[prefix/]name`, the prefix a DNS name.
fn key_fault(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let dns = |p: &str| {
        p.len() <= 253
            && p.split('.').all(|part| {
                part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    && !part.ends_with('-')
                    && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            })
    };
    let good = !name.is_empty() && is_label_text(name) && prefix.is_none_or(dns);
    (!good).then(|| format!("{key:?} is not a valid label"))
}

/// What Kubernetes refuses of a label's value.
fn value_fault(value: &str) -> Option<String> {
    (!is_label_text(value)).then(|| format!("{value:?} is not a valid value of a label"))
}

/// Empty, or at most 63 letters, digits, `-`, `_` and `.`, of which the first and the last are letters or digits.
fn is_label_text(text: &str) -> bool {
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.starts_with(['-', '_', '.'])
        && !text.ends_with(['-', '_', '.'])
}

/// Whether one of `selectors` matches, or there is none: how node, pool and service selectors read.
#[must_use]
pub(crate) fn any_or_all(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_kubernetes_has_them() {
        for good in ["a", "a.b/c", "example.com/Role_1", "x-1.y/a.b"] {
            assert_eq!(key_fault(good), None, "{good}");
        }
        let long = "x".repeat(64);
        for bad in
            ["", "/a", "a/", "a/b/c", "A.b/c", "-a", "a-", "a b", "a\n", ".b/c", "a..b/c", "-a/b", &long]
        {
            assert!(key_fault(bad).is_some(), "{bad}");
        }
        assert_eq!(value_fault(""), None);
        assert!(value_fault("a,b").is_some());
    }

    #[test]
    fn selectors_are_compared_as_written() {
        let parse = |text: &str| serde_json::from_str::<LabelSelector>(text).unwrap();
        let a = parse(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["x","y"]}]}"#);
        let b = parse(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["y","x"]}]}"#);
        let c = parse(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["y"]}]}"#);
        let d = parse(r#"{"matchLabels":{"a":"y"}}"#);
        assert_eq!(written(&a), written(&b));
        assert_ne!(written(&c), written(&d));
        assert_eq!(Selector::parse(&c), Selector::parse(&d));
    }
}
