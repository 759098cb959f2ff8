//! Whether the nodes whose place is taken are back: asked on the wire, all the time.
//!
//! Where a network was cut, both halves answer for an address; when it heals, nobody says so. So the node that took
//! over asks the hardware address of the one that it stands in for, without bothering anybody else: the first answer is
//! the news. An answer for one address is a reason to ask for all of them at once.
//! It is asked whenever somebody asks for an address of its, too, since it is then that there are two answers: one that
//! has been away for long is asked seldom otherwise. No clock, no frame.

use super::{Rivals, schedule::Place};
use crate::{
    names::NodeName,
    net::{IfIndex, Mac},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound::{Excluded, Unbounded},
    time::{Duration, Instant},
};

/// From question to question: how long two may have answers after a network has healed.
const EVERY: Duration = Duration::from_millis(25);

/// The same for one who has been away for long: it is rather dead than cut off.
const SELDOM: Duration = Duration::from_secs(1);

/// The same, at least, when somebody wants to know where one of its addresses is.
const HURRY: Duration = Duration::from_millis(5);

/// What is long.
const LONG: Duration = Duration::from_secs(600);

/// When one is back, all addresses are asked for again after this pause, for so long: questions and answers get lost
/// when there are many.
const SWEEP: Duration = Duration::from_millis(10);
const SWEEPS: Duration = Duration::from_secs(1);

/// The questions, by whom they go to and where.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(BTreeMap<(NodeName, IfIndex), Vigil>);

#[derive(Clone, Debug)]
struct Vigil {
    /// Where the node is: it may have several interfaces, and one of them is on this segment.
    stations: Vec<Mac>,
    /// Its addresses that are answered for here.
    ips: BTreeSet<IpAddr>,
    last: Option<IpAddr>,
    since: Instant,
    /// When it was asked, and when it is next.
    asked: Instant,
    at: Instant,
    /// Addresses to ask for without a pause.
    sweep: usize,
    /// When it was last found to be back.
    found: Option<Instant>,
}

impl Watch {
    /// Follows what is answered for at `places`, and whose that is.
    pub(super) fn follow(&mut self, now: Instant, places: impl Iterator<Item = Place>, rivals: &Rivals) {
        let mut all = BTreeMap::<(NodeName, IfIndex), Vigil>::new();
        if !rivals.owners.is_empty() {
            for (ip, link) in places {
                for owner in rivals.owners.get(&ip).into_iter().flatten() {
                    let fresh = || self.vigil(now, owner, link, rivals);
                    all.entry((owner.clone(), link)).or_insert_with(fresh).ips.insert(ip);
                }
            }
        }
        all.retain(|_, vigil| !vigil.stations.is_empty());
        self.0 = all;
    }

    fn vigil(&self, now: Instant, owner: &NodeName, link: IfIndex, rivals: &Rivals) -> Vigil {
        let stations =
            rivals.stations.iter().filter(|(_, node)| *node == owner).map(|(mac, _)| *mac).collect();
        match self.0.get(&(owner.clone(), link)) {
            Some(old) => Vigil { stations, ips: BTreeSet::new(), ..old.clone() },
            None => {
                let ips = BTreeSet::new();
                let (since, at) = (now, now + EVERY);
                Vigil { stations, ips, last: None, since, asked: now, at, sweep: 0, found: None }
            }
        }
    }

    /// Whether anybody is asked.
    pub(super) fn waits(&self) -> bool {
        !self.0.is_empty()
    }

    /// `node` is back on `link`: its addresses there. It is not asked any more; who else was away may be back, too, and
    /// is asked at once.
    pub(super) fn back(&mut self, now: Instant, link: IfIndex, node: &NodeName) -> BTreeSet<IpAddr> {
        let Some(gone) = self.0.remove(&(node.clone(), link)) else { return BTreeSet::new() };
        self.0.iter_mut().filter(|((_, on), _)| *on == link).for_each(|(_, vigil)| vigil.at = now);
        gone.ips
    }

    /// Somebody wants to know where the address at `place` is.
    pub(super) fn hurry(&mut self, now: Instant, (ip, link): Place) {
        for (_, vigil) in self.0.iter_mut().filter(|((_, on), vigil)| *on == link && vigil.ips.contains(&ip))
        {
            vigil.at = vigil.at.min(now.max(vigil.asked + HURRY));
        }
    }

    /// What was answered for at `place` is no more.
    pub(super) fn leave(&mut self, (ip, link): Place) {
        for (_, vigil) in self.0.iter_mut().filter(|((_, on), _)| *on == link) {
            vigil.ips.remove(&ip);
        }
        self.0.retain(|_, vigil| !vigil.ips.is_empty());
    }

    /// `node` has answered for what is answered for at `place`: what moves to it has begun to.
    pub(super) fn found(&mut self, now: Instant, place: Place, node: &NodeName) {
        let (ip, link) = place;
        for ((owner, on), vigil) in &mut self.0 {
            if *on != link || !vigil.ips.remove(&ip) || owner != node {
                continue;
            }
            let again = vigil.found.replace(now).is_some_and(|found| now < found + SWEEPS);
            if !again {
                (vigil.sweep, vigil.at) = (vigil.ips.len(), now);
            }
        }
        self.0.retain(|_, vigil| !vigil.ips.is_empty());
    }

    /// The next question whose turn has come: for the address, of the stations.
    pub(super) fn turn(&mut self, now: Instant) -> Option<(Place, Vec<Mac>)> {
        let ((_, link), vigil) = self.0.iter_mut().find(|(_, vigil)| vigil.at <= now)?;
        let after = vigil.last.map_or(Unbounded, Excluded);
        let ip = vigil.ips.range((after, Unbounded)).next().or_else(|| vigil.ips.first()).copied()?;
        (vigil.last, vigil.asked) = (Some(ip), now);
        let long = now.saturating_duration_since(vigil.since) >= LONG;
        let pause = match vigil.sweep.checked_sub(1) {
            Some(left) => {
                vigil.sweep = left;
                Duration::ZERO
            }
            None if vigil.found.is_some_and(|found| now < found + SWEEPS) => {
                vigil.sweep = vigil.ips.len();
                SWEEP
            }
            None if long => SELDOM,
            None => EVERY,
        };
        vigil.at = now + pause;
        Some(((ip, *link), vigil.stations.clone()))
    }

    /// When [`Self::turn`] will next have something.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|vigil| vigil.at).min()
    }
}
