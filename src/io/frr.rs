//! Drives FRR: keeps bgpd and bfdd at the wanted model, and `frr.conf` with them.
//!
//! One task owns both connections. It reads back what the daemons have when it connects, sends only differences,
//! and checks the answer to every line. A daemon that goes away is read back when it is there again. Nothing is ever
//! withdrawn because this program stops. What comes while lines are being applied is taken together afterwards.

mod file;
mod link;
mod look;
mod vty;

pub use file::write;
pub use look::{Meant, Seen, Told, look, running_config};
pub use vty::{Answer, Vty};

use crate::frr::{Daemon, Model, Step, Subject, delta, read};
use anyhow::Result;
use link::Link;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Where FRR is.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The directory of the vty sockets.
    pub vty_dir: PathBuf,
    /// The file that FRR starts from.
    pub conf: PathBuf,
}

/// What happened.
#[derive(Debug)]
pub enum Report {
    /// A daemon is there, and was read back.
    Connected {
        /// The daemon.
        daemon: Daemon,
        /// What it runs that is not ours; it stays as it is.
        foreign: Vec<String>,
    },
    /// A daemon that is needed is not there. Told once, until it is there again.
    Unreachable {
        /// The daemon.
        daemon: Daemon,
        /// Why.
        error: anyhow::Error,
    },
    /// The daemons have the wanted model, but for lines that were reported as refused.
    Applied {
        /// The lines that were sent.
        lines: Vec<String>,
        /// How long it took, from the first line to the last answer.
        took: Duration,
    },
    /// A daemon did not take a line. It is sent again when something else is wanted, if it still is.
    Refused {
        /// The line.
        line: String,
        /// What the daemon said.
        answer: String,
        /// What the line is about.
        subject: Subject,
    },
    /// A daemon took a line, and said something about it that it does not always say.
    Remarked {
        /// The line.
        line: String,
        /// What the daemon said.
        answer: String,
    },
    /// `frr.conf` could not be written; FRR would start from an older one.
    Unwritten {
        /// Why.
        error: anyhow::Error,
    },
}

/// Keeps FRR at the newest of `desired` until its sender is gone. While that is `None`, nothing is touched.
pub async fn drive(
    paths: Paths,
    mut desired: watch::Receiver<Option<Arc<Model>>>,
    reports: mpsc::Sender<Report>,
) {
    let (done, file) = watch::channel(None);
    let keeper = tokio::spawn(file::keep(paths.conf.clone(), file, reports.clone()));
    let mut driver = Driver {
        bgp: Link::new(Daemon::Bgp, paths.vty_dir.join("bgpd.vty")),
        bfd: Link::new(Daemon::Bfd, paths.vty_dir.join("bfdd.vty")),
        known: Model::default(),
        doubtful: false,
        reports,
    };
    loop {
        let wanted = desired.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            driver.reach(&wanted).await;
            driver.apply(&wanted).await;
            // only now, so that rendering delays no announcement
            done.send_if_modified(|done| {
                let news = !done.as_ref().is_some_and(|done| Arc::ptr_eq(done, &wanted));
                *done = Some(wanted);
                news
            });
        }
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    break;
                }
                driver.doubt().await;
            }
            () = driver.bgp.due() => {}
            () = driver.bfd.due() => {}
        }
    }
    drop(done);
    // an error is a panic there, which has been reported
    let _ = keeper.await;
}

/// What FRR says to lines that it has taken, and that tells us nothing. The second is FRR 8's, with the code of a
/// refusal, when the message to zebra that goes with the setting has to wait a moment in its buffer.
const USUAL: [&str; 3] = [
    "Graceful restart configuration changed, reset this peer to take effect",
    "Graceful restart configuration changed, reset this peer to take effect\n% Invalid value",
    "% Echo mode works correctly for IPv4, but only works when the peer is also FRR for IPv6.",
];

struct Driver {
    bgp: Link,
    bfd: Link,
    /// What the daemons have: profiles from bfdd, everything else from bgpd.
    known: Model,
    /// Whether a line was refused, so that `known` has to be read back before the next delta.
    doubtful: bool,
    reports: mpsc::Sender<Report>,
}

impl Driver {
    /// Connects what is not connected, and reads it back.
    async fn reach(&mut self, wanted: &Model) {
        if let Some(text) = self.bgp.connect(true, &self.reports).await {
            self.found(Daemon::Bgp, &text).await;
        }
        // without a profile nobody misses bfdd
        let needed = !wanted.bfd.is_empty();
        if let Some(text) = self.bfd.connect(needed, &self.reports).await {
            self.found(Daemon::Bfd, &text).await;
        }
    }

