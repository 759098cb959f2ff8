//! The flat segment alone: nodes with a speaker and a pod each, without FRR and without a controller. The test gives
//! Services their addresses; the speakers gossip about who is alive.
//!
//! The segment is two switches with a trunk between them. At first all are on the near one; a test moves nodes to the
//! far one, where a second client is, and cuts the trunk.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::IpAddr,
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{
    asking::Asking,
    calm,
    capture::Capture,
    election,
    fabric::{Fabric, LAN, Node, Segment},
    lab,
    manifests::Manifests,
    neighbour::{self, Claim, claims},
    netns::{self, Net},
    objects::{self, Service},
    pod::{self, Way},
    process::{Running, Spawn},
    tor::Family,
    wait,
};

/// The far switch, and the trunk's ends.
const FAR: &str = "far";
const TRUNK: [&str; 2] = ["near-end", "far-end"];

/// Host numbers of the two clients.
const CLIENT: u8 = 100;
const FAR_CLIENT: u8 = 2;

/// The pool that all addresses are of.
pub const POOL: &str = "flat";

/// The lab. What it consists of ends in the order of the fields.
#[derive(Debug)]
pub struct Flat {
    /// The manifest directory.
    pub manifests: Manifests,
    speakers: BTreeMap<String, Running>,
    ways: BTreeMap<String, Way>,
    key: PathBuf,
    _pods: Vec<Running>,
    /// The namespaces.
    pub fabric: Fabric,
}

impl Flat {
    /// Makes it with this many nodes and starts every speaker; `addresses` is what the pool has, `more` is more of the
    /// L2Advertisement's `spec`.
    ///
    /// # Errors
    /// When anything does not come up.
    pub fn start(nodes: u8, addresses: &[&str], more: &str) -> Result<Self> {
        let fabric = Fabric::create(nodes)?;
        let switch = &fabric.switch;
        switch.bridge(FAR)?;
        let [near, far] = TRUNK;
        switch.ip(&format!("link add name {near} type veth peer name {far}"))?;
        switch.ip(&format!("link set dev {near} master {LAN} up"))?;
        switch.ip(&format!("link set dev {far} master {FAR} up"))?;
        switch.ip(&format!("link set dev {} master {FAR}", netns::port(fabric.control.role(), LAN)))?;
        let manifests = Manifests::at(fabric.warden.make_dir("manifests")?);
        for node in &fabric.nodes {
            manifests.put(&format!("node-{}", node.name()), &objects::node(node))?;
        }
        manifests.put("pools", &objects::pool(POOL, addresses))?;
        manifests.put("advertisements", &(objects::l2_advertisement(POOL) + more))?;
        let key = fabric.warden.make_dir("key")?;
        std::fs::write(key.join("secretkey"), "the lab's own")?;
        let pods = fabric.nodes.iter().map(|node| pod::start(&fabric.warden, node)).collect::<Result<_>>()?;
        let (speakers, ways) = (BTreeMap::new(), BTreeMap::new());
        let mut flat = Self { manifests, speakers, ways, key, _pods: pods, fabric };
        for name in flat.names() {
            flat.start_speaker(&name)?;
        }
        Ok(flat)
    }

    /// The nodes' names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.fabric.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// Starts a node's speaker and waits until it is ready, and until all speakers that run know each other: who knows
    /// of fewer elects among fewer.
    ///
    /// # Errors
    /// When its binary is missing, it does not become ready, or somebody does not know somebody.
    pub fn start_speaker(&mut self, name: &str) -> Result<()> {
        self.start_speaker_with(name, &[])
    }

