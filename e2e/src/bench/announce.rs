//! How long it takes from a Service to a route, beside the floor that FRR sets.
//!
//! One run measures both, one sample at a time, with 100, 1,000 and the large number of other Services, when nothing
//! more follows from those (their status and their events are written):
//! - announce: a Service is written to the API server (the clock starts before the request leaves) → the router's
//!   kernel has its route. The address is allocated on the way, its EndpointSlice is there already.
//! - floor: one `network` line is written by hand to the node's bgpd → the router's kernel has its route.
//!
//! Then, with the large number: how much processor time the speaker takes while nothing happens, how long speaker and
//! FRR take from nothing until the router's kernel has every route, and how long a burst of Services takes from its last
//! written status on.
//!
//! The cluster is a real API server alone; the controller and one speaker run with the accounts of the manifest. The
//! peers are the FRR router that is watched, BIRD, and as many more as asked for, which only listen.

use std::{
    cell::Cell,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    cpu,
    memory::Memory,
    population,
    routes::{Change, Monitor},
    stats::Samples,
    vty::Vty,
};
use crate::{
    cluster::{Cluster, Extent},
    fabric::{BIRD_ASN, Fabric, LAN, NODE_ASN, Segment, TOR_ASN},
    frr::{Frr, Listens},
    process::Running,
    recorder::Recorder,
    tor::{BirdTor, FrrTor},
    wait,
};

/// How many Services it is also measured at.
const ALSO_AT: [usize; 2] = [100, 1000];

/// The pool; the floor's own addresses are beside it.
const POOL: &str = "10.128.0.0/16";
const POOL_START: [u8; 2] = [10, 128];
const FLOOR_START: [u8; 2] = [10, 129];

/// The peers that only listen: hosts of the flat segment from here on, and their autonomous system.
const LISTENERS: u8 = 150;
const LISTENER_ASN: u32 = 64600;
const MOST_PEERS: u8 = 52;

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(1200);

/// As long without an event there is none left to write: they come every 50 ms.
const EVENTS_OVER: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The large number of Services.
    pub services: usize,
    /// Samples of each kind, at each number of Services.
    pub samples: usize,
    /// The node's peers.
    pub peers: u8,
    /// Services of the burst.
    pub burst: usize,
    /// Seconds to do nothing for; the figure is for a minute.
    pub idle: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { services: 5000, samples: 100, peers: 2, burst: 1000, idle: 60 }
    }
}

/// Everything that runs while measuring.
struct Bench {
    speaker: Running,
    controller: Running,
    monitor: Monitor,
    frr: Frr,
    _routers: (FrrTor, BirdTor, Vec<Recorder>),
    cluster: Cluster,
    samples: usize,
}

/// One Service's way.
struct Announced {
    /// Until the router's kernel had the route.
    announced: Duration,
    /// Until the API server had answered the writer, which is a part of that.
    written: Duration,
}

/// The latencies at one number of Services.
struct Latencies {
    announce: Samples,
    write: Samples,
    floor: Samples,
}

