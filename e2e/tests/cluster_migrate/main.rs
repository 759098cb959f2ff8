//! Moving from MetalLB: a cluster that MetalLB's own controller and speakers serve becomes ours, and MetalLB's again,
//! by the commands of `docs/migrate.md`. Nobody loses an address, and no route is missing meanwhile.

mod guide;
mod judge;
mod objects;
mod services;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    cluster::{Cluster, Extent, MetalLb, MetalLbSpeaker, SYSTEM},
    fabric::{Fabric, Segment},
    frr::{Frr, Listens},
    process::Running,
    tor::FrrTor,
    wait,
};

use serde_json::Value;

use judge::{Seen, Watch};
use services::{Held, PENDING};

/// Long enough for anything that either product does at once; MetalLB reloads FRR seconds after a change, and its FRR
/// calls a router that did not answer again after two minutes.
pub(crate) const DEADLINE: Duration = Duration::from_mins(3);

const CONFIGURATION: &str = include_str!("configuration.yaml");

/// Announced over BGP: the ones that the client asks meanwhile.
const ASKED: &str = "default/both";

#[test]
fn every_service_keeps_its_addresses_there_and_back() -> Result<()> {
    let metallb = MetalLb::find()?;
    let fabric = Fabric::create(2)?;
    let tor = FrrTor::start(&fabric)?;
    let mut cluster = Cluster::start(fabric, Extent::Whole)?;
    guide::install_metallb(&cluster, &metallb.manifest("frr"), CONFIGURATION)?;
    let _pods = ["n1", "n2"].iter().map(|node| cluster.pod(node, "web")).collect::<Result<Vec<_>>>()?;
    let theirs = cluster.start_metallb_controller(&metallb)?;
    services::create(&cluster)?;
    let before = services::held(&cluster)?;
    ensure!(before.len() == 16, "{before:#?}");
    let without: Vec<&str> =
        before.iter().filter(|(_, held)| held.ingress.is_empty()).map(|(key, _)| key.as_str()).collect();
    assert_eq!(without, [PENDING]);
    let speakers = metallb_speakers(&cluster, &metallb)?;
    announced(&cluster, &tor, &before)?;
    eprintln!("MetalLB announces {} Services", before.len() - 1);

    let asked = addresses(&before, ASKED)?;
    let follow = |step| guide::follow(&cluster, &metallb, "frr", step);
    follow("save")?;
    let watch = Watch::start(&cluster, "there")?;
    let ((controller, speakers), seen) = judge::during(&cluster, &asked, || {
        follow("stop")?;
        theirs.stop()?;
        forget_events(&cluster)?;
        follow("apply")?;
        let controller = cluster.start_controller()?;
        let speakers = replace_by_ours(&cluster, &tor, &before, speakers)?;
        announced(&cluster, &tor, &before)?;
        Ok((controller, speakers))
    })?;
    follow("clean")?;
    has_a_key(&cluster)?;
    guide::pool_can_be_changed(&cluster, "there")?;
    pending_says_why(&cluster)?;
    say("there", &seen);
    kept("there", &watch.end(&cluster, "there")?, &before)?;
    for (address, seen) in &seen {
        ensure!(seen.called == seen.asked, "{address} was not watched: {seen:?}");
        ensure!(seen.lost == 0 && seen.failed <= seen.parted, "{address} did not answer: {seen:?}");
        ensure!(seen.longest_without_route.is_zero(), "{address} had no route: {seen:?}");
    }
    assert_eq!(follow("compare")?, "", "the guide's comparison finds a difference");
    assert_eq!(services::held(&cluster)?, before);

    let watch = Watch::start(&cluster, "back")?;
    let (running, seen) = judge::during(&cluster, &asked, || {
        follow("back")?;
        controller.stop()?;
        let controller = cluster.start_metallb_controller(&metallb)?;
        let speakers = replace_by_theirs(&cluster, &metallb, speakers)?;
        announced(&cluster, &tor, &before)?;
        Ok((controller, speakers))
    })?;
    follow("clean-back")?;
    has_a_key(&cluster)?;
    say("back", &seen);
    kept("back", &watch.end(&cluster, "back")?, &before)?;
    assert_eq!(services::held(&cluster)?, before);
    drop(running);
    Ok(())
}

fn metallb_speakers(cluster: &Cluster, metallb: &MetalLb) -> Result<Vec<MetalLbSpeaker>> {
    cluster.fabric().nodes.iter().map(|node| cluster.start_metallb_speaker(metallb, node)).collect()
}

