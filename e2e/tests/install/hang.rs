//! A daemon of FRR that is there and does nothing any more: nobody but the container's probe would notice.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    cluster::SYSTEM, fabric::Segment, install::Installation, lab::prefix, process::Spawn, wait,
};
use serde_json::Value;

use crate::{product::installed, world::turn};

/// Three checks in a row have to fail, one every fifteen seconds; then FRR needs a moment to start.
const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn a_hanging_bgpd_is_started_anew_and_its_routes_come_back() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    installed(world)?;
    let (installation, tor) = (&world.installation, &world.tor);
    let node = installation.cluster.fabric().nodes.first().context("no node")?;
    let neighbour = IpAddr::from(Segment::Tor.v4(node.host()));
    let prefixes: Vec<String> = installation.addresses("routed")?.into_iter().map(prefix).collect();
    let announced = || {
        prefixes.iter().try_fold(true, |all, prefix| {
            let hops = [neighbour, IpAddr::from(Segment::Tor.v6(node.host()))];
            let found = tor.next_hops(prefix)?;
            Ok(all && hops.iter().any(|hop| found.contains(hop)))
        })
    };
    wait::until_true(DEADLINE, "the node's routes at the router", announced)?;
    let before = tor.session(neighbour)?.context("no session")?;
    let (pod, restarts) = frr_of(installation, node.name())?;

    let [hanging] = installation.processes_on(node.name(), "bgpd")?[..] else { anyhow::bail!("one bgpd") };
    Spawn::new("kill").args(["-STOP", &hanging.to_string()]).text()?;
    let since = wait::now();
    wait::until_true(DEADLINE, "FRR to be started again", || {
        Ok(frr_of(installation, node.name())?.1 > restarts)
    })?;
    println!("FRR was started again {:.1?} after its bgpd hung", since.elapsed());
    wait::until_true(DEADLINE, "its routes to be back", || {
        let session = tor.session(neighbour)?.context("no session")?;
        Ok(session.established && session.came_up > before.came_up && announced()?)
    })?;
    println!("its routes were back {:.1?} after that", since.elapsed());
    installation.wait_for_pods(SYSTEM, "component=speaker", 3)?;
    // the same Pod, of which FRR alone was started again, and once
    assert_eq!(frr_of(installation, node.name())?, (pod, restarts + 1));
    let events = ["-n", SYSTEM, "get", "events", "--field-selector", "reason=Unhealthy", "-o", "json"];
    let events = installation.cluster.kubectl().run(&events)?;
    // on a machine that is short of time others may not have answered in time either
    let named = |line: &str| line.contains("frr/check: no answer of") && line.contains(" bgpd");
    assert!(events.lines().any(named), "{events}");
    Ok(())
}

/// The name of a node's speaker, and how often its FRR was started again.
fn frr_of(installation: &Installation, node: &str) -> Result<(String, u64)> {
    let list = installation.cluster.kubectl().get(&["-n", SYSTEM, "pods", "-l", "component=speaker"])?;
    let pods = list.get("items").and_then(Value::as_array).context("no Pods")?;
    let on = |pod: &&Value| pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node);
    let pod = pods.iter().find(on).with_context(|| format!("no speaker on {node}"))?;
    let name = pod.pointer("/metadata/name").and_then(Value::as_str).context("a Pod without a name")?;
    let all = pod.pointer("/status/containerStatuses").and_then(Value::as_array).context("no containers")?;
    let frr = all.iter().find(|status| status.get("name").and_then(Value::as_str) == Some("frr"));
    let restarts = frr.and_then(|frr| frr.get("restartCount")).and_then(Value::as_u64);
    Ok((name.to_owned(), restarts.context("no FRR")?))
}
