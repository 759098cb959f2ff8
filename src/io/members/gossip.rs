//! The gossip without its socket: datagrams and the time come in, datagrams and a [`View`] go out.
//!
//! Who is alive is foca's (SWIM); what each says of itself is `said`'s, sent to everybody until everybody has it. Who is
//! not there is asked to come again and again, so that a start in any order, a restart and a partition that heals
//! come right by themselves. Nothing here touches the world: `simulation.rs` runs a hundred of these in one process.

use super::{
    fact::{Fact, Stage},
    identity::Identity,
    pace::{ASKED, PACKET, PATIENCE, Pace, RARE_RETURN, RETURN},
    said::{Part, Said},
};
use crate::world::Members;
use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, OwnedNotification, PostcardCodec, Timer};
use rand::{SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

/// Who is there, as one speaker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether it has looked around: before that it cannot know what is its own.
    pub settled: bool,
    /// Who is alive and announces, itself among them.
    pub members: Members,
    /// How that is known.
    pub word: Word,
}

/// How it is known who is there, and what that makes of those who are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Word {
    /// They are heard: who is not may be on the other side of a cut, and comes back.
    #[default]
    Heard,
    /// They renew: who does not has nothing, and knows that.
    Renewed,
    /// The same, and this one did not renew of late: others may have given it up.
    Lapsed,
}

