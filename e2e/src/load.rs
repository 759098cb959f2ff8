//! A user who never stops asking: requests at a steady rate from a namespace, each over a connection of its own, and
//! which of them failed.
//!
//! How soon an answer comes is the machine's matter, whose processes wait for each other. Whether the network lost
//! anything the kernel knows, which waits for none of them: a request fails when it has no answer, and when its kernel
//! had to send anything of it twice.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{libc, sys::socket::getsockopt};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout_at},
};

use crate::{cluster::PATIENCE, netns::Net, objects, wait};

/// An answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(10);

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug)]
struct TcpInfo;

nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info,
    nix::sys::socket::sockopt::GetStruct<libc::tcp_info>
);

/// Requests that go on until this is dropped.
#[derive(Debug)]
pub struct Load {
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Request {
    at: Instant,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Open,
    Answered,
    Failed(String),
}

/// Requests and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many began.
    pub sent: usize,
    /// How many of these were not answered, or lost a packet.
    pub failed: usize,
}

impl Load {
    /// Starts to ask for a Service at this address, once in every `pause`.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn start(from: &Net, ip: IpAddr, pause: Duration) -> Result<Self> {
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (requests, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let target = SocketAddr::from((ip, objects::PORT));
        let thread = from.background(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(target, pause, &requests, &stopped));
            Ok(())
        })?;
        Ok(Self { asked, stop, thread: Some(thread) })
    }

    /// The requests that began in this time, once the fate of all of them is known; and of those that failed when, from
    /// the beginning of that time, and why.
    ///
    /// # Errors
    /// When the requests have stopped.
    pub fn tally(&self, time: &Range<Instant>) -> Result<(Tally, Vec<String>)> {
        wait::until(PATIENCE, "requests to end", || {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.last().is_none_or(|last| last.at <= time.end) {
                bail!("no request began after the time in question");
            }
            let (mut tally, mut faults) = (Tally::default(), Vec::new());
            for request in asked.iter().filter(|request| time.contains(&request.at)) {
                tally.sent += 1;
                match &request.fate {
                    Fate::Open => return Ok(None),
                    Fate::Answered => {}
                    Fate::Failed(why) => {
                        tally.failed += 1;
                        let when = request.at.duration_since(time.start).as_secs_f64();
                        faults.push(format!("at {when:.2} s: {why}"));
                    }
                }
            }
            Ok(Some((tally, faults)))
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

async fn ask(target: SocketAddr, pause: Duration, asked: &Arc<Mutex<Vec<Request>>>, stop: &AtomicBool) {
    let mut tick = interval(pause);
    // on a machine that is short of time the rate stays, and no burst makes up for what was missed
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let index = {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(Request { at: wait::now(), fate: Fate::Open });
            asked.len() - 1
        };
        let asked = Arc::clone(asked);
        tokio::spawn(async move {
            let fate = match fetch(target).await {
                Ok(()) => Fate::Answered,
                Err(why) => Fate::Failed(format!("{why:#}")),
            };
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(request) = asked.get_mut(index) {
                request.fate = fate;
            }
        });
    }
}

/// Closes first, as a client does that knows how long an answer is. Were it the Pod, that would remember each connection
/// for a minute by the node's port that kube-proxy gave it; kube-proxy gives ports at random, and whoever gets one that
/// is remembered has to begin anew.
async fn fetch(target: SocketAddr) -> Result<()> {
    let deadline = tokio::time::Instant::from_std(wait::now()) + LIMIT;
    let mut stream = timeout_at(deadline, TcpStream::connect(target)).await.context("connect")??;
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").await?;
        while !is_whole(&answer) {
            ensure!(stream.read_buf(&mut answer).await? > 0, "half an answer");
        }
        Ok(())
    };
    timeout_at(deadline, talk).await.context("wait for the answer")??;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "not a good answer");
    let again = getsockopt(&stream, TcpInfo)?.tcpi_total_retrans;
    ensure!(again == 0, "packets had to be sent again: {again}");
    Ok(())
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nn1";
        assert!(is_whole(answer));
        assert!((0..answer.len()).all(|end| !is_whole(&answer[..end])));
    }

    /// Of a connection that lost nothing.
    #[test]
    fn the_kernel_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn1").unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fetch(target)).unwrap();
        server.join().unwrap();
    }
}
