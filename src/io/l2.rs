//! Layer 2 in the world: the sockets' frames to the responder, its answers back.
//!
//! One task owns sockets and responder. Reading, announcing and joining go in small portions, so that none of them
//! keeps an answer waiting. A frame that cannot be sent is dropped: the asker asks again, the announcement is
//! repeated anyway. Nothing is decided here.

mod counters;
mod telling;

pub use super::socket::{Sockets, give_up_capabilities};
pub use counters::{Counters, Counts, Totals};

use super::{
    apart::apart,
    clock::{now, until},
    socket::{Groups, Packets, Ready},
};
use crate::{
    l2::{Claim, Frame, Outcome, Reason, Responder, Rivals, Verdict},
    net::{IfIndex, Interfaces, Links, Mac},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};
use telling::Telling;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The addresses to answer for, and on which interfaces.
pub type Wanted = Arc<BTreeMap<IpAddr, Interfaces>>;

/// What to answer for and who else may, which go together: what another node has a right to is not answered for by the
/// one and not known by the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// The addresses to answer for.
    pub wanted: Wanted,
    /// The other nodes.
    pub rivals: Arc<Rivals>,
}

/// The addresses that others claim, too.
pub type Claims = Arc<BTreeMap<IpAddr, Claim>>;

/// Frames read, or memberships changed, before the other events get their turn.
const PORTION: usize = 64;

/// What the driver wakes up for.
enum Event<'a> {
    /// A socket has frames.
    Readable(Ready<'a>),
    /// The duty or the interfaces changed, or, `false`, nobody is left to change them.
    Changed(bool),
    /// An announcement's or a question's turn.
    Due,
    /// Memberships are left to change.
    Memberships,
    /// What others claim is to be told.
    Tell,
}

/// Answers and announces until a sender of `duty` or `links` is gone. What others claim is told to `claims`. Nothing is
/// sent on ending: whoever takes an address over announces it. Dropping the future is safe at any time.
///
/// # Errors
/// A socket that cannot be read. Failure to send is logged, once per interface until it works again.
pub async fn drive(
    sockets: Sockets,
    mut duty: watch::Receiver<Duty>,
    mut links: watch::Receiver<Links>,
    counters: Arc<Counters>,
    claims: watch::Sender<Claims>,
) -> anyhow::Result<()> {
    let (arp, neighbour) = sockets.listen()?;
    let mut driver = Driver::new(&arp, &neighbour, counters);
    driver.follow(&duty.borrow_and_update().clone(), &links.borrow_and_update().clone());
    loop {
        let event = tokio::select! {
            ready = arp.readable() => Event::Readable(ready?),
            ready = neighbour.readable() => Event::Readable(ready?),
            changed = duty.changed() => Event::Changed(changed.is_ok()),
            changed = links.changed() => Event::Changed(changed.is_ok()),
            () = until(driver.responder.next_deadline()) => Event::Due,
            () = future::ready(()), if !driver.memberships.is_empty() => Event::Memberships,
            () = until(driver.telling.at()) => Event::Tell,
        };
        match event {
            Event::Readable(ready) => driver.answer(ready)?,
            Event::Changed(true) => {
                driver.follow(&duty.borrow_and_update().clone(), &links.borrow_and_update().clone());
            }
            Event::Changed(false) => return Ok(()),
            Event::Due => driver.announce(),
            Event::Memberships => driver.change_memberships(),
            Event::Tell => driver.tell(&claims),
        }
        driver.look();
    }
}

/// As [`drive`], on a thread of its own: no answer, and nothing that is to be conceded, waits for what else this program
/// computes.
///
/// # Errors
/// As [`drive`].
pub async fn drive_apart(
    sockets: Sockets,
    duty: watch::Receiver<Duty>,
    links: watch::Receiver<Links>,
    counters: Arc<Counters>,
    claims: watch::Sender<Claims>,
) -> anyhow::Result<()> {
    apart("layer2", move || drive(sockets, duty, links, counters, claims)).await
}

struct Driver<'a> {
    arp: &'a Packets,
    neighbour: &'a Packets,
    responder: Responder,
    groups: Groups,
    /// Memberships to enter (`true`) and to leave.
    memberships: VecDeque<(bool, (IfIndex, Ipv6Addr))>,
    counters: Arc<Counters>,
    telling: Telling,
    /// Interfaces that did not take the last frame, so that it is said once.
    failing: BTreeSet<IfIndex>,
    /// Interfaces that did not take a membership, likewise.
    unjoined: BTreeSet<IfIndex>,
}

impl<'a> Driver<'a> {
    fn new(arp: &'a Packets, neighbour: &'a Packets, counters: Arc<Counters>) -> Self {
        Self {
            arp,
            neighbour,
            responder: Responder::default(),
            groups: Groups::default(),
            memberships: VecDeque::new(),
            counters,
            telling: Telling::default(),
            failing: BTreeSet::new(),
            unjoined: BTreeSet::new(),
        }
    }

