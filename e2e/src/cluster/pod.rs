//! The kubelet's part: Pods that exist in the API, have addresses on their node, are ready, and answer HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::{Cluster, PATIENCE};
use crate::{bins, process::Running};

/// The prefixes that all pods of the cluster are in.
pub(super) const CLUSTER_PREFIXES: &str = "10.244.0.0/16,fd00:244::/32";

/// The first number of a pod on its node; the lab's own pod has the one before it.
pub(super) const FIRST: u8 = 3;

/// Where every pod serves HTTP.
const PORT: u16 = 8080;

/// A pod that answers HTTP with its node's name until it is dropped. Its object stays: deleting that is up to the test.
#[derive(Debug)]
pub struct Pod {
    /// `metadata.name`, in the namespace `default`.
    pub name: String,
    /// IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
    _server: Running,
}

/// The pod prefixes of the node with this number.
pub(crate) fn prefixes(node: u8) -> [String; 2] {
    [format!("10.244.{node}.0/24"), format!("fd00:244:{node}::/64")]
}

fn addresses(node: u8, pod: u8) -> [IpAddr; 2] {
    [
        Ipv4Addr::new(10, 244, node, pod).into(),
        Ipv6Addr::new(0xfd00, 0x244, u16::from(node), 0, 0, 0, 0, u16::from(pod)).into(),
    ]
}

impl Cluster {
    /// Runs a pod with the label `app=<app>` on a node.
    ///
    /// # Errors
    /// When the API refuses or the server does not start.
    pub fn pod(&mut self, node: &str, app: &str) -> Result<Pod> {
        let place = self.base.fabric.node(node)?;
        let joined = self.nodes.iter_mut().find(|joined| joined.number == place.number);
        let joined = joined.with_context(|| format!("{node} has not joined"))?;
        let number = joined.next_pod;
        joined.next_pod = number.checked_add(1).context("the node is full")?;
        let name = format!("{app}-{node}-{number}");
        let addresses = addresses(place.number, number);

        place.net.addresses("lo", &addresses.map(|a| a.to_string()).each_ref().map(String::as_str))?;
        let server = bins::own("lab")?;
        let server = place
            .net
            .command(&server.to_string_lossy())
            .args(["pod", node])
            .args(addresses.map(|ip| SocketAddr::from((ip, PORT)).to_string()))
            .log(self.base.dir.join(format!("pod-{name}.log")))
            .start(&self.base.fabric.warden)?;
        server.wait_for_log(PATIENCE, "serving")?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
            "spec": {
                "nodeName": node,
                "containers": [{"name": "web", "image": "none", "ports": [{"containerPort": PORT}]}],
            },
        });
        // a young cluster refuses Pods until its controllers have made the namespace's account
        let accept = || self.kubectl().apply(&pod).map(Some);
        match &self.plane.controllers {
            Some(controllers) => controllers.wait_for(PATIENCE, "the API server to accept a Pod", accept)?,
            None => bail!("pods need a whole cluster"),
        };
        self.kubectl().patch_status(
            &["-n", "default", "pod", &name],
            &json!({"status": {
                "phase": "Running",
                "podIP": addresses.first(),
                "podIPs": addresses.map(|ip| json!({"ip": ip})),
                "conditions": [{"type": "Ready", "status": "True"}],
            }}),
        )?;
        Ok(Pod { name, addresses, _server: server })
    }
}
