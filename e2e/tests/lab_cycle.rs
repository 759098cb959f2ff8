//! FRR's life beside the speaker: somebody types into it, a daemon hangs, everything is edited, a node is drained.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ferrolb_e2e::{
    bench::edits::{self, Outcome},
    bins,
    capture::Capture,
    fabric::{LAN, NODE_ASN, Segment, TOR},
    lab::{DEADLINE, DRIFT, Lab, neighbours, prefix},
    objects::{PORT, Service},
    pod,
    process::Spawn,
    requests,
    tor::Session,
    updates::{Update, updates},
    wait,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long somebody's changes may stay.
const REPAIRED: Duration = Duration::from_secs(60);
/// How long a daemon that hangs may go unnoticed: a look, and the patience with it.
const NOTICED: Duration = Duration::from_secs(45);

/// What somebody types into vtysh and what is not wanted is gone within a minute, with a line in the log and a count;
/// what is none of our business stays; no session ends.
#[test]
fn what_somebody_types_into_frr_is_put_right() -> Result<()> {
    let lab = Lab::start(1)?;
    let addresses = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    routed(&lab, &addresses)?;
    let frr = lab.frr("n1")?;
    let before = lines(&frr.vtysh("show running-config bgpd")?);
    let session = IpAddr::from(Segment::Tor.v4(lab.fabric.node("n1")?.host()));
    let came_up = || Ok::<_, anyhow::Error>(lab.tor.session(session)?.context("no session")?.came_up);
    let ups = came_up()?;
    let (tor, bird) = (Segment::Tor.v4(1), Segment::Bird.v4(1));
    let entry = before.iter().find(|line| line.starts_with(&format!("route-map {bird}-out permit")));
    let entry = entry.context("no entry for BIRD")?;
    let foreign = [
        " neighbor 172.31.1.1 description by hand".to_owned(),
        "ip prefix-list by-hand seq 5 permit 192.0.2.0/24".to_owned(),
        "  network 192.0.2.1/32".to_owned(),
    ];
    let counted = drifts(&lab)?;
    let mut typed = vec![
        "configure terminal".to_owned(),
        // every prefix is held back
        format!("route-map {tor}-out deny 1"),
        "exit".to_owned(),
        format!("no {entry}"),
        foreign[1].clone(),
        format!("router bgp {NODE_ASN}"),
        foreign[0].clone(),
        format!("no neighbor {tor} timers connect 1"),
        format!("neighbor {bird} timers connect 77"),
        "address-family ipv4 unicast".to_owned(),
    ];
    let v4 = addresses.iter().find(|ip| ip.is_ipv4()).context("no IPv4 address")?;
    typed.push(format!("no network {}", prefix(*v4)));
    typed.push(foreign[2].clone());
    frr.vtysh(&typed.join("\n"))?;

    let start = wait::now();
    wait::until_true(REPAIRED, "FRR as it was", || {
        let now = lines(&frr.vtysh("show running-config bgpd")?);
        let missing: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
        ensure!(missing.is_empty(), "missing: {missing:#?}");
        let added: BTreeSet<_> = now.iter().filter(|line| !before.contains(line)).collect();
        ensure!(added == foreign.iter().collect(), "left: {added:#?}");
        Ok(true)
    })
    .with_context(|| lab.logs())?;
    println!("put right after {:.1?}", start.elapsed());
    routed(&lab, &addresses)?;
    ensure!(came_up()? == ups, "a session ended");
    put_right(&lab, counted)?;
    let log = lab.speaker_log("n1")?;
    ensure!(log.contains(DRIFT), "{log}");
    ensure!(!log.contains("telling it again does not help"), "{log}");
    Ok(())
}

