//! The life of an installation, from `kubectl apply` to `kubectl delete`: each thing that happens to one, and what was
//! seen from outside meanwhile.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    Installation,
    operate::WORKLOADS,
    witness::{Seen, Witness},
};
use crate::{
    cluster::{PATIENCE, SYSTEM},
    fabric::LAN,
    lab::prefix,
    neighbour, objects, pod,
    tor::{BirdTor, FrrTor},
    wait,
};

/// What is looked at: a Service with addresses that go over BGP and one with addresses of the flat segment.
#[derive(Debug)]
pub struct Addresses {
    /// IPv4 first.
    pub routed: Vec<IpAddr>,
    /// IPv4 first.
    pub flat: Vec<IpAddr>,
}

/// Installs the product with graceful restart on its peers, and says how long it took until both Services, which were
/// there before, answered at all of their addresses. The first number is until the first address did.
///
/// # Errors
/// When one does not answer.
pub fn install(installation: &Installation) -> Result<(Duration, Duration, Addresses)> {
    for pool in ["routed", "flat"] {
        installation.publish(pool, "web", pool)?;
    }
    let start = wait::now();
    installation.cluster.install()?;
    installation.cluster.kubectl().apply(&Installation::graceful())?;
    let mut first = None;
    let addresses =
        Addresses { routed: installation.addresses("routed")?, flat: installation.addresses("flat")? };
    answer(installation, &addresses, &mut || {
        first.get_or_insert_with(|| start.elapsed());
    })?;
    Ok((first.unwrap_or_default(), start.elapsed(), addresses))
}

fn answer(installation: &Installation, addresses: &Addresses, seen: &mut impl FnMut()) -> Result<()> {
    let fabric = installation.cluster.fabric();
    for (client, ips) in [(&fabric.client, &addresses.flat), (&fabric.remote, &addresses.routed)] {
        for ip in ips {
            installation.wait_for_answer(client, *ip)?;
            seen();
        }
    }
    Ok(())
}

/// All that can happen to a running installation, one after the other, the API server being away for as long as said.
/// `tell` is told at once.
///
/// # Errors
/// When it does not recover from one.
pub fn happenings(
    installation: &mut Installation,
    tor: &FrrTor,
    addresses: &Addresses,
    api_away: Duration,
    tell: &mut dyn FnMut(&Seen),
) -> Result<Vec<Seen>> {
    for workload in WORKLOADS {
        installation.wait_for_rollout(workload)?;
    }
    let (routed, flat) = (first(&addresses.routed)?, first(&addresses.flat)?);
    let witness = Witness::start(installation, routed, flat)?;
    let mut all = Vec::new();
    let mut during = |step, happen: &mut dyn FnMut(&mut Installation) -> Result<()>| {
        let seen = witness.during(installation, tor, step, happen)?;
        // only now that no route is one from before: a router keeps those of an FRR that comes back without any
        by_all(installation, tor, addresses).with_context(|| step.to_owned())?;
        tell(&seen);
        all.push(seen);
        anyhow::Ok(())
    };
    during("nothing", &mut |_| {
        wait::pass(Duration::from_secs(5));
        Ok(())
    })?;
    during("restart of the speakers", &mut |it| it.rollout_restart("daemonset/speaker"))?;
    during("restart of the controller", &mut |it| it.rollout_restart("deployment/controller"))?;
    during("upgrade", &mut |it| it.upgrade("next"))?;
    for (step, container) in [("FRR killed", "frr"), ("speaker killed", "speaker")] {
        during(step, &mut |it| it.kill_container(&announcer(it, flat)?, container))?;
    }
    during("speaker Pod deleted", &mut |it| it.delete_speaker(&announcer(it, flat)?))?;
    during("drain of the controller's node", &mut |it| {
        let node = it.node_of("component=controller")?;
        it.drain(&node)?;
        it.wait_for_rollout("deployment/controller")?;
        it.uncordon(&node)
    })?;
    during("drain of the announcing node", &mut |it| {
        let node = announcer(it, flat)?;
        it.drain(&node)?;
        it.wait_for_rollout("deployment/controller")?;
        it.uncordon(&node)
    })?;
    let mut stopped = String::new();
    during("kubelet of that node stopped", &mut |it| {
        stopped = announcer(it, flat)?;
        it.stop_kubelet(&stopped)
    })?;
    during("kubelet started", &mut |it| {
        it.start_kubelet(&stopped)?;
        it.wait_for_rollout("daemonset/speaker")
    })?;
    during("API server away", &mut |it| {
        it.cluster.without_api(|| {
            wait::pass(api_away);
            Ok(())
        })
    })?;
    during("API server back", &mut |it| it.wait_for_followers())?;
    Ok(all)
}