/// Measures, and tells each finding through `say`; the last one is the line that machines read.
///
/// # Errors
/// When something does not start, or a route does not arrive.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<()> {
    let [few, _] = ALSO_AT;
    if options.services < few || options.samples == 0 {
        bail!("--services must be at least {few}, --samples at least 1");
    }
    if !(1..=MOST_PEERS).contains(&options.peers) || options.burst == 0 || options.idle == 0 {
        bail!("--peers must be 1 to {MOST_PEERS}, --burst and --idle at least 1");
    }
    let mut bench = Bench::start(&options)?;
    let mut last = None;
    let mut have = 0;
    let mut stages = ALSO_AT.to_vec();
    stages.retain(|stage| *stage < options.services);
    stages.push(options.services);
    for stage in stages {
        let started = wait::now();
        bench.populate(have, stage)?;
        have = stage;
        say(&format!("{stage} Services announced after {:.1} s", started.elapsed().as_secs_f64()));
        let memory = bench.memory()?;
        say(&format!("  memory     controller {}   speaker {}", memory.0, memory.1));
        bench.steady(have, options.peers)?;
        let logged = bench.speaker.log_text().len();
        let latencies = bench.latencies()?;
        say(&format!("  announce   {}", latencies.announce));
        say(&format!("  of it, API {}", latencies.write));
        say(&format!("  floor      {}", latencies.floor));
        say(&format!("  one prefix {}", one_prefix(&bench.speaker, logged)?));
        last = Some((latencies, bench.memory()?));
    }
    let (latencies, memory) = last.context("nothing was measured")?;
    say(&format!("memory at {have}: controller {}, speaker {}", memory.0, memory.1));
    bench.steady(have, options.peers)?;
    let idle = bench.idle(options.idle)?;
    say(&format!("a steady minute costs the speaker {idle:.2} s of processor time"));
    let start = bench.restart(have)?;
    say(&format!("{have} routes {start:.2} s after FRR and the speaker were started from nothing"));
    let (after, whole) = bench.burst(have, options.burst)?;
    say(&format!(
        "{} more Services: {whole:.2} s from the first one written, {after:.2} s after the last status",
        options.burst
    ));
    say(&format!(
        "announce services={} p50_ms={:.1} p99_ms={:.1} floor_p50_ms={:.1} floor_p99_ms={:.1} \
         controller_mib={:.1} speaker_mib={:.1} burst_s={after:.2} start_s={start:.2} idle_cpu_s={idle:.2}",
        options.services,
        latencies.announce.percentile(50),
        latencies.announce.percentile(99),
        latencies.floor.percentile(50),
        latencies.floor.percentile(99),
        memory.0.now,
        memory.1.now,
    ));
    Ok(())
}

impl Bench {
    fn start(options: &Options) -> Result<Self> {
        let fabric = Fabric::create(1)?;
        let mut listeners = Vec::new();
        for host in (LISTENERS..).take(usize::from(options.peers.saturating_sub(2))) {
            let address = Segment::Lan.v4(host);
            fabric.client.addresses(LAN, &[&format!("{address}/24")])?;
            let address = SocketAddrV4::new(address, 179);
            listeners.push(Recorder::listen(&fabric.client, address, LISTENER_ASN)?);
        }
        let routers = (FrrTor::start(&fabric)?, BirdTor::start(&fabric)?, listeners);
        let node = fabric.node("n1")?;
        let frr = Frr::start(&fabric.warden, &node.net, Listens::No, "")?;
        let monitor = Monitor::start(&fabric.warden, &fabric.tor)?;
        let cluster = Cluster::start(fabric, Extent::ApiOnly)?;
        cluster.install()?;
        cluster.kubectl().apply(&configuration(options.peers))?;
        let controller = cluster.start_controller()?;
        let speaker = cluster.start_speaker(cluster.fabric().node("n1")?, &frr)?;
        Ok(Self { speaker, controller, monitor, frr, _routers: routers, cluster, samples: options.samples })
    }

    /// Waits until nothing more follows from the Services that there are: each says which peers were told of it, and the
    /// events are written, of which controller and speaker write twenty a second each.
    fn steady(&self, services: usize, peers: u8) -> Result<()> {
        self.speaker.wait_for(LONG, &format!("the status of {services} Services"), || {
            let told = async |client| population::told(&client, services, peers.into()).await;
            Ok(self.cluster.client(told)?.then_some(()))
        })?;
        let mut last = (0, wait::now());
        self.speaker.wait_for(LONG, "the last event", || {
            let events = self.cluster.client(async |client| population::events(&client).await)?;
            if events != last.0 {
                last = (events, wait::now());
            }
            Ok((last.1.elapsed() > EVENTS_OVER).then_some(()))
        })
    }

    /// The processor time that the speaker takes in a minute in which nothing happens, in seconds.
    fn idle(&self, seconds: u64) -> Result<f64> {
        let (before, start) = (cpu::of(self.speaker.pid())?, wait::now());
        wait::pass(Duration::from_secs(seconds));
        let took = cpu::of(self.speaker.pid())?.saturating_sub(before);
        Ok(took.as_secs_f64() * 60.0 / start.elapsed().as_secs_f64())
    }