/// What users' raw lines put in the place of ours is no drift, and stays; what somebody else changes beside it is put
/// right, whether the raw lines change at the same moment or not, and a look that comes by itself finds it, too.
#[test]
fn raw_lines_in_the_place_of_ours_are_no_drift() -> Result<()> {
    let lab = Lab::start(1)?;
    let addresses = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    routed(&lab, &addresses)?;
    let (frr, tor, bird) = (lab.frr("n1")?, Segment::Tor.v4(1), Segment::Bird.v4(1));
    let v4 = prefix(*addresses.iter().find(|ip| ip.is_ipv4()).context("no IPv4 address")?);
    let running = || {
        let daemons = ["bgpd", "staticd"].map(|daemon| frr.vtysh(&format!("show running-config {daemon}")));
        Ok::<_, anyhow::Error>(lines(&daemons.into_iter().collect::<Result<String>>()?))
    };
    let is = |limit, wanted: &[&str], gone: &[&str]| {
        let start = wait::now();
        let done = wait::until_true(limit, &format!("{wanted:?} and not {gone:?}"), || {
            let now = running()?;
            let has = |line: &&str| {
                now.iter().any(|l| l.trim() == *line || l.trim().starts_with(&format!("{line} ")))
            };
            ensure!(wanted.iter().all(has) && !gone.iter().any(has), "{now:#?}");
            Ok(true)
        });
        done.with_context(|| lab.logs()).map(|()| start.elapsed())
    };
    let (ours, open) = (format!("route-map {tor}-in deny 20"), format!("route-map {tor}-in permit 20"));
    let (slow, hole) =
        (format!("neighbor {tor} advertisement-interval 1"), "ip route 192.0.2.0/24 blackhole");
    let other = format!("neighbor {bird} advertisement-interval 1");
    is(DEADLINE, &[&ours], &[&open])?;
    let before = running()?;

    let object = "apiVersion: frrk8s.metallb.io/v1beta1\nkind: FRRConfiguration\nmetadata: {name: user, namespace: \
                  metallb-system}\nspec:\n  raw:\n    rawConfig: |\n";
    let extras = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bgpextras, namespace: metallb-system}\ndata:\n  \
                  extras: |\n";
    let router = format!("      router bgp {NODE_ASN}\n       {slow}\n");
    lab.manifests.put("user", &format!("{object}{router}      {open}\n"))?;
    lab.manifests.put("extras", &format!("{extras}    {hole}\n"))?;
    is(DEADLINE, &[&open, &slow, hole], &[&ours])?;
    let counted = drifts(&lab)?;
    let network = format!("network {v4}");
    let type_in = |more: &[&str]| {
        let mut typed = vec!["configure terminal".to_owned()];
        typed.extend(more.iter().map(ToString::to_string));
        typed.extend([format!("router bgp {NODE_ASN}"), "address-family ipv4 unicast".to_owned()]);
        typed.push(format!("no {network}"));
        frr.vtysh(&typed.join("\n")).map(drop)
    };

    // a raw line that somebody took away comes back with the rest
    type_in(&[&format!("no {hole}")])?;
    let took = is(REPAIRED, &[&network, &open, &slow, hole], &[&ours])?;
    println!("put right after {took:.1?}");
    let counted = put_right(&lab, counted)?;
    // the next look is one of those that come by themselves
    type_in(&[])?;
    let took = is(REPAIRED, &[&network, &open, &slow, hole], &[&ours])?;
    println!("put right after {took:.1?}");
    put_right(&lab, counted)?;
    // raw lines change before anybody looks
    type_in(&[])?;
    lab.manifests.put("user", &format!("{object}{router}       {other}\n      {open}\n"))?;
    let took = is(REPAIRED, &[&network, &open, &slow, &other, hole], &[&ours])?;
    println!("put right after {took:.1?}");
    let log = lab.speaker_log("n1")?;
    for line in log.lines().filter(|line| line.contains(DRIFT)) {
        ensure!(!line.contains("-in "), "{line}");
    }
    ensure!(!log.contains("telling it again does not help"), "{log}");

    // a neighbour that goes and comes back has its raw line again
    let peers = std::fs::read_to_string(lab.manifests.dir().join("peers.yaml")).context("read the peers")?;
    let without: Vec<&str> = peers.split("---\n").filter(|peer| !peer.contains("name: tor-v4")).collect();
    lab.manifests.put("peers", &without.join("---\n"))?;
    is(DEADLINE, &[hole], &[&slow, &format!("neighbor {tor} remote-as 64513")])?;
    lab.manifests.put("peers", &peers)?;
    is(DEADLINE, &[&open, &slow, hole], &[&ours])?;
    lab.wait_for_sessions(&lab.names())?;
    routed(&lab, &addresses)?;

    lab.manifests.remove("user")?;
    lab.manifests.remove("extras")?;
    is(DEADLINE, &[&ours, &network], &[&open, &slow, hole])?;
    let now = running()?;
    let left: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}

