//! A user who never stops asking: requests at a steady rate from a namespace, each over a connection of its own, and
//! which of them failed.

use std::{
    net::{IpAddr, SocketAddr},
    ops::{AddAssign, Range},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{cluster::PATIENCE, netns::Net, objects, wait};

/// Fifty a second.
const PAUSE: Duration = Duration::from_millis(20);
/// An answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(1);

/// Requests that go on until this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Request {
    at: Instant,
    /// Whether it was answered in time; none while that is open.
    answered: Option<bool>,
}

/// Requests and how many of them had no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many began.
    pub sent: usize,
    /// How many of these were not answered within a second.
    pub failed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
    }
}

impl Load {
    /// Starts to ask for a Service at this address.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub(super) fn start(from: &Net, ip: IpAddr) -> Result<Self> {
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (requests, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let target = SocketAddr::from((ip, objects::PORT));
        let thread = from.background(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(target, &requests, &stopped));
            Ok(())
        })?;
        Ok(Self { asked, stop, thread: Some(thread) })
    }

    /// The requests that began in this time, once the fate of all of them is known.
    ///
    /// # Errors
    /// When the requests have stopped.
    pub(super) fn tally(&self, time: &Range<Instant>) -> Result<Tally> {
        wait::until(PATIENCE, "requests to end", || {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.last().is_none_or(|last| last.at <= time.end) {
                bail!("no request began after the time in question");
            }
            let mut tally = Tally::default();
            for request in asked.iter().filter(|request| time.contains(&request.at)) {
                let Some(answered) = request.answered else { return Ok(None) };
                tally += Tally { sent: 1, failed: usize::from(!answered) };
            }
            Ok(Some(tally))
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn ask(target: SocketAddr, asked: &Arc<Mutex<Vec<Request>>>, stop: &AtomicBool) {
    let mut tick = interval(PAUSE);
    // on a machine that is short of time the rate stays, and no burst makes up for what was missed
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let index = {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(Request { at: wait::now(), answered: None });
            asked.len() - 1
        };
        let asked = Arc::clone(asked);
        tokio::spawn(async move {
            let answered = matches!(timeout(LIMIT, fetch(target)).await, Ok(Ok(())));
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(request) = asked.get_mut(index) {
                request.answered = Some(answered);
            }
        });
    }
}

async fn fetch(target: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    answer.starts_with(b"HTTP/1.1 200 ").then_some(()).context("not a good answer")
}
