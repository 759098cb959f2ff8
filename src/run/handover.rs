//! An address that moves to another live node is not dropped at once: it is answered for until the other one announces
//! it, which is heard on the wire, or for [`PATIENCE`].
//!
//! So a drained node, a speaker that ends and an endpoint that moves lose no request: whoever asks in between gets the
//! old answer, which still leads to a node that serves. There are never two answers for longer than an announcement
//! takes to be heard: the one who hands over concedes to the first one (`l2`'s fence; the address counts as the other's
//! meanwhile). A node that has just come answers before it says so, so nothing is handed over to it. After a partition
//! nothing is handed over either: the fence has settled it by then.

use crate::{
    io::l2::{Claims, Duty, Wanted},
    l2::Rivals,
    names::NodeName,
    net::Interfaces,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the other one has to announce what has become its own.
const PATIENCE: Duration = Duration::from_secs(1);

/// The addresses on their way to other nodes.
#[derive(Default)]
pub(super) struct Handover {
    /// What the last pass wants.
    wanted: Wanted,
    rivals: Arc<Rivals>,
    going: BTreeMap<IpAddr, Going>,
    /// When the first one is given up.
    due: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Debug)]
struct Going {
    interfaces: Interfaces,
    to: NodeName,
    until: Instant,
}

impl Handover {
    /// Follows a pass. `moved` says which addresses are whose now.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        wanted: Wanted,
        rivals: Arc<Rivals>,
        moved: impl FnOnce(&BTreeSet<IpAddr>) -> BTreeMap<IpAddr, NodeName>,
    ) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.rivals = rivals;
        let lost: BTreeMap<IpAddr, Interfaces> = before
            .iter()
            .filter(|(ip, _)| !self.wanted.contains_key(*ip))
            .map(|(ip, interfaces)| (*ip, interfaces.clone()))
            .collect();
        let moved = moved(&lost.keys().chain(self.going.keys()).copied().collect());
        // what came back, or is nobody's any more, is not handed over
        self.going.retain(|ip, _| moved.contains_key(ip) && !self.wanted.contains_key(ip));
        for (ip, interfaces) in lost {
            if let Some(to) = moved.get(&ip).cloned() {
                self.going.entry(ip).or_insert(Going { interfaces, to, until: now + PATIENCE });
            }
        }
        for (ip, going) in &mut self.going {
            going.to = moved.get(ip).unwrap_or(&going.to).clone();
        }
        self.wait();
    }

    /// Others were heard: what they announce is theirs.
    pub(super) fn heard(&mut self, claims: &Claims) {
        self.going.retain(|ip, _| claims.get(ip).is_none_or(|claim| !claim.conceded));
        self.wait();
    }

    /// Gives up what has waited for too long.
    pub(super) fn pass(&mut self, now: Instant) {
        for (ip, going) in &self.going {
            if going.until <= now {
                tracing::debug!(%ip, to = %going.to, "no announcement was heard of what was handed over");
            }
        }
        self.going.retain(|_, going| going.until > now);
        self.wait();
    }

    /// What is to be answered for, and whom what belongs to.
    pub(super) fn desired(&self) -> Duty {
        if self.going.is_empty() {
            return Duty { wanted: Arc::clone(&self.wanted), rivals: Arc::clone(&self.rivals) };
        }
        let mut wanted = BTreeMap::clone(&self.wanted);
        let mut rivals = Rivals::clone(&self.rivals);
        for (ip, going) in &self.going {
            wanted.insert(*ip, going.interfaces.clone());
            rivals.owners.insert(*ip, [going.to.clone()].into());
        }
        Duty { wanted: Arc::new(wanted), rivals: Arc::new(rivals) }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_done(&self) -> bool {
        self.going.is_empty()
    }

    /// Waits until [`Handover::pass`] has something to give up.
    ///
    /// Cancel-safe.
    pub(super) async fn due(&mut self) {
        match &mut self.due {
            Some(due) => due.await,
            None => std::future::pending().await,
        }
    }

    fn wait(&mut self) {
        let first = self.going.values().map(|going| going.until).min();
        self.due = first.map(|until| Box::pin(sleep_until(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{io::clock::after, l2::Claim, net::Mac};

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn wanted(ips: &[u8]) -> Wanted {
        Arc::new(ips.iter().map(|last| (ip(*last), Interfaces::All)).collect())
    }

    fn answered(handover: &Handover) -> Vec<IpAddr> {
        handover.desired().wanted.keys().copied().collect()
    }

    fn to_m(of: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, NodeName> {
        of.iter().map(|ip| (*ip, NodeName::from("m"))).collect()
    }

    #[tokio::test]
    async fn what_moves_is_answered_for_until_the_other_announces_it() {
        let now = after(Duration::ZERO);
        let mut handover = Handover::default();
        handover.follow(now, wanted(&[1, 2, 3]), Arc::default(), |lost| {
            assert!(lost.is_empty());
            BTreeMap::new()
        });
        assert!(handover.is_done());
        // 1 stays, 2 moves, 3 is nobody's any more
        handover.follow(now, wanted(&[1]), Arc::default(), |lost| {
            assert_eq!(*lost, [ip(2), ip(3)].into());
            [(ip(2), "m".into())].into()
        });
        assert_eq!(answered(&handover), [ip(1), ip(2)]);
        assert_eq!(handover.desired().rivals.owners, [(ip(2), ["m".into()].into())].into());
        let claim = |conceded| Claim { by: Mac::ZERO, node: Some("m".into()), conceded };
        handover.heard(&Arc::new([(ip(2), claim(false))].into()));
        assert_eq!(answered(&handover), [ip(1), ip(2)]);
        handover.heard(&Arc::new([(ip(2), claim(true))].into()));
        assert_eq!(answered(&handover), [ip(1)]);
        assert!(handover.is_done() && handover.desired().rivals.owners.is_empty());
    }

    #[tokio::test]
    async fn it_does_not_wait_for_ever_and_what_comes_back_is_kept() {
        let start = after(Duration::ZERO);
        let (half, end) = (start + PATIENCE / 2, start + PATIENCE);
        let mut handover = Handover::default();
        handover.follow(start, wanted(&[1, 2]), Arc::default(), to_m);
        handover.follow(start, wanted(&[]), Arc::default(), to_m);
        assert_eq!(answered(&handover), [ip(1), ip(2)]);
        // another pass does not make it longer
        handover.follow(half, wanted(&[1]), Arc::default(), to_m);
        handover.pass(half);
        assert_eq!(answered(&handover), [ip(1), ip(2)]);
        assert_eq!(handover.desired().rivals.owners.len(), 1, "1 is its own again");
        handover.due().await;
        handover.pass(end);
        assert_eq!(answered(&handover), [ip(1)]);
        // and what is nobody's any more is dropped at once
        handover.follow(end, wanted(&[]), Arc::default(), to_m);
        assert!(!handover.is_done());
        handover.follow(end, wanted(&[]), Arc::default(), |_| BTreeMap::new());
        assert!(handover.is_done());
    }
}
