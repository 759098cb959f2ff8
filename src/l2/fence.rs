//! Two stations, one address: who keeps it.
//!
//! Nodes that did not hear of each other for a while may both answer for an address. On the wire they hear each other
//! again before any gossip does, and then one of them concedes at once: the one that the election would not have chosen.
//! It goes on asking the other, and takes the address back when that falls silent; until it has heard the other say it
//! to all, it reminds it to, so that neighbours learn where the address is.
//! A node that was away and has one of its addresses again has all of them, as a rule: they are left to it at the first
//! word, and it is asked for each.
//! A station that is no node of ours gets one announcement in ten seconds (RFC 5227 §2.4 c): the address is kept, it is
//! reported, and there is no war.
//!
//! Two nodes with different ideas of who is chosen would defend for ever, or both concede for ever: after some rounds
//! of it their names decide. No clock, no frame: `responder` has those.

use super::schedule::Place;
use crate::{
    names::NodeName,
    net::{IfIndex, Mac},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem::replace,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// The other nodes, as far as their claims are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rivals {
    /// This node; without a name it concedes to none.
    pub me: Option<NodeName>,
    /// Whose a hardware address is. Nodes that are away are among them.
    pub stations: BTreeMap<Mac, NodeName>,
    /// The nodes with a live speaker.
    pub live: BTreeSet<NodeName>,
    /// The nodes that an address belongs to rather than to this one, though it answers for it.
    pub owners: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// The others may have given this node up: whatever a live one claims belongs to that one.
    pub lapsed: bool,
}

impl Rivals {
    /// Whether `ip` belongs to `node` rather than to this one.
    fn is_of(&self, ip: IpAddr, node: &NodeName) -> bool {
        self.lapsed && self.live.contains(node)
            || self.owners.get(&ip).is_some_and(|owners| owners.contains(node))
    }
}

/// What a claim by another station comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the other's: no answer from here any more.
    Concede,
    /// The same, as was meant: the other is alive, and the address moves to it.
    HandOver,
    /// It stays here, and is announced again.
    Defend,
    /// It stays here; it was announced a moment ago.
    Keep,
    /// It is the other's already.
    Known,
}

/// An address that another station claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the other is.
    pub by: Mac,
    /// Which node that is; `None` for a stranger.
    pub node: Option<NodeName>,
    /// Whether it has the address now, on every interface that it is wanted on.
    pub conceded: bool,
}

/// Between two announcements against a node; it concedes after the first, as a rule.
const DEFEND_NODE: Duration = Duration::from_secs(1);

/// The same against a stranger: RFC 5227's DEFEND_INTERVAL.
const DEFEND_STRANGER: Duration = Duration::from_secs(10);

/// A node that is alive and announces what is ours hears in a moment what we have heard, or we do what it has: an
/// address moves, and the two see it one after the other.
const GRACE: Duration = Duration::from_millis(50);

/// Rounds of defence, or of conceding, against the same node before the names decide.
const ROUNDS: u32 = 4;

/// Rounds that are further apart have nothing to do with each other.
const ROUNDS_WITHIN: Duration = Duration::from_secs(15);

/// From a question to one who has conceded to the next, while there is no answer.
const ASK: Duration = Duration::from_millis(200);

/// Until one that does not seem to know is reminded of what it has.
const REMIND: Duration = Duration::from_millis(20);

/// Questions without an answer before the address is taken back.
const UNANSWERED: u32 = 3;

/// The same for an address that the other was not heard of at all, a second in all: it may have others only, but it is
/// rather busy, as it has as much to say at a heal as this node. The gossip will have settled it long before.
const PRESUMED: u32 = 10;
const ASK_PRESUMED: Duration = Duration::from_millis(100);

/// Until the first of those questions: the other may be about to say it.
const ASK_FIRST: Duration = Duration::from_millis(50);

/// How old a claim may be whose time has come: the other saw first that the address moves.
const RECENT: Duration = Duration::from_secs(1);

