//! A daemon that is there or not: the connection, and when to try the next one.
//!
//! Attempts run beside everything else. A daemon that hangs takes the call and then says nothing; what is to be said to
//! the other one does not wait for that.

use super::{Answer, Vty};
use anyhow::{Context, Result, anyhow};
use std::{path::PathBuf, pin::Pin, time::Duration};
use tokio::{
    task::JoinHandle,
    time::{Sleep, sleep},
};

/// The first wait before another attempt. FRR starts within a few of these.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LAST: Duration = Duration::from_secs(2);

pub(super) struct Link {
    path: PathBuf,
    state: State,
    /// What is to be told, and was not yet.
    news: Option<News>,
    /// What was last told of its absence: whether the daemon was needed.
    told: Option<bool>,
    /// The digest of a running configuration that needs no look.
    pub(super) settled: Option<u64>,
}

enum State {
    Up(Vty),
    /// An attempt, and the wait that preceded it.
    Trying(JoinHandle<Result<(Vty, String)>>, Duration),
    /// Until the next attempt, which is due without a pause, and how long that is.
    Waiting(Option<Pin<Box<Sleep>>>, Duration),
}

/// What happened to a link.
pub(super) enum News {
    /// It is there, with this running configuration.
    Found(String),
    /// It is not.
    Missing(anyhow::Error),
}

impl Link {
    /// Nothing is tried before somebody asks.
    pub(super) const fn new(path: PathBuf) -> Self {
        let state = State::Waiting(None, Duration::ZERO);
        Self { path, state, news: None, told: None, settled: None }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Gives the connection up.
    pub(super) fn down(&mut self, error: anyhow::Error) {
        self.wait(FIRST);
        self.news = Some(News::Missing(error));
    }

    /// What is new; an absence is told once, and once more when the daemon is needed after all.
    pub(super) fn news(&mut self, needed: bool) -> Option<News> {
        let news = self.news.take()?;
        if matches!(news, News::Found(_)) {
            self.told = None;
            return Some(news);
        }
        let told = self.told.is_some_and(|before| before || !needed);
        self.told = Some(needed || self.told == Some(true));
        (!told).then_some(news)
    }

    /// Waits for the end of an attempt, if one is due or under way.
    ///
    /// Cancel-safe.
    pub(super) async fn reached(&mut self) {
        match &self.state {
            State::Up(_) => return,
            State::Waiting(Some(pause), _) if !pause.is_elapsed() => return,
            State::Waiting(..) | State::Trying(..) => {}
        }
        self.due().await;
    }

    /// Waits until there is news.
    ///
    /// Cancel-safe.
    pub(super) async fn due(&mut self) {
        while self.news.is_none() {
            match &mut self.state {
                State::Up(vty) => {
                    vty.lost().await;
                    // at once: a daemon that only hung up takes the next call
                    self.attempt(Duration::ZERO);
                }
                State::Waiting(pause, wait) => {
                    if let Some(pause) = pause {
                        pause.await;
                    }
                    let wait = *wait;
                    self.attempt(wait);
                }
                State::Trying(attempt, wait) => {
                    let (end, wait) = (attempt.await, *wait);
                    match end.context("the attempt broke off").and_then(|end| end) {
                        Ok((vty, text)) => {
                            self.state = State::Up(vty);
                            self.news = Some(News::Found(text));
                        }
                        Err(error) => {
                            self.wait((wait * 2).clamp(FIRST, LAST));
                            let error = error.context(format!("connect to {}", self.path.display()));
                            self.news = Some(News::Missing(error));
                        }
                    }
                }
            }
        }
    }

    /// The running configuration; `None` without a connection.
    pub(super) async fn running_config(&mut self) -> Result<Option<String>> {
        match &mut self.state {
            State::Up(vty) => running_config(vty).await.map(Some),
            State::Trying(..) | State::Waiting(..) => Ok(None),
        }
    }

    /// As [`Vty::ask`].
    pub(super) async fn ask<S: AsRef<str> + Sync>(&mut self, lines: &[S]) -> Result<Vec<Answer>> {
        match &mut self.state {
            State::Up(vty) => vty.ask(lines).await,
            State::Trying(..) | State::Waiting(..) => Err(anyhow!("not connected")),
        }
    }

    fn attempt(&mut self, wait: Duration) {
        let path = self.path.clone();
        let attempt = async move {
            let mut vty = Vty::open(&path).await?;
            let text = running_config(&mut vty).await?;
            Ok((vty, text))
        };
        self.state = State::Trying(tokio::spawn(attempt), wait);
        self.settled = None;
    }

    fn wait(&mut self, wait: Duration) {
        self.state = State::Waiting(Some(Box::pin(sleep(wait))), wait);
        self.settled = None;
    }
}

async fn running_config(vty: &mut Vty) -> Result<String> {
    let answers = vty.ask(&["end", "show running-config"]).await?;
    answers.into_iter().nth(1).map(|answer| answer.text).context("no running configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    /// An absence is told once, and once more when the daemon is needed after all, or was there in the meantime.
    #[tokio::test]
    async fn an_absence_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.vty");
        let mut link = Link::new(path.clone());
        let missing = |link: &mut Link, needed| matches!(link.news(needed), Some(News::Missing(_)));
        for (needed, told) in [(false, true), (false, false), (true, true), (true, false), (false, false)] {
            link.due().await;
            assert_eq!(missing(&mut link, needed), told);
        }
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            for answer in [&b"\0\0\0\0"[..], b"\0\0\0\0text\0\0\0\0"] {
                let lines = seen.len();
                while seen.len() == lines || seen.last() != Some(&0) {
                    stream.read_buf(&mut seen).await.unwrap();
                }
                stream.write_all(answer).await.unwrap();
            }
            seen
        });
        link.due().await;
        assert!(matches!(link.news(true), Some(News::Found(text)) if text == "text"));
        assert_eq!(daemon.await.unwrap(), b"enable\0end\0show running-config\0");
        // it has hung up, and nobody listens any more
        link.due().await;
        assert!(missing(&mut link, true));
    }
}
