//! Three real speakers that gossip over UDP: who dies, who leaves and who has another key, judged by what is announced
//! on the flat segment.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    bins, calm,
    capture::Capture,
    election,
    fabric::{Fabric, LAN, Node, Segment},
    lab::DEADLINE,
    manifests::Manifests,
    neighbour::{self, claims},
    netns::Net,
    objects::{self, Service},
    process::{Running, Spawn},
    wait,
};
use nix::sys::signal::Signal;

/// What the gossip promises for three nodes, and what it takes until the announcement is on the wire.
const NOTICED: Duration = Duration::from_millis(700);

/// How long the last answer may take.
const LAST: Duration = Duration::from_secs(2);

/// Questions that two may answer: those that come until both have seen the change, which is in a file that each watches.
/// One, as a rule; were nobody to concede, it would be the hundred that are asked afterwards.
const DOUBLE: usize = 10;

/// The client's host number.
const CLIENT: u8 = 100;

/// Three nodes without FRR, and the product.
struct Three {
    manifests: Manifests,
    // it gives the addresses
    _controller: Running,
    speakers: BTreeMap<String, Running>,
    fabric: Fabric,
}

impl Three {
    fn start() -> Result<Self> {
        let fabric = Fabric::create(3)?;
        let manifests = Manifests::at(fabric.warden.make_dir("manifests")?);
        for node in &fabric.nodes {
            manifests.put(&format!("node-{}", node.name()), &objects::node(node))?;
        }
        manifests.put("pools", &objects::pools())?;
        manifests.put("advertisements", &objects::advertisements())?;
        let controller = product(&manifests, "controller", &fabric.control)?
            .log(fabric.warden.dir().join("controller.log"))
            .start(&fabric.warden)?;
        let mut three = Self { manifests, _controller: controller, speakers: BTreeMap::new(), fabric };
        let key = three.key("ours")?;
        for name in three.names() {
            three.start_speaker(&name, Some(&key))?;
        }
        Ok(three)
    }

