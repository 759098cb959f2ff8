//! What a speaker says about its sessions is what FRR has done: in metrics, in the log, and in the files of the manifest
//! directory.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    fabric::Segment,
    frr::{Frr, Listens, Setup, Version},
    lab::{DEADLINE, Lab, neighbours},
    objects::Service,
    wait,
};
use serde_json::Value;

/// A session that goes or comes is seen within a second; the rest is for the scrape and a busy machine. It is the median
/// of some rounds that has to be: one stall of the machine says nothing of the product.
const SEEN: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 5;
/// As the lab starts it.
const ROUTER: Setup<'_> = Setup { version: Version::Own, listens: Listens::Yes, vrfs: &[] };

#[test]
fn what_is_said_is_what_frr_has_done() -> Result<()> {
    let mut lab = Lab::start(1)?;
    let addresses = lab.add(&Service::new("told", "routed", &lab.fabric))?;
    for ip in &addresses {
        lab.wait_for_route(*ip, &lab.names())?;
    }
    let all = ["bird-v4", "bird-v6", "tor-v4", "tor-v6"];
    peers(&lab, "told", &all)?;
    states(&lab, |_| true)?;
    counted(&lab)?;

    // another Service, and one that goes
    lab.add(&Service::new("second", "routed", &lab.fabric))?;
    peers(&lab, "second", &all)?;
    lab.remove("second")?;
    peers(&lab, "second", &[])?;

    // the router takes no IPv6 any more: whatever becomes of that session, nothing is sent on it
    let n1 = lab.fabric.node("n1")?;
    let [_, v6] = neighbours(n1);
    let tor = |lines: &[String]| {
        let asn = ferrolb_e2e::fabric::TOR_ASN;
        let mut all = vec!["configure terminal".to_owned(), format!("router bgp {asn}")];
        all.extend_from_slice(lines);
        lab.tor.frr.vtysh(&all.join("\n"))
    };
    let family = |activate: &str, other: &str| {
        [
            "address-family ipv4 unicast".to_owned(),
            format!("{other} {v6} activate"),
            "exit-address-family".to_owned(),
            "address-family ipv6 unicast".to_owned(),
            format!("{activate} {v6} activate"),
        ]
    };
    tor(&family("no neighbor", "neighbor"))?;
    peers(&lab, "told", &["bird-v4", "bird-v6", "tor-v4"])?;
    tor(&family("neighbor", "no neighbor"))?;
    peers(&lab, "told", &all)?;

    // what FRR runs, without passwords
    wait::until_true(Duration::from_secs(60), "FRR's running configuration", || {
        let text = file(&lab, "frr")?;
        Ok(text.contains("lastReloadResult: \"success\"") && text.contains("router bgp"))
    })?;

    // the router ends its sessions, and takes them up again
    println!("up in the metrics after {:.2?}", sessions_that_come_are_seen(&lab, &tor)?);

    // the router dies, and comes back
    let (mut in_metrics, mut in_log) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round > 0 {
            lab.tor.frr = Frr::resume_as(&ROUTER, &lab.fabric.warden, &lab.fabric.tor)?;
            lab.wait_for_sessions(&lab.names())?;
            peers(&lab, "told", &all)?;
            counted(&lab)?;
        }
        let before = lab.speaker_log("n1")?.len();
        let start = wait::now();
        lab.tor.frr.strike(&["bgpd"])?;
        let gone = seen(&lab, start, &[Segment::Tor.v4(1).into(), Segment::Tor.v6(1).into()], before)?;
        lab.tor.frr.wait_for_end()?;
        in_metrics.push(gone.0);
        in_log.push(gone.1);
    }
    println!("down in the metrics after {in_metrics:.2?}, in the log after {in_log:.2?}");
    ensure!(
        [&in_metrics, &in_log].iter().all(|took| wait::median(took) < SEEN),
        "{in_metrics:?}, {in_log:?}"
    );
    peers(&lab, "told", &["bird-v4", "bird-v6"])?;
    states(&lab, |peer| !peer.starts_with("172.31.1.") && !peer.starts_with("fd00:31:1:"))?;
    Ok(())
}

/// A Service with a prefix that FRR does not send is not among those that a peer was told: found by asking for the
/// routes, since their number is not what was meant.
#[test]
fn what_frr_holds_back_is_not_said_to_be_told() -> Result<()> {
    let lab = Lab::start(1)?;
    let held = lab.add(&Service::new("held", "routed", &lab.fabric))?;
    lab.add(&Service::new("sent", "routed", &lab.fabric))?;
    let all = ["bird-v4", "bird-v6", "tor-v4", "tor-v6"];
    peers(&lab, "held", &all)?;
    peers(&lab, "sent", &all)?;
    let tor = Segment::Tor.v4(1);
    let v4 = held.iter().find(|ip| ip.is_ipv4()).context("no IPv4 address")?;
    lab.frr("n1")?.vtysh(&format!(
        "configure terminal\nip prefix-list BACK seq 5 deny {v4}/32\nip prefix-list BACK seq 9 permit any\n\
         router bgp 64512\naddress-family ipv4 unicast\nneighbor {tor} prefix-list BACK out"
    ))?;
    peers(&lab, "held", &["bird-v4", "bird-v6", "tor-v6"])?;
    peers(&lab, "sent", &all)
}

