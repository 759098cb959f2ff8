//! Raw lines of users: offered to every daemon there is, as vtysh would, one by one.
//!
//! What an earlier speaker sent is read from the file that it left; a line that no daemon took is tried again, and
//! told of, with every change.

use super::{Answer, Report, Vty};
use crate::frr::{RawLine, Subject, written};
use anyhow::Result;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Who is asked. The last two are there in some installations only.
const DAEMONS: [&str; 5] = ["bgpd", "bfdd", "zebra", "mgmtd", "staticd"];

/// What a daemon says to a line that it has never heard of.
const UNKNOWN: u8 = 2;

pub(super) struct Raw {
    dir: PathBuf,
    /// What the daemons have taken.
    taken: Vec<RawLine>,
    /// Whether a daemon may have lost it.
    lost: bool,
}

impl Raw {
    /// Goes on from what the file says.
    pub(super) fn new(dir: PathBuf, file: &str) -> Self {
        Self { dir, taken: written(file), lost: true }
    }

    /// A daemon is new.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether a daemon has a line of that text from us.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.taken.iter().any(|line| line.text == text || line.path.iter().any(|head| head == text))
    }

    /// Whether there is something to send.
    pub(super) fn differs(&self, wanted: &[RawLine]) -> bool {
        (self.lost && !wanted.is_empty()) || self.taken != wanted
    }

    /// Takes back what is no longer wanted, before the model changes.
    pub(super) async fn shed(
        &mut self,
        wanted: &[RawLine],
        sent: &mut Vec<String>,
        reports: &mpsc::Sender<Report>,
    ) {
        let gone: Vec<RawLine> = self.taken.iter().filter(|line| !has(wanted, line)).cloned().collect();
        let mut daemons = self.daemons(!gone.is_empty()).await;
        // what stands under a line goes before it
        for line in gone.iter().rev() {
            let mut refused = None;
            for undo in line.undo() {
                sent.push(undo.clone());
                match offer(&mut daemons, &line.path, &undo).await {
                    Ok(()) => {
                        refused = None;
                        break;
                    }
                    Err(answer) => refused = Some((undo, answer)),
                }
            }
            if let Some((line, answer)) = refused {
                // it stays, or is gone already; nobody left to tell is no reason to stop
                let _ = reports.send(Report::Remarked { line, answer }).await;
            }
        }
        self.taken.retain(|line| !gone.contains(line));
    }

    /// Sends what is new, after the model has changed.
    pub(super) async fn put(
        &mut self,
        wanted: &[RawLine],
        sent: &mut Vec<String>,
        reports: &mpsc::Sender<Report>,
    ) {
        let again = std::mem::take(&mut self.lost);
        let new: Vec<&RawLine> = wanted.iter().filter(|line| again || !has(&self.taken, line)).collect();
        let mut daemons = self.daemons(!new.is_empty()).await;
        let mut refused: Vec<&RawLine> = Vec::new();
        for line in new {
            sent.push(line.text.clone());
            if let Err(answer) = offer(&mut daemons, &line.path, &line.text).await {
                refused.push(line);
                let (text, subject) = (line.text.clone(), Subject::Raw(line.owner.clone()));
                // nobody left to tell is no reason to stop
                let _ = reports.send(Report::Refused { line: text, answer, subject }).await;
            }
        }
        self.taken = wanted.iter().filter(|line| !refused.contains(line)).cloned().collect();
    }

    /// A connection to each daemon that is there.
    async fn daemons(&self, needed: bool) -> Vec<Vty> {
        let mut daemons = Vec::new();
        for name in DAEMONS.iter().filter(|_| needed) {
            let path = self.dir.join(format!("{name}.vty"));
            if path.exists()
                && let Ok(vty) = Vty::open(&path).await
            {
                daemons.push(vty);
            }
        }
        daemons
    }
}

/// Whose it is does not matter to a daemon.
fn has(lines: &[RawLine], line: &RawLine) -> bool {
    lines.iter().any(|other| (&other.path, &other.text) == (&line.path, &line.text))
}

/// Whether a daemon takes the line; the answer that says most where none does.
async fn offer(daemons: &mut Vec<Vty>, path: &[String], line: &str) -> Result<(), String> {
    let mut taken = false;
    let mut why: Option<Answer> = None;
    for mut vty in std::mem::take(daemons) {
        match one(&mut vty, path, line).await {
            Ok(answer) if answer.code == 0 => taken = true,
            Ok(answer) => {
                if why.as_ref().is_none_or(|why| why.code == UNKNOWN) {
                    why = Some(answer);
                }
            }
            // the driver sees it too, and connects again
            Err(_) => continue,
        }
        daemons.push(vty);
    }
    let unknown = || "no daemon of FRR is there".to_owned();
    if taken { Ok(()) } else { Err(why.map_or_else(unknown, |why| why.text.trim().to_owned())) }
}

/// What one daemon says. The line is sent only where the way there exists: elsewhere it could mean something else.
async fn one(vty: &mut Vty, path: &[String], line: &str) -> Result<Answer> {
    let mut way = vec!["end", "configure terminal"];
    way.extend(path.iter().map(String::as_str));
    // `end` has nothing to end the first time
    let answers = vty.ask(&way).await?;
    if let Some(refused) = answers.into_iter().skip(1).find(|answer| answer.code != 0) {
        return Ok(refused);
    }
    let answer = vty.ask(&[line]).await?.pop();
    Ok(answer.unwrap_or(Answer { code: UNKNOWN, text: String::new() }))
}
