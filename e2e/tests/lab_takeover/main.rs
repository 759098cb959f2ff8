//! Who answers for an address when nodes die, are cut off and come back, judged by what passes on the clients' cables
//! while they ask every few milliseconds.

mod balanced;
mod crowd;
mod eligible;
mod links;
mod parted;
mod single;

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    calm::Round,
    fabric::LAN,
    flat::{Flat, Watch},
    neighbour::doubling,
};

/// From the death of a node to the first claim of another: the gossip's promise, and what a busy machine adds.
const TAKEOVER: Duration = Duration::from_millis(1000);

/// For how long two may answer when they meet again.
const DOUBLED: Duration = Duration::from_millis(50);

/// From question to question.
const PAUSE: Duration = Duration::from_millis(5);

/// For how long nobody else must be heard before it counts as decided.
const QUIET: Duration = Duration::from_millis(1500);

/// The addresses of a test's Service, one of each family.
fn addresses(host: u8) -> Result<[IpAddr; 2]> {
    Ok([format!("172.30.0.{host}").parse()?, format!("fd00:30::{host}").parse()?])
}

/// The nodes in the order in which they would be elected for `ip`, each with its hardware address.
fn ranked(lab: &Flat, ip: IpAddr) -> Result<Vec<(String, String)>> {
    let (mut left, mut order) = (lab.names(), Vec::new());
    while !left.is_empty() {
        let node = lab.elected(&left, ip)?;
        order.push((node.name().to_owned(), node.net.mac(LAN)?));
        left.retain(|name| name != node.name());
    }
    Ok(order)
}

/// Serves these addresses, and waits until the elected node alone claims each.
fn served(lab: &mut Flat, name: &str, ips: &[IpAddr], watch: &Watch) -> Result<Vec<(String, String)>> {
    lab.serve(name, ips)?;
    let first = *ips.first().context("no address")?;
    let order = ranked(lab, first)?;
    let mac = &order.first().context("no node")?.1;
    for ip in ips {
        watch.settled(*ip, mac, Duration::ZERO, QUIET).with_context(|| lab.logs())?;
    }
    Ok(order)
}

/// Nowhere two at once, for longer than they may.
fn not_doubled(round: &mut Round, watch: &Watch, ips: &[IpAddr], since: Duration, what: &str) -> Result<()> {
    let claims = watch.claims()?;
    for ip in ips {
        round.judge(&format!("{what}: {ip} had two stations"), doubling(&claims, *ip, since), DOUBLED);
    }
    Ok(())
}

fn lab() -> Result<MutexGuard<'static, Flat>> {
    static LAB: OnceLock<Result<Mutex<Flat>, String>> = OnceLock::new();
    let start = || Flat::start(3, &["172.30.0.200-172.30.0.249", "fd00:30::200-fd00:30::249"], "");
    let lab = LAB.get_or_init(|| start().map(Mutex::new).map_err(|error| format!("{error:#}")));
    // a test that failed poisons it; the others judge for themselves
    Ok(lab.as_ref().map_err(|error| anyhow!(error.clone()))?.lock().unwrap_or_else(PoisonError::into_inner))
}