/// The longest pause between questions that are answered.
const ASK_MAX: Duration = Duration::from_secs(10);

/// How long a stranger's claim must be before it is told: an address that moves is claimed for a moment.
const RIPE: Duration = Duration::from_millis(500);

/// How long a stranger's last claim is remembered.
const FORGET: Duration = Duration::from_secs(300);

/// The state of all claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence {
    pub(super) rivals: Arc<Rivals>,
    conceded: BTreeMap<Place, Conceded>,
    /// When each of those is asked for next.
    questions: BTreeSet<(Instant, Place)>,
    rounds: BTreeMap<Place, BTreeMap<NodeName, Rounds>>,
    strangers: BTreeMap<Place, Stranger>,
    /// Another one whenever [`Self::claims`] may have another answer.
    pub(super) revision: u64,
}

#[derive(Clone, Debug)]
struct Conceded {
    to: NodeName,
    at: Mac,
    /// The names have decided: whose it is in an election does not matter.
    by_name: bool,
    ask: Instant,
    pause: Duration,
    unanswered: u32,
    /// Whether it was heard of this address; if not, it has others that are its own.
    heard: bool,
    /// Who else may have it rather, as long as nobody was heard of it.
    or: VecDeque<(NodeName, Mac)>,
    /// Whether it has said so to all.
    announced: bool,
}

impl Conceded {
    /// To a node that was not heard of the address.
    fn presumed(now: Instant, to: &NodeName, at: Mac) -> Self {
        let (by_name, heard, announced) = (false, false, false);
        Self {
            to: to.clone(),
            at,
            by_name,
            ask: now + ASK_FIRST,
            pause: ASK,
            unanswered: 0,
            heard,
            or: VecDeque::new(),
            announced,
        }
    }

    /// It was heard of it, and says so to all where that is `announced`.
    fn heard(self, now: Instant, announced: bool) -> Self {
        Self { heard: true, announced, ask: now + if announced { ASK } else { REMIND }, ..self }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rounds {
    count: u32,
    last: Instant,
    /// Its last claim, and where it was then.
    heard: Instant,
    by: Mac,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    by: Mac,
    since: Instant,
    last: Instant,
    defended: Instant,
    /// Whether it is told.
    ripe: bool,
}

/// What is to be done about a claim at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing from now on.
    Concede,
    /// The same, as was meant.
    HandOver,
    /// Announce from this moment on, as when the address was new.
    Burst(Instant),
    /// Announce once.
    Once,
    /// Nothing.
    Keep,
    /// Nothing: it was conceded before.
    Known,
}

/// What is to be done about a conceded place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask the station that has it.
    Ask(Place, Mac),
    /// The same, and say that it is here: who has it will say to all that it has.
    Remind(Place, Mac),
    /// It is silent: ours again.
    Reclaim(Place),
}

impl Fence {
    /// Whether the address is another node's on that interface.
    pub(super) fn has(&self, place: Place) -> bool {
        self.conceded.contains_key(&place)
    }