    fn names(&self) -> Vec<String> {
        self.fabric.nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    /// A directory with a key of this text.
    fn key(&self, text: &str) -> Result<PathBuf> {
        let dir = self.fabric.warden.make_dir(&format!("key-{text}"))?;
        std::fs::write(dir.join("secretkey"), text)?;
        Ok(dir)
    }

    /// Starts a speaker among the three, with this key or without one.
    fn start_speaker(&mut self, name: &str, key: Option<&Path>) -> Result<()> {
        let node = self.fabric.node(name)?;
        let members: Vec<String> =
            self.fabric.nodes.iter().map(|node| Segment::Lan.v4(node.host()).to_string()).collect();
        let log = self.fabric.warden.make_dir(name)?.join("speaker.log");
        let speaker = product(&self.manifests, "speaker", &node.net)?
            .args(["--node-name", name, "--frr-vty-dir", "", "--members", &members.join(",")])
            .log(log);
        let speaker = match key {
            Some(key) => speaker.arg("--ml-secret-key-path").arg(key),
            None => speaker,
        };
        self.speakers.insert(name.to_owned(), speaker.start(&self.fabric.warden)?);
        Ok(())
    }

    /// Waits until each of these sees so many others, by its own metrics.
    fn see(&self, names: &[String], others: usize) -> Result<()> {
        for name in names {
            let wanted = format!("ferrolb_members_others {others}");
            wait::until_true(DEADLINE, &format!("{name} to see {others} others"), || {
                Ok(self.metrics(name)?.lines().any(|line| line == wanted))
            })
            .with_context(|| self.logs())?;
        }
        Ok(())
    }

    /// How many datagrams a speaker has refused.
    fn refused(&self, name: &str) -> Result<u64> {
        let what = format!("the metrics of {name}");
        let metrics = wait::until(DEADLINE, &what, || self.metrics(name).map(Some))?;
        let count = metrics.lines().find_map(|line| line.strip_prefix("ferrolb_members_refused_total "));
        Ok(count.context("no count")?.parse()?)
    }

    fn metrics(&self, name: &str) -> Result<String> {
        let net = &self.fabric.node(name)?.net;
        net.command("curl")
            .args(["--silent", "--max-time", "2", "--noproxy", "*", "http://127.0.0.1:7472/metrics"])
            .text()
    }

    /// A Service on the flat segment, once the elected node answers for its addresses; and that node.
    fn add(&self, name: &str) -> Result<(Vec<IpAddr>, &Node)> {
        let service = Service::new(name, "flat", &self.fabric);
        let wire = self.wire()?;
        self.manifests.put(&format!("service-{name}"), &service.yaml(&self.fabric))?;
        let addresses = wait::until(DEADLINE, "addresses", || {
            let addresses = self.manifests.addresses(name)?;
            Ok((addresses.len() == 2).then_some(addresses))
        })?;
        let elected = self.elected(&self.names(), &addresses)?;
        for ip in &addresses {
            self.announced(&wire, *ip, elected, Duration::ZERO)?;
        }
        Ok((addresses, elected))
    }

    fn elected(&self, of: &[String], addresses: &[IpAddr]) -> Result<&Node> {
        let first = addresses.first().context("no address")?.to_string();
        self.fabric.node(election::winner(of.iter().map(String::as_str), &first).context("no candidate")?)
    }

    fn wire(&self) -> Result<Capture> {
        Capture::start(&self.fabric.warden, &self.fabric.client, LAN, neighbour::FILTER)
    }

    /// When `node` first announced `ip` to all, after `since`.
    fn announced(&self, wire: &Capture, ip: IpAddr, node: &Node, since: Duration) -> Result<Duration> {
        let mac = node.net.mac(LAN)?;
        wait::until(DEADLINE, &format!("an announcement of {ip} by {}", node.name()), || {
            let claims = claims(&wire.frames()?);
            let first = claims
                .iter()
                .find(|claim| claim.ip == ip && claim.mac == mac && !claim.answer && claim.at >= since);
            Ok(first.map(|claim| claim.at))
        })
        .with_context(|| self.logs())
    }

    fn logs(&self) -> String {
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
        };
        self.speakers.iter().map(|(name, it)| format!("--- {name}\n{}\n", last(it.log_text()))).collect()
    }
}

fn product(manifests: &Manifests, name: &str, net: &Net) -> Result<Spawn> {
    let spawn = net.command(&bins::product(name)?.to_string_lossy()).arg("--manifests").arg(manifests.dir());
    Ok(spawn.args(["--port", "7472", "--health-probe-port", "17472", "--log-level", "debug"]))
}

/// The node stays listed as a Node: only the gossip can tell.
#[test]
fn a_speaker_that_is_killed_is_missed_at_once() -> Result<()> {
    let mut three = Three::start()?;
    three.see(&three.names(), 2)?;
    let key = three.key("ours")?;
    let mut number = 0;
    for _ in 0..3 {
        calm::rounds(|round| {
            number += 1;
            let (addresses, first) = three.add(&format!("killed-{number}"))?;
            let first = first.name().to_owned();
            let others: Vec<String> = three.names().into_iter().filter(|name| *name != first).collect();
            let wire = three.wire()?;
            let speaker = three.speakers.remove(&first).context("no speaker")?;
            let (killed, ()) = calm::act(|| speaker.signal(Signal::SIGKILL))?;
            speaker.kill()?;
            let second = three.elected(&others, &addresses)?;
            for ip in &addresses {
                let taken = three.announced(&wire, *ip, second, killed.start)?;
                let what = format!("{ip} was {first}'s, and is announced by {}", second.name());
                round.judge(&what, killed.end..taken, NOTICED);
            }
            // it comes back, and gets what is its own
            let back = wait::since_epoch()?;
            three.start_speaker(&first, Some(&key))?;
            let node = three.fabric.node(&first)?;
            for ip in &addresses {
                three.announced(&wire, *ip, node, back)?;
            }
            three.see(&three.names(), 2)?;
            three.manifests.remove(&format!("service-killed-{number}"))
        })?;
    }
    Ok(())
}

