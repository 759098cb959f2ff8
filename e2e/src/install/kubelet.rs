//! A node's kubelet: what it is told, and how it starts.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::{machine::Place, runtime};
use crate::{
    cluster::{Foundation, credentials},
    fabric::{Node, Segment},
    process::Running,
};

pub(super) fn start(place: &Place, base: &Foundation, node: &Node) -> Result<Running> {
    let config = place.dir.join("kubelet.json");
    fs::write(&config, configuration(place).to_string())?;
    // no names are resolved on the nodes; the host's own servers are not for Pods
    fs::write(place.dir.join("resolv.conf"), "")?;
    let program = base.programs.program("kubelet");
    let kubeconfig = format!("{}.kubeconfig", credentials::kubelet(&place.name));
    place
        .command(&program.binary)
        .args(program.name)
        .arg(format!("--config={}", config.display()))
        .arg(format!("--kubeconfig={}", base.credentials.path(&kubeconfig).display()))
        .arg(format!("--hostname-override={}", place.name))
        .arg(format!("--node-ip={},{}", Segment::Lan.v4(node.host()), Segment::Lan.v6(node.host())))
        .log(place.dir.join("kubelet.log"))
        .start(&base.fabric.warden)
}

fn configuration(place: &Place) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        // it is reached from the lab's namespace `control` only
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{}", runtime::SOCKET),
        // Pods need an address there, and nobody answers
        "clusterDNS": ["10.96.0.10"],
        "resolvConf": place.dir.join("resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": place.cgroup,
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // the machine's disk and memory are shared with whatever else runs here
        "evictionHard": {"memory.available": "20Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        // a node is Ready as soon as it can be
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "1m",
    })
}