    /// The same with more flags.
    ///
    /// # Errors
    /// As [`Flat::start_speaker`].
    pub fn start_speaker_with(&mut self, name: &str, flags: &[&str]) -> Result<()> {
        let node = self.fabric.node(name)?;
        let others = self.fabric.nodes.iter().map(|node| Segment::Lan.v4(node.host()).to_string());
        let members = format!("--members={}", others.collect::<Vec<_>>().join(","));
        let key = format!("--ml-secret-key-path={}", self.key.display());
        let log = self.fabric.warden.make_dir(name)?.join("speaker.log");
        let flags = [&[members.as_str(), key.as_str()], flags].concat();
        let spawn = speaker(&self.manifests, &node.net, name, &flags)?.log(log);
        let process = spawn.start(&self.fabric.warden)?;
        lab::ready(&process, &node.net)?;
        self.speakers.insert(name.to_owned(), process);
        let others = format!("ferrolb_members_others {}", self.speakers.len() - 1);
        for name in self.speakers.keys() {
            wait::until_true(lab::DEADLINE, &format!("{others:?} of {name}"), || {
                Ok(self.metrics(name)?.lines().any(|line| line == others))
            })
            .with_context(|| self.logs())?;
        }
        Ok(())
    }

    /// The metrics of a node's speaker.
    ///
    /// # Errors
    /// When it has none, or does not answer.
    pub fn metrics(&self, name: &str) -> Result<String> {
        let net = &self.fabric.node(name)?.net;
        wait::until(lab::DEADLINE, &format!("the metrics of {name}"), || {
            let curl = net.command("curl").args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*"]);
            curl.arg("http://127.0.0.1:7472/metrics").text().map(Some)
        })
    }

    /// Kills a node's speaker; gives the moments before and after it was sent the signal, since the epoch.
    ///
    /// # Errors
    /// When it has none, or it does not end.
    pub fn kill_speaker(&mut self, name: &str) -> Result<Range<Duration>> {
        let speaker = self.speakers.remove(name).with_context(|| format!("{name} has no speaker"))?;
        let (at, ()) = calm::act(|| speaker.signal(Signal::SIGKILL))?;
        speaker.kill()?;
        Ok(at)
    }

    /// Asks a node's speaker to end and waits until it has; gives the time when it was asked.
    ///
    /// # Errors
    /// When it has none, or it does not end.
    pub fn stop_speaker(&mut self, name: &str) -> Result<Duration> {
        let speaker = self.speakers.remove(name).with_context(|| format!("{name} has no speaker"))?;
        let at = wait::since_epoch()?;
        speaker.signal(Signal::SIGTERM)?;
        wait::until(lab::DEADLINE, "the end after SIGTERM", || speaker.ended())?;
        Ok(at)
    }

    /// Makes a Service with these addresses, served by every node's pod.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn serve(&mut self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let mut service = Service::new(name, POOL, &self.fabric);
        service.families.retain(|family| addresses.iter().any(|ip| ip.is_ipv4() == (*family == Family::V4)));
        self.manifests.allot(name, POOL, addresses)?;
        self.manifests.put(&format!("service-{name}"), &service.yaml(&self.fabric))?;
        let endpoints = service.endpoints;
        let way = Way { addresses: addresses.to_vec(), port: objects::PORT, endpoints };
        self.ways.insert(name.to_owned(), way);
        pod::lay(&self.fabric, &self.ways)
    }

    /// Makes a Service for each of these addresses, `<name>-<number>`, with no way to any pod.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn serve_many(&self, name: &str, ips: &[IpAddr]) -> Result<()> {
        let mut all = Vec::new();
        for (number, ip) in ips.iter().enumerate() {
            let mut service = Service::new(&format!("{name}-{number}"), POOL, &self.fabric);
            service.families.retain(|family| ip.is_ipv4() == (*family == Family::V4));
            self.manifests.allot(&service.name, POOL, &[*ip])?;
            all.push(service.yaml(&self.fabric));
        }
        self.manifests.put(&format!("services-{name}"), &all.join("---\n"))
    }

    /// Removes a Service.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.ways.remove(name);
        self.manifests.remove(&format!("service-{name}"))
    }

    /// The node that should answer for a Service whose first address this is, of the nodes named.
    ///
    /// # Errors
    /// When none is named.
    pub fn elected(&self, of: &[String], ip: IpAddr) -> Result<&Node> {
        let name =
            election::winner(of.iter().map(String::as_str), &ip.to_string()).context("no candidate")?;
        self.fabric.node(name)
    }

    /// Watches the near client's cable, or the far one's, while that client asks for these addresses again and again.
    ///
    /// # Errors
    /// When tcpdump is missing.
    pub fn watch(&self, far: bool, ips: &[IpAddr], pause: Duration) -> Result<Watch> {
        let (net, host) =
            if far { (&self.fabric.control, FAR_CLIENT) } else { (&self.fabric.client, CLIENT) };
        let capture = Capture::start(&self.fabric.warden, net, LAN, neighbour::FILTER)?;
        Ok(Watch { _asking: Asking::start(net, host, ips, pause)?, capture, so_far: Mutex::default() })
    }

    /// Moves a node to the far switch, or back.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn place(&self, node: &str, far: bool) -> Result<()> {
        let (port, to) = (netns::port(node, LAN), if far { FAR } else { LAN });
        self.fabric.switch.ip(&format!("link set dev {port} master {to}")).map(drop)
    }

    /// Cuts the trunk, or mends it; gives the moments before and after, since the epoch.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn trunk(&self, up: bool) -> Result<Range<Duration>> {
        let ([near, _], state) = (TRUNK, if up { "up" } else { "down" });
        Ok(calm::act(|| self.fabric.switch.ip(&format!("link set dev {near} {state}")))?.0)
    }

    /// The last lines of the speakers, for messages about what did not happen.
    #[must_use]
    pub fn logs(&self) -> String {
        let last = |process: &Running| {
            let text = process.log_text();
            let lines: Vec<&str> = text.lines().collect();
            lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
        };
        self.speakers.iter().map(|(name, process)| format!("--- {name}\n{}\n", last(process))).collect()
    }
}

