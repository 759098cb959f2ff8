//! A user who asks without a pause while routes move, and the judge of which requests were lost by that.
//!
//! A machine that stands still answers nobody: a request that takes too long counts only if a Service that has nothing
//! to do with it, the control, was answered meanwhile. A connection that is open while a router changes its mind goes on
//! to a node that does not know it, and is broken off: once for each address and change, and who asks again is served.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use crate::{netns::Net, objects::PORT, pod, wait};

/// How long the control may go without an answer while a request runs out of time: half of what that has.
const HELD_UP: Duration = Duration::from_secs(1);
/// From one request of the control to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// What curl says when time runs out.
const TIMED_OUT: i32 = 28;
/// What curl says when the connection is broken off: nothing came, or it was reset.
const BROKEN: [i32; 2] = [52, 56];

/// All that was asked.
#[derive(Debug, Default)]
pub struct Asked {
    requests: Vec<Request>,
    control: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    ip: IpAddr,
    begin: Instant,
    end: Instant,
    fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Answered,
    Late,
    Broken,
    Failed(String),
}

/// Asks for pages of these addresses all the time while something happens, and now and then for one of `control`.
///
/// # Errors
/// When what happens fails.
pub fn during(
    from: &Net,
    addresses: &[IpAddr],
    control: &[IpAddr],
    happens: impl FnOnce() -> Result<()>,
) -> Result<Asked> {
    let over = AtomicBool::new(false);
    let ask = |addresses: &[IpAddr], pause: Option<Duration>| {
        let mut requests = Vec::new();
        while !over.load(Ordering::Relaxed) {
            for ip in addresses {
                // who had no answer asks again at once
                loop {
                    let request = request(from, *ip);
                    let answered = request.fate == Fate::Answered;
                    requests.push(request);
                    if answered || over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
            pause.into_iter().for_each(wait::pass);
        }
        requests
    };
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| ask(addresses, None));
        let control = scope.spawn(|| ask(control, Some(PAUSE)));
        let done = happens();
        over.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow!("who asks panicked");
        let requests = requests.join().map_err(panicked)?;
        let control = control.join().map_err(panicked)?;
        done.map(|()| Asked { requests, control })
    })
}

fn request(from: &Net, ip: IpAddr) -> Request {
    let begin = wait::now();
    let fate = match pod::fetch(from, ip, PORT) {
        Ok(_) => Fate::Answered,
        Err(error) => match error.downcast_ref::<pod::Unanswered>().and_then(|why| why.code) {
            Some(TIMED_OUT) => Fate::Late,
            Some(code) if BROKEN.contains(&code) => Fate::Broken,
            _ => Fate::Failed(format!("{error:#}")),
        },
    };
    Request { ip, begin, end: wait::now(), fate }
}

impl Asked {
    /// How many requests there were, of which none was lost while the routers changed their minds this often.
    ///
    /// # Errors
    /// When one was lost, when most had no answer for whatever reason, or when the control failed.
    pub fn without_loss(&self, changes: usize) -> Result<usize> {
        let lost = self.lost(changes);
        let some: Vec<_> = lost.iter().take(20).collect();
        ensure!(lost.is_empty(), "{} of {} requests were lost: {some:#?}", lost.len(), self.requests.len());
        let answered = self.requests.iter().filter(|request| request.fate == Fate::Answered).count();
        ensure!(answered * 2 > self.requests.len(), "{answered} of {} had an answer", self.requests.len());
        for request in &self.control {
            ensure!(matches!(request.fate, Fate::Answered | Fate::Late), "the control failed: {request:?}");
        }
        Ok(self.requests.len())
    }

    fn lost(&self, changes: usize) -> Vec<String> {
        let mut lost = Vec::new();
        for (index, request) in self.requests.iter().enumerate() {
            let mut earlier =
                self.requests.iter().take(index).rev().filter(|earlier| earlier.ip == request.ip);
            let why = match &request.fate {
                Fate::Answered => continue,
                Fate::Late if self.held_up(request) => continue,
                Fate::Late => "no answer, while others had one".to_owned(),
                Fate::Broken if earlier.next().is_some_and(|last| last.fate == Fate::Broken) => {
                    "broken off twice in a row".to_owned()
                }
                Fate::Broken if earlier.filter(|one| one.fate == Fate::Broken).count() >= changes => {
                    "broken off more often than anything changed".to_owned()
                }
                Fate::Broken => continue,
                Fate::Failed(why) => why.clone(),
            };
            lost.push(format!("{}: {why}", request.ip));
        }
        lost
    }

    /// Whether the control, too, had no answer for too long during this request.
    fn held_up(&self, request: &Request) -> bool {
        let answers = self.control.iter().filter(|other| other.fate == Fate::Answered).map(|other| other.end);
        let answers = answers.filter(|at| (request.begin..request.end).contains(at));
        let (mut last, mut longest) = (request.begin, Duration::ZERO);
        for at in answers.chain([request.end]) {
            longest = longest.max(at.duration_since(last));
            last = at;
        }
        longest >= HELD_UP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(start: Instant, list: &[(u64, u64, Fate)]) -> Vec<Request> {
        let at = |ms: u64| start + Duration::from_millis(ms);
        let ip = "192.0.2.7".parse().unwrap();
        list.iter()
            .map(|(begin, end, fate)| Request { ip, begin: at(*begin), end: at(*end), fate: fate.clone() })
            .collect()
    }

    #[test]
    fn late_is_lost_only_while_others_are_answered() {
        let start = wait::now();
        let asked = |control: &[(u64, u64, Fate)]| {
            let requests = requests(start, &[(0, 9, Fate::Answered), (10, 2010, Fate::Late)]);
            Asked { requests, control: self::requests(start, control) }.lost(2).len()
        };
        let steady: Vec<_> = (0..30).map(|i| (i * 90, i * 90 + 40, Fate::Answered)).collect();
        assert_eq!(asked(&steady), 1);
        // it stood still from 500 ms on
        assert_eq!(asked(&steady[..6]), 0);
        let mut stalled = steady;
        stalled.retain(|(begin, ..)| !(300..1400).contains(begin));
        assert_eq!(asked(&stalled), 0);
        assert_eq!(asked(&[(5, 2005, Fate::Late)]), 0);
    }

    #[test]
    fn broken_once_for_each_change() {
        use Fate::{Answered, Broken, Failed};
        let lost = |fates: &[Fate]| {
            let list: Vec<_> = fates.iter().map(|fate| (0, 1, fate.clone())).collect();
            Asked { requests: requests(wait::now(), &list), control: Vec::new() }.lost(2).len()
        };
        assert_eq!(lost(&[Broken, Answered, Broken, Answered]), 0);
        assert_eq!(lost(&[Broken, Broken, Answered]), 1, "asked again in vain");
        assert_eq!(lost(&[Broken, Answered, Broken, Answered, Broken, Answered]), 1, "a third time");
        assert_eq!(lost(&[Answered, Failed("no route".to_owned()), Answered]), 1);
    }
}