/// While bgpd hangs, the speaker is alive and says in /readyz and in a metric what it waits for, in the log once; and
/// layer 2 goes on. When bgpd goes on, what was wanted in the meantime is announced.
#[test]
fn a_daemon_that_hangs_is_waited_for() -> Result<()> {
    let lab = Lab::start(1)?;
    let steady = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    routed(&lab, &steady)?;
    let is = |page: &str, status| {
        wait::until_true(DEADLINE, &format!("{status} for {page}"), || {
            Ok(ask(&lab, HEALTH, page)?.0 == status)
        })
    };
    let counts = |lines: &[&str]| {
        wait::until_true(DEADLINE, "the metrics of the daemons", || {
            let text = ask(&lab, METRICS, "metrics")?.1;
            let missing = lines.iter().find(|line| !text.lines().any(|l| l == **line));
            ensure!(missing.is_none(), "{missing:?} is not in\n{text}");
            Ok(true)
        })
    };
    is("readyz", 200)?;
    let bgpd = Pid::from_raw(i32::try_from(lab.frr("n1")?.daemon_pid("bgpd")?)?);
    kill(bgpd, Signal::SIGSTOP)?;
    let start = wait::now();
    let noticed = wait::until_true(NOTICED, "a word of bgpd in /readyz", || {
        let (status, text) = ask(&lab, HEALTH, "readyz")?;
        ensure!(
            status == 503 && text.contains("FRR's bgpd (") && text.contains("no answer"),
            "{status}: {text}"
        );
        Ok(true)
    });
    let noticed = noticed.map(|()| start.elapsed());
    let meanwhile = || -> Result<Vec<IpAddr>> {
        println!("noticed after {:.1?}", noticed?);
        is("healthz", 200).context("the speaker hangs")?;
        counts(&["ferrolb_frr_up{daemon=\"bgpd\"} 0", "ferrolb_frr_up{daemon=\"bfdd\"} 1"])?;
        let flat = lab.add(&Service::new("flat", "flat", &lab.fabric))?;
        for ip in flat {
            wait::until(DEADLINE, &format!("a page from {ip}"), || {
                pod::fetch(&lab.fabric.client, ip, PORT).map(Some)
            })?;
        }
        lab.add(&Service::new("later", "routed", &lab.fabric))
    };
    let later = meanwhile();
    kill(bgpd, Signal::SIGCONT)?;
    let start = wait::now();
    routed(&lab, &later.with_context(|| lab.logs())?)?;
    println!("routed {:.1?} after it went on", start.elapsed());
    is("readyz", 200)?;
    counts(&["ferrolb_frr_up{daemon=\"bgpd\"} 1"])?;
    let log = lab.speaker_log("n1")?;
    ensure!(log.matches("FRR cannot be reached").count() == 1, "said once: {log}");
    Ok(())
}

/// A drained node's routes are marked as going first, and go later; on the flat segment the other node takes over at
/// once. No session ends, no request is lost, and it comes back as it was.
#[test]
fn a_drained_node_leaves_in_two_steps_and_comes_back() -> Result<()> {
    let lab = Lab::start(2)?;
    let addresses = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    routed(&lab, &addresses)?;
    let flat = flat_at(&lab, "n1")?;
    let n1 = lab.fabric.node("n1")?;
    let sessions = || -> Result<Vec<Session>> {
        let session = |ip| lab.tor.session(ip)?.with_context(|| format!("no neighbour {ip}"));
        neighbours(n1).into_iter().map(session).collect()
    };
    let (before, start) = (sessions()?, wait::now());
    let wire = Capture::start(&lab.fabric.warden, &lab.fabric.tor, TOR, "tcp port 179")?;
    let told = || -> Result<Vec<Update>> {
        let (ours, frames) = (neighbours(n1), wire.frames_past(wait::since_epoch()?)?);
        Ok(updates(&frames)?.into_iter().filter(|update| ours.contains(&update.from)).collect())
    };
    let marked = |update: &&Update| update.communities.contains("65535:0");
    let steady: BTreeSet<String> = addresses.iter().copied().map(prefix).collect();
    // what is asked of n2 alone has nothing to do with the drain: it shows how fast the machine is
    let control = Service {
        local: true,
        endpoints: vec!["n2".to_owned()],
        ..Service::new("control", "routed", &lab.fabric)
    };
    let control = lab.add(&control)?;
    control.iter().try_for_each(|ip| lab.wait_for_route(*ip, &["n2".to_owned()]))?;

    let asked = requests::during(&lab.fabric.remote, &addresses, &control, || {
        let drained = wait::since_epoch()?;
        drain(&lab, "drain")?;
        wait::until_true(DEADLINE, "the mark at the router", || {
            let told = told()?;
            let all: BTreeSet<_> = told.iter().filter(marked).flat_map(|u| u.announced.clone()).collect();
            Ok(all == steady)
        })
        .with_context(|| lab.logs())?;
        for ip in &flat {
            served_by(&lab, *ip, "n2")?;
        }
        for ip in &addresses {
            wait::until_true(LEFT, &format!("{ip} by n2 alone"), || {
                let hops = lab.tor.next_hops(&prefix(*ip))?;
                Ok(hops.len() == 1)
            })?;
            lab.wait_for_route(*ip, &["n2".to_owned()])?;
        }
        let told = told()?;
        let first = told.iter().find(marked).context("no mark")?.at;
        let gone = told.iter().find(|update| !update.withdrawn.is_empty()).context("no withdrawal")?;
        // thirty seconds from when it was told on; the mark was there most of the time
        let times = format!("told at {drained:?}, marked at {first:?}, gone at {:?}", gone.at);
        ensure!(gone.at > drained + Duration::from_secs(29), "{times}");
        ensure!(gone.at > first + Duration::from_secs(10), "{times}");
        ensure!(told.iter().all(|update| update.withdrawn.is_subset(&steady)), "{told:#?}");

        drain(&lab, "undrain")?;
        routed(&lab, &addresses)?;
        for ip in &flat {
            served_by(&lab, *ip, "n1")?;
        }
        Ok(())
    })?;
    // the routers change their minds twice: when the node is marked, and when it is back
    println!("{} requests", asked.without_loss(2)?);
    wait::until_true(DEADLINE, "the routes without a mark", || {
        let told = told()?;
        let unmarked = |prefix: &String| {
            told.iter().rfind(|update| update.announced.contains(prefix)).is_some_and(|last| !marked(&last))
        };
        Ok(steady.iter().all(unmarked))
    })?;
    let since = start.elapsed();
    for (before, after) in before.iter().zip(sessions()?) {
        ensure!(after.continues(before, since), "{before:?}, then {after:?}");
    }
    let running = lab.frr("n1")?.vtysh("show running-config bgpd")?;
    ensure!(!running.contains("graceful-shutdown"), "{running}");
    Ok(())
}

