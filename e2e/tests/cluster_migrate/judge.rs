//! What is seen from outside while the cluster moves: every change of every Service, the router's routes, and a client.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    capture::Capture,
    cluster::Cluster,
    pod,
    process::Running,
    tcp::{self, segments},
    tor, wait,
};
use serde_json::Value;

use crate::services::{Held, is_balanced, key};

/// `kubectl get services --watch`: what each Service held, change by change.
pub(crate) struct Watch {
    kubectl: Running,
}

impl Watch {
    pub(crate) fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        let words = ["get", "services", "--all-namespaces", "--watch", "--output-watch-events", "-o", "json"];
        let watch = Self { kubectl: cluster.kubectl().start(&words, &format!("watch-{name}.json"))? };
        watch.caught_up(cluster, &format!("{name}-begins"))?;
        Ok(watch)
    }

    /// What every Service held from the start until now, oldest first.
    pub(crate) fn end(self, cluster: &Cluster, name: &str) -> Result<BTreeMap<String, Vec<Held>>> {
        self.caught_up(cluster, &format!("{name}-ends"))?;
        let mut history: BTreeMap<String, Vec<Held>> = BTreeMap::new();
        let text = self.kubectl.log_text();
        for event in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let event = match event {
                Err(error) if error.is_eof() => break,
                event => event.context("decode what kubectl printed")?,
            };
            let object = event.get("object").context("an event without object")?;
            if is_balanced(object) {
                history.entry(key(object)?).or_default().push(Held::of(object));
            }
        }
        Ok(history)
    }

    /// Waits until it has printed a change that is made now.
    fn caught_up(&self, cluster: &Cluster, word: &str) -> Result<()> {
        let mark = format!("moment={word}");
        cluster.kubectl().run(&[
            "-n",
            "default",
            "annotate",
            "--overwrite",
            "service",
            "kubernetes",
            &mark,
        ])?;
        self.kubectl.wait_for_log(crate::DEADLINE, word)
    }
}

/// How long the client waits for an answer: how soon one comes is the machine's matter, and what the network lost shows
/// on the wire.
const LIMIT: Duration = Duration::from_secs(10);

/// What a client beyond the router and the router itself saw of an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) asked: usize,
    /// How often it was called, on the wire.
    pub(crate) called: usize,
    pub(crate) failed: usize,
    /// Calls that the client had to repeat, and connections that were reset.
    pub(crate) lost: usize,
    pub(crate) longest_without_answer: Duration,
    pub(crate) longest_without_route: Duration,
}

/// Does `work` while a client asks these addresses, one after the other, again and again.
pub(crate) fn during<T>(
    cluster: &Cluster,
    addresses: &[IpAddr],
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, BTreeMap<IpAddr, Seen>)> {
    let fabric = cluster.fabric();
    let wire = Capture::start(&fabric.warden, &fabric.remote, "up", "tcp port 80")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| -> Result<BTreeMap<IpAddr, Seen>> {
            let now = wait::now();
            let mut seen: BTreeMap<IpAddr, (Seen, Instant, Instant)> =
                addresses.iter().map(|address| (*address, (Seen::default(), now, now))).collect();
            while !over.load(Ordering::Relaxed) {
                for (address, (seen, answered, routed)) in &mut seen {
                    seen.asked += 1;
                    let answer = pod::fetch_within(LIMIT, &fabric.remote, *address, 80);
                    let now = wait::now();
                    match answer {
                        Ok(_) => *answered = now,
                        Err(_) => {
                            seen.failed += 1;
                            seen.longest_without_answer = seen.longest_without_answer.max(now - *answered);
                        }
                    }
                    let has = tor::in_kernel(&fabric.tor, &address.to_string())?;
                    let now = wait::now();
                    if has {
                        *routed = now;
                    } else {
                        seen.longest_without_route = seen.longest_without_route.max(now - *routed);
                    }
                }
            }
            Ok(seen.into_iter().map(|(address, (seen, ..))| (address, seen)).collect())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        let seen = client.join().map_err(|_| anyhow!("the client panicked"))?;
        let (done, mut seen, all) = (done?, seen?, segments(&wire.frames()?));
        for (address, seen) in &mut seen {
            (seen.called, seen.lost) = calls_and_losses(&all, *address);
        }
        Ok((done, seen))
    })
}

/// How often an address was called, and how many of its connections were called for more than once, or reset.
fn calls_and_losses(all: &[tcp::Segment], address: IpAddr) -> (usize, usize) {
    let of = all.iter().filter(|segment| [segment.from.ip(), segment.to.ip()].contains(&address));
    let (mut calls, mut lost) = (BTreeSet::new(), 0);
    for segment in of {
        let again = segment.calls && !calls.insert((segment.from, segment.sequence));
        lost += usize::from(again || segment.resets);
    }
    (calls.len(), lost)
}
