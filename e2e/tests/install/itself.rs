//! The real cluster serves before the product is on it: nodes that their own kubelets made Ready, and Pods in
//! containers that reach each other and the API server under their own addresses.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{pod, wait};
use serde_json::Value;

use crate::world::turn;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn pods_answer_from_every_node() -> Result<()> {
    let mut turn = turn()?;
    let installation = &turn.world()?.installation;
    for pod in &installation.wait_for_pods("default", "app=web", 3)? {
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).context("a Pod on no node")?;
        let ips =
            pod.pointer("/status/podIPs").and_then(Value::as_array).context("a Pod without addresses")?;
        assert_eq!(ips.len(), 2, "{ips:?}");
        for ip in ips.iter().filter_map(|entry| entry.get("ip").and_then(Value::as_str)) {
            let ip: IpAddr = ip.parse()?;
            for from in &installation.cluster.fabric().nodes {
                let what = format!("{ip} to answer {}", from.name());
                let (answered, _) =
                    wait::until(DEADLINE, &what, || pod::fetch(&from.net, ip, 8080).map(Some))?;
                assert_eq!(answered, node, "{ip} from {}", from.name());
            }
        }
    }
    Ok(())
}