    fn follow(&mut self, Duty { wanted, rivals }: &Duty, links: &Links) {
        self.responder.set(now(), wanted, links);
        if !Arc::ptr_eq(rivals, self.responder.rivals()) {
            self.responder.follow(now(), rivals);
        }
        self.counters.lock().by_ip.retain(|ip, _| wanted.contains_key(ip));
        self.failing.retain(|link| links.contains_key(link));
        self.unjoined.retain(|link| links.contains_key(link));
        let target: BTreeSet<_> = self.responder.groups().collect();
        let held: BTreeSet<_> = self.groups.joined().collect();
        let gone = held.difference(&target).map(|membership| (false, *membership));
        self.memberships =
            gone.chain(target.difference(&held).map(|membership| (true, *membership))).collect();
    }

    fn answer(&mut self, ready: Ready<'_>) -> anyhow::Result<()> {
        // The frames of a portion are answered as they are read; only the counting waits, for one lock.
        let (mut verdicts, mut contests) = (Vec::with_capacity(PORTION), Vec::new());
        Packets::read(ready, PORTION, |link, bytes| {
            let verdict = self.responder.heard(link, bytes);
            let sent = matches!(verdict, Verdict::Reply(frame) if self.send(&frame));
            if let Verdict::Drop(Reason::ForeignClaim { ip, by }) = verdict {
                let loud = bytes.first().is_some_and(|first| first & 1 == 1);
                contests.extend(self.contest(link, ip, by, loud));
            }
            verdicts.push((verdict, sent));
            if self.responder.waits() {
                self.responder.met(now(), link, bytes);
            }
        })?;
        let counters = Arc::clone(&self.counters);
        let mut totals = counters.lock();
        for is_node in contests {
            totals.claims_of_nodes += u64::from(is_node);
            totals.claims_of_strangers += u64::from(!is_node);
        }
        for (verdict, sent) in verdicts {
            match verdict {
                Verdict::Reply(frame) => {
                    let counts = totals.by_ip.entry(frame.ip).or_default();
                    counts.requests_received += 1;
                    counts.responses_sent += u64::from(sent);
                    totals.unsent += u64::from(!sent);
                }
                Verdict::Drop(reason) => {
                    *totals.dropped.entry(reason.name()).or_default() += 1;
                    if let Reason::ForeignClaim { ip, .. } = reason {
                        totals.by_ip.entry(ip).or_default().foreign_claims += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Another station claims an address: carries out what follows, before the next frame is read. Whether it is
    /// a node, if that is news.
    fn contest(&mut self, link: IfIndex, ip: IpAddr, by: Mac, loud: bool) -> Option<bool> {
        let outcome = self.responder.contest(now(), link, ip, by, loud);
        let is_node = self.responder.is_node(by);
        match outcome {
            Outcome::Concede => {
                debug!(%ip, %by, "another node claims the address, which is its own: conceded");
            }
            Outcome::Defend => {
                debug!(%ip, %by, is_node, "another station claims the address: announced again");
            }
            Outcome::HandOver | Outcome::Keep | Outcome::Known => return None,
        }
        Some(is_node)
    }

    /// Looks whether there is something to tell.
    fn look(&mut self) {
        self.telling.look(self.responder.revision(), now);
    }

    /// Tells what others claim, if that is another than before.
    fn tell(&mut self, claims: &watch::Sender<Claims>) {
        self.telling.told(self.responder.revision());
        claims.send_if_modified(|told| {
            let now = self.responder.claims();
            let news = **told != now;
            if news {
                *told = Arc::new(now);
            }
            news
        });
    }

    fn announce(&mut self) {
        for question in self.responder.questions(now()) {
            self.send(&question);
        }
        let frames = self.responder.due(now());
        let sent: Vec<bool> = frames.iter().map(|frame| self.send(frame)).collect();
        let mut totals = self.counters.lock();
        for (frame, sent) in frames.iter().zip(sent) {
            totals.by_ip.entry(frame.ip).or_default().gratuitous_sent += u64::from(sent);
            totals.unsent += u64::from(!sent);
        }
    }

    fn change_memberships(&mut self) {
        for _ in 0..PORTION {
            let Some((enter, (link, group))) = self.memberships.pop_front() else { break };
            if !enter {
                self.groups.leave(link, group);
            } else if let Err(error) = self.groups.join(link, group)
                && self.unjoined.insert(link)
            {
                warn!(link = link.0, %group, %error, "cannot join a group; switches that snoop MLD may miss it");
            }
        }
    }

    /// Whether the interface took the frame.
    fn send(&mut self, frame: &Frame) -> bool {
        let packets = if frame.ip.is_ipv4() { self.arp } else { self.neighbour };
        match packets.send(frame.link, &frame.bytes) {
            Ok(()) => {
                if self.failing.remove(&frame.link) {
                    info!(link = frame.link.0, "the interface takes frames again");
                }
                true
            }
            Err(error) => {
                if self.failing.insert(frame.link) {
                    warn!(link = frame.link.0, %error, "cannot send on the interface");
                }
                false
            }
        }
    }
}