/// A session that comes up is in the metrics within a second of the moment at which the router has it, time and again.
fn sessions_that_come_are_seen(
    lab: &Lab,
    tor: &impl Fn(&[String]) -> Result<String>,
) -> Result<Vec<Duration>> {
    let [v4, _] = neighbours(lab.fabric.node("n1")?);
    let router = Segment::Tor.v4(1);
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        tor(&[format!("neighbor {v4} shutdown")])?;
        let is = |up: u8| {
            let line = format!("metallb_bgp_session_up{{peer=\"{router}:179\",vrf=\"default\"}} {up}");
            Ok::<_, anyhow::Error>(metrics(lab)?.lines().any(|found| found == line))
        };
        wait::until_true(DEADLINE, "the session to be down in the metrics", || is(0))?;
        tor(&[format!("no neighbor {v4} shutdown")])?;
        let up = || Ok(lab.tor.session(v4)?.is_some_and(|session| session.established));
        wait::until_true(DEADLINE, "the session to be up at the router", up)?;
        let start = wait::now();
        wait::until_true(DEADLINE, "the session to be up in the metrics", || is(1))?;
        took.push(start.elapsed());
    }
    ensure!(wait::median(&took) < SEEN, "{took:?}");
    Ok(took)
}

/// Waits until the file names exactly these peers for a Service; no line at all for none.
fn peers(lab: &Lab, service: &str, wanted: &[&str]) -> Result<()> {
    let what = format!("{service} to have been told to {wanted:?}");
    wait::until_true(DEADLINE, &what, || {
        let all = list(lab, "services")?;
        let item = all.iter().find(|item| item.get("serviceName").and_then(Value::as_str) == Some(service));
        let peers = item.and_then(|item| item.get("peers")?.as_array());
        let found: Vec<&str> = peers.into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(found == wanted, "{found:?}");
        Ok(true)
    })
    .with_context(|| lab.logs())
}

/// Waits until the file has a session with each router and family, established where it should be.
fn states(lab: &Lab, up: impl Fn(&str) -> bool) -> Result<()> {
    wait::until_true(DEADLINE, "the states of the sessions", || {
        let all = list(lab, "sessions")?;
        ensure!(all.len() == 4, "{all:?}");
        for item in &all {
            let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default();
            ensure!((text("bgpStatus") == "Established") == up(text("peer")), "{item}");
            ensure!((text("node"), text("vrf"), text("bfdStatus")) == ("n1", "", "N/A"), "{item}");
        }
        Ok(true)
    })
    .with_context(|| lab.logs())
}

/// The metrics know every session, under MetalLB's names and under those of frr-k8s.
fn counted(lab: &Lab) -> Result<()> {
    let tor = Segment::Tor.v4(1);
    wait::until_true(DEADLINE, "the metrics of a session", || {
        let text = metrics(lab)?;
        for line in [
            format!("metallb_bgp_session_up{{peer=\"{tor}:179\",vrf=\"default\"}} 1"),
            format!("metallb_bgp_announced_prefixes_total{{peer=\"{tor}:179\",vrf=\"default\"}} 1"),
            format!("frrk8s_bgp_session_up{{peer=\"{tor}\",vrf=\"default\"}} 1"),
        ] {
            ensure!(text.lines().any(|found| found == line), "no line {line}");
        }
        let opens = text.lines().find_map(|line| {
            line.strip_prefix(&format!("metallb_bgp_opens_sent{{peer=\"{tor}:179\",vrf=\"default\"}} "))
        });
        ensure!(opens.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count > 0)), "{opens:?}");
        Ok(true)
    })
}

/// When metrics and log said that these sessions are down.
fn seen(lab: &Lab, start: Instant, peers: &[IpAddr], logged: usize) -> Result<(Duration, Duration)> {
    let down: BTreeSet<String> = peers
        .iter()
        .map(|ip| format!("metallb_bgp_session_up{{peer=\"{ip}:179\",vrf=\"default\"}} 0"))
        .collect();
    let (mut in_metrics, mut in_log) = (None, None);
    wait::until_true(DEADLINE, "the sessions to be down in metrics and log", || {
        let text = metrics(lab)?;
        if down.iter().all(|line| text.lines().any(|found| found == line)) {
            in_metrics.get_or_insert_with(|| start.elapsed());
        }
        let log = lab.speaker_log("n1")?.split_off(logged);
        let told = |ip: &IpAddr| {
            let peer = format!("\"{ip}\"");
            log.lines().any(|line| {
                line.contains("BGP session down") && line.contains(&peer) && !line.contains("\"why\":\"\"")
            })
        };
        if peers.iter().all(told) {
            in_log.get_or_insert_with(|| start.elapsed());
        }
        Ok(in_metrics.is_some() && in_log.is_some())
    })
    .with_context(|| lab.logs())?;
    Ok((in_metrics.context("no metric")?, in_log.context("no log")?))
}

fn metrics(lab: &Lab) -> Result<String> {
    let net = &lab.fabric.node("n1")?.net;
    let url = "http://127.0.0.1:7472/metrics";
    net.command("curl").args(["-sf", "-m", "5", "--noproxy", "*", url]).text()
}

fn list(lab: &Lab, name: &str) -> Result<Vec<Value>> {
    let text = file(lab, name)?;
    text.lines()
        .map(|line| serde_json::from_str(line.trim_start_matches("- ")).with_context(|| line.to_owned()))
        .collect()
}

/// A file of the node's; empty while there is none.
fn file(lab: &Lab, name: &str) -> Result<String> {
    let path = lab.manifests.dir().join(format!("status/nodes/n1/{name}.yaml"));
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        text => Ok(text?),
    }
}
