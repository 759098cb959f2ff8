//! How long it takes from a Service to a route, beside the floor that FRR sets.
//!
//! One run measures both, one sample at a time, with a small and a large number of other Services:
//! - announce: a Service is written to the API server (the clock starts before the request leaves) → the router's
//!   kernel has its route. The address is allocated on the way, its EndpointSlice is there already.
//! - floor: one `network` line is written by hand to the node's bgpd → the router's kernel has its route.
//!
//! The cluster is a real API server alone; the controller and one speaker run with the accounts of the manifest.

use std::{
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    memory::Memory,
    population,
    routes::{Change, Monitor},
    stats::Samples,
    vty::Vty,
};
use crate::{
    cluster::{Cluster, Extent},
    fabric::{Fabric, NODE_ASN, Segment, TOR_ASN},
    frr::{Frr, Listens},
    process::Running,
    tor::FrrTor,
    wait,
};

/// How many Services a latency is also measured at, and memory is also read at.
const FEW: usize = 100;
const MEMORY_AT: usize = 1000;

/// The pool; the floor's own addresses are beside it.
const POOL: &str = "10.128.0.0/16";
const POOL_START: [u8; 2] = [10, 128];
const FLOOR_START: [u8; 2] = [10, 129];

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The large number of Services.
    pub services: usize,
    /// Samples of each kind, at each number of Services.
    pub samples: usize,
}

/// Everything that runs while measuring.
struct Bench {
    speaker: Running,
    controller: Running,
    monitor: Monitor,
    frr: Frr,
    _tor: FrrTor,
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
    if options.services < FEW || options.samples == 0 {
        bail!("--services must be at least {FEW}, --samples at least 1");
    }
    let bench = Bench::start(options.samples)?;
    let mut memory_few = None;
    let mut last = None;
    let mut have = 0;
    let mut stages = vec![FEW, MEMORY_AT, options.services];
    stages.retain(|stage| *stage <= options.services);
    stages.dedup();
    for stage in stages {
        let started = wait::now();
        bench.populate(have, stage)?;
        have = stage;
        say(&format!("{stage} Services announced after {:.1} s", started.elapsed().as_secs_f64()));
        let memory = bench.memory()?;
        if stage == MEMORY_AT {
            memory_few = Some(memory);
        }
        say(&format!("  memory     controller {}   speaker {}", memory.0, memory.1));
        if stage != FEW && stage != options.services {
            continue;
        }
        let logged = bench.speaker.log_text().len();
        let latencies = bench.latencies()?;
        say(&format!("  announce   {}", latencies.announce));
        say(&format!("  of it, API {}", latencies.write));
        say(&format!("  floor      {}", latencies.floor));
        say(&format!("  one prefix {}", one_prefix(&bench.speaker, logged)?));
        last = Some((latencies, bench.memory()?));
    }
    let (latencies, memory) = last.context("nothing was measured")?;
    if let Some((controller, speaker)) = memory_few {
        say(&format!("memory at {MEMORY_AT}: controller {controller}, speaker {speaker}"));
    }
    say(&format!("memory at {have}: controller {}, speaker {}", memory.0, memory.1));
    say(&format!(
        "announce services={} p50_ms={:.1} p99_ms={:.1} floor_p50_ms={:.1} floor_p99_ms={:.1} \
         controller_mib={:.1} speaker_mib={:.1}",
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
    fn start(samples: usize) -> Result<Self> {
        let fabric = Fabric::create(1)?;
        let tor = FrrTor::start(&fabric)?;
        let node = fabric.node("n1")?;
        let frr = Frr::start(&fabric.warden, &node.net, Listens::No, "")?;
        let monitor = Monitor::start(&fabric.warden, &fabric.tor)?;
        let cluster = Cluster::start(fabric, Extent::ApiOnly)?;
        cluster.install()?;
        cluster.kubectl().apply(&configuration())?;
        let controller = cluster.start_controller()?;
        let speaker = cluster.start_speaker(cluster.fabric().node("n1")?, &frr)?;
        Ok(Self { speaker, controller, monitor, frr, _tor: tor, cluster, samples })
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
        for number in 0..self.samples {
            floor.push(self.floor(u8::try_from(number % 250)?, &class)?);
        }
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

fn configuration() -> String {
    let tor = Segment::Tor.v4(1);
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
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{name: tor, namespace: metallb-system}}
spec: {{myASN: {NODE_ASN}, peerASN: {TOR_ASN}, peerAddress: {tor}}}
"
    )
}