/// What the DaemonSet's controller does: one node after the other, the next when the new Pod has been ready for
/// `minReadySeconds`, within which its routes are at the router: that is what the field is for. How much of the time it
/// took is printed; on a machine that is short of time, the next one waits until they are.
fn replace_by_ours(
    cluster: &Cluster,
    tor: &FrrTor,
    services: &BTreeMap<String, Held>,
    theirs: Vec<MetalLbSpeaker>,
) -> Result<Vec<(Frr, Running)>> {
    let daemons = cluster.kubectl().get(&["-n", SYSTEM, "daemonset", "speaker"])?;
    let seconds = daemons.pointer("/spec/minReadySeconds").and_then(Value::as_u64);
    let seconds = seconds.context("the DaemonSet has no minReadySeconds")?;
    let nodes = cluster.fabric().nodes.iter();
    nodes
        .zip(theirs)
        .map(|(node, theirs)| {
            theirs.stop()?;
            let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
            let speaker = cluster.start_speaker(node, &frr)?;
            let ready = wait::now();
            let hops = [IpAddr::from(Segment::Tor.v4(node.host())), Segment::Tor.v6(node.host()).into()];
            wait::until_true(DEADLINE, &format!("the routes of {}", node.name()), || {
                for prefix in routed(services) {
                    if tor.next_hops(&prefix)?.is_disjoint(&hops.into()) {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            eprintln!(
                "{}: routes at the router {:?} of {seconds} s after the speaker was ready",
                node.name(),
                ready.elapsed()
            );
            Ok((frr, speaker))
        })
        .collect()
}

/// The other way; MetalLB's DaemonSet waits for nothing but the Pod.
fn replace_by_theirs(
    cluster: &Cluster,
    metallb: &MetalLb,
    ours: Vec<(Frr, Running)>,
) -> Result<Vec<MetalLbSpeaker>> {
    let nodes = cluster.fabric().nodes.iter();
    nodes
        .zip(ours)
        .map(|(node, (frr, speaker))| {
            speaker.stop()?;
            frr.stop()?;
            cluster.start_metallb_speaker(metallb, node)
        })
        .collect()
}

/// Whichever controller runs made the Secret of the speakers' gossip if the other one's went with its Deployment.
fn has_a_key(cluster: &Cluster) -> Result<()> {
    let deployment = cluster.kubectl().get(&["-n", SYSTEM, "deployment", "controller"])?;
    let uid = deployment.pointer("/metadata/uid").context("no uid")?;
    wait::until_true(DEADLINE, "the Secret of the gossip, with its Deployment", || {
        let secret = cluster.kubectl().get(&["-n", SYSTEM, "secret", "memberlist"]).unwrap_or_default();
        let key =
            secret.pointer("/data/secretkey").and_then(Value::as_str).is_some_and(|key| !key.is_empty());
        Ok(key && secret.pointer("/metadata/ownerReferences/0/uid") == Some(uid))
    })
}

/// Waits until the router has every address but the flat one's from both nodes.
fn announced(cluster: &Cluster, tor: &FrrTor, services: &BTreeMap<String, Held>) -> Result<()> {
    for prefix in routed(services) {
        wait::until_true(DEADLINE, &format!("{prefix} at the router, from both nodes"), || {
            Ok(tor.next_hops(&prefix)?.len() == cluster.fabric().nodes.len())
        })?;
    }
    let flat = addresses(services, "default/flat")?;
    for address in flat {
        wait::until(DEADLINE, &format!("an answer from {address} on the flat segment"), || {
            ferrolb_e2e::pod::fetch(&cluster.fabric().client, address, 80).map(Some)
        })?;
    }
    Ok(())
}

/// The prefixes that the router shall have: of all but the flat one.
fn routed(services: &BTreeMap<String, Held>) -> Vec<String> {
    let routed = services.iter().filter(|(key, _)| *key != "default/flat");
    routed
        .flat_map(|(_, held)| held.addresses())
        .map(|address| format!("{address}/{}", if address.contains(':') { 128 } else { 32 }))
        .collect()
}

fn addresses(services: &BTreeMap<String, Held>, key: &str) -> Result<Vec<IpAddr>> {
    let held = services.get(key).with_context(|| format!("no Service {key}"))?;
    held.addresses().into_iter().map(|address| Ok(address.parse()?)).collect()
}

/// The next event on the pending Service shall be of whoever comes next.
fn forget_events(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl
        .run(&["-n", "default", "delete", "events", "--field-selector", "reason=AllocationFailed"])
        .map(drop)
}

fn pending_says_why(cluster: &Cluster) -> Result<()> {
    wait::until_true(DEADLINE, "the reason of the pending Service", || {
        let selector = "involvedObject.name=lone-second,reason=AllocationFailed";
        let events = cluster.kubectl().get(&["-n", "default", "events", "--field-selector", selector])?;
        Ok(events.to_string().contains("no available IPs in pool \\\"lone\\\""))
    })
}

/// No Service held anything else at any moment.
fn kept(way: &str, history: &BTreeMap<String, Vec<Held>>, before: &BTreeMap<String, Held>) -> Result<()> {
    for (key, held) in before {
        let moments = history.get(key).with_context(|| format!("{key} was not watched"))?;
        ensure!(
            !moments.is_empty() && moments.iter().all(|moment| moment == held),
            "{way}: {key}: {moments:#?}"
        );
    }
    Ok(())
}

/// Says what the client and the router saw.
fn say(way: &str, seen: &BTreeMap<IpAddr, Seen>) {
    for (address, seen) in seen {
        eprintln!("{way}: {address}: {seen:?}");
    }
}
