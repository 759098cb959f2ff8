//! Drives FRR: keeps bgpd and bfdd at the wanted model, and `frr.conf` with them.
//!
//! One task owns both connections. It reads back what the daemons have when it connects, sends only differences,
//! and checks the answer to every line. A daemon that goes away, or hangs, is read back when it is there again. What
//! somebody else changes is found by a look at what the daemons run, now and then, and put right. Nothing is ever
//! withdrawn because this program stops. What comes while lines are being applied is taken together afterwards.

mod drift;
mod file;
mod link;
mod look;
mod raw;
mod rest;
mod vty;

pub use file::write;
pub use look::{Meant, Seen, Told, look, running_config};
pub use vty::{Answer, Vty};

use super::clock::now;
use crate::frr::{Daemon, Model, Step, Subject, delta, read, show::Peering};
use anyhow::Result;
use link::{Link, News};
use raw::Raw;
use rest::Resting;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

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
    /// A daemon is not there, or hangs. Told once, until it is there again; and once more when it is needed after all.
    Unreachable {
        /// The daemon.
        daemon: Daemon,
        /// Whether anything that is wanted needs it.
        needed: bool,
        /// Why.
        error: anyhow::Error,
    },
    /// A daemon ran something else than it was told: somebody else changed it. It is told again.
    Drift {
        /// The daemon.
        daemon: Daemon,
        /// What puts it right.
        lines: Vec<String>,
    },
    /// That did not put it right. Told once for what it runs.
    Unrepaired {
        /// The daemon.
        daemon: Daemon,
        /// What it does not take, or not keep.
        lines: Vec<String>,
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
    /// A session that waited for BFD, and BFD for it, was begun without. Told once until it is established.
    Woken {
        /// The session.
        who: Peering,
    },
    /// `frr.conf` could not be written; FRR would start from an older one.
    Unwritten {
        /// Why.
        error: anyhow::Error,
    },
}

/// How long after a daemon was found it is first looked at: its own start script may have been loading a file.
const SOON: Duration = Duration::from_secs(3);
/// How often the daemons are looked at. What nobody changed is not even parsed.
const PERIOD: Duration = Duration::from_secs(30);
/// How long is waited for daemons that are called, before something is said to one of them alone.
const TOGETHER: Duration = Duration::from_millis(500);

/// Whether anything in `model` needs this daemon.
#[must_use]
pub fn needed(daemon: Daemon, model: &Model) -> bool {
    match daemon {
        Daemon::Bgp => !model.routers.is_empty(),
        // without a profile nobody misses bfdd
        Daemon::Bfd => !model.bfd.is_empty(),
    }
}

/// Keeps FRR at the newest of `desired` until its sender is gone. While that is `None`, nothing is touched.
pub async fn drive(
    paths: Paths,
    mut desired: watch::Receiver<Option<Arc<Model>>>,
    reports: mpsc::Sender<Report>,
) {
    let (done, file) = watch::channel(None);
    let keeper = tokio::spawn(file::keep(paths.conf.clone(), file, reports.clone(), file::LOOK));
    let mut driver = Driver {
        bgp: Link::new(paths.vty_dir.join("bgpd.vty")),
        bfd: Link::new(paths.vty_dir.join("bfdd.vty")),
        known: Model::default(),
        doubtful: false,
        usual: Vec::new(),
        resting: Resting::default(),
        raw: Raw::new(paths.vty_dir.clone(), &std::fs::read_to_string(&paths.conf).unwrap_or_default()),
        reports,
    };
    let [mut look, mut wake] = [PERIOD, rest::PACE].map(interval);
    for pace in [&mut look, &mut wake] {
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let wanted = desired.borrow_and_update().clone();
        let mut found = false;
        if let Some(wanted) = wanted.clone() {
            found = driver.reach(&wanted).await;
            driver.apply(&wanted).await;
            // only now, so that rendering delays no announcement
            done.send_if_modified(|done| {
                let news = !done.as_ref().is_some_and(|done| Arc::ptr_eq(done, &wanted));
                *done = Some(wanted);
                news
            });
        }
        if found {
            look.reset_after(SOON);
        }
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    break;
                }
                driver.doubt().await;
            }
            () = driver.due(), if wanted.is_some() => {}
            _ = look.tick() => {
                if let Some(wanted) = wanted {
                    driver.look(&wanted).await;
                }
            }
            _ = wake.tick(), if wanted.as_deref().is_some_and(rest::watches) => {
                if let Some(wanted) = wanted {
                    driver.wake(&wanted).await;
                }
            }
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
    /// What the daemons lack of what is wanted, since they refused it or a raw line took its place.
    usual: Vec<String>,
    /// Sessions that wait for BFD.
    resting: Resting,
    /// Lines of users that no model has room for.
    raw: Raw,
    reports: mpsc::Sender<Report>,
}

