//! From a Service to an answer on the flat segment, by ARP and NDP, with the real controller and speakers.
//!
//! One lab for the file; the tests take it in turn, and each leaves it as it found it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    capture::Capture,
    fabric::{LAN, Node},
    lab::{DEADLINE, Lab},
    neighbour::{self, Ask, answered, ask, claims, known},
    objects::{PORT, Service},
    pod, wait,
};

/// How long a second answer is waited for.
const PATIENCE: Duration = Duration::from_millis(400);

#[test]
fn the_elected_node_alone_answers() -> Result<()> {
    let lab = lab()?;
    // several, so that the election does not fall on the same node by chance
    for name in ["one", "two", "three"] {
        let addresses = lab.add(&Service::new(name, "flat", &lab.fabric))?;
        let elected = lab.elected(&lab.names(), &addresses)?;
        for ip in &addresses {
            settled(&lab, *ip, elected)?;
            answered_once(&lab, *ip, elected)?;
        }
    }
    for name in ["one", "two", "three"] {
        let addresses = lab.manifests.addresses(name)?;
        lab.remove(name)?;
        for ip in addresses {
            wait::until_true(DEADLINE, &format!("silence about {ip}"), || {
                Ok(ask(&lab.fabric.warden, &lab.fabric.client, ip, Ask::All, PATIENCE)?.is_empty())
            })?;
        }
    }
    Ok(())
}

#[test]
fn curl_reaches_it_over_both_families() -> Result<()> {
    let lab = lab()?;
    let addresses = lab.add(&Service::new("curled", "flat", &lab.fabric))?;
    let elected = lab.elected(&lab.names(), &addresses)?;
    for ip in &addresses {
        let what = format!("a page from {ip}");
        let page = wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.client, *ip, PORT).map(Some))
            .with_context(|| lab.logs())?;
        assert_eq!(page.0, elected.name(), "the node that answers has a pod of its own");
        assert_eq!(known(&lab.fabric.client, *ip)?, Some(elected.net.mac(LAN)?), "as the kernel resolved it");
    }
    lab.remove("curled")
}

/// The elected node loses its power: the next in the election announces itself, answers alone and serves; the client,
/// which knew the old one, is not left with it.
#[test]
fn a_stopped_node_is_replaced() -> Result<()> {
    let mut lab = lab()?;
    let addresses = lab.add(&Service::new("moved", "flat", &lab.fabric))?;
    let all = lab.names();
    let first = lab.elected(&all, &addresses)?.name().to_owned();
    let others: Vec<String> = all.iter().filter(|name| **name != first).cloned().collect();
    for ip in &addresses {
        wait::until(DEADLINE, "a page before", || pod::fetch(&lab.fabric.client, *ip, PORT).map(Some))?;
    }

    let wire = Capture::start(&lab.fabric.warden, &lab.fabric.client, LAN, neighbour::FILTER)?;
    lab.stop_node(&first)?;
    let second = lab.elected(&others, &addresses)?;
    let mac = second.net.mac(LAN)?;
    for ip in &addresses {
        let what = format!("a page from {ip} by {}", second.name());
        let page = wait::until(DEADLINE, &what, || pod::fetch(&lab.fabric.client, *ip, PORT).map(Some))?;
        assert_eq!(page.0, second.name());
        wait::until_true(DEADLINE, &format!("an announcement of {ip} by {}", second.name()), || {
            let claims = claims(&wire.frames()?);
            Ok(claims.iter().any(|claim| claim.ip == *ip && claim.mac == mac && !claim.answer))
        })?;
        answered_once(&lab, *ip, second)?;
    }

    lab.resume_node(&first)?;
    let back = lab.fabric.node(&first)?;
    for ip in &addresses {
        settled(&lab, *ip, back)?;
        answered_once(&lab, *ip, back)?;
    }
    lab.remove("moved")
}