/// Neither side takes the other in, and each counts what it refuses.
#[test]
fn who_has_another_key_or_none_is_no_member_and_is_counted() -> Result<()> {
    let mut three = Three::start()?;
    three.see(&three.names(), 2)?;
    let theirs = three.key("theirs")?;
    for key in [Some(theirs.as_path()), None] {
        three.speakers.remove("n3").context("no speaker")?.kill()?;
        let mut before = BTreeMap::new();
        for name in ["n1", "n2"] {
            before.insert(name.to_owned(), three.refused(name)?);
        }
        three.start_speaker("n3", key)?;
        three.see(&["n1".into(), "n2".into()], 1)?;
        for name in three.names() {
            let before = before.get(&name).copied().unwrap_or_default();
            wait::until_true(DEADLINE, &format!("{name} to count what it refused"), || {
                Ok(three.refused(&name)? > before)
            })
            .with_context(|| three.logs())?;
        }
        three.see(&["n3".into()], 0)?;
    }
    Ok(())
}

/// What became of a client's questions, 100 a second, in order of time. An answer is to a question that has none, which
/// need not be the last one: on a busy machine an answer may come after the next question.
#[derive(Debug, Default)]
struct Asked {
    questions: usize,
    answers: usize,
    /// Questions that nobody has answered.
    lost: usize,
    /// Answers that came when there was no question without one: two answered.
    double: usize,
}

impl Asked {
    const fn question(&mut self) {
        self.questions += 1;
        self.lost += 1;
    }

    const fn answer(&mut self) {
        self.answers += 1;
        match self.lost.checked_sub(1) {
            Some(lost) => self.lost = lost,
            None => self.double += 1,
        }
    }
}

/// Asks for `ip` every 10 ms while `meanwhile` runs, and some more.
fn ask_all_the_while(three: &Three, ip: IpAddr, meanwhile: impl FnOnce() -> Result<()>) -> Result<Asked> {
    let wire = three.wire()?;
    let arping = three.fabric.client.command(&bins::tool("arping")?.to_string_lossy());
    let asker = arping
        .args(["-i", LAN, "-W", "0.01", "-c", "100000", &ip.to_string()])
        .start(&three.fabric.warden)?;
    wait::until_true(DEADLINE, "the first answers", || Ok(outcome(&wire, ip)?.answers > 20))?;
    meanwhile()?;
    let so_far = outcome(&wire, ip)?.questions;
    wait::until_true(DEADLINE, "more questions", || Ok(outcome(&wire, ip)?.questions > so_far + 100))?;
    asker.kill()?;
    // the last answer may still be on its way; not seeing it is the bad case
    wait::until_true(LAST, "the last answer", || Ok(outcome(&wire, ip)?.lost == 0)).ok();
    outcome(&wire, ip)
}

/// The client's questions and the answers to it.
fn outcome(wire: &Capture, ip: IpAddr) -> Result<Asked> {
    let IpAddr::V4(ip) = ip else { anyhow::bail!("by ARP") };
    let client = Segment::Lan.v4(CLIENT).octets();
    let mut asked = Asked::default();
    for frame in wire.frames()? {
        let Some([s @ .., t0, t1, t2, t3]) = arp(&frame.bytes) else { continue };
        // others ask too: the nodes, whether one that is gone is back
        match (frame.bytes.get(21), s, [t0, t1, t2, t3]) {
            (Some(1), from, about) if about == ip.octets() && from == client => asked.question(),
            (Some(2), from, to) if from == ip.octets() && to == client => asked.answer(),
            _ => {}
        }
    }
    Ok(asked)
}

/// Both protocol addresses of an ARP frame.
fn arp(bytes: &[u8]) -> Option<[u8; 8]> {
    (bytes.get(12..14)? == [8, 6]).then_some(())?;
    let ips = [bytes.get(28..32)?, bytes.get(38..42)?].concat();
    ips.try_into().ok()
}

