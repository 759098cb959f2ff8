//! Policy classes: which neighbours get a prefix, and with which attributes.
//!
//! A class is named by a digest of its content, so that no class ever changes: a prefix moves from one to another.

use crate::{names::Word, plan::Attributes};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// What the prefixes of one class have in common: the neighbours that get them, by the name of their policy, and
/// the attributes for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub BTreeMap<Word, Arc<Attributes>>);

impl Class {
    /// The digest of the content.
    #[must_use]
    pub fn id(&self) -> ClassId {
        let mut digest = Sha256::new();
        for (neighbor, attributes) in &self.0 {
            digest.update(neighbor.as_str());
            digest.update([0]);
            if let Some(preference) = attributes.local_pref {
                digest.update(format!("local-preference {preference}"));
            }
            for community in &attributes.communities {
                digest.update(format!(" {community}"));
            }
            if let Some(next_hop) = attributes.next_hop {
                digest.update(format!(" next-hop {next_hop}"));
            }
            if let Some(med) = attributes.med {
                digest.update(format!(" metric {med}"));
            }
            if let Some(times) = attributes.prepend {
                digest.update(format!(" prepend {times}"));
            }
            digest.update([0]);
        }
        let bytes = digest.finalize();
        ClassId(bytes.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }
}

/// The name of a class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u64);

impl ClassId {
    /// The AS in our tags, reserved for ever (RFC 7300): nobody else's communities begin with it.
    pub const TAG_AS: u32 = u32::MAX;

    /// The large community that marks prefixes of this class inside this FRR.
    #[must_use]
    pub fn tag(self) -> String {
        format!("{}:{}:{}", Self::TAG_AS, self.0 >> 32, self.0 & u64::from(u32::MAX))
    }

    /// Where its entry stands in an out-map, unless that place is taken; never the last place.
    #[must_use]
    pub(crate) fn place(self) -> u16 {
        u16::try_from(self.0 % u64::from(super::Policy::LAST - 1)).unwrap_or_default() + 1
    }
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FERROLB-{:016x}", self.0)
    }
}

impl fmt::Debug for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the name of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a policy class")]
pub struct NotAClass;

impl FromStr for ClassId {
    type Err = NotAClass;
    fn from_str(text: &str) -> Result<Self, NotAClass> {
        let digits = text.strip_prefix("FERROLB-").filter(|d| d.len() == 16).ok_or(NotAClass)?;
        let id = u64::from_str_radix(digits, 16).map(Self).map_err(|_| NotAClass)?;
        if id.to_string() == text { Ok(id) } else { Err(NotAClass) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Community;

    fn class(content: &[(&str, Option<u32>, &[Community])]) -> ClassId {
        let neighbors = content.iter().map(|(name, local_pref, communities)| {
            let communities = communities.iter().copied().collect();
            (
                Word::new(name).unwrap(),
                Arc::new(Attributes { local_pref: *local_pref, communities, ..Attributes::default() }),
            )
        });
        Class(neighbors.collect()).id()
    }

    #[test]
    fn the_id_is_the_content() {
        let a = class(&[("10.0.0.1", Some(100), &[Community::Standard(1, 2)])]);
        assert_eq!(a, class(&[("10.0.0.1", Some(100), &[Community::Standard(1, 2)])]));
        for other in [
            class(&[]),
            class(&[("10.0.0.2", Some(100), &[Community::Standard(1, 2)])]),
            class(&[("10.0.0.1", None, &[Community::Standard(1, 2)])]),
            class(&[("10.0.0.1", Some(100), &[Community::Large(0, 1, 2)])]),
            class(&[("10.0.0.1", Some(100), &[]), ("10.0.0.2", Some(100), &[Community::Standard(1, 2)])]),
        ] {
            assert_ne!(a, other);
        }
    }

    /// Ids are in the configuration of running nodes: a release that computes other ones moves every prefix.
    #[test]
    fn the_id_does_not_change_between_releases() {
        let id = class(&[("10.0.0.1", Some(100), &[Community::Standard(1, 2), Community::Large(1, 2, 3)])]);
        expect_test::expect!["FERROLB-aa015d87857a8f3d"].assert_eq(&id.to_string());
    }

    #[test]
    fn names_and_tags() {
        let id = ClassId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "FERROLB-0123456789abcdef");
        assert_eq!("FERROLB-0123456789abcdef".parse(), Ok(id));
        assert_eq!(id.tag(), "4294967295:19088743:2309737967");
        for bad in ["FERROLB-", "FERROLB-0123456789ABCDEF", "FERROLB-+123456789abcdef", "0123456789abcdef"] {
            assert_eq!(bad.parse::<ClassId>(), Err(NotAClass), "{bad}");
        }
        for id in [0, 1, 65_533, 65_534, u64::MAX] {
            assert!((1..u16::MAX).contains(&ClassId(id).place()), "{id}");
        }
    }
}