/// An advertisement for an interface that no node has: nobody answers, the elected node says so, as others look for it.
/// For one that they have: the elected node answers there, and its state says where.
#[test]
fn an_interface_that_no_node_has_is_told() -> Result<()> {
    let lab = lab()?;
    let advertise = |interface: &str| {
        let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: wired, namespace: metallb-system}\n\
                    spec: {addresses: [172.30.0.230-172.30.0.239, \"fd00:30::3:0/120\"], autoAssign: false}\n---\n";
        let ad = "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: wired, namespace: metallb-system}\n";
        let spec = format!("spec: {{ipAddressPools: [wired], interfaces: [eth8, {interface}]}}\n");
        lab.manifests.put("wired", &format!("{pool}{ad}{spec}"))
    };
    advertise("eth9")?;
    let addresses = lab.add(&Service::new("wired", "wired", &lab.fabric))?;
    let elected = lab.elected(&lab.names(), &addresses)?;
    for ip in &addresses {
        let what = format!("an event of {} about {ip}", elected.name());
        wait::until_true(DEADLINE, &what, || {
            let log = lab.speaker_log(elected.name())?;
            Ok(log.lines().any(|line| {
                line.contains("announceFailed")
                    && line.contains("Warning")
                    && line.contains(&format!("\\\"{ip}\\\" from node \\\"{}\\\"", elected.name()))
                    && line.contains("layer2")
            }))
        })?;
        assert!(ask(&lab.fabric.warden, &lab.fabric.client, *ip, Ask::All, PATIENCE)?.is_empty());
    }
    advertise(LAN)?;
    for ip in &addresses {
        settled(&lab, *ip, elected)?;
        answered_once(&lab, *ip, elected)?;
    }
    let state = lab.manifests.dir().join("status/nodes").join(elected.name()).join("layer2.yaml");
    let line = format!(
        "- {{\"conflicts\":[],\"interfaces\":[{{\"name\":\"{LAN}\"}}],\"node\":\"{}\",\"serviceName\":\"wired\",\"serviceNamespace\":\"default\"}}\n",
        elected.name()
    );
    wait::until_true(DEADLINE, "the state of the elected node", || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        anyhow::ensure!(text.contains(&line), "{text:?} has not {line:?}");
        Ok(true)
    })?;
    lab.remove("wired")?;
    wait::until_true(DEADLINE, "the state to go", || {
        Ok(!std::fs::read_to_string(&state).unwrap_or_default().contains("wired"))
    })?;
    lab.manifests.remove("wired")
}

/// The client takes the address of a Service: the node keeps it, and says so in an event, its state and a metric.
#[test]
fn a_stranger_is_reported_everywhere() -> Result<()> {
    let lab = lab()?;
    let addresses = lab.add(&Service::new("claimed", "flat", &lab.fabric))?;
    let elected = lab.elected(&lab.names(), &addresses)?;
    let ip = *addresses.iter().find(|ip| ip.is_ipv4()).context("no IPv4 address")?;
    settled(&lab, ip, elected)?;
    let conflicts = || -> Result<[u64; 2]> {
        let text = metrics(elected)?;
        let of = |by: &str| -> Result<u64> {
            let name = format!("ferrolb_l2_conflicts_total{{by=\"{by}\"}} ");
            let count = text.lines().find_map(|line| line.strip_prefix(&name));
            Ok(count.with_context(|| name.clone())?.parse()?)
        };
        Ok([of("stranger")?, of("node")?])
    };
    // a node that has come back may have met others
    let [strangers, nodes] = conflicts()?;
    let client = &lab.fabric.client;
    let (address, mac) = (ip.to_string(), client.mac(LAN)?);
    let arping = client.command("arping").args(["-q", "-c", "1", "-w", "1", "-i", LAN]);
    arping.args(["-U", "-P", "-S", &address, &address]).output()?;
    wait::until_true(DEADLINE, "an event", || {
        let log = lab.speaker_log(elected.name())?;
        Ok(log
            .lines()
            .any(|line| line.contains("addressConflict") && line.contains(&address) && line.contains(&mac)))
    })?;
    wait::until_true(DEADLINE, "its state", || {
        let path = lab.manifests.dir().join("status/nodes").join(elected.name()).join("layer2.yaml");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Ok(text.contains(&format!("\"conflicts\":[{{\"ip\":\"{address}\",\"mac\":\"{mac}\"}}]")))
    })?;
    assert_eq!(conflicts()?, [strangers + 1, nodes]);
    answered_once(&lab, ip, elected)?;
    lab.remove("claimed")
}