/// The drain's time, 30 s, and some.
const LEFT: Duration = Duration::from_secs(50);

/// A Service on the flat segment that this node answers for.
fn flat_at(lab: &Lab, node: &str) -> Result<Vec<IpAddr>> {
    for number in 0..10 {
        let addresses = lab.add(&Service::new(&format!("flat{number}"), "flat", &lab.fabric))?;
        if lab.elected(&lab.names(), &addresses)?.name() == node {
            for ip in &addresses {
                served_by(lab, *ip, node)?;
            }
            return Ok(addresses);
        }
    }
    bail!("{node} is elected for none")
}

/// Waits until the client on the flat segment reaches an address, by this node.
fn served_by(lab: &Lab, ip: IpAddr, node: &str) -> Result<()> {
    let mac = lab.fabric.node(node)?.net.mac(LAN)?;
    wait::until_true(DEADLINE, &format!("{ip} by {node} on the flat segment"), || {
        pod::fetch(&lab.fabric.client, ip, PORT)?;
        let known = lab.fabric.client.ip(&format!("neigh show {ip}"))?;
        ensure!(known.contains(&mac), "{known}");
        Ok(true)
    })
    .with_context(|| lab.logs())
}

fn drain(lab: &Lab, command: &str) -> Result<()> {
    let ferrolb = Spawn::new(bins::product("ferrolb")?).args([command, "--node", "n1", "--manifests"]);
    ferrolb.arg(lab.manifests.dir()).text().map(drop)
}

/// Random edits of Services, pools, advertisements and peers drop no session and withdraw no prefix but what they are
/// about, and lead to what a fresh start leads to.
#[test]
fn edits_disturb_nothing_else() -> Result<()> {
    let outcome = edits::run(edits::Options { edits: 60, seed: 7 }, &mut |line| println!("{line}"))?;
    ensure!(outcome == Outcome { sessions_dropped: 0, stray_withdraws: 0, equal: true }, "{outcome:?}");
    Ok(())
}

const HEALTH: u16 = 17472;
const METRICS: u16 = 7472;

/// What the speaker of n1 answers: status and text.
fn ask(lab: &Lab, port: u16, page: &str) -> Result<(u16, String)> {
    let url = format!("http://127.0.0.1:{port}/{page}");
    let curl = lab.fabric.node("n1")?.net.command("curl");
    let curl =
        curl.args(["--silent", "--max-time", "10", "--noproxy", "*", "--write-out", "%{http_code}", &url]);
    let text = curl.text()?;
    let (body, status) = text.split_at(text.len().saturating_sub(3));
    Ok((status.parse().context("no status")?, body.to_owned()))
}

/// Waits until the speaker of n1 has counted the drift that came after `counted`, and gives the new count. vtysh sends
/// line by line: a look in between puts the first lines right, and the next look the others.
fn put_right(lab: &Lab, counted: u64) -> Result<u64> {
    wait::until(DEADLINE, "a drift to be counted", || {
        let now = drifts(lab)?;
        ensure!(now <= counted + 2, "{now} drifts, after {counted}");
        Ok((now > counted).then_some(now))
    })
}

/// How often the speaker of n1 has found its FRR changed.
fn drifts(lab: &Lab) -> Result<u64> {
    let text = ask(lab, METRICS, "metrics")?.1;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("ferrolb_frr_drift_total "));
    lines.next().context("no such metric")?.parse().context("not a number")
}

fn lines(config: &str) -> Vec<String> {
    config.lines().map(str::to_owned).collect()
}

fn routed(lab: &Lab, addresses: &[IpAddr]) -> Result<()> {
    addresses.iter().try_for_each(|ip| lab.wait_for_route(*ip, &lab.names()))
}
