//! An installation's speakers know of each other who is alive: nobody has to set anything up for it, and a speaker that
//! dies is missed at once, though its node stays Ready.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    capture::Capture,
    cluster::{ADMIN_TOKEN, SYSTEM},
    election,
    fabric::{LAN, Node},
    install::{Installation, condition},
    neighbour::{self, claims},
    process::Spawn,
    wait,
};
use serde_json::Value;

use crate::{product::installed, world::turn};

const DEADLINE: Duration = Duration::from_secs(60);

/// The gossip promises 700 ms; the rest is the share of a machine that runs a cluster of three. Kubernetes itself takes
/// most of a minute to miss a node.
const MISSED: Duration = Duration::from_secs(10);

#[test]
fn a_speaker_that_dies_is_missed_though_its_node_is_ready() -> Result<()> {
    let mut turn = turn()?;
    let installation = installed(turn.world()?)?;
    let fabric = installation.cluster.fabric();
    let key = key(installation)?;
    see_each_other(installation)?;

    let addresses = installation.addresses("flat")?;
    // of the Service's first address, for all of them
    let names = fabric.nodes.iter().map(Node::name);
    let v4 = addresses.first().context("no address")?.to_string();
    let first = election::winner(names, &v4).context("no node")?;
    let own = fabric.node(first)?.net.mac(LAN)?;
    for ip in addresses {
        answered_by(installation, ip, &own)?;
        let wire = Capture::start(&fabric.warden, &fabric.client, LAN, neighbour::FILTER)?;
        installation.until_restarted(first, "speaker", |_| {
            let [speaker] = installation.processes_on(first, "speaker")?[..] else {
                anyhow::bail!("one speaker on {first}")
            };
            let killed = wait::since_epoch()?;
            Spawn::new("kill").args(["-KILL", &speaker.to_string()]).text()?;
            let claim = wait::until(DEADLINE, &format!("another node to announce {ip}"), || {
                let claims = claims(&wire.frames()?);
                let mut after = claims.into_iter().filter(|claim| claim.ip == ip && claim.at > killed);
                Ok(after.find(|claim| !claim.answer && claim.mac != own))
            })?;
            let node = installation.cluster.kubectl().get(&["node", first])?;
            assert!(condition(&node, "Ready"), "the API said so, too: {node}");
            let taken = claim.at.saturating_sub(killed);
            println!("{ip} was {first}'s; another node announced it {} ms after the kill", taken.as_millis());
            assert!(taken < MISSED, "{taken:?}");
            Ok(())
        })?;
        installation.wait_for_rollout("daemonset/speaker")?;
        see_each_other(installation)?;
        answered_by(installation, ip, &own)?;
    }

    installation.rollout_restart("deployment/controller")?;
    assert_eq!(self::key(installation)?, key, "another controller, another key");
    see_each_other(installation)
}

/// The data of the Secret that the controller made.
fn key(installation: &Installation) -> Result<Value> {
    let secret = installation.cluster.kubectl().get(&["-n", SYSTEM, "secret", "memberlist"])?;
    secret.pointer("/data/secretkey").cloned().context("no key")
}

/// Waits until this hardware address, and it alone, answers for an address.
fn answered_by(installation: &Installation, ip: IpAddr, mac: &str) -> Result<()> {
    let fabric = installation.cluster.fabric();
    wait::until_true(DEADLINE, &format!("an answer for {ip} by {mac} alone"), || {
        let patience = Duration::from_millis(200);
        let macs = neighbour::ask(&fabric.warden, &fabric.client, ip, neighbour::Ask::All, patience)?;
        Ok(!macs.is_empty() && macs.iter().all(|one| one == mac))
    })
}

/// Waits until every speaker knows of two others, by its own metrics.
fn see_each_other(installation: &Installation) -> Result<()> {
    for node in &installation.cluster.fabric().nodes {
        wait::until_true(DEADLINE, &format!("{} to know the others", node.name()), || {
            let metrics = node
                .net
                .command("curl")
                .args(["-sk", "-m", "5", "-H", &format!("Authorization: Bearer {ADMIN_TOKEN}")])
                .arg("https://127.0.0.1:7472/metrics")
                .output()?;
            Ok(String::from_utf8_lossy(&metrics.stdout).contains("ferrolb_members_others 2\n"))
        })?;
    }
    Ok(())
}
