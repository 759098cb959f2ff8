//! What each speaker says of itself, brought to every other one: in parts, again until it says that it has them.
//!
//! A fact holds for one life of a speaker and has a version; the highest one counts. The old one counts until the new
//! one is whole. No order and no delivery is asked of the network.

use super::fact::{Fact, MOST};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Bytes of a part.
const PART: usize = 1200;

/// The most parts of a fact: a bit for each.
const PARTS: usize = 64;

const _: () = assert!(MOST <= PART * PARTS, "a fact has its parts");

/// A part of a fact, on the wire.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Part<'a> {
    /// Of which life of the sender.
    pub(super) life: u64,
    version: u32,
    index: u8,
    of: u8,
    bytes: &'a [u8],
}

/// What is said, and what was heard.
pub(super) struct Said {
    life: u64,
    own: Fact,
    version: u32,
    bytes: Vec<u8>,
    /// What of it the others have.
    taken: BTreeMap<SocketAddr, Taken>,
    heard: BTreeMap<SocketAddr, Heard>,
}

/// What somebody has of what we say.
struct Taken {
    life: u64,
    version: u32,
    parts: u64,
    sent: Option<Instant>,
}

/// What somebody says.
struct Heard {
    life: u64,
    fact: Option<Fact>,
    version: u32,
    parts: Vec<Option<Vec<u8>>>,
}

impl Said {
    pub(super) fn new(life: u64, fact: &Fact) -> Self {
        let (taken, heard) = (BTreeMap::new(), BTreeMap::new());
        Self { life, own: fact.clone(), version: 1, bytes: fact.encode(), taken, heard }
    }

    /// From now on says `fact`.
    pub(super) fn say(&mut self, fact: &Fact) {
        if self.own != *fact {
            self.own = fact.clone();
            self.bytes = fact.encode();
            self.version = self.version.saturating_add(1);
        }
    }

    /// What is said.
    pub(super) const fn own(&self) -> &Fact {
        &self.own
    }

    /// What the one at `addr` says in this life of his.
    pub(super) fn of(&self, addr: SocketAddr, life: u64) -> Option<&Fact> {
        self.heard.get(&addr).filter(|heard| heard.life == life)?.fact.as_ref()
    }

    /// The parts that the one at `addr` lacks; none when he was sent them less than `again` ago.
    pub(super) fn missing(
        &mut self,
        now: Instant,
        again: Duration,
        addr: SocketAddr,
        life: u64,
    ) -> Vec<Part<'_>> {
        let fresh = || Taken { life, version: self.version, parts: 0, sent: None };
        let taken = self.taken.entry(addr).or_insert_with(fresh);
        if (taken.life, taken.version) != (life, self.version) {
            *taken = fresh();
        }
        let lacks = mask(self.bytes.chunks(PART).len()) & !taken.parts;
        let recent = taken.sent.is_some_and(|sent| now.saturating_duration_since(sent) < again);
        if lacks == 0 || recent {
            return Vec::new();
        }
        taken.sent = Some(now);
        let (life, version) = (self.life, self.version);
        let of = u8::try_from(self.bytes.chunks(PART).len()).unwrap_or_default();
        let parts = (0..of).zip(self.bytes.chunks(PART));
        parts
            .filter(|(index, _)| lacks >> index & 1 == 1)
            .map(|(index, bytes)| Part { life, version, index, of, bytes })
            .collect()
    }

    /// The one at `addr` has these parts.
    pub(super) fn taken(&mut self, addr: SocketAddr, life: u64, version: u32, parts: u64) {
        let same = |taken: &&mut Taken| (taken.life, taken.version) == (life, version);
        if let Some(taken) = self.taken.get_mut(&addr).filter(same) {
            taken.parts |= parts;
        }
    }

    /// Takes in a part, and says which ones of its version have come.
    pub(super) fn heard(&mut self, from: SocketAddr, part: &Part<'_>) -> Option<(u32, u64)> {
        let of = usize::from(part.of);
        if of == 0 || of > PARTS || part.index >= part.of || part.bytes.len() > PART {
            return None;
        }
        let empty = || Heard { life: part.life, fact: None, version: part.version, parts: vec![None; of] };
        let heard = self.heard.entry(from).or_insert_with(empty);
        if heard.life != part.life {
            *heard = empty();
        }
        if heard.version < part.version {
            heard.version = part.version;
            heard.parts = vec![None; of];
        }
        if heard.version > part.version || heard.parts.len() != of {
            return None;
        }
        let slot = heard.parts.get_mut(usize::from(part.index))?;
        let new = slot.is_none();
        *slot = Some(part.bytes.to_vec());
        let bits = heard.parts.iter().zip(0..).filter(|(part, _)| part.is_some());
        let got = bits.fold(0, |got, (_, bit): (_, u32)| got | 1 << bit);
        if new && got == mask(of) {
            heard.fact = Fact::decode(&heard.parts.iter().flatten().flatten().copied().collect::<Vec<u8>>());
        }
        Some((part.version, got))
    }

    /// Forgets those that are not to be kept, by address and life.
    pub(super) fn keep(&mut self, keep: impl Fn(SocketAddr, u64) -> bool) {
        self.heard.retain(|addr, heard| keep(*addr, heard.life));
        self.taken.retain(|addr, taken| keep(*addr, taken.life));
    }
}

/// As many ones as there are parts.
fn mask(parts: usize) -> u64 {
    u32::try_from(parts)
        .ok()
        .and_then(|parts| u64::MAX.checked_shr(64_u32.saturating_sub(parts)))
        .unwrap_or(0)
}
