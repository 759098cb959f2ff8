//! The API server goes away and comes back: what was announced stays announced meanwhile, and whoever makes a Service
//! afterwards waits seconds for it.
//!
//! Nothing of Kubernetes but the API server runs here: kube-proxy and the controllers look for a lost API server once a
//! minute at worst, and would hide how often the product does.

use std::time::Duration;

use anyhow::{Result, ensure};
use ferrolb_e2e::{
    cluster::{Cluster, Extent},
    fabric::Fabric,
    frr::{Frr, Listens},
    neighbour::{self, Ask},
    objects,
    tor::{self, FrrTor},
    wait,
};

/// Long enough for pauses that double to become long ones.
const AWAY: Duration = Duration::from_secs(25);

/// Pauses are of five seconds at most, and controller and speaker wait at the same time: 4 to 9 s on a machine of our
/// own. With pauses that grow to a minute it was 58 s.
const LIMIT: Duration = Duration::from_secs(35);

const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn after_an_outage_of_the_api_server_a_new_service_is_served_within_seconds() -> Result<()> {
    let fabric = Fabric::create(1)?;
    let tor = FrrTor::start(&fabric)?;
    let mut cluster = Cluster::start(fabric, Extent::ApiOnly)?;
    cluster.install()?;
    cluster
        .kubectl()
        .apply(&[objects::pools(), objects::peers(), objects::advertisements()].join("---\n"))?;
    let controller = cluster.start_controller()?;
    let node = &cluster.fabric().nodes[0];
    let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
    let speaker = cluster.start_speaker(node, &frr)?;
    let (routed, flat) = (["10.99.0.0", "fd00:99::"], ["172.30.0.200", "fd00:30::200"]);
    serve(&cluster, "before")?;
    announced(&cluster, (routed, flat))?;

    cluster.without_api(|| {
        for program in [&controller, &speaker] {
            program.wait_for_log(DEADLINE, "watch failed")?;
        }
        // how long it is away is what this is about
        wait::pass(AWAY);
        Ok(())
    })?;
    for ip in routed {
        ensure!(tor::in_kernel(&cluster.fabric().tor, ip)?, "{ip} went with the API server");
    }
    serve(&cluster, "after")?;
    let start = wait::now();
    announced(&cluster, (["10.99.0.1", "fd00:99::1"], ["172.30.0.201", "fd00:30::201"]))?;
    let took = start.elapsed();
    println!("a new Service is announced {took:.1?} after the API server is back");
    assert!(took < LIMIT, "{took:?}\n{}\n{}", controller.log_text(), speaker.log_text());
    drop(tor);
    Ok(())
}

/// A Service of each pool, with endpoints.
fn serve(cluster: &Cluster, name: &str) -> Result<()> {
    for pool in ["routed", "flat"] {
        let service = objects::Service::new(&format!("{name}-{pool}"), pool, cluster.fabric());
        cluster.kubectl().apply(&service.yaml(cluster.fabric()))?;
    }
    Ok(())
}

/// Waits until the router has routes to the first addresses and the flat segment's client an answer for the others.
fn announced(cluster: &Cluster, (routed, flat): ([&str; 2], [&str; 2])) -> Result<()> {
    let fabric = cluster.fabric();
    for ip in routed {
        wait::until_true(DEADLINE, &format!("a route to {ip}"), || tor::in_kernel(&fabric.tor, ip))?;
    }
    for ip in flat {
        let ip = ip.parse()?;
        wait::until_true(DEADLINE, &format!("an answer for {ip}"), || {
            let asked = neighbour::ask(&fabric.warden, &fabric.client, ip, Ask::All, Duration::ZERO)?;
            Ok(!asked.is_empty())
        })?;
    }
    Ok(())
}
