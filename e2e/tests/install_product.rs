//! The product as a user installs it: `kubectl apply` of the manifest on real nodes, with the images of the Dockerfiles.

use anyhow::Result;
use ferrolb_e2e::{
    cluster::SYSTEM,
    install::Installation,
    tor::{BirdTor, FrrTor},
    wait,
};
use serde_json::Value;

#[test]
fn a_manifest_makes_a_load_balancer() -> Result<()> {
    let installation = Installation::start(3)?;
    let fabric = installation.cluster.fabric();
    let _routers = (FrrTor::start(fabric)?, BirdTor::start(fabric)?);
    installation.serve("web")?;

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
    Ok(())
}
