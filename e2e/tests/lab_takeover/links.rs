//! A node's links: one that comes later and goes again, one that is left alone, another hardware address.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    fabric::{LAN, Node},
    flat::Flat,
    lab::DEADLINE,
    wait,
};

use crate::{PAUSE, QUIET, TAKEOVER, addresses, assert_not_doubled, lab, ranked, served};

/// The interface that comes later.
const LATE: &str = "late";

/// Gives a node another interface on the segment; its hardware address.
fn grow(lab: &Flat, node: &Node) -> Result<String> {
    let (switch, port) = (&lab.fabric.switch, format!("{}.{LATE}", node.name()));
    node.net.ip(&format!("link add name {LATE} type veth peer name {port} netns {}", switch.name()))?;
    switch.ip(&format!("link set dev {port} master {LAN} up"))?;
    node.net.ip(&format!("link set dev {LATE} up"))?;
    node.net.mac(LATE)
}

fn metrics(node: &Node) -> Result<String> {
    let curl = node.net.command("curl").args(["--silent", "--max-time", "2", "--noproxy", "*"]);
    curl.arg("http://127.0.0.1:7472/metrics").text()
}

/// An advertisement for an interface that no node has, then one, then two, then one again: nobody answers, and the
/// election passes to whoever has it, there alone. One that has it and is to leave it alone has none.
#[test]
fn the_election_passes_to_who_has_the_interface() -> Result<()> {
    // one of its own: where it fails, nodes have an interface more
    let only = format!("  interfaces: [{LATE}]\n");
    let mut lab = Flat::start(3, &["172.30.0.190-172.30.0.199", "fd00:30::190-fd00:30::199"], &only)?;
    let ips = addresses(191)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = ranked(&lab, ips[0])?;
    lab.serve(LATE, &ips)?;
    wait::until_true(DEADLINE, "the elected node to say that it has not the interface", || {
        Ok(lab.logs().lines().any(|line| line.contains("announceFailed") && line.contains(LATE)))
    })?;
    let [(first, _), (second, _), ..] = order.as_slice() else { return Ok(()) };

    let since = wait::since_epoch()?;
    let second_mac = grow(&lab, lab.fabric.node(second)?)?;
    for ip in ips {
        let took = watch.claimed(ip, &second_mac, since).with_context(|| lab.logs())?.saturating_sub(since);
        eprintln!("{second} has the interface: {ip} there after {:.0} ms", took.as_secs_f64() * 1e3);
        assert!(took < TAKEOVER, "{ip} was announced after {took:?}");
        watch.settled(ip, &second_mac, QUIET)?;
    }
    let since = wait::since_epoch()?;
    let first_mac = grow(&lab, lab.fabric.node(first)?)?;
    for ip in ips {
        watch.claimed(ip, &first_mac, since).with_context(|| lab.logs())?;
        watch.settled(ip, &first_mac, QUIET).with_context(|| lab.logs())?;
    }
    let since = wait::since_epoch()?;
    lab.fabric.node(first)?.net.ip(&format!("link delete dev {LATE}"))?;
    for ip in ips {
        let took = watch.claimed(ip, &second_mac, since).with_context(|| lab.logs())?.saturating_sub(since);
        eprintln!("{first} has lost it: {ip} at {second} after {:.0} ms", took.as_secs_f64() * 1e3);
        assert!(took < TAKEOVER, "{ip} was announced after {took:?}");
        watch.settled(ip, &second_mac, QUIET)?;
    }

    // the file says that it is to be left alone
    let file = lab.fabric.warden.dir().join("excludel2.yaml");
    std::fs::write(&file, format!("announcedInterfacesToExclude: [\"^{LATE}$\"]\n"))?;
    lab.stop_speaker(first)?;
    let again_mac = grow(&lab, lab.fabric.node(first)?)?;
    lab.start_speaker_with(first, &[&format!("--excludel2-config={}", file.display())])?;
    wait::until_true(DEADLINE, "the others to know it", || {
        Ok(metrics(lab.fabric.node(second)?)?.lines().any(|line| line == "ferrolb_members_others 2"))
    })?;
    for ip in ips {
        watch.settled(ip, &second_mac, QUIET).with_context(|| lab.logs())?;
    }
    lab.stop_speaker(first)?;
    lab.start_speaker(first)?;
    for ip in ips {
        watch.claimed(ip, &again_mac, since).with_context(|| lab.logs())?;
        watch.settled(ip, &again_mac, QUIET).with_context(|| lab.logs())?;
    }

    let late = [second_mac, first_mac, again_mac];
    let strange = watch.claims()?.into_iter().find(|it| ips.contains(&it.ip) && !late.contains(&it.mac));
    assert!(strange.is_none(), "no other interface of any node: {strange:?}");
    Ok(())
}

/// The elected node has another hardware address, as after a bond's failover: it is announced at once, it alone is
/// answered with, and nobody takes the node for a stranger.
#[test]
fn another_hardware_address_is_announced_at_once() -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(204)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, "changed", &ips, &watch)?;
    let (elected, mac) = order.first().context("no node")?;
    let conflicts = |lab: &Flat| -> Result<Vec<String>> {
        let mut all = Vec::new();
        for node in &lab.fabric.nodes {
            let text = metrics(node)?;
            let lines = text.lines().filter(|line| line.starts_with("ferrolb_l2_conflicts_total"));
            all.extend(lines.map(|line| format!("{} {line}", node.name())));
        }
        Ok(all)
    };
    let before = conflicts(&lab)?;
    assert_eq!(before.len(), 6, "{before:?}");
    for new in ["02:00:00:00:00:77", mac] {
        let since = wait::since_epoch()?;
        lab.fabric.node(elected)?.net.ip(&format!("link set dev {LAN} address {new}"))?;
        for ip in ips {
            let took = watch.claimed(ip, new, since).with_context(|| lab.logs())?.saturating_sub(since);
            eprintln!("{elected} at {new}: {ip} announced after {:.0} ms", took.as_secs_f64() * 1e3);
            watch.settled(ip, new, QUIET).with_context(|| lab.logs())?;
            let claims = watch.claims()?;
            let unasked = |claim: &&ferrolb_e2e::neighbour::Claim| {
                claim.ip == ip && claim.mac == new && claim.at >= since && !claim.answer
            };
            let first = claims.iter().find(unasked).with_context(|| format!("{ip} is not announced"))?;
            assert!(
                first.at.saturating_sub(since) < TAKEOVER,
                "{ip} announced at {:?} of {since:?}",
                first.at
            );
        }
        assert_not_doubled(&watch, &ips, since, "another hardware address")?;
    }
    assert_eq!(conflicts(&lab)?, before);
    lab.remove("changed")
}
