//! Raw lines of users: offered to every daemon there is, as vtysh would, one by one.
//!
//! What an earlier speaker sent is read from the file that it left; a line that no daemon took is tried again, and
//! told of, with every change. A daemon that starts can be given by another one what that had from the file, a moment
//! after we took it back: it is looked for twice more. How a daemon prints a line is not known. So what is remembered is everything that the
//! daemons ran beside ours when the lines had been sent: when that is another, somebody may have taken one of them, and
//! all are sent again.

use super::{Answer, Report, Vty};
use crate::frr::{RawLine, Subject, read, written};
use anyhow::Result;
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};
use tokio::sync::mpsc;

/// Who is asked. The last two are there in some installations only.
const DAEMONS: [&str; 5] = ["bgpd", "bfdd", "zebra", "mgmtd", "staticd"];

/// What a daemon says to a line that it has never heard of.
const UNKNOWN: u8 = 2;

pub(super) struct Raw {
    dir: PathBuf,
    /// What the daemons have taken.
    taken: Vec<RawLine>,
    /// What was taken back since the last look, and before that.
    gone: [Vec<RawLine>; 2],
    /// Whether a daemon may have lost it.
    lost: bool,
    /// What the daemons ran beside ours when they had taken it.
    left: Beside,
}

/// What daemons run that no model knows.
#[derive(Default)]
pub(super) struct Beside {
    /// Of all that they run: as long as that is the same, nothing is read.
    digest: u64,
    /// In order.
    lines: Vec<String>,
}

impl Beside {
    /// What `other` has and this has not.
    fn lacks(&self, other: &Self) -> Vec<String> {
        let mut own = self.lines.iter().peekable();
        let mut all = Vec::new();
        for line in &other.lines {
            while own.next_if(|own| *own < line).is_some() {}
            if own.next_if_eq(&line).is_none() {
                all.push(line.clone());
            }
        }
        all
    }
}

impl Raw {
    /// Goes on from what the file says.
    pub(super) fn new(dir: PathBuf, file: &str) -> Self {
        Self { dir, taken: written(file), gone: Default::default(), lost: true, left: Beside::default() }
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
        self.lost |= self.strange().await.is_some();
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
        let [new, _] = &mut self.gone;
        new.extend(gone);
    }

    /// Takes back once more what a daemon has all the same, to be asked with each look: the lines that it was.
    pub(super) async fn shed_again(
        &mut self,
        wanted: &[RawLine],
        reports: &mpsc::Sender<Report>,
    ) -> Vec<String> {
        let [new, old] = std::mem::take(&mut self.gone);
        let due = |line: &&RawLine| !has(wanted, line) && !line.undo().is_empty();
        let gone: Vec<RawLine> = old.iter().chain(&new).filter(due).cloned().collect();
        let mut there = BTreeSet::new();
        for mut vty in self.daemons(!gone.is_empty()).await {
            let answers = vty.ask(&["end", "show running-config"]).await.unwrap_or_default();
            let lines = answers.iter().flat_map(|answer| answer.text.lines());
            there.extend(lines.map(|line| line.trim().to_owned()));
        }
        let is_there = |line: &RawLine| line.path.iter().chain([&line.text]).all(|line| there.contains(line));
        let mut sent = Vec::new();
        let back: Vec<RawLine> = gone.into_iter().filter(is_there).collect();
        if !back.is_empty() {
            self.taken.extend(back);
            self.shed(wanted, &mut sent, reports).await;
        }
        // once: what cannot be taken back stays
        self.gone = [Vec::new(), new];
        sent
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
        self.left = self.beside(None).await.unwrap_or_default();
    }

    /// What the daemons run beside ours, when it is not what they were left with.
    pub(super) async fn strange(&mut self) -> Option<Beside> {
        if self.taken.is_empty() {
            return None;
        }
        let now = self.beside(Some(self.left.digest)).await?;
        if now.lines == self.left.lines {
            // something of ours has changed, or nothing
            self.left.digest = now.digest;
            return None;
        }
        Some(now)
    }

    /// What has changed back since the daemons were found with `strange`.
    pub(super) fn restored(&self, strange: &Beside) -> Vec<String> {
        let back = strange.lacks(&self.left);
        let gone = self.left.lacks(strange);
        back.into_iter().chain(gone.into_iter().map(|line| format!("no {line}"))).collect()
    }

    /// What the daemons run beside ours; `None` when they run nothing but what has this digest, or do not say.
    async fn beside(&self, known: Option<u64>) -> Option<Beside> {
        let mut texts = Vec::new();
        for mut vty in self.daemons(!self.taken.is_empty()).await {
            texts.push(vty.ask(&["end", "show running-config"]).await.ok()?.pop()?.text);
        }
        let mut hasher = DefaultHasher::new();
        texts.hash(&mut hasher);
        let digest = hasher.finish();
        if known == Some(digest) {
            return None;
        }
        let mut lines: Vec<String> = texts.iter().flat_map(|text| read(text).foreign).collect();
        lines.iter_mut().for_each(|line| *line = line.trim().to_owned());
        lines.sort();
        Some(Beside { digest, lines })
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
