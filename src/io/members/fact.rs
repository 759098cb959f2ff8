//! What a speaker says of itself to the others, and its form on the wire.
//!
//! The first byte is the version of the form. Fields are only ever added at the end: who reads an older form ignores
//! what follows. What does not fit into [`MOST`] bytes is not said at all but for the stage.

use crate::{net::Mac, world::Member};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, sync::Arc};

/// The most bytes of a fact: a bound for what a peer makes us keep.
pub(super) const MOST: usize = 60_000;

/// This version of the form.
const VERSION: u8 = 1;

/// How far a speaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It does not answer yet: nobody may count on it.
    #[default]
    Starting,
    /// It answers for what is its own.
    Ready,
    /// It goes: others are to take over what it still answers for.
    Leaving,
}

/// What a speaker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// How far it is.
    pub stage: Stage,
    /// What others decide by.
    pub member: Arc<Member>,
}

#[derive(Serialize, Deserialize)]
struct Form {
    stage: Stage,
    interfaces: Option<Vec<(String, [u8; 6])>>,
    held: Vec<IpAddr>,
}

impl Fact {
    /// As others have it in their decisions.
    pub(super) fn as_member(&self) -> Arc<Member> {
        match self.stage {
            Stage::Starting | Stage::Ready => Arc::clone(&self.member),
            Stage::Leaving => Arc::new(Member { leaving: true, ..Member::clone(&self.member) }),
        }
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let member = &self.member;
        let interfaces = member.interfaces.as_ref();
        let form = Form {
            stage: self.stage,
            interfaces: interfaces
                .map(|all| all.iter().map(|(name, mac)| (name.to_string(), mac.0)).collect()),
            held: member.held.iter().copied().collect(),
        };
        let bare = Form { stage: self.stage, interfaces: None, held: Vec::new() };
        [form, bare].iter().filter_map(encode).find(|bytes| bytes.len() <= MOST).unwrap_or_default()
    }

    /// What `bytes` say; `None` where they are no fact, or of a form that is not known.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let (form, _later): (Form, _) = postcard::take_from_bytes(rest).ok()?;
        let interfaces = form
            .interfaces
            .map(|all| all.into_iter().map(|(name, mac)| (name.as_str().into(), Mac(mac))).collect());
        let member = Member { interfaces, held: form.held.into_iter().collect(), leaving: false };
        Some(Self { stage: form.stage, member: Arc::new(member) })
    }
}

fn encode(form: &Form) -> Option<Vec<u8>> {
    postcard::to_extend(form, vec![VERSION]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_fact_comes_back_as_it_went() {
        let member = Member {
            interfaces: Some([("eth0".into(), Mac([2, 0, 0, 0, 0, 1]))].into()),
            held: ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into(),
            leaving: false,
        };
        for stage in [Stage::Starting, Stage::Ready, Stage::Leaving] {
            let fact = Fact { stage, member: Arc::new(member.clone()) };
            let mut bytes = fact.encode();
            assert_eq!(Fact::decode(&bytes), Some(fact.clone()));
            bytes.extend_from_slice(b"a later field");
            assert_eq!(Fact::decode(&bytes), Some(fact));
        }
    }

    #[test]
    fn other_bytes_are_no_fact() {
        for bytes in [&b""[..], &[2, 0, 0, 0], &[1], &[1, 9, 0, 0], &[1, 0, 1, 200, 200]] {
            assert_eq!(Fact::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn too_much_to_say_leaves_the_stage() {
        let held = (0..10_000_u128).map(|n| Ipv6Addr::from(n).into()).collect();
        let fact = Fact { stage: Stage::Ready, member: Arc::new(Member { held, ..Member::default() }) };
        let bytes = fact.encode();
        assert!(bytes.len() < 10, "{}", bytes.len());
        assert_eq!(Fact::decode(&bytes).unwrap().stage, Stage::Ready);
    }
}
