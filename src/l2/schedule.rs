//! When each address is announced on each interface: a burst that tapers off, then a refresh for ever.
//!
//! A switch forgets a station after 300 s, and a neighbour may ignore or miss any one announcement. The whole node
//! keeps a pace, so that thousands of addresses that come at once do not flood the segment. Nothing here knows
//! what an announcement looks like.

use crate::net::IfIndex;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    time::{Duration, Instant},
};

/// An address on an interface.
pub(super) type Place = (IpAddr, IfIndex);

/// From each announcement of a burst to the next. Linux takes no second change within a second (`locktime`); a
/// router that limits its ARP, or a port that is not forwarding yet, needs the later ones.
const BURST: [Duration; 5] = [
    Duration::from_millis(1100),
    Duration::from_millis(1100),
    Duration::from_millis(2200),
    Duration::from_millis(4400),
    Duration::from_millis(8800),
];

/// From refresh to refresh, on average.
const REFRESH: Duration = Duration::from_secs(60);

/// Refreshes are due on a grid of this width: thousands of addresses wake the node up some times a second, together, and
/// not each for itself.
const GRID: Duration = Duration::from_millis(250);

/// One frame's share of the time: 4,000 frames a second.
const SHARE: Duration = Duration::from_micros(250);

/// How far announcements may run ahead of the pace: a thousand IPv4 addresses that move at once, of two frames each, are
/// a quarter of a megabyte on the wire, and wait for nothing.
const AHEAD: Duration = SHARE.saturating_mul(2048);

/// How much of it must be free again before it is gone on with: a long queue is worked off in batches, not in a wake-up
/// per frame.
const BATCH: Duration = SHARE.saturating_mul(32);

/// The timetable.
#[derive(Clone, Default, Debug)]
pub(super) struct Schedule {
    turns: BTreeMap<Place, Turn>,
    queue: BTreeSet<(Instant, Place)>,
    /// When the frames sent so far are paid for.
    paid: Option<Instant>,
    /// Where the grid of refreshes begins.
    origin: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Instant,
    /// Announcements made in this burst.
    round: usize,
}

impl Schedule {
    /// Begins a burst at `place`, due at once.
    pub(super) fn start(&mut self, now: Instant, place: Place) {
        self.put(place, Turn { at: now, round: 0 });
    }

    /// Announces at `place` once more from `at` on, a few times where that is `insistent`; then the refreshes go on.
    pub(super) fn again(&mut self, at: Instant, place: Place, insistent: bool) {
        if self.turns.contains_key(&place) {
            let round = if insistent { BURST.len() - 2 } else { BURST.len() };
            self.put(place, Turn { at, round });
        }
    }

    /// Ends all announcements at `place`.
    pub(super) fn stop(&mut self, place: Place) {
        if let Some(turn) = self.turns.remove(&place) {
            self.queue.remove(&(turn.at, place));
        }
    }

    /// Whether `place` is announced.
    pub(super) fn has(&self, place: Place) -> bool {
        self.turns.contains_key(&place)
    }

    /// Every place, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.turns.keys().copied()
    }

    /// The interfaces that `ip` is announced on.
    pub(super) fn links(&self, ip: IpAddr) -> impl Iterator<Item = IfIndex> {
        self.turns.range((ip, IfIndex(0))..=(ip, IfIndex(u32::MAX))).map(|((_, link), _)| *link)
    }

    /// The next place whose turn has come, at a cost of `frames(place)` frames; `None` when none is due or the
    /// pace is used up. The longest overdue goes first, so that every address gets its first announcement before
    /// any gets its second.
    pub(super) fn take(&mut self, now: Instant, frames: impl FnOnce(Place) -> u32) -> Option<Place> {
        let &(at, place) = self.queue.first()?;
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        if at > now || paid > now + AHEAD {
            return None;
        }
        self.paid = Some(paid + SHARE * frames(place));
        let round = self.turns.get(&place).map_or(0, |turn| turn.round);
        let at = BURST.get(round).map_or_else(|| self.on_grid(now, refresh(place)), |wait| now + *wait);
        self.put(place, Turn { at, round: round.saturating_add(1) });
        Some(place)
    }

    /// When [`Self::take`] will next have something.
    pub(super) fn next(&self) -> Option<Instant> {
        let &(at, _) = self.queue.first()?;
        Some(match self.paid {
            Some(paid) if paid > at + AHEAD => paid.checked_sub(AHEAD - BATCH).unwrap_or(paid),
            _ => at,
        })
    }

    /// The last point of the grid that is not later than `wait` after `now`.
    fn on_grid(&mut self, now: Instant, wait: Duration) -> Instant {
        let at = now + wait;
        let into = at.saturating_duration_since(*self.origin.get_or_insert(now)).as_nanos() % GRID.as_nanos();
        at.checked_sub(Duration::from_nanos(u64::try_from(into).unwrap_or_default())).unwrap_or(at)
    }

    fn put(&mut self, place: Place, turn: Turn) {
        if let Some(old) = self.turns.insert(place, turn) {
            self.queue.remove(&(old.at, place));
        }
        self.queue.insert((turn.at, place));
    }
}

/// The refresh of `place`: within a fifth of [`REFRESH`], also where the grid makes it earlier, and always the same for
/// the same place, so that addresses that came together drift apart.
fn refresh(place: Place) -> Duration {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    let [a, b, ..] = hasher.finish().to_be_bytes();
    let (least, most) = (REFRESH * 4 / 5 + GRID, REFRESH * 6 / 5);
    least + (most - least) * u32::from(u16::from_be_bytes([a, b])) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests;