impl Driver {
    /// Takes in what happened to the connections, and tells of it; whether a daemon was found.
    async fn reach(&mut self, wanted: &Model) -> bool {
        // those that answer do so within milliseconds
        let _ = timeout(TOGETHER, async { tokio::join!(self.bgp.reached(), self.bfd.reached()) }).await;
        let mut any = false;
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            let needed = needed(daemon, wanted);
            match self.link(daemon).news(needed) {
                Some(News::Found(text)) => {
                    any = true;
                    let found = read(&text);
                    self.know(daemon, found.model);
                    self.raw.lose();
                    let mut foreign = found.foreign;
                    foreign.retain(|line| !self.raw.knows(line.trim()));
                    self.report(Report::Connected { daemon, foreign }).await;
                }
                Some(News::Missing(error)) => {
                    self.report(Report::Unreachable { daemon, needed, error }).await;
                }
                None => {}
            }
        }
        any
    }

    /// Waits until there is news of a connection.
    ///
    /// Cancel-safe.
    async fn due(&mut self) {
        tokio::select! {
            () = self.bgp.due() => {}
            () = self.bfd.due() => {}
        }
    }

    /// Reads the daemons back where a refused line left doubts.
    async fn doubt(&mut self) {
        if self.doubtful {
            self.relearn().await;
        }
    }

    /// Reads the daemons back.
    async fn relearn(&mut self) {
        self.doubtful = false;
        for daemon in [Daemon::Bgp, Daemon::Bfd] {
            match self.link(daemon).running_config().await {
                Ok(Some(text)) => self.know(daemon, read(&text).model),
                Ok(None) => {}
                Err(error) => self.link(daemon).down(error),
            }
        }
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

    /// The daemons that are there have what is wanted; one that was lost is read back when it is there again.
    fn assume(&mut self, wanted: &Model) {
        if self.bgp.is_up() {
            self.know(Daemon::Bgp, Model { bfd: Default::default(), raw: Vec::new(), ..wanted.clone() });
        }
        if self.bfd.is_up() {
            self.known.bfd.clone_from(&wanted.bfd);
        }
    }

    /// Brings the daemons that are there from `known` to `wanted`.
    async fn apply(&mut self, wanted: &Model) {
        let mut raw = self.bgp.is_up() && self.raw.differs(&wanted.raw);
        let start = now();
        let mut lines = Vec::new();
        if raw {
            self.raw.shed(&wanted.raw, &mut lines, &self.reports).await;
        }
        let shed = lines.len();
        if shed > 0 {
            // What they had taken from us nobody wants gone any more. What others have added stays.
            self.usual.retain(|line| !wanted.raw.is_empty() && line.starts_with("no "));
            self.raw.lose();
            self.relearn().await;
        }
        let mut steps = delta(&self.known, wanted);
        if shed > 0 {
            // a step without lines is a block to be made, and stays
            steps.retain_mut(|step| {
                let before = step.lines.len();
                step.lines.retain(|line| !self.usual.contains(&line.text));
                before == 0 || !step.lines.is_empty()
            });
        }
        steps.retain(|step| self.link(step.daemon).is_up());
        if steps.is_empty() && !raw {
            return;
        }
        for group in steps.chunk_by(|a, b| a.daemon == b.daemon && a.undo.is_none() && b.undo.is_none()) {
            let Some(daemon) = group.first().map(|step| step.daemon) else { continue };
            if !self.link(daemon).is_up() {
                continue;
            }
            self.link(daemon).settled = None;
            if let Err(error) = self.send(daemon, group, &mut lines).await {
                self.link(daemon).down(error);
            }
        }
        self.assume(wanted);
        if !wanted.raw.is_empty() && lines.iter().skip(shed).any(|line| takes_along(line)) {
            self.raw.lose();
            raw = self.bgp.is_up();
        }
        let mut before = Vec::new();
        if raw {
            before = self.lacking(wanted).await;
            self.raw.put(&wanted.raw, &mut lines, &self.reports).await;
        }
        let took = start.elapsed();
        if self.doubtful || raw {
            // what was refused, or is what raw lines made of it, is no drift
            self.settle(wanted, |line| lines.contains(line) || (raw && !before.contains(line))).await;
        }
        if !lines.is_empty() {
            self.report(Report::Applied { lines, took }).await;
        }
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

/// Whether lines of others may go with what this line takes away: those of a neighbour, or of a route-map.
fn takes_along(line: &str) -> bool {
    line.starts_with("no ") && !line.starts_with("no network ")
}
