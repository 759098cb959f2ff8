//! A node's links: one that comes later and goes again, one that is left alone, another hardware address.

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    calm::{self, Round},
    fabric::{LAN, Node},
    flat::Flat,
    lab::DEADLINE,
    neighbour::first,
    wait,
};

use crate::{PAUSE, QUIET, TAKEOVER, addresses, lab, not_doubled, ranked, served};

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
        watch.settled(ip, &second_mac, since, QUIET).with_context(|| lab.logs())?;
    }
    let since = wait::since_epoch()?;
    let first_mac = grow(&lab, lab.fabric.node(first)?)?;
    for ip in ips {
        watch.settled(ip, &first_mac, since, QUIET).with_context(|| lab.logs())?;
    }
    let since = wait::since_epoch()?;
    lab.fabric.node(first)?.net.ip(&format!("link delete dev {LATE}"))?;
    for ip in ips {
        watch.settled(ip, &second_mac, since, QUIET).with_context(|| lab.logs())?;
    }

    // the file says that it is to be left alone
    let file = lab.fabric.warden.dir().join("excludel2.yaml");
    std::fs::write(&file, format!("announcedInterfacesToExclude: [\"^{LATE}$\"]\n"))?;
    lab.stop_speaker(first)?;
    let again_mac = grow(&lab, lab.fabric.node(first)?)?;
    lab.start_speaker_with(first, &[&format!("--excludel2-config={}", file.display())])?;
    // everybody knows that it is there: were it to answer, it would
    let since = wait::since_epoch()?;
    for ip in ips {
        watch.settled(ip, &second_mac, since, QUIET).with_context(|| lab.logs())?;
    }
    let claims = watch.claims()?;
    let strange = claims.iter().find(|it| it.at >= since && ips.contains(&it.ip) && it.mac != second_mac);
    assert!(strange.is_none(), "{strange:?} of an interface that is to be left alone");
    let since = wait::since_epoch()?;
    lab.stop_speaker(first)?;
    lab.start_speaker(first)?;
    for ip in ips {
        watch.settled(ip, &again_mac, since, QUIET).with_context(|| lab.logs())?;
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
    calm::rounds(announced_at_once)
}

fn announced_at_once(round: &mut Round) -> Result<()> {
    let mut lab = lab()?;
    let ips = addresses(204)?;
    let watch = lab.watch(false, &ips, PAUSE)?;
    let order = served(&mut lab, "changed", &ips, &watch)?;
    let (elected, mac) = order.first().context("no node")?;
    let conflicts = |lab: &Flat| -> Result<Vec<String>> {
        let mut all = Vec::new();
        for name in lab.names() {
            let text = lab.metrics(&name)?;
            let lines = text.lines().filter(|line| line.starts_with("ferrolb_l2_conflicts_total"));
            all.extend(lines.map(|line| format!("{name} {line}")));
        }
        Ok(all)
    };
    let before = conflicts(&lab)?;
    assert_eq!(before.len(), 6, "{before:?}");
    for new in ["02:00:00:00:00:77", mac] {
        let since = wait::since_epoch()?;
        lab.fabric.node(elected)?.net.ip(&format!("link set dev {LAN} address {new}"))?;
        for ip in ips {
            watch.settled(ip, new, since, QUIET).with_context(|| lab.logs())?;
            let claims = watch.claims()?;
            let answered = first(&claims, ip, new, since).context("settled, and not heard")?;
            let mut unasked = claims
                .iter()
                .filter(|claim| claim.ip == ip && claim.mac == new && claim.at >= since && !claim.answer);
            let announced = unasked.next().with_context(|| format!("{ip} is not announced"))?.at;
            let what = format!("{elected} at {new}: {ip} heard, and announced");
            round.judge(&what, answered..announced, TAKEOVER);
        }
        not_doubled(round, &watch, &ips, since, "another hardware address")?;
    }
    assert_eq!(conflicts(&lab)?, before);
    lab.remove("changed")
}
