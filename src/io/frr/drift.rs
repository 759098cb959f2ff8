//! What somebody else changes in FRR is found and put right.
//!
//! A look costs the daemon the printing of its configuration, and us a digest of it: only a text that is not the one of
//! the look before is parsed and compared. What is not ours stays as it is; what users' raw lines have made of FRR is
//! theirs, and is looked after like ours.

use super::{Driver, Report};
use crate::frr::{Daemon, Model, delta, read};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How often what a look found is told again, until the daemon has it: one entry may hide another.
const ROUNDS: usize = 3;

impl Driver {
    /// Compares what the daemons run with `wanted`, and brings them back to it.
    pub(super) async fn look(&mut self, wanted: &Model) {
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            let mut lines = self.strange(daemon, wanted).await;
            if lines.is_empty() {
                continue;
            }
            self.report(Report::Drift { daemon, lines: lines.clone() }).await;
            for _ in 0..ROUNDS {
                // what is repaired may have been a raw line's
                self.raw.lose();
                self.apply(wanted).await;
                let left = self.strange(daemon, wanted).await;
                let helped = left != lines;
                lines = left;
                if lines.is_empty() || !helped {
                    break;
                }
            }
            if !lines.is_empty() {
                self.report(Report::Unrepaired { daemon, lines }).await;
                self.assume(wanted);
                self.doubtful = true;
                self.settle(wanted, |_| true).await;
            }
        }
        self.look_beside(wanted).await;
    }

    /// Lines of users that no model knows: they are sent again when anything has changed that no model knows, and it is
    /// told of when that changed something back.
    async fn look_beside(&mut self, wanted: &Model) {
        if !self.bgp.is_up() {
            return;
        }
        let lines = self.raw.shed_again(&wanted.raw, &self.reports).await;
        if !lines.is_empty() {
            self.report(Report::Drift { daemon: Daemon::Bgp, lines }).await;
            // what these lines took from ours
            self.raw.lose();
            self.relearn().await;
            self.apply(wanted).await;
        }
        if wanted.raw.is_empty() {
            return;
        }
        let Some(strange) = self.raw.strange().await else { return };
        self.raw.lose();
        self.apply(wanted).await;
        let lines = self.raw.restored(&strange);
        if !lines.is_empty() {
            self.report(Report::Drift { daemon: Daemon::Bgp, lines }).await;
        }
    }

    /// From now on what the daemons lack needs no look where it is `excused`, or was before. What else they lack
    /// somebody took from them, and the next look finds it.
    pub(super) async fn settle(&mut self, wanted: &Model, excused: impl Fn(&String) -> bool + Send) {
        let mut usual = Vec::new();
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            if let Some(text) = self.text(daemon).await {
                let missing = missing(daemon, read(&text).model, wanted);
                let (fine, drift): (Vec<_>, Vec<_>) =
                    missing.into_iter().partition(|line| self.usual.contains(line) || excused(line));
                usual.extend(fine);
                self.link(daemon).settled = drift.is_empty().then(|| digest(&text));
            }
        }
        self.usual = usual;
    }

    /// What the daemons lack at this moment.
    pub(super) async fn lacking(&mut self, wanted: &Model) -> Vec<String> {
        let mut lacking = Vec::new();
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            if let Some(text) = self.text(daemon).await {
                lacking.extend(missing(daemon, read(&text).model, wanted));
            }
        }
        lacking
    }

    /// What would have to be said to this daemon; nothing when it has not changed, or is not there.
    async fn strange(&mut self, daemon: Daemon, wanted: &Model) -> Vec<String> {
        let Some(text) = self.text(daemon).await else { return Vec::new() };
        let digest = digest(&text);
        if self.link(daemon).settled == Some(digest) {
            return Vec::new();
        }
        let found = read(&text).model;
        let mut lines = missing(daemon, found.clone(), wanted);
        lines.retain(|line| !self.usual.contains(line));
        if lines.is_empty() {
            self.link(daemon).settled = Some(digest);
        } else {
            self.know(daemon, found);
        }
        lines
    }

    async fn text(&mut self, daemon: Daemon) -> Option<String> {
        let link = self.link(daemon);
        match link.running_config().await {
            Ok(text) => text,
            Err(error) => {
                link.down(error);
                None
            }
        }
    }
}

/// What `daemon`, which runs `found`, would have to be told of `wanted`.
fn missing(daemon: Daemon, found: Model, wanted: &Model) -> Vec<String> {
    let other = match daemon {
        Daemon::Bgp => Model { bfd: wanted.bfd.clone(), ..found },
        Daemon::Bfd => Model { bfd: found.bfd, log: found.log, ..wanted.clone() },
    };
    let steps = delta(&other, wanted).into_iter().filter(|step| step.daemon == daemon);
    steps.flat_map(|step| step.lines).map(|line| line.text).collect()
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
