//! What is seen from outside while the cluster moves: every change of every Service, the router's routes, and a client.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    capture::Capture,
    cluster::Cluster,
    fabric::TOR,
    pod,
    process::Running,
    tcp::{Segment, segments},
    tor, wait,
};
use pnet::util::MacAddr;
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
    /// Connections for which the client had to call again, and those that were reset though the router sent all their
    /// packets to one node.
    pub(crate) lost: usize,
    /// Connections that were reset, of which the router sent packets to two nodes: who comes second does not know them.
    pub(crate) parted: usize,
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
    let beyond = Capture::start(&fabric.warden, &fabric.tor, TOR, "tcp port 80")?;
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
        let (done, mut seen) = (done?, seen?);
        let (wire, beyond) = (segments(&wire.frames()?), segments(&beyond.frames()?));
        for (address, seen) in &mut seen {
            seen.judge(*address, &wire, &beyond);
        }
        Ok((done, seen))
    })
}

impl Seen {
    /// Takes in what passed between the client and the router, and what between the router and the nodes.
    fn judge(&mut self, address: IpAddr, wire: &[Segment], beyond: &[Segment]) {
        let mut nodes: BTreeMap<SocketAddr, BTreeSet<MacAddr>> = BTreeMap::new();
        for segment in beyond.iter().filter(|segment| segment.to.ip() == address) {
            nodes.entry(segment.from).or_default().insert(segment.station);
        }
        let (mut calls, mut again, mut reset) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for segment in wire {
            let client = if segment.to.ip() == address { segment.from } else { segment.to };
            if ![segment.from.ip(), segment.to.ip()].contains(&address) {
                continue;
            }
            if segment.calls && !calls.insert((client, segment.sequence)) {
                again.insert(client);
            }
            if segment.resets {
                reset.insert(client);
            }
        }
        let parted = |client: &SocketAddr| nodes.get(client).is_some_and(|nodes| nodes.len() > 1);
        self.called = calls.len();
        self.parted = reset.iter().filter(|client| parted(client)).count();
        self.lost = again.len() + reset.len() - self.parted;
    }
}