/// What a datagram is.
#[derive(Serialize, Deserialize)]
enum Message<'a> {
    /// foca's.
    Swim(&'a [u8]),
    /// A part of what the sender says of itself.
    #[serde(borrow)]
    Part(Part<'a>),
    /// Which parts of what the receiver said have come.
    Got(Got),
}

/// An answer to [`Message::Part`].
#[derive(Serialize, Deserialize)]
struct Got {
    /// The life that they are of.
    of: u64,
    /// The life that has them.
    by: u64,
    version: u32,
    /// A bit for each.
    parts: u64,
}

/// One timer of foca, in the order of time and of foca's wishes.
type Due = Reverse<(Instant, u64)>;

/// A speaker among speakers.
pub(super) struct Gossip {
    me: Identity,
    pace: Pace,
    foca: Foca<Identity, PostcardCodec, SmallRng, NoCustomBroadcast>,
    effects: AccumulatingRuntime<Identity>,
    due: BinaryHeap<Due>,
    timers: BTreeMap<u64, Timer<Identity>>,
    number: u64,
    /// Whether foca hears from the others: after it had to come back they may not know its new identity yet.
    connected: bool,
    /// Who is there, by address.
    active: BTreeMap<SocketAddr, Identity>,
    /// When each was last heard by ourselves.
    heard: BTreeMap<SocketAddr, Instant>,
    /// The same, of those who are there.
    met: BTreeMap<SocketAddr, Instant>,
    /// Timers of foca that have been put off.
    granted: BTreeSet<u64>,
    /// Who was given up by others, and is heard all the same: after a partition each side tells the other whom it had
    /// given up, and they come back in a moment.
    doubted: BTreeMap<SocketAddr, Identity>,
    /// Who should be there and is not, since when.
    away: BTreeMap<SocketAddr, Instant>,
    /// Who was asked to come last.
    asked: Option<SocketAddr>,
    said: Said,
    /// Speakers that are known to be there, or to have been.
    expected: Option<BTreeSet<SocketAddr>>,
    tick: Instant,
    ticks: u32,
    started: Instant,
    /// What [`Self::view`] says.
    view: Arc<View>,
    out: Vec<(SocketAddr, Vec<u8>)>,
    /// Datagrams that made no sense.
    pub(super) misunderstood: u64,
}

impl Gossip {
    pub(super) fn new(me: Identity, pace: Pace, seed: u64, now: Instant) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            foca: Foca::new(me.clone(), pace.config(1), rng, PostcardCodec),
            said: Said::new(me.life, &Fact::default()),
            me,
            pace,
            effects: AccumulatingRuntime::new(),
            due: BinaryHeap::new(),
            timers: BTreeMap::new(),
            number: 0,
            connected: false,
            active: BTreeMap::new(),
            heard: BTreeMap::new(),
            met: BTreeMap::new(),
            granted: BTreeSet::new(),
            doubted: BTreeMap::new(),
            away: BTreeMap::new(),
            asked: None,
            expected: None,
            tick: now,
            ticks: 0,
            started: now,
            view: Arc::default(),
            out: Vec::new(),
            misunderstood: 0,
        }
    }

    /// Where speakers are, as far as that is known from elsewhere.
    pub(super) fn expect(&mut self, now: Instant, mut peers: BTreeSet<SocketAddr>) {
        peers.remove(&self.me.addr);
        for addr in peers.iter().filter(|addr| !self.active.contains_key(addr)) {
            self.away.entry(*addr).or_insert(now);
        }
        // who was only ever expected, and no longer is
        let before = self.expected.take().unwrap_or_default();
        self.away.retain(|addr, _| peers.contains(addr) || !before.contains(addr));
        self.expected = Some(peers);
        self.step(now);
    }

    /// What this speaker says of itself from now on.
    pub(super) fn say(&mut self, now: Instant, fact: &Fact) {
        self.said.say(fact);
        self.look();
        self.repeat(now);
    }

    /// Takes in what `from` sent.
    pub(super) fn heard(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        match postcard::from_bytes(bytes) {
            Ok(Message::Swim(data)) => {
                self.heard.insert(from, now);
                self.met.insert(from, now);
                let was = self.active.contains_key(&from);
                // refused: from ourselves, or what an older life would be told
                let understood = self.foca.handle_data(data, &mut self.effects);
                self.misunderstood += u64::from(matches!(
                    understood,
                    Err(foca::Error::Decode(_) | foca::Error::MalformedPacket | foca::Error::DataTooBig)
                ));
                self.drain(now);
                // who says himself that he goes is not doubted
                if was && !self.active.contains_key(&from) && self.doubted.remove(&from).is_some() {
                    self.look();
                }
            }
            Ok(Message::Part(part)) => {
                let sender = self.active.get(&from).filter(|sender| sender.life == part.life);
                if let Some((version, parts)) = sender.and_then(|_| self.said.heard(from, &part)) {
                    let got = Got { of: part.life, by: self.me.life, version, parts };
                    push(&mut self.out, from, &Message::Got(got));
                    self.look();
                }
            }
            Ok(Message::Got(got)) if got.of == self.me.life => {
                self.said.taken(from, got.by, got.version, got.parts);
            }
            Ok(Message::Got(_)) => {}
            Err(_) => self.misunderstood += 1,
        }
        self.step(now);
    }

    /// Does what is due.
    pub(super) fn pass(&mut self, now: Instant) {
        while let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            if self.grants(now, number) {
                self.granted.insert(number);
                self.due.push(Reverse((now + self.pace.doubt(self.active.len() + 1), number)));
                continue;
            }
            if let Some(timer) = self.timers.remove(&number).filter(|timer| self.counts(timer)) {
                // a probe that a change of sides cut short is foca's only complaint, and it goes on
                let _ = self.foca.handle_timer(timer, &mut self.effects);
                self.drain(now);
            }
        }
        if self.tick <= now {
            self.tick = now + self.pace.tick();
            self.ticks = self.ticks.wrapping_add(1);
            self.call_back(now);
            self.repeat(now);
            self.doubt(now);
        }
        self.step(now);
    }

    /// Whether who is to be given up gets its time once more: one that is there by what others say alone, as it was not
    /// heard here for rounds. They hear it themselves, and would give it up in time; here every word takes a way more.
    fn grants(&mut self, now: Instant, number: u64) -> bool {
        if self.granted.remove(&number) {
            return false;
        }
        let Some(Timer::ChangeSuspectToDown { member_id, .. }) = self.timers.get(&number) else {
            return false;
        };
        let silence = self.pace.silence(self.active.len() + 1);
        let met = self.met.get(&member_id.addr);
        met.is_some_and(|at| now.saturating_duration_since(*at) > silence)
    }

    /// Gives up whom others gave up and who is not heard any more.
    fn doubt(&mut self, now: Instant) {
        let lately = self.pace.lately();
        self.heard.retain(|_, at| now.saturating_duration_since(*at) <= lately);
        let before = self.doubted.len();
        self.doubted.retain(|addr, _| self.heard.contains_key(addr));
        if self.doubted.len() != before {
            self.look();
        }
    }

    /// When [`Self::pass`] is due next.
    pub(super) fn next(&self) -> Instant {
        self.due.peek().map_or(self.tick, |Reverse((at, _))| (*at).min(self.tick))
    }

    /// What is to be sent now.
    pub(super) fn sends(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.out)
    }

    /// Tells the others that this speaker is gone; nothing more is to be done with it.
    pub(super) fn leave(&mut self, now: Instant) {
        let _ = self.foca.leave_cluster(&mut self.effects);
        self.drain(now);
    }

    /// Who is there; the same one as long as nothing changes.
    pub(super) const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Looks who is there.
    fn look(&mut self) {
        let mut view = View { settled: self.view.settled, ..View::default() };
        for (addr, identity) in self.active.iter().chain(&self.doubted) {
            let Some(fact) = self.said.of(*addr, identity.life) else { continue };
            if fact.stage != Stage::Starting {
                view.members.insert(identity.node(), fact.as_member());
            }
        }
        view.members.insert(self.me.node(), self.said.own().as_member());
        if *self.view != view {
            self.view = Arc::new(view);
        }
    }

    /// How many others are there, ready or not.
    pub(super) fn others(&self) -> usize {
        self.active.len()
    }

    /// Whether a timer still means something. A doubt that was denied does not: foca would tell the member that it was
    /// given up, and it would come back under another identity.
    fn counts(&self, timer: &Timer<Identity>) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return true };
        let same = |member: &&foca::Member<Identity>| member.id() == member_id;
        self.foca.iter_members().find(same).is_some_and(|member| {
            member.state() == foca::State::Suspect && member.incarnation() == *incarnation
        })
    }

    /// Asks those that are away to come.
    fn call_back(&mut self, now: Instant) {
        let expected = self.expected.as_ref();
        let lately = |since: Instant| now.saturating_duration_since(since) < PATIENCE;
        self.away
            .retain(|addr, since| lately(*since) || expected.is_some_and(|expected| expected.contains(addr)));
        let rare = self.ticks.is_multiple_of(RARE_RETURN);
        let often = self.ticks.is_multiple_of(RETURN);
        let wanted = |since: Instant| rare || often && lately(since);
        let after = self.asked.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let round = self.away.range((after, std::ops::Bound::Unbounded)).chain(self.away.iter());
        let chosen: BTreeSet<SocketAddr> =
            round.filter(|(_, since)| wanted(**since)).map(|(addr, _)| *addr).take(ASKED).collect();
        if let Some(last) = chosen.last() {
            self.asked = Some(*last);
        }
        let deaf = self.active.keys().copied().filter(|_| !self.connected);
        for addr in chosen.into_iter().chain(deaf) {
            let _ = self.foca.announce(Identity::at(addr), &mut self.effects);
        }
        self.drain(now);
    }

    /// Says again what somebody has not got.
    fn repeat(&mut self, now: Instant) {
        let again = self.pace.tick() * 2;
        for (addr, identity) in &self.active {
            for part in self.said.missing(now, again, *addr, identity.life) {
                push(&mut self.out, *addr, &Message::Part(part));
            }
        }
    }

    /// Carries out what foca wants.
    fn drain(&mut self, now: Instant) {
        while let Some((to, bytes)) = self.effects.to_send() {
            push(&mut self.out, to.addr, &Message::Swim(&bytes));
        }
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.number += 1;
            self.timers.insert(self.number, timer);
            self.due.push(Reverse((now + after, self.number)));
        }
        let mut changed = false;
        while let Some(notification) = self.effects.to_notify() {
            match notification {
                OwnedNotification::Active => self.connected = true,
                OwnedNotification::Idle | OwnedNotification::Defunct => self.connected = false,
                OwnedNotification::Rejoin(_) => {
                    self.connected = false;
                    changed = true;
                }
                OwnedNotification::MemberUp(_)
                | OwnedNotification::MemberDown(_)
                | OwnedNotification::Rename(..) => changed = true,
            }
        }
        if changed {
            self.recount(now);
        }
    }

    /// Takes over from foca who is there.
    fn recount(&mut self, now: Instant) {
        self.me = self.foca.identity().clone();
        let members = self.foca.iter_members().map(|member| member.id());
        // of one that nobody has heard yet only the address is known
        let active: BTreeMap<SocketAddr, Identity> = members
            .filter(|identity| !identity.node().as_str().is_empty())
            .map(|identity| (identity.addr, identity.clone()))
            .collect();
        let before = std::mem::replace(&mut self.active, active);
        let lately = self.pace.lately();
        for (addr, identity) in before.into_iter().filter(|(addr, _)| !self.active.contains_key(addr)) {
            self.away.insert(addr, now);
            if self.heard.get(&addr).is_some_and(|at| now.saturating_duration_since(*at) <= lately) {
                self.doubted.insert(addr, identity);
            }
        }
        self.doubted.retain(|addr, _| !self.active.contains_key(addr));
        let active = &self.active;
        self.met.retain(|addr, _| active.contains_key(addr));
        self.away.retain(|addr, _| !active.contains_key(addr));
        self.said.keep(|addr, life| active.get(&addr).is_none_or(|now| now.life == life));
        // the periods stay, so that foca does not refuse
        let _ = self.foca.set_config(self.pace.config(self.active.len() + 1));
        self.look();
        self.repeat(now);
    }

    /// Whether it has looked around: most of those that should be there have said what they are, or it has waited.
    fn step(&mut self, now: Instant) {
        if self.view.settled {
            return;
        }
        let waited = now.saturating_duration_since(self.started);
        let heard = self.active.iter().filter(|(addr, who)| self.said.of(**addr, who.life).is_some()).count();
        let all_said = heard == self.active.len();
        let most = self.expected.as_ref().is_some_and(|peers| (heard + 1) * 2 > peers.len() + 1);
        let moment = self.pace.tick() * 5;
        if waited >= self.pace.grace() || most && all_said && waited >= moment {
            self.view = Arc::new(View { settled: true, ..View::clone(&self.view) });
        }
    }
}

fn push(out: &mut Vec<(SocketAddr, Vec<u8>)>, to: SocketAddr, message: &Message<'_>) {
    // a Vec takes anything
    if let Ok(bytes) = postcard::to_extend(message, Vec::with_capacity(PACKET)) {
        out.push((to, bytes));
    }
}
