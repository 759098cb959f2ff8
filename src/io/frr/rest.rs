//! No session waits for BFD for ever.
//!
//! FRR 10 does not begin a session while its BFD is down. A router that begins with BFD only when BGP speaks, as many
//! do, and FRR 10 itself where it learns its own address from the session, would never be met again after an outage:
//! each waits for the other. BGP does not tell whether the other end will have BFD at all (RFC 5882, section 4.1, weighs
//! that), so that a session that rests is begun without it, and has it again at once.

use super::{Driver, Report};
use crate::frr::{
    Daemon, Model,
    show::{self, Peering, Progress},
    wake,
};
use std::{collections::BTreeSet, time::Duration};

/// Between two looks. Who rests at two of them in a row is woken: a BFD that comes back in time does it sooner.
pub(super) const PACE: Duration = Duration::from_secs(3);

/// Who rested at the last look, and who was woken and is away still: it calls for a while, and rests again when nobody
/// answers, and is told of once.
#[derive(Debug, Default)]
pub(super) struct Resting {
    before: BTreeSet<Peering>,
    told: BTreeSet<Peering>,
}

/// Whether any session of `model` has BFD.
pub(super) fn watches(model: &Model) -> bool {
    model.routers.values().flat_map(|router| router.sessions.values()).any(|session| session.bfd.is_some())
}

impl Driver {
    /// Begins the sessions of `wanted` that rest.
    pub(super) async fn wake(&mut self, wanted: &Model) {
        let watched = |peering: &Peering| {
            let router = wanted.routers.get(&peering.vrf);
            router.and_then(|router| router.sessions.get(&peering.neighbor)).is_some_and(|s| s.bfd.is_some())
        };
        if !self.bgp.is_up() {
            self.resting = Resting::default();
            return;
        }
        let sessions = match self.bgp.ask(&["end", "show bgp vrf all neighbors json"]).await {
            Ok(answers) => {
                answers.last().and_then(|answer| show::details(&answer.text).ok()).unwrap_or_default()
            }
            Err(error) => return self.bgp.down(error),
        };
        let rests =
            sessions.iter().filter(|(who, session)| session.progress == Progress::Resting && watched(who));
        let rest: BTreeSet<Peering> = rests.map(|(who, _)| who.clone()).collect();
        let long: BTreeSet<Peering> = rest.intersection(&self.resting.before).cloned().collect();
        if !long.is_empty() {
            let steps = wake(wanted, &long);
            if let Err(error) = self.send(Daemon::Bgp, &steps, &mut Vec::new()).await {
                self.bgp.down(error);
            }
            // users' lines about the BFD of these went with it
            self.raw.lose();
        }
        let is_away = |who: &Peering| {
            sessions.get(who).is_some_and(|session| session.progress != Progress::Established)
        };
        self.resting.told.retain(is_away);
        self.resting.before = rest;
        for who in long {
            if self.resting.told.insert(who.clone()) {
                self.report(Report::Woken { who }).await;
            }
        }
    }
}
