//! The responder among others that claim its addresses: what it hears of them, and what it asks them.

use super::{Responder, announce, make};
use crate::{
    l2::{
        Frame,
        fence::{Claim, Outcome, Rivals, Step, Turn},
        schedule::Place,
        wire::{self, Arp, Message, Operation, Solicitation},
    },
    net::{IfIndex, Mac},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Questions and reclaimed addresses that one call of [`Responder::questions`] sees to, and the pause then: a socket
/// holds a few hundred frames that nobody has read yet.
const QUESTIONS: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);

impl Responder {
    /// Follows the other nodes. When one comes back, a network may have healed: everything is announced again.
    pub fn follow(&mut self, now: Instant, rivals: &Arc<Rivals>) {
        self.concede_all(now);
        let old = Arc::clone(&self.fence.rivals);
        let (back, moved) = self.fence.follow(now, Arc::clone(rivals));
        back.into_iter().for_each(|place| self.schedule.start(now, place));
        moved.into_iter().for_each(|place| self.schedule.stop(place));
        if !old.live.is_empty() && !rivals.live.is_subset(&old.live) {
            let places: Vec<Place> = self.schedule.places().collect();
            places.into_iter().for_each(|place| self.schedule.again(now, place, true));
        }
        self.watch.follow(now, self.schedule.places(), rivals);
    }

    /// The other nodes, as last followed.
    #[must_use]
    pub const fn rivals(&self) -> &Arc<Rivals> {
        &self.fence.rivals
    }

    /// What becomes of `ip` on `link`, where it is answered for and `by` says that it is there
    /// ([`Reason::ForeignClaim`](crate::l2::Reason::ForeignClaim)), to all stations where that is `loud`.
    pub fn contest(&mut self, now: Instant, link: IfIndex, ip: IpAddr, by: Mac, loud: bool) -> Outcome {
        let place = (ip, link);
        if !self.holds(place) {
            return Outcome::Known;
        }
        match self.fence.claimed(now, place, by, loud) {
            Step::Concede => {
                self.schedule.stop(place);
                self.watch.leave(place);
                self.leave_to(now, place, by);
                Outcome::Concede
            }
            Step::HandOver => {
                self.schedule.stop(place);
                if let Some(node) = self.fence.rivals.stations.get(&by) {
                    self.watch.found(now, place, node);
                }
                Outcome::HandOver
            }
            Step::Burst(at) => {
                self.schedule.start(at, place);
                self.leave_to(now, place, by);
                Outcome::Defend
            }
            Step::Once => {
                self.schedule.again(now, place, false);
                Outcome::Defend
            }
            Step::Keep => Outcome::Keep,
            Step::Known => Outcome::Known,
        }
    }

