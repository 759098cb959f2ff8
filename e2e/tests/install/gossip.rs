//! An installation's speakers know of each other who is alive: nobody has to set anything up for it, and a speaker that
//! dies is missed at once, though its node stays Ready.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    capture::Capture,
    cluster::{ADMIN_TOKEN, SYSTEM},
    fabric::LAN,
    install::{Installation, condition, life},
    neighbour::{self, claims},
    process::Spawn,
    wait,
};
use serde_json::Value;

use crate::{product::installed, world::turn};

const DEADLINE: Duration = Duration::from_secs(60);

/// The gossip promises 700 ms; the rest is the share of a machine that runs a cluster of three.
const MISSED: Duration = Duration::from_secs(2);

#[test]
fn a_speaker_that_dies_is_missed_though_its_node_is_ready() -> Result<()> {
    let mut turn = turn()?;
    let installation = installed(turn.world()?)?;
    let fabric = installation.cluster.fabric();
    let key = key(installation)?;
    see_each_other(installation)?;

    for ip in installation.addresses("flat")? {
        let first = life::announcer(installation, ip)?;
        let wire = Capture::start(&fabric.warden, &fabric.client, LAN, neighbour::FILTER)?;
        let [speaker] = installation.processes_on(&first, "speaker")?[..] else {
            anyhow::bail!("one speaker on {first}")
        };
        let killed = wait::since_epoch()?;
        Spawn::new("kill").args(["-KILL", &speaker.to_string()]).text()?;
        let own = fabric.node(&first)?.net.mac(LAN)?;
        let claim = wait::until(DEADLINE, &format!("another node to announce {ip}"), || {
            let claims = claims(&wire.frames()?);
            let mut after = claims.into_iter().filter(|claim| claim.ip == ip && claim.at > killed);
            Ok(after.find(|claim| !claim.answer && claim.mac != own))
        })?;
        let node = installation.cluster.kubectl().get(&["node", &first])?;
        assert!(condition(&node, "Ready"), "the API said so, too: {node}");
        let taken = claim.at.saturating_sub(killed);
        println!("{ip} was {first}'s; another node announced it {} ms after the kill", taken.as_millis());
        assert!(taken < MISSED, "{taken:?}");
        installation.wait_for_rollout("daemonset/speaker")?;
        see_each_other(installation)?;
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
