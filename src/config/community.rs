//! BGP communities and the names that users give to them.

use super::{
    Config, Input, Problems,
    problem::{Fault, Kind, Report},
    settle,
};
use crate::api;
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// A BGP community: standard (RFC 1997) or large (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// `A:B`.
    Standard(u16, u16),
    /// `large:A:B:C`.
    Large(u32, u32, u32),
}

/// Why a text is not a [`Community`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// Not of two or four parts: it may be meant as an alias.
    #[error("invalid community format: {0}")]
    Format(String),
    /// Four parts, the first of which is not `large`.
    #[error("invalid community value: expected community to be of format large:A:B:C, is {0:?}")]
    Marker(String),
    /// A part that is no number, or too high a one.
    #[error("invalid community value: invalid section {section:?} of {text:?}")]
    Section {
        /// The part.
        section: String,
        /// The whole.
        text: String,
    },
}

/// The names that one Community object gives.
pub type Aliases = BTreeMap<String, Community>;

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        fn number<T: FromStr>(section: &str, text: &str) -> Result<T, CommunityError> {
            let digits = section.bytes().all(|b| b.is_ascii_digit());
            let number = section.parse().ok().filter(|_| digits);
            number.ok_or_else(|| CommunityError::Section { section: section.into(), text: text.into() })
        }
        match text.split(':').collect::<Vec<_>>().as_slice() {
            [a, b] => Ok(Self::Standard(number(a, text)?, number(b, text)?)),
            ["large", a, b, c] => Ok(Self::Large(number(a, text)?, number(b, text)?, number(c, text)?)),
            [_, _, _, _] => Err(CommunityError::Marker(text.into())),
            _ => Err(CommunityError::Format(text.into())),
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

pub(super) fn parse(input: &Input, last: &Config, problems: &mut Problems) -> BTreeMap<String, Arc<Aliases>> {
    const KIND: Kind = Kind::Community;
    let read = |_: &str, object: &api::Community, report: &mut Report<'_>| Some(read(object, report));
    let entries = settle::read(KIND, input, &input.communities, &last.aliases, problems, read);
    settle::settle(
        KIND,
        entries,
        problems,
        |new, last| new.keys().eq(last.keys()),
        |t, name: &String, new| claim(t, name, new),
    )
}

/// Every alias of every object.
pub(super) fn flat(objects: &BTreeMap<String, Arc<Aliases>>) -> BTreeMap<&str, Community> {
    objects.values().flat_map(|aliases| aliases.iter()).map(|(name, c)| (name.as_str(), *c)).collect()
}

fn read(object: &api::Community, report: &mut Report<'_>) -> Aliases {
    let mut aliases = Aliases::new();
    for (i, alias) in object.spec.communities.iter().enumerate() {
        let at = |field: &str| format!("spec.communities[{i}].{field}");
        let name = alias.name.clone().unwrap_or_default();
        let value = alias.value.as_deref().unwrap_or_default().parse();
        if aliases.contains_key(&name) {
            report.fault(at("name"), format_args!("duplicate definition of community {name:?}"));
        }
        if let Some(value) = report.value(&at("value"), value) {
            aliases.insert(name, value);
        }
    }
    aliases
}

/// The object that each alias is taken by.
#[derive(Default)]
struct Taken(BTreeMap<String, String>);

fn claim(taken: &mut Taken, object: &str, aliases: &Aliases) -> Vec<Fault> {
    let twice = |alias: &String| {
        let owner = taken.0.get(alias)?;
        let what = format!("duplicate definition of community {alias:?}: Community {owner} has it");
        Some(("spec.communities".to_owned(), what))
    };
    let faults: Vec<Fault> = aliases.keys().filter_map(twice).collect();
    if faults.is_empty() {
        taken.0.extend(aliases.keys().map(|alias| (alias.clone(), object.to_owned())));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_communities() {
        for (text, community) in [
            ("0:1234", Community::Standard(0, 1234)),
            ("65535:65535", Community::Standard(65535, 65535)),
            ("large:123:456:4294967295", Community::Large(123, 456, u32::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(community));
            assert_eq!(community.to_string(), text);
        }
        let error = |text: &str| text.parse::<Community>().unwrap_err().to_string();
        for format in ["", "12345", "12345:12345:12345", "a:b:c:d:e"] {
            assert_eq!(error(format), format!("invalid community format: {format}"));
        }
        for section in ["99999999:1", "1:", "large:1:x:3", "+1:2", "1: 2"] {
            assert!(error(section).contains("invalid community value: invalid section"), "{section}");
        }
        assert!(error("larg:1:2:3").contains("expected community to be of format large"));
    }
}
