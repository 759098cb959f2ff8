//! A daemon that is there or not: the connection, and when to try the next one.

use super::{Report, Vty};
use crate::frr::Daemon;
use anyhow::{Context, Result};
use std::{path::PathBuf, time::Duration};
use tokio::{sync::mpsc, time::sleep};

/// The first wait before another attempt. FRR starts within a few of these.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LAST: Duration = Duration::from_secs(2);

pub(super) struct Link {
    daemon: Daemon,
    path: PathBuf,
    state: State,
    /// Whether its absence was reported.
    reported: bool,
}

enum State {
    Up(Vty),
    /// And the wait before the next attempt.
    Down(Duration),
}

impl Link {
    pub(super) const fn new(daemon: Daemon, path: PathBuf) -> Self {
        Self { daemon, path, state: State::Down(Duration::ZERO), reported: false }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Gives the connection up.
    pub(super) fn down(&mut self) {
        self.state = State::Down(FIRST);
        self.reported = true;
    }

    /// Connects, where there is no connection, and returns the running configuration. Where that fails, says so the
    /// first time if the daemon is `needed`.
    pub(super) async fn connect(&mut self, needed: bool, reports: &mpsc::Sender<Report>) -> Option<String> {
        let State::Down(wait) = self.state else { return None };
        let attempt = async {
            let mut vty = Vty::open(&self.path).await?;
            let text = running_config(&mut vty).await?;
            anyhow::Ok((vty, text))
        };
        match attempt.await.with_context(|| format!("connect to {}", self.path.display())) {
            Ok((vty, text)) => {
                self.state = State::Up(vty);
                self.reported = false;
                Some(text)
            }
            Err(error) => {
                self.state = State::Down((wait * 2).clamp(FIRST, LAST));
                if needed && !std::mem::replace(&mut self.reported, true) {
                    // nobody left to tell is no reason to stop
                    let _ = reports.send(Report::Unreachable { daemon: self.daemon, error }).await;
                }
                None
            }
        }
    }

    /// Waits until something is to be done: the daemon hung up, or another attempt to connect is due.
    ///
    /// Cancel-safe; but the wait for an attempt begins anew.
    pub(super) async fn due(&mut self) {
        match &mut self.state {
            State::Up(vty) => {
                vty.lost().await;
                self.state = State::Down(Duration::ZERO);
            }
            State::Down(wait) => sleep(*wait).await,
        }
    }

    /// The running configuration; `None` without a connection.
    pub(super) async fn running_config(&mut self) -> Result<Option<String>> {
        match &mut self.state {
            State::Up(vty) => running_config(vty).await.map(Some),
            State::Down(_) => Ok(None),
        }
    }

    /// As [`Vty::ask`].
    pub(super) async fn ask<S: AsRef<str>>(&mut self, lines: &[S]) -> Result<Vec<super::Answer>> {
        match &mut self.state {
            State::Up(vty) => vty.ask(lines).await,
            State::Down(_) => anyhow::bail!("not connected"),
        }
    }
}

async fn running_config(vty: &mut Vty) -> Result<String> {
    let answers = vty.ask(&["end", "show running-config"]).await?;
    answers.into_iter().nth(1).map(|answer| answer.text).context("no running configuration")
}