/// What passes on a client's cable, and the client's questions.
#[derive(Debug)]
pub struct Watch {
    _asking: Asking,
    capture: Capture,
    /// The frames looked at so far, and the claims in them.
    so_far: Mutex<(usize, Vec<Claim>)>,
}

impl Watch {
    /// Every claim so far.
    ///
    /// # Errors
    /// When the capture has ended.
    pub fn claims(&self) -> Result<Vec<Claim>> {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = self.capture.frames_after(so_far.0)?;
        so_far.0 += frames.len();
        so_far.1.extend(claims(&frames));
        Ok(so_far.1.clone())
    }

    /// Waits until this station claims `ip` at this time or later; gives when.
    ///
    /// # Errors
    /// When it does not.
    pub fn claimed(&self, ip: IpAddr, mac: &str, since: Duration) -> Result<Duration> {
        wait::until(lab::DEADLINE, &format!("{mac} to claim {ip}"), || {
            Ok(neighbour::first(&self.claims()?, ip, mac, since))
        })
    }

    /// Waits until this station has claimed `ip` for `quiet`, at this time or later, and no other has since.
    ///
    /// # Errors
    /// When others do not stop.
    pub fn settled(&self, ip: IpAddr, mac: &str, since: Duration, quiet: Duration) -> Result<()> {
        wait::until_true(lab::DEADLINE, &format!("{mac} alone to claim {ip}"), || {
            let claims = self.claims()?;
            let of = claims.iter().rev().filter(|claim| claim.ip == ip && claim.at >= since);
            let mut alone = of.take_while(|claim| claim.mac == mac).map(|claim| claim.at);
            let (last, first) = (alone.next(), alone.last());
            Ok(last.zip(first).is_some_and(|(last, first)| last - first >= quiet))
        })
    }
}

/// A speaker without FRR on a node, with more flags.
///
/// # Errors
/// When its binary is missing.
pub fn speaker(manifests: &Manifests, net: &Net, name: &str, flags: &[&str]) -> Result<Spawn> {
    let spawn = lab::product(manifests, "speaker", net)?.args(["--node-name", name, "--frr-vty-dir="]);
    Ok(spawn.args(flags.iter().map(OsStr::new)))
}

/// Waits until a process of the product says that it is ready.
///
/// # Errors
/// When it ends instead, or does not become ready.
pub fn ready(process: &Running, net: &Net) -> Result<()> {
    lab::ready(process, net)
}

/// The octets of a hardware address.
///
/// # Errors
/// When it is none.
pub fn octets(mac: &str) -> Result<[u8; 6]> {
    let parts: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>()?;
    parts.try_into().ok().with_context(|| format!("{mac} is no hardware address"))
}
