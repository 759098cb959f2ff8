//! `manifests/ferrolb-l2.yaml` on a flat network: no FRR, and nobody misses it.

use std::time::Duration;

use anyhow::{Result, ensure};
use ferrolb_e2e::{cluster::SYSTEM, objects, pod};
use serde_json::Value;

use crate::world::{L2, turn};

/// One request's time, where nobody else is asked: far more than a packet that is sent again needs.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_flat_network_needs_no_frr() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    world.shall_be(None)?;
    world.shall_be(Some(L2))?;
    let installation = &world.installation;
    let kubectl = installation.cluster.kubectl();
    installation.cluster.install_from(L2)?;
    let advertisements = objects::advertisements();
    let flat = advertisements.split("---\n").filter(|object| object.contains("L2Advertisement"));
    kubectl.apply(&[objects::pools().as_str(), &flat.collect::<String>()].join("---\n"))?;
    installation.publish("flat", "web", "flat")?;
    // an address moves as its node's speaker joins, and what is asked just then may go to the node before
    installation.wait_for_rollout("daemonset/speaker")?;
    let client = &installation.cluster.fabric().client;
    for ip in installation.addresses("flat")? {
        installation.wait_for_answer(client, ip)?;
        // every request, not only the lucky one
        for _ in 0..10 {
            pod::fetch_within(LIMIT, client, ip, objects::PORT)?;
        }
    }

    installation.wait_for_pods(SYSTEM, "component=controller", 1)?;
    for speaker in installation.wait_for_pods(SYSTEM, "component=speaker", 3)? {
        let containers = speaker.pointer("/status/containerStatuses").and_then(Value::as_array);
        let containers: Vec<_> = containers.into_iter().flatten().collect();
        assert_eq!(containers.len(), 1, "{containers:?}");
        assert!(containers.iter().all(|status| status.get("restartCount") == Some(&Value::from(0))));
        let name = speaker.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let log = kubectl.run(&["-n", SYSTEM, "logs", name])?;
        let complaints: Vec<&str> = log.lines().filter(|line| complains(line)).collect();
        ensure!(complaints.is_empty(), "{name} misses FRR:\n{}", complaints.join("\n"));
    }
    Ok(())
}

/// Whether a line of the log is a warning or worse about FRR; the speaker's are JSON. The watch of a kind that has to do
/// with it may fail for a moment, as any other.
fn complains(line: &str) -> bool {
    let lower = line.to_lowercase();
    let is_bad = ["error", "warn"].iter().any(|level| lower.contains(&format!("\"level\":\"{level}")));
    is_bad
        && !lower.contains("watch failed")
        && ["frr", "bgp", "vty", "zebra"].iter().any(|word| lower.contains(word))
}
