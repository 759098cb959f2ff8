//! ARP answered for many addresses by a real speaker, beside the kernel's own answers for addresses of its own.
//!
//! Two cables lead from one asker: to a node with a speaker, and to one whose kernel has the addresses. With 1, 1,000
//! and the large number of addresses both are asked in the same way: with many questions in flight, for the answers in
//! a second, and with one at a time, for the time of an answer by itself.
//!
//! Then other traffic crosses the speaker's interface, and none of it is for layer 2: what it costs the speaker, and
//! what it costs somebody who takes every frame from the kernel to look at it.

mod asker;
mod noise;

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use asker::{Answers, announcements, ask, is_answered};
use ferrolb::{l2::Responder, net::IfIndex};
use serde_json::Value;

use super::cpu;
use crate::{
    flat,
    manifests::Manifests,
    netns::Net,
    objects,
    process::Running,
    raw::{Heard, Raw},
    wait,
    warden::Warden,
};

/// Numbers of addresses that are measured too.
const FEW: [u32; 2] = [1, 1000];

/// The addresses: those after this one. The senders of the questions are beyond them.
const FIRST: u32 = u32::from_be_bytes([10, 64, 0, 0]);
const MOST: u32 = u32::from_be_bytes([0, 31, 255, 255]);

/// The nodes themselves, and the asker.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 127, 0, 1);
const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 1);
const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 127, 255, 255);
const NODE_ADDRESSES: [&str; 2] = ["10.127.0.1/10", "fd00:64::1/64"];
const ASKER_ADDRESSES: [&str; 2] = ["10.127.0.2/10", "fd00:64::2/64"];

/// Questions at once.
const FLIGHT: u16 = 64;

/// Mbit/s of other traffic.
const RATE: u32 = 1000;

const PATIENCE: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The large number of addresses.
    pub vips: u32,
    /// Seconds of questions of each kind, and twice as many of other traffic.
    pub seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { vips: 10_000, seconds: 5 }
    }
}

/// Measures, and tells each finding through `say`; the last one is the line that machines read.
///
/// # Errors
/// When something does not start, or does not answer.
pub fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<()> {
    ensure!(
        (1..=MOST).contains(&options.vips) && options.seconds > 0,
        "--vips 1 to {MOST}, --seconds 1 at least"
    );
    let bench = Bench::start()?;
    let mut stages: Vec<u32> = FEW.into_iter().filter(|few| *few < options.vips).collect();
    stages.push(options.vips);
    let (mut have, mut last) = (0, None);
    for stage in stages {
        let started = wait::now();
        bench.populate(have, stage)?;
        have = stage;
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("{stage} addresses answered, and all announced at rest, after {seconds:.1} s"));
        let [ours, kernel] =
            ["ours", "kernel"].map(|interface| bench.measure(interface, stage, options.seconds));
        let (ours, kernel) = (ours?, kernel?);
        say(&format!("  speaker  {ours}"));
        say(&format!("  kernel   {kernel}"));
        last = Some((ours, kernel));
    }
    let (ours, kernel) = last.context("nothing was measured")?;
    let time = Duration::from_secs(options.seconds * 2);
    let idle = bench.speaker_cpu(|| {
        wait::pass(time);
        Ok(())
    })?;
    say(&format!("speaker, {have} addresses, no other traffic: {idle:.2} % of a processor"));
    let mut rate = 0.0;
    let noise = bench.speaker_cpu(|| {
        rate = bench.noise(time)?;
        Ok(())
    })?;
    say(&format!("speaker, {rate:.0} Mbit/s of other traffic: {noise:.2} % of a processor"));
    let (unfiltered, rate) = bench.unfiltered(time)?;
    say(&format!(
        "a socket that passes every frame to the same responder, {rate:.0} Mbit/s of it: {unfiltered:.2} % of a processor"
    ));
    say(&format!(
        "arp vips={} per_s={:.0} p99_us={:.1} kernel_per_s={:.0} kernel_p99_us={:.1} noise_cpu_pct={noise:.2}",
        options.vips,
        ours.many.per_second(),
        ours.many.micros(99),
        kernel.many.per_second(),
        kernel.many.micros(99),
    ));
    Ok(())
}

/// Both ways to ask.
struct Both {
    many: Answers,
    one: Answers,
}

impl std::fmt::Display for Both {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { many, one } = self;
        write!(
            f,
            "{FLIGHT} in flight: {:7.0} a second, p50 {:6.1} us, p99 {:6.1} us, lost {}   one at a time: {:6.0} a \
             second, p50 {:5.1} us, p99 {:5.1} us, lost {}",
            many.per_second(),
            many.micros(50),
            many.micros(99),
            many.lost,
            one.per_second(),
            one.micros(50),
            one.micros(99),
            one.lost
        )
    }
}

/// Everything that runs while measuring.
struct Bench {
    speaker: Running,
    manifests: Manifests,
    node: Net,
    kernel: Net,
    asker: Net,
    _sink: noise::Sink,
    warden: Arc<Warden>,
}

impl Bench {
    fn start() -> Result<Self> {
        let warden = Warden::start()?;
        let net = |role: &str| Net::create(&warden, role);
        let (node, kernel, asker) = (net("node")?, net("kernel")?, net("asker")?);
        node.cable("eth0", &NODE_ADDRESSES, &asker, "ours", &ASKER_ADDRESSES)?;
        kernel.cable("eth0", &NODE_ADDRESSES[..1], &asker, "kernel", &[])?;
        let manifests = Manifests::at(warden.make_dir("manifests")?);
        manifests.put("node", &objects::node_at("n1", &[NODE.into(), NODE6.into()]))?;
        manifests.put("pools", &objects::pool("flat", &["10.64.0.0/11"]))?;
        manifests.put("advertisements", &objects::l2_advertisement("flat"))?;
        let log = warden.dir().join("speaker.log");
        let speaker = flat::speaker(&manifests, &node, "n1", &[])?.log(log).start(&warden)?;
        flat::ready(&speaker, &node)?;
        Ok(Self { speaker, manifests, _sink: noise::Sink::open(&node)?, node, kernel, asker, warden })
    }