/// A speaker is told to end, and starts again: whoever asks meanwhile gets an answer each time.
#[test]
fn a_speaker_that_ends_hands_over_without_a_gap() -> Result<()> {
    let mut three = Three::start()?;
    three.see(&three.names(), 2)?;
    let key = three.key("ours")?;
    let (addresses, first) = three.add("handed")?;
    let first = first.name().to_owned();
    let ip = *addresses.first().context("no address")?;
    let others: Vec<String> = three.names().into_iter().filter(|name| *name != first).collect();
    let second = three.elected(&others, &addresses)?.name().to_owned();
    let speaker = three.speakers.remove(&first).context("no speaker")?;
    let wire = three.wire()?;
    let told = wait::since_epoch()?;
    let asked = ask_all_the_while(&three, ip, || {
        let status = speaker.stop()?;
        anyhow::ensure!(status.success(), "{status}\n{}", speaker.log_text());
        Ok(())
    })?;
    println!("SIGTERM: {asked:?}");
    let log = speaker.log_text();
    assert_eq!(asked.lost, 0, "{asked:?}\n{log}\n{}", three.logs());
    assert!(asked.double <= DOUBLE, "{asked:?}\n{log}\n{}", three.logs());
    three.announced(&wire, ip, three.fabric.node(&second)?, told)?;

    let back = wait::since_epoch()?;
    let wire = three.wire()?;
    three.start_speaker(&first, Some(&key))?;
    let asked = ask_all_the_while(&three, ip, || {
        three.announced(&wire, ip, three.fabric.node(&first)?, back).map(drop)
    })?;
    println!("start: {asked:?}");
    assert_eq!(asked.lost, 0, "{asked:?}\n{}", three.logs());
    assert!(asked.double <= DOUBLE, "{asked:?}\n{}", three.logs());
    Ok(())
}

/// The election changes while all live: the node is drained, or the Service's pods move. The one that answers goes on
/// until the other has announced itself.
#[test]
fn what_moves_between_live_nodes_moves_without_a_gap() -> Result<()> {
    let three = Three::start()?;
    three.see(&three.names(), 2)?;
    let (addresses, first) = three.add("drained")?;
    let ip = *addresses.first().context("no address")?;
    let others: Vec<String> = three.names().into_iter().filter(|name| name != first.name()).collect();
    let second = three.elected(&others, &addresses)?;
    let yaml =
        objects::node(first).replace("  labels:", "  annotations: {ferrolb.io/drain: \"true\"}\n  labels:");
    let file = format!("node-{}", first.name());
    for (yaml, to) in [(yaml, second), (objects::node(first), first)] {
        let (wire, since) = (three.wire()?, wait::since_epoch()?);
        let asked = ask_all_the_while(&three, ip, || {
            three.manifests.put(&file, &yaml)?;
            three.announced(&wire, ip, to, since).map(drop)
        })?;
        println!("drain, to {}: {asked:?}", to.name());
        assert_eq!(asked.lost, 0, "{asked:?}\n{}", three.logs());
        assert!(asked.double <= DOUBLE, "{asked:?}\n{}", three.logs());
    }

    let moved = |name: &str| {
        let all = Service::new("drained", "flat", &three.fabric);
        Service { local: true, endpoints: vec![name.to_owned()], ..all }.yaml(&three.fabric)
    };
    // where the pods are already the election goes on
    for to in [second, first] {
        let (wire, since) = (three.wire()?, wait::since_epoch()?);
        let asked = ask_all_the_while(&three, ip, || {
            three.manifests.put("service-drained", &moved(to.name()))?;
            three.announced(&wire, ip, to, since).map(drop)
        })?;
        println!("pods, to {}: {asked:?}", to.name());
        assert_eq!(asked.lost, 0, "{asked:?}\n{}", three.logs());
        assert!(asked.double <= DOUBLE, "{asked:?}\n{}", three.logs());
    }
    Ok(())
}