/// `metallb_layer2_*` are what passes on the cable of the node that answers, for both families: whoever asks, the kernels
/// of other nodes too. `metallb_speaker_announced` is where the answers come from, and nowhere else.
#[test]
fn what_is_counted_is_what_is_on_the_wire() -> Result<()> {
    let lab = lab()?;
    // addresses are given again, and counts of before go with what they were for
    wait::until_true(DEADLINE, "counts of before to go", || {
        let counted = |node| Ok(metrics(node)?.contains("metallb_layer2_requests_received{ip="));
        Ok(!lab.fabric.nodes.iter().map(counted).collect::<Result<Vec<_>>>()?.contains(&true))
    })?;
    let start = |node: &Node| {
        let capture = Capture::start(&lab.fabric.warden, &node.net, LAN, neighbour::FILTER)?;
        Ok((node.name().to_owned(), capture))
    };
    let wires = lab.fabric.nodes.iter().map(start).collect::<Result<BTreeMap<_, _>>>()?;
    let addresses = lab.add(&Service::new("counted", "flat", &lab.fabric))?;
    let elected = lab.elected(&lab.names(), &addresses)?;
    let wire = wires.get(elected.name()).context("no capture")?;
    let mac = elected.net.mac(LAN)?;
    for ip in &addresses {
        settled(&lab, *ip, elected)?;
        answered_once(&lab, *ip, elected)?;
        wait::until_true(DEADLINE, &format!("counts for {ip}"), || {
            let text = metrics(elected)?;
            let count = |name: &str| -> Result<usize> {
                let of = format!("metallb_layer2_{name}{{ip=\"{ip}\"}} ");
                let line = text.lines().find_map(|line| line.strip_prefix(&of));
                Ok(line.with_context(|| of.clone())?.parse()?)
            };
            let counted = (count("requests_received")?, count("responses_sent")?, count("gratuitous_sent")?);
            let frames = wire.frames()?;
            let claims = claims(&frames).into_iter().filter(|claim| claim.ip == *ip && claim.mac == mac);
            let (answers, unasked): (Vec<_>, Vec<_>) = claims.partition(|claim| claim.answer);
            // the node is on three segments, and announces on each
            let seen = (answers.len(), answers.len(), 3 * unasked.len());
            anyhow::ensure!(counted == seen, "counted {counted:?}, seen {seen:?}");
            Ok(answers.len() >= 2 && unasked.len() >= 2)
        })?;
        let line = |node: &Node| {
            let (name, node) =
                ("metallb_speaker_announced{service=\"default/counted\",protocol=\"layer2\"", node.name());
            format!("{name},node=\"{node}\",ip=\"{ip}\"}} 1")
        };
        for node in &lab.fabric.nodes {
            let says = metrics(node)?.lines().any(|it| it == line(node));
            assert_eq!(says, node.name() == elected.name(), "{} of {ip}", node.name());
        }
    }
    lab.remove("counted")?;
    wait::until_true(DEADLINE, "the counts to go", || {
        let text = metrics(elected)?;
        Ok(!addresses.iter().any(|ip| text.contains(&format!("ip=\"{ip}\""))))
    })
}

/// The metrics of a node's speaker.
fn metrics(node: &Node) -> Result<String> {
    wait::until(DEADLINE, &format!("the metrics of {}", node.name()), || {
        let curl = node.net.command("curl").args(["-sf", "-m", "5", "http://127.0.0.1:7472/metrics"]);
        curl.text().map(Some)
    })
}

/// Waits until this node is the one that answers.
fn settled(lab: &Lab, ip: IpAddr, node: &Node) -> Result<()> {
    let mac = node.net.mac(LAN)?;
    wait::until_true(DEADLINE, &format!("{} to answer for {ip}", node.name()), || {
        let answers = ask(&lab.fabric.warden, &lab.fabric.client, ip, Ask::All, Duration::ZERO)?;
        anyhow::ensure!(answers == [mac.as_str()], "{answers:?} answered");
        Ok(true)
    })
    .with_context(|| lab.logs())
}

/// Asked of all and asked of it alone, it gives one answer; asked alone, the others give none.
fn answered_once(lab: &Lab, ip: IpAddr, node: &Node) -> Result<()> {
    let mac = node.net.mac(LAN)?;
    let client = &lab.fabric.client;
    for how in [Ask::All, Ask::Only(&mac)] {
        let answers = answered(&lab.fabric.warden, client, ip, how, PATIENCE).with_context(|| lab.logs())?;
        assert_eq!(answers, [mac.as_str()], "{ip} {how:?}");
    }
    for other in lab.fabric.nodes.iter().filter(|other| other.name() != node.name()) {
        let answers = ask(&lab.fabric.warden, client, ip, Ask::Only(&other.net.mac(LAN)?), PATIENCE)?;
        assert!(answers.is_empty(), "{ip} asked of {}: {answers:?}", other.name());
    }
    Ok(())
}

fn lab() -> Result<MutexGuard<'static, Lab>> {
    static LAB: OnceLock<Result<Mutex<Lab>, String>> = OnceLock::new();
    let lab = LAB.get_or_init(|| Lab::start(3).map(Mutex::new).map_err(|error| format!("{error:#}")));
    // a test that failed poisons it; the others judge for themselves
    Ok(lab.as_ref().map_err(|error| anyhow!(error.clone()))?.lock().unwrap_or_else(PoisonError::into_inner))
}