    /// Gives both nodes these many addresses, where they had fewer, and waits until both answer for the last one and
    /// the speaker's announcements have become rare.
    fn populate(&self, have: u32, count: u32) -> Result<()> {
        let (mut services, mut batch) = (String::new(), String::new());
        for number in have..count {
            let ip = vip(number);
            self.manifests.allot(&format!("svc-{number}"), "flat", &[ip.into()])?;
            writeln!(services, "{}---", service(number))?;
            writeln!(batch, "addr add {ip}/32 dev eth0")?;
        }
        self.manifests.put(&format!("services-{count}"), &services)?;
        let file = self.warden.dir().join("addresses");
        fs::write(&file, batch)?;
        let add = crate::process::Spawn::new("ip").args(["-n", self.kernel.name(), "-batch"]).arg(&file);
        add.limit(PATIENCE).text()?;
        for interface in ["ours", "kernel"] {
            let last = vip(count - 1);
            wait::until_true(PATIENCE, &format!("an answer for {last} on {interface}"), || {
                is_answered(&self.asker, interface, last)
            })
            .with_context(|| self.last_words())?;
        }
        // each is announced once in a minute, by two frames; a burst's pauses are shorter than ten seconds
        let (time, rare) = (Duration::from_secs(10), count / 2 + 10);
        self.asker.enter(|| {
            let raw = Raw::open("ours", Heard::Arp)?;
            wait::until_true(PATIENCE, "the announcements to become rare", || {
                Ok(announcements(&raw, time)? <= rare)
            })
        })
    }

    fn last_words(&self) -> String {
        let log = self.speaker.log_text();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    fn measure(&self, interface: &str, count: u32, seconds: u64) -> Result<Both> {
        let node = if interface == "ours" { &self.node } else { &self.kernel };
        let mac = flat::octets(&node.mac("eth0")?)?;
        let targets: Vec<Ipv4Addr> = (0..count).map(vip).collect();
        self.asker.enter(|| {
            let raw = Raw::open(interface, Heard::Arp)?;
            let asked = |flight| ask(&raw, &targets, flight, mac, Duration::from_secs(seconds));
            Ok(Both { many: asked(FLIGHT)?, one: asked(1)? })
        })
    }

    /// How much of a processor the speaker takes while this happens, in percent.
    fn speaker_cpu(&self, happen: impl FnOnce() -> Result<()>) -> Result<f64> {
        let (before, start) = (cpu::exactly_of(self.speaker.pid())?, wait::now());
        happen()?;
        let took = cpu::exactly_of(self.speaker.pid())?.saturating_sub(before);
        Ok(took.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
    }

    /// Makes other traffic; gives the Mbit/s that arrived at the speaker's interface.
    fn noise(&self, time: Duration) -> Result<f64> {
        let (before, start) = (received(&self.node)?, wait::now());
        let hosts = noise::Hosts { one: (NODE, NODE6), all: BROADCAST };
        noise::make(&self.asker, "ours", hosts, RATE, time)?;
        let bits = (received(&self.node)? - before) * 8.0;
        Ok(bits / start.elapsed().as_secs_f64() / 1e6)
    }

    /// The same with a reader beside the speaker that has every frame brought to it: how much of a processor it takes,
    /// in percent, and the Mbit/s.
    fn unfiltered(&self, time: Duration) -> Result<(f64, f64)> {
        let stop = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.node.enter(|| read_all(&stop)));
            let rate = self.noise(time);
            stop.store(true, Ordering::Relaxed);
            let percent = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
            Ok((percent?, rate?))
        })
    }
}

/// Reads every frame until told to stop; how much of a processor that took, in percent.
fn read_all(stop: &AtomicBool) -> Result<f64> {
    let raw = Raw::open("eth0", Heard::Everything)?;
    let (responder, mut room) = (Responder::default(), [0; 2048]);
    let (before, start) = (cpu::of_this_thread()?, wait::now());
    while !stop.load(Ordering::Relaxed) {
        match raw.receive(&mut room)? {
            Some(length) => drop(responder.heard(IfIndex(1), room.get(..length).unwrap_or_default())),
            None => raw.wait(Duration::from_millis(100))?,
        }
    }
    let took = cpu::of_this_thread()?.saturating_sub(before);
    Ok(took.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

/// Octets that `eth0` has received.
fn received(net: &Net) -> Result<f64> {
    let links: Value = serde_json::from_str(&net.ip("-j -s link show dev eth0")?)?;
    links.pointer("/0/stats64/rx/bytes").and_then(Value::as_f64).context("no count of octets")
}

fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + number + 1)
}

fn service(number: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: svc-{number}, namespace: default}}\nspec:\n  type: \
         LoadBalancer\n  ports:\n  - port: 80\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
         name: svc-{number}\n  namespace: default\n  labels:\n    kubernetes.io/service-name: svc-{number}\n\
         addressType: IPv4\nports:\n- port: 8080\nendpoints:\n- addresses: [10.244.1.2]\n  nodeName: n1\n  conditions: \
         {{ready: true}}\n"
    )
}
