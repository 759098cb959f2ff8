//! A node's FRR crashes: whichever daemons die, and in whatever order, the routes are back at both routers once it is
//! started again, and the speaker drives the new daemons.
//!
//! The sessions with the FRR router have BFD, those with BIRD have none. Only the FRR router is asked whether the routes
//! went: bgpd knows of graceful restart with every peer, so that BIRD keeps the routes of one that crashed for 120 s.

use std::{fmt, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    fabric::{Segment, TOR_ASN},
    lab::{DEADLINE, Lab, neighbours, prefix},
    objects::{self, Service},
    wait,
};

/// The daemons that are killed, in this order; none stands for all of FRR at once, with its start script.
const CASES: [&[&str]; 11] = [
    &[],
    &["zebra"],
    &["bgpd"],
    &["bfdd"],
    &["zebra", "bgpd", "bfdd"],
    &["zebra", "bfdd", "bgpd"],
    &["bgpd", "zebra", "bfdd"],
    &["bgpd", "bfdd", "zebra"],
    &["bfdd", "zebra", "bgpd"],
    &["bfdd", "bgpd", "zebra"],
    &["staticd"],
];

/// How long FRR, once it runs, may take to have the routes at the router again, most times. It takes a tenth of a second,
/// and one more where BFD drops the first session; it took four to six without `frr/start`'s settings.
const BACK: Duration = Duration::from_millis(2500);

#[test]
fn routes_are_back_whichever_daemons_were_killed() -> Result<()> {
    let mut lab = Lab::start(2)?;
    watch_by_bfd(&lab)?;
    let steady = lab.add(&Service::new("steady", "routed", &lab.fabric))?;
    routed(&lab, &steady, &lab.names())?;
    let mut took = Vec::new();
    for daemons in CASES {
        let names = if daemons.is_empty() { "all".to_owned() } else { daemons.join(", ") };
        let crash = crash(&mut lab, daemons, &steady).with_context(|| format!("{names} killed"))?;
        println!("{names}: {crash}");
        took.push(crash.back.saturating_sub(crash.up));
    }
    took.sort();
    let median = took.get(CASES.len() / 2).context("no case")?;
    ensure!(*median < BACK, "the routes were back {took:?} after FRR ran");
    let running = lab.frr("n1")?.vtysh("show running-config bgpd")?;
    ensure!(!running.contains("delay-timer"), "a setting is left over: {running}");
    Ok(())
}

/// How long a crash was felt.
struct Crash {
    /// From the start of FRR until its daemons had loaded frr.conf.
    up: Duration,
    /// Until the routes were back at the router.
    back: Duration,
    /// How long a new Service took afterwards.
    new: Duration,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, back, new } = self;
        write!(f, "FRR runs after {up:.2?}, the routes are back after {back:.2?}, new ones take {new:.2?}")
    }
}

/// Kills them on n1, starts its FRR again, and looks for the routes that were there and for new ones.
fn crash(lab: &mut Lab, daemons: &[&str], steady: &[IpAddr]) -> Result<Crash> {
    bfd_is_up(lab)?;
    let logged = lab.speaker_log("n1")?.len();
    match daemons {
        [] => lab.kill_all_of_frr("n1")?,
        daemons => lab.kill_frr("n1", daemons)?,
    }
    at_the_routers(lab, steady, false)?;

    let start = wait::now();
    lab.resume_frr("n1")?;
    let up = start.elapsed();
    at_the_routers(lab, steady, true)?;
    let back = start.elapsed();
    lab.wait_for_sessions(&["n1".to_owned()])?;
    routed(lab, steady, &lab.names())?;

    let start = wait::now();
    let fresh = lab.add(&Service::new("fresh", "routed", &lab.fabric))?;
    routed(lab, &fresh, &lab.names())?;
    let new = start.elapsed();
    lab.remove("fresh")?;
    routed(lab, &fresh, &[])?;

    // the start script and the speaker may speak to the daemons at the same time
    ensure!(!lab.frr("n1")?.process().log_text().contains("not accepted"), "frr.conf was not accepted");
    let said = lab.speaker_log("n1")?.split_off(logged);
    ensure!(!said.contains("FRR refused a line"), "a line was refused: {said}");
    Ok(Crash { up, back, new })
}

fn routed(lab: &Lab, addresses: &[IpAddr], nodes: &[String]) -> Result<()> {
    addresses.iter().try_for_each(|ip| lab.wait_for_route(*ip, nodes))
}

/// Waits until both routers would send packets for these addresses to n1, or until the FRR router would not any more.
fn at_the_routers(lab: &Lab, addresses: &[IpAddr], wanted: bool) -> Result<()> {
    let host = lab.fabric.node("n1")?.host();
    for ip in addresses {
        let hop = |segment: Segment| -> IpAddr {
            if ip.is_ipv4() { segment.v4(host).into() } else { segment.v6(host).into() }
        };
        wait::until_true(DEADLINE, &format!("{ip} by n1 at the FRR router: {wanted}"), || {
            Ok(lab.tor.next_hops(&prefix(*ip))?.contains(&hop(Segment::Tor)) == wanted)
        })
        .with_context(|| lab.logs())?;
        if !wanted {
            continue;
        }
        wait::until_true(DEADLINE, &format!("{ip} by n1 at BIRD: {wanted}"), || {
            Ok(lab.bird.next_hops(&prefix(*ip))?.contains(&hop(Segment::Bird)) == wanted)
        })
        .with_context(|| lab.logs())?;
    }
    Ok(())
}

/// Gives every session with the FRR router a BFD session, at both ends.
fn watch_by_bfd(lab: &Lab) -> Result<()> {
    let mut lines = vec!["configure terminal".to_owned(), format!("router bgp {TOR_ASN}")];
    lines.extend(lab.fabric.nodes.iter().flat_map(neighbours).map(|ip| format!("neighbor {ip} bfd")));
    lab.tor.frr.vtysh(&lines.join("\n"))?;
    lab.manifests.put("bfd-profile", &objects::bfd_profile("fast"))?;
    let with_bfd = |peer: &str| match peer.contains("name: tor-") {
        true => format!("{peer}  bfdProfile: fast\n"),
        false => peer.to_owned(),
    };
    let peers: Vec<String> = objects::peers().split("---\n").map(with_bfd).collect();
    lab.manifests.put("peers", &peers.join("---\n"))?;
    bfd_is_up(lab)
}

/// Waits until the FRR router's BFD sessions with n1 are up: before that, a crash would be noticed another way.
fn bfd_is_up(lab: &Lab) -> Result<()> {
    for ip in neighbours(lab.fabric.node("n1")?) {
        let what = format!("the FRR router's BFD session with {ip}");
        wait::until_true(DEADLINE, &what, || lab.tor.bfd_is_up(ip)).with_context(|| lab.logs())?;
    }
    Ok(())
}