    /// Seconds from the start of FRR, which has no configuration, and of the speaker until the router's kernel has
    /// these many routes.
    fn restart(&mut self, routes: usize) -> Result<f64> {
        let position = self.monitor.position()?;
        self.speaker.stop()?;
        self.frr.stop()?;
        fs::remove_file(self.frr.conf())?;
        self.counted(position, Change::Deleted, routes)?;
        let position = self.monitor.position()?;
        let start = SystemTime::now();
        let node = self.cluster.fabric().node("n1")?;
        self.frr = Frr::resume(&self.cluster.fabric().warden, &node.net)?;
        self.speaker = self.cluster.start_speaker(node, &self.frr)?;
        Ok(self.counted(position, Change::Added, routes)?.duration_since(start)?.as_secs_f64())
    }

    /// Makes more Services, all at once. Seconds until the router's kernel has their routes: from the last status that
    /// the API server tells of, and from the first request.
    fn burst(&self, have: usize, burst: usize) -> Result<(f64, f64)> {
        let position = self.monitor.position()?;
        let start = SystemTime::now();
        let written = self.cluster.client(async |client| {
            let version = population::version(&client).await?;
            let written = population::last_served(&client, &version, burst);
            let ((), written) = tokio::try_join!(population::create(&client, have..have + burst), written)?;
            Ok(written)
        })?;
        let last = self.counted(position, Change::Added, burst)?;
        // the router may know before the API server has told us
        let after = last.duration_since(written).unwrap_or_default();
        Ok((after.as_secs_f64(), last.duration_since(start)?.as_secs_f64()))
    }

    /// Waits for these many changes of routes, and says when the last one was.
    fn counted(&self, position: u64, change: Change, count: usize) -> Result<SystemTime> {
        let seen = Cell::new(0);
        let last = self.monitor.wait(position, LONG, &format!("{count} routes {change:?}"), |event| {
            if event.change == change && event.address.octets().starts_with(&POOL_START) {
                seen.set(seen.get() + 1);
            }
            seen.get() >= count
        });
        Ok(last?.at)
    }

    /// Makes Services until there are `until`, and waits until the router has them all.
    fn populate(&self, have: usize, until: usize) -> Result<()> {
        self.cluster.client(async |client| population::create(&client, have..until).await)?;
        let tor = &self.cluster.fabric().tor;
        self.speaker.wait_for(LONG, &format!("{until} routes in the router's kernel"), || {
            let routes = tor.ip("-4 route show proto bgp")?;
            Ok((routes.lines().filter(|line| line.starts_with("10.128.")).count() >= until).then_some(()))
        })
    }

    fn memory(&self) -> Result<(Memory, Memory)> {
        Ok((Memory::of(self.controller.pid())?, Memory::of(self.speaker.pid())?))
    }

    fn latencies(&self) -> Result<Latencies> {
        let (announce, write) = self.cluster.client(async |client| {
            let (mut announce, mut write) = (Samples::default(), Samples::default());
            for number in 0..self.samples {
                let sample = self.announce(&client, &format!("sample-{number}")).await?;
                announce.push(sample.announced);
                write.push(sample.written);
            }
            Ok((announce, write))
        })?;
        let class = self.class()?;
        let mut floor = Samples::default();
        // it would take the lines for somebody's mistake, and put them right
        self.speaker.signal(Signal::SIGSTOP)?;
        let samples = (0..self.samples).try_for_each(|number| {
            floor.push(self.floor(u8::try_from(number % 250)?, &class)?);
            Ok(())
        });
        self.speaker.signal(Signal::SIGCONT)?;
        samples.map_err(|error: anyhow::Error| error.context("a line written by hand"))?;
        Ok(Latencies { announce, write, floor })
    }