    /// Whether a node is away whose addresses are answered for here, so that [`Self::met`] is of use.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.watch.waits()
    }

    /// Takes note of the frame `bytes`. Where it shows that a node that was away is back (it asks whether this node is, as
    /// only a speaker does), what is that node's is left to it. Where somebody asks for what is such a node's, it is asked
    /// itself: two may have answered just now.
    pub fn met(&mut self, now: Instant, link: IfIndex, bytes: &[u8]) {
        let Ok(frame) = wire::parse(bytes) else { return };
        let (asked, by_nobody): (IpAddr, bool) = match frame.message {
            Message::Arp(arp) if arp.operation == Operation::Request => {
                (arp.target_ip.into(), arp.sender_ip.is_unspecified())
            }
            Message::Solicitation(asked) => (asked.target.into(), asked.source.is_unspecified()),
            _ => return,
        };
        let place = (asked, link);
        if !self.holds(place) {
            return;
        }
        let rivals = &self.fence.rivals;
        match rivals.stations.get(&frame.source).filter(|_| by_nobody) {
            // if it asks for what is its own, the two do not agree: each answer will show what comes of it
            Some(node) if rivals.owners.get(&asked).is_some_and(|owners| owners.contains(node)) => {}
            Some(_) => self.leave_to(now, place, frame.source),
            None => self.watch.hurry(now, place),
        }
    }

    /// The node at `by` was away and is heard of what is at `place`: leaves all else to it there that is its own. It has
    /// all of it, as a rule, and has heard of the heal as little as this node had: to ask for each, one after the other,
    /// would take too long.
    fn leave_to(&mut self, now: Instant, place: Place, by: Mac) {
        let rivals = &self.fence.rivals;
        let Some(node) = rivals.stations.get(&by).filter(|node| !rivals.live.contains(*node)) else { return };
        let mut ips = self.watch.back(now, place.1, node);
        ips.remove(&place.0);
        self.yielding.add(now, node, place.1, by, ips);
    }

    /// Concedes some of what is left to others: as many as this.
    fn concede_some(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some((place, node, by)) = self.yielding.take() else { break };
            if self.holds(place) {
                self.schedule.stop(place);
                self.fence.presume(now, place, &node, by);
            }
        }
    }

    /// Concedes all that is left to others.
    pub(super) fn concede_all(&mut self, now: Instant) {
        self.concede_some(now, usize::MAX);
    }

    /// Whether `mac` is another node's.
    #[must_use]
    pub fn is_node(&self, mac: Mac) -> bool {
        self.fence.rivals.stations.contains_key(&mac)
    }

    /// Another number whenever [`Self::claims`] may have another answer.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.fence.revision
    }

    /// The addresses that others claim, too.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<IpAddr, Claim> {
        let mut claims = self.fence.claims();
        for (ip, claim) in &mut claims {
            // on another interface it may be answered for still
            claim.conceded &= self.schedule.links(*ip).next().is_none();
        }
        claims
    }

    /// Questions whose turn has come, to other nodes alone, and no more than some tens: whether one to whom an address
    /// was conceded has it still, and whether one whose address this is is back. To be asked before [`Self::due`].
    pub fn questions(&mut self, now: Instant) -> Vec<Frame> {
        self.fence.settle(now);
        self.concede_some(now, QUESTIONS);
        let mut frames = Vec::new();
        if self.yielding.since().is_some() {
            return frames;
        }
        if self.quiet.is_some_and(|quiet| now < quiet) {
            return frames;
        }
        let mut reclaimed = false;
        for _ in 0..QUESTIONS {
            if frames.len() >= QUESTIONS {
                break;
            }
            match self.fence.turn(now) {
                Some(Turn::Ask((ip, link), station)) => self.ask(ip, link, station, &mut frames),
                Some(Turn::Remind((ip, link), station)) => {
                    self.ask(ip, link, station, &mut frames);
                    self.provoke(ip, link, station, &mut frames);
                }
                Some(Turn::Reclaim(place)) => {
                    self.schedule.start(now, place);
                    reclaimed = true;
                }
                None => break,
            }
        }
        if reclaimed {
            self.watch.follow(now, self.schedule.places(), &self.fence.rivals);
        }
        while frames.len() < QUESTIONS {
            let Some(((ip, link), stations)) = self.watch.turn(now) else { break };
            stations.into_iter().for_each(|station| self.ask(ip, link, station, &mut frames));
        }
        self.quiet = (frames.len() >= QUESTIONS).then_some(now + PAUSE);
        frames
    }

    /// When [`Self::questions`] will next have some, or [`Self::claims`] another answer.
    pub(super) fn next_question(&self) -> Option<Instant> {
        if let Some(since) = self.yielding.since() {
            return Some(since);
        }
        let next = self.fence.next().into_iter().chain(self.watch.next()).min()?;
        Some(self.quiet.map_or(next, |quiet| next.max(quiet)))
    }

    /// Says to one station that the address is here, though it is there: it will not let that stand.
    fn provoke(&self, ip: IpAddr, link: IfIndex, station: Mac, frames: &mut Vec<Frame>) {
        if let Some(port) = self.ports.get(&link) {
            announce(ip, link, port.mac, Some(station), frames);
        }
    }

    fn ask(&self, ip: IpAddr, link: IfIndex, station: Mac, frames: &mut Vec<Frame>) {
        if let Some(port) = self.ports.get(&link) {
            frames.push(question(ip, link, port.mac, station));
        }
    }
}

/// The question to one station whether it answers for `ip`, from nobody's address: no cache learns from it.
fn question(ip: IpAddr, link: IfIndex, mac: Mac, station: Mac) -> Frame {
    let message = match ip {
        IpAddr::V4(target_ip) => Message::Arp(Arp {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::ZERO,
            target_ip,
        }),
        IpAddr::V6(target) => Message::Solicitation(Solicitation {
            source: Ipv6Addr::UNSPECIFIED,
            destination: wire::solicited_node(target),
            target,
            link_layer: None,
        }),
    };
    make(link, ip, mac, station, message)
}

#[cfg(test)]
mod tests;
