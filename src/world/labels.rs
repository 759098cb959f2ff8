//! Labels, and annotations: a few texts by name, held as tightly as they can be.
//!
//! There is one of these for every object, and it is read far more often than made: a map's nodes, made for growing,
//! would be most of what an object's facts weigh.

use std::{collections::BTreeMap, fmt};

/// Texts by name, sorted.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The text of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(at).map(|(_, text)| &**text)
    }

    /// Whether there is one of that name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: Into<Box<str>>, T: Into<Box<str>>> FromIterator<(N, T)> for Labels {
    /// Of two of the same name the later one stays.
    fn from_iter<I: IntoIterator<Item = (N, T)>>(items: I) -> Self {
        let sorted: BTreeMap<Box<str>, Box<str>> =
            items.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(labels.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(labels: [(&str, &str); N]) -> Self {
        labels.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_name_whatever_the_order() {
        let labels: Labels = [("b", "2"), ("a", "1"), ("c", "3"), ("a", "4")].into_iter().collect();
        assert_eq!([labels.get("a"), labels.get("b"), labels.get("c")], [Some("4"), Some("2"), Some("3")]);
        assert_eq!((labels.get("d"), labels.contains_key("b"), labels.is_empty()), (None, true, false));
        assert!(Labels::default().is_empty());
    }
}
