//! The real cluster serves before the product is on it: nodes that their own kubelets made Ready, and Pods in
//! containers that reach each other and the API server under their own addresses.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    install::{Installation, images},
    pod, wait,
};
use serde_json::{Value, json};

#[test]
fn nodes_run_pods_and_leave_nothing() -> Result<()> {
    let started = wait::now();
    let installation = Installation::start(3)?;
    eprintln!("nodes Ready after {:?}", started.elapsed());
    installation.cluster.kubectl().apply(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "web", "image": images::POD, "args": ["serve", "$(NODE)", "8080"],
                        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                        },
                    }],
                },
            },
        },
    }))?;
    let pods = installation.wait_for_pods("default", "app=web", 3)?;
    eprintln!("Pods Ready after {:?}", started.elapsed());
    for pod in &pods {
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).context("a Pod on no node")?;
        let ips =
            pod.pointer("/status/podIPs").and_then(Value::as_array).context("a Pod without addresses")?;
        assert_eq!(ips.len(), 2, "{ips:?}");
        for ip in ips.iter().filter_map(|entry| entry.get("ip").and_then(Value::as_str)) {
            let ip: IpAddr = ip.parse()?;
            for from in &installation.cluster.fabric().nodes {
                let (answered, _) = pod::fetch(&from.net, ip, 8080)?;
                assert_eq!(answered, node, "{ip} from {}", from.name());
            }
        }
    }
    Ok(())
}