    async fn announce(&self, client: &kube::Client, name: &str) -> Result<Announced> {
        population::create_slice(client, name).await?;
        let position = self.monitor.position()?;
        let start = SystemTime::now();
        population::create_service(client, name).await?;
        let written = start.elapsed()?;
        let added = self.monitor.wait(position, PATIENCE, &format!("the route of {name}"), |event| {
            event.change == Change::Added && event.address.octets().starts_with(&POOL_START)
        })?;
        let announced = added.at.duration_since(start)?;
        let position = self.monitor.position()?;
        population::delete(client, name).await?;
        self.monitor.wait(position, PATIENCE, &format!("the end of the route of {name}"), |event| {
            event.change == Change::Deleted && event.address == added.address
        })?;
        Ok(Announced { announced, written })
    }

    fn floor(&self, number: u8, class: &str) -> Result<Duration> {
        let [a, b] = FLOOR_START;
        let address = Ipv4Addr::new(a, b, 0, number);
        let mut vty = Vty::connect(self.frr.vty_dir())?;
        for line in ["configure terminal", &format!("router bgp {NODE_ASN}"), "address-family ipv4 unicast"] {
            vty.say(line)?;
        }
        let position = self.monitor.position()?;
        let start = SystemTime::now();
        vty.say(&format!("network {address}/32{class}"))?;
        let added = self.monitor.wait(position, PATIENCE, "the route written by hand", |event| {
            event.change == Change::Added && event.address == address
        })?;
        let took = added.at.duration_since(start)?;
        let position = self.monitor.position()?;
        vty.say(&format!("no network {address}/32{class}"))?;
        self.monitor.wait(position, PATIENCE, "the end of the route written by hand", |event| {
            event.change == Change::Deleted && event.address == address
        })?;
        Ok(took)
    }

    /// What follows the prefix in the product's own `network` lines, so that a line written by hand is let through.
    fn class(&self) -> Result<String> {
        let running = Vty::connect(self.frr.vty_dir())?.say("show running-config")?;
        let mut lines = running.lines().filter_map(|line| line.trim().strip_prefix("network 10.128."));
        let rest = lines.next().context("bgpd has no prefix of the pool")?;
        let words: Vec<&str> = rest.split_whitespace().skip(1).collect();
        Ok(words.iter().map(|word| format!(" {word}")).collect())
    }
}

/// What the speaker says of the changes that it applied after `logged` bytes of its log.
fn one_prefix(speaker: &Running, logged: usize) -> Result<String> {
    let text = speaker.log_text();
    let mut took = Samples::default();
    let mut lines = Vec::new();
    for line in text.get(logged..).unwrap_or_default().lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if entry.get("msg").and_then(Value::as_str) != Some("frr configuration applied") {
            continue;
        }
        let ms = entry.get("ms").and_then(Value::as_f64).context("an applied change without `ms`")?;
        took.push(Duration::from_secs_f64(ms / 1000.0));
        lines.push(entry.get("count").and_then(Value::as_u64).context("an applied change without `count`")?);
    }
    lines.sort_unstable();
    let (least, most) =
        (lines.first().copied().unwrap_or_default(), lines.last().copied().unwrap_or_default());
    Ok(format!("{took}, {least} to {most} lines each"))
}

fn configuration(peers: u8) -> String {
    let mut text = pool();
    let routers = [(Segment::Tor.v4(1), TOR_ASN), (Segment::Bird.v4(1), BIRD_ASN)];
    let listeners = (LISTENERS..).map(|host| (Segment::Lan.v4(host), LISTENER_ASN));
    let peers = routers.into_iter().chain(listeners).take(usize::from(peers));
    for (number, (address, asn)) in peers.enumerate() {
        text += &format!(
            "---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{name: peer-{number}, namespace: metallb-system}}
spec: {{myASN: {NODE_ASN}, peerASN: {asn}, peerAddress: {address}, connectTime: 1s}}
"
        );
    }
    text
}

fn pool() -> String {
    format!(
        "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: bench, namespace: metallb-system}}
spec: {{addresses: [{POOL}]}}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{name: bench, namespace: metallb-system}}
spec: {{ipAddressPools: [bench]}}
"
    )
}