    /// Every conceded place, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.conceded.keys().copied()
    }

    /// The interfaces that `ip` is conceded on.
    pub(super) fn links(&self, ip: IpAddr) -> impl Iterator<Item = IfIndex> {
        self.conceded.range((ip, IfIndex(0))..=(ip, IfIndex(u32::MAX))).map(|((_, link), _)| *link)
    }

    /// Follows the other nodes. The places that are ours again, since whom they were conceded to has no right to them
    /// any more; and those that are conceded now: who has claimed them a moment ago was only the first to know.
    pub(super) fn follow(&mut self, now: Instant, rivals: Arc<Rivals>) -> (Vec<Place>, Vec<Place>) {
        self.rivals = Arc::clone(&rivals);
        let rightful = |(ip, _): Place, to: &NodeName| rivals.is_of(ip, to);
        let back: Vec<Place> = self
            .conceded
            .iter()
            .filter(|(place, conceded)| !conceded.by_name && !rightful(**place, &conceded.to))
            .map(|(place, _)| *place)
            .collect();
        for place in &back {
            self.reclaim(*place);
        }
        let mut moved = Vec::new();
        for (place, nodes) in &self.rounds {
            let due = |(node, rounds): &(&NodeName, &Rounds)| {
                let recent = now.saturating_duration_since(rounds.heard) <= RECENT;
                recent && rivals.live.contains(*node) && rightful(*place, node)
            };
            if let Some((node, rounds)) = nodes.iter().find(due).filter(|_| !self.has(*place)) {
                moved.push((*place, Conceded::presumed(now, node, rounds.by).heard(now, true)));
            }
        }
        let places = moved.iter().map(|(place, _)| *place).collect();
        moved.into_iter().for_each(|(place, conceded)| self.concede(place, conceded));
        (back, places)
    }

    /// The address is not wanted there any more.
    pub(super) fn forget(&mut self, place: Place) {
        self.reclaim(place);
        self.revision += u64::from(self.strangers.remove(&place).is_some());
        self.rounds.remove(&place);
    }

    /// `node`, which an address at `place` belongs to, has another one of its own again: it is taken to have all.
    pub(super) fn presume(&mut self, now: Instant, place: Place, node: &NodeName, by: Mac) {
        match self.conceded.get_mut(&place) {
            Some(conceded) if !conceded.heard && conceded.to != *node => {
                conceded.or.push_back((node.clone(), by));
            }
            Some(_) => {}
            None => self.concede(place, Conceded::presumed(now, node, by)),
        }
    }

    /// Another station says that it is at `place`, to all where that is `loud`.
    pub(super) fn claimed(&mut self, now: Instant, place: Place, by: Mac, loud: bool) -> Step {
        let rivals = Arc::clone(&self.rivals);
        let node = rivals.stations.get(&by);
        let is_owner = |node: &NodeName| rivals.is_of(place.0, node);
        if let Some(conceded) = self.conceded.get_mut(&place) {
            return match node {
                Some(node) if !conceded.heard && is_owner(node) => {
                    // which of those that it belongs to is known only now
                    let known = Conceded::presumed(now, node, by).heard(now, loud);
                    self.reclaim(place);
                    self.concede(place, known);
                    Step::Concede
                }
                Some(node) if *node == conceded.to => {
                    let announced = loud && !conceded.announced;
                    conceded.announced |= loud;
                    self.revision += u64::from(conceded.at != by);
                    conceded.at = by;
                    if conceded.unanswered > 0 {
                        conceded.unanswered = 0;
                        conceded.pause = (conceded.pause * 2).min(ASK_MAX);
                        let ask = now + conceded.pause;
                        self.ask_at(place, ask);
                    } else if announced {
                        // it needs no reminder
                        self.ask_at(place, now + ASK);
                    }
                    Step::Known
                }
                _ => Step::Known,
            };
        }
        let Some(node) = node else { return self.claimed_by_stranger(now, place, by) };
        let fresh = Rounds { count: 0, last: now, heard: now, by };
        let rounds = self.rounds.entry(place).or_default().entry(node.clone()).or_insert(fresh);
        (rounds.heard, rounds.by) = (now, by);
        let since = now.saturating_duration_since(rounds.last);
        if since >= ROUNDS_WITHIN {
            rounds.count = 0;
        }
        let by_name = rounds.count >= ROUNDS;
        let live = rivals.live.contains(node);
        let concede = if by_name { Some(node) < rivals.me.as_ref() } else { is_owner(node) };
        let fresh = concede || rounds.count == 0 || since >= DEFEND_NODE;
        if fresh {
            (rounds.count, rounds.last) = (rounds.count.saturating_add(1), now);
        }
        if concede {
            let conceded = Conceded::presumed(now, node, by).heard(now, loud || live);
            self.concede(place, Conceded { by_name, ..conceded });
            return if live { Step::HandOver } else { Step::Concede };
        }
        match fresh {
            true if live => Step::Burst(now + GRACE),
            true => Step::Burst(now),
            false => Step::Keep,
        }
    }

    fn claimed_by_stranger(&mut self, now: Instant, place: Place, by: Mac) -> Step {
        let fresh = Stranger { by, since: now, last: now, defended: now, ripe: false };
        let Some(known) = self.strangers.get_mut(&place) else {
            self.strangers.insert(place, fresh);
            return Step::Once;
        };
        known.last = now;
        self.revision += u64::from(known.by != by);
        known.by = by;
        if now.saturating_duration_since(known.defended) < DEFEND_STRANGER {
            return Step::Keep;
        }
        known.defended = now;
        Step::Once
    }

    /// The next question whose turn has come, or the next address that nobody else answers for.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Turn> {
        let &(at, place) = self.questions.first()?;
        if at > now {
            return None;
        }
        let conceded = self.conceded.get_mut(&place)?;
        let (most, pause) = if conceded.heard { (UNANSWERED, ASK) } else { (PRESUMED, ASK_PRESUMED) };
        if conceded.unanswered >= most {
            self.reclaim(place);
            return Some(Turn::Reclaim(place));
        }
        if conceded.unanswered > 0
            && let Some((to, at)) = conceded.or.pop_front()
        {
            let (to, at) = (replace(&mut conceded.to, to), replace(&mut conceded.at, at));
            conceded.or.push_back((to, at));
        }
        conceded.unanswered = conceded.unanswered.saturating_add(1);
        let (station, announced) = (conceded.at, conceded.announced);
        self.ask_at(place, now + pause);
        Some(if announced { Turn::Ask(place, station) } else { Turn::Remind(place, station) })
    }

    /// When [`Self::turn`] or [`Self::settle`] will next have something.
    pub(super) fn next(&self) -> Option<Instant> {
        let ask = self.questions.first().map(|(at, _)| *at);
        let settle = |stranger: &Stranger| match stranger.ripe {
            false => stranger.since + RIPE,
            true => stranger.last + FORGET,
        };
        ask.into_iter().chain(self.strangers.values().map(settle)).min()
    }

    /// Tells of the strangers whose claims are no passing ones, and forgets those that are long gone.
    pub(super) fn settle(&mut self, now: Instant) {
        let mut changed = false;
        self.strangers.retain(|_, stranger| {
            let ripe = now.saturating_duration_since(stranger.since) >= RIPE;
            let keep = now.saturating_duration_since(stranger.last) < FORGET;
            changed |= stranger.ripe != ripe || !keep;
            stranger.ripe = ripe;
            keep
        });
        self.revision += u64::from(changed);
    }

    /// The claims that count now: an address that is conceded, or that a stranger has, too. It is not said here
    /// whether an address is conceded everywhere.
    pub(super) fn claims(&self) -> BTreeMap<IpAddr, Claim> {
        let ripe = self.strangers.iter().filter(|(_, stranger)| stranger.ripe);
        let strangers =
            ripe.map(|((ip, _), stranger)| (*ip, Claim { by: stranger.by, node: None, conceded: false }));
        let heard = self.conceded.iter().filter(|(_, conceded)| conceded.heard);
        let conceded = heard.map(|((ip, _), conceded)| {
            (*ip, Claim { by: conceded.at, node: Some(conceded.to.clone()), conceded: true })
        });
        strangers.chain(conceded).collect()
    }

    fn ask_at(&mut self, place: Place, at: Instant) {
        if let Some(conceded) = self.conceded.get_mut(&place) {
            self.questions.remove(&(conceded.ask, place));
            conceded.ask = at;
            self.questions.insert((at, place));
        }
    }

    fn concede(&mut self, place: Place, conceded: Conceded) {
        self.questions.insert((conceded.ask, place));
        self.conceded.insert(place, conceded);
        self.revision += 1;
    }

    fn reclaim(&mut self, place: Place) {
        if let Some(conceded) = self.conceded.remove(&place) {
            self.questions.remove(&(conceded.ask, place));
            self.revision += 1;
        }
    }
}