    /// Reads the daemons back where a refused line left doubts.
    async fn doubt(&mut self) {
        if !std::mem::take(&mut self.doubtful) {
            return;
        }
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            match self.link(daemon).running_config().await {
                Ok(Some(text)) => self.know(daemon, read(&text).model),
                Ok(None) => {}
                Err(error) => self.lose(daemon, error).await,
            }
        }
    }

    async fn found(&mut self, daemon: Daemon, text: &str) {
        let found = read(text);
        self.know(daemon, found.model);
        self.report(Report::Connected { daemon, foreign: found.foreign }).await;
    }

    fn know(&mut self, daemon: Daemon, model: Model) {
        match daemon {
            Daemon::Bgp => {
                let bfd = std::mem::take(&mut self.known.bfd);
                self.known = Model { bfd, ..model };
            }
            Daemon::Bfd => {
                self.known.bfd = model.bfd;
                // where the two differ, both are told again
                self.known.log = model.log;
            }
        }
    }

    /// Brings the daemons that are there from `known` to `wanted`.
    async fn apply(&mut self, wanted: &Model) {
        let mut steps = delta(&self.known, wanted);
        steps.retain(|step| self.link(step.daemon).is_up());
        if steps.is_empty() {
            return;
        }
        let start = now();
        let mut lines = Vec::new();
        for group in steps.chunk_by(|a, b| a.daemon == b.daemon && a.undo.is_none() && b.undo.is_none()) {
            let Some(daemon) = group.first().map(|step| step.daemon) else { continue };
            if !self.link(daemon).is_up() {
                continue;
            }
            match self.send(daemon, group, &mut lines).await {
                Ok(()) => {}
                Err(error) => self.lose(daemon, error).await,
            }
        }
        // a daemon that was lost is read back when it is there again
        if self.bgp.is_up() {
            self.know(Daemon::Bgp, Model { bfd: Default::default(), ..wanted.clone() });
        }
        if self.bfd.is_up() {
            self.known.bfd.clone_from(&wanted.bfd);
        }
        let took = start.elapsed();
        self.report(Report::Applied { lines, took }).await;
    }

    /// Sends steps in one piece, and looks at every answer.
    async fn send(&mut self, daemon: Daemon, group: &[Step], sent: &mut Vec<String>) -> Result<()> {
        let mut lines: Vec<&str> = Vec::new();
        for step in group {
            // wherever the step before has ended, also if it was refused
            lines.extend(["end", "configure terminal"]);
            lines.extend(step.context.iter().chain(&step.lines).map(|line| line.text.as_str()));
        }
        let mut answers = self.link(daemon).ask(&lines).await?.into_iter();
        for step in group {
            // `end` has nothing to end the first time
            let entered = answers.by_ref().take(2).last();
            let mut why = entered.filter(|answer| answer.code != 0).map(|answer| answer.text);
            let mut refused = false;
            for (i, line) in step.context.iter().chain(&step.lines).enumerate() {
                let Some(answer) = answers.next() else { break };
                let text = answer.text.trim().to_owned();
                sent.push(line.text.clone());
                let (line, subject) = (line.text.clone(), line.subject.clone());
                if USUAL.contains(&text.as_str()) {
                    continue;
                }
                if answer.code != 0 {
                    refused = true;
                    // a line in the wrong place is refused for the reason that the way there was
                    let answer = why.clone().unwrap_or_else(|| text.clone());
                    self.report(Report::Refused { line, answer, subject }).await;
                    if i < step.context.len() {
                        why.get_or_insert(text);
                    }
                } else if !text.is_empty() {
                    self.report(Report::Remarked { line, answer: text }).await;
                }
            }
            self.doubtful |= refused;
            if let Some(undo) = step.undo.as_deref().filter(|_| refused) {
                self.link(daemon).ask(&["end", "configure terminal", undo]).await?;
            }
        }
        Ok(())
    }

    async fn lose(&mut self, daemon: Daemon, error: anyhow::Error) {
        self.link(daemon).down();
        self.report(Report::Unreachable { daemon, error }).await;
    }

    const fn link(&mut self, daemon: Daemon) -> &mut Link {
        match daemon {
            Daemon::Bgp => &mut self.bgp,
            Daemon::Bfd => &mut self.bfd,
        }
    }

    async fn report(&self, report: Report) {
        // nobody left to tell is no reason to stop
        let _ = self.reports.send(report).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "io measures")]
fn now() -> Instant {
    Instant::now()
}
