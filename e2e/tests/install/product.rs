//! `manifests/ferrolb.yaml` makes a load balancer of a cluster, and nothing of it has to be started twice.

use anyhow::Result;
use ferrolb_e2e::{cluster::SYSTEM, install::Installation, wait};
use serde_json::Value;

use crate::world::{FRR, World, turn};

#[test]
fn a_manifest_makes_a_load_balancer() -> Result<()> {
    let mut turn = turn()?;
    let world = turn.world()?;
    world.shall_be(None)?;
    installed(world)?;
    Ok(())
}

/// Installs it unless it is there already.
pub(crate) fn installed(world: &mut World) -> Result<&Installation> {
    let wanted = world.shall_be(Some(FRR))?;
    let installation = &world.installation;
    if !wanted {
        return Ok(installation);
    }
    let fabric = installation.cluster.fabric();
    let started = wait::now();
    installation.cluster.install()?;
    installation.configure()?;
    for pool in ["flat", "routed"] {
        installation.publish(pool, "web", pool)?;
    }
    for (pool, clients) in [("flat", vec![&fabric.client]), ("routed", vec![&fabric.remote, &fabric.far])] {
        for ip in installation.addresses(pool)? {
            for client in &clients {
                installation.wait_for_answer(client, ip)?;
                eprintln!("{ip} answers {} after {:?}", client.role(), started.elapsed());
            }
        }
    }
    installation.wait_for_pods(SYSTEM, "component=controller", 1)?;
    let speakers = installation.wait_for_pods(SYSTEM, "component=speaker", 3)?;
    eprintln!("all Ready after {:?}", started.elapsed());
    for speaker in &speakers {
        let restarts = speaker.pointer("/status/containerStatuses").and_then(Value::as_array);
        for container in restarts.into_iter().flatten() {
            assert_eq!(container.get("restartCount"), Some(&Value::from(0)), "{container}");
        }
    }
    Ok(installation)
}