/// Waits until a router would send packets for every address to every node.
fn by_all(installation: &Installation, tor: &FrrTor, addresses: &Addresses) -> Result<()> {
    let nodes = installation.cluster.fabric().nodes.len();
    addresses.routed.iter().try_for_each(|ip| {
        let prefix = prefix(*ip);
        wait::until_true(PATIENCE, &format!("{prefix} by every node"), || {
            Ok(tor.next_hops(&prefix)?.len() == nodes)
        })
    })
}

/// Waits until no address is answered and no router has a route, and says how long after the call that was. The first
/// number is of the flat segment, the second of the routers.
///
/// # Errors
/// When something is left.
pub fn gone(
    installation: &Installation,
    routers: (&FrrTor, &BirdTor),
    addresses: &Addresses,
) -> Result<(Duration, Duration)> {
    let (start, fabric) = (wait::now(), installation.cluster.fabric());
    let how = neighbour::Ask::All;
    for ip in &addresses.flat {
        wait::until_true(PATIENCE, &format!("{ip} to be nobody's"), || {
            let asked = neighbour::ask(&fabric.warden, &fabric.client, *ip, how, Duration::from_millis(100))?;
            Ok(asked.is_empty())
        })?;
    }
    let flat = start.elapsed();
    unrouted(routers, addresses)?;
    let routed = start.elapsed();
    unanswered(installation, addresses)?;
    Ok((flat, routed))
}

/// Deletes the BGPAdvertisements, as one does who takes a FerroLB away for good from routers that would wait for it,
/// and says how long it took until no router had a route.
///
/// # Errors
/// When something is left.
pub fn retract(
    installation: &Installation,
    routers: (&FrrTor, &BirdTor),
    addresses: &Addresses,
) -> Result<Duration> {
    let start = wait::now();
    installation.cluster.kubectl().run(&["-n", SYSTEM, "delete", "bgpadvertisements.metallb.io", "--all"])?;
    unrouted(routers, addresses)?;
    let routed = start.elapsed();
    unanswered(installation, addresses)?;
    Ok(routed)
}

fn unrouted((tor, bird): (&FrrTor, &BirdTor), addresses: &Addresses) -> Result<()> {
    for ip in &addresses.routed {
        let prefix = prefix(*ip);
        // a router keeps the routes of one that said it would be back, for as long as it was told to
        wait::until_true(Duration::from_mins(3), &format!("{prefix} to leave the routers"), || {
            Ok(tor.next_hops(&prefix)?.is_empty() && bird.next_hops(&prefix)?.is_empty())
        })?;
    }
    Ok(())
}

fn unanswered(installation: &Installation, addresses: &Addresses) -> Result<()> {
    // a router's kernel follows its table a moment later
    addresses.routed.iter().try_for_each(|ip| {
        wait::until_true(PATIENCE, &format!("no answer from {ip}"), || {
            Ok(pod::fetch(&installation.cluster.fabric().remote, *ip, objects::PORT).is_err())
        })
    })
}

fn first(ips: &[IpAddr]) -> Result<IpAddr> {
    let first = ips.first().copied().context("no address")?;
    ensure!(first.is_ipv4(), "{first} is not of IPv4");
    Ok(first)
}

/// The node that answers for an address of the flat segment, by what the client's kernel found out.
///
/// # Errors
/// When nobody does.
pub fn announcer(installation: &Installation, ip: IpAddr) -> Result<String> {
    let fabric = installation.cluster.fabric();
    wait::until(PATIENCE, &format!("a node that answers for {ip}"), || {
        let Some(known) = neighbour::known(&fabric.client, ip)? else { return Ok(None) };
        for node in &fabric.nodes {
            if node.net.mac(LAN)? == known {
                return Ok(Some(node.name().to_owned()));
            }
        }
        Ok(None)
    })
}
