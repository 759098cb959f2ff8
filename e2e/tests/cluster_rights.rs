//! The manifest grants what the product needs, all of it and nothing else.
//!
//! The product does once everything that it can do, with the accounts of the manifest; then the rights that were
//! granted are compared with those in the API server's audit log. A feature that needs a new right extends the
//! manifest and this test's doings together.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use ferrolb_e2e::{
    cluster::{ADMIN_TOKEN, Cluster, Extent, Right},
    fabric::Fabric,
    frr::{Frr, Listens},
    netns::Net,
    wait,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Granted ahead of their use: the key of the speakers' gossip.
const AHEAD: [(&str, &str, &str, &str); 2] =
    [("controller", "", "secrets", "create"), ("controller", "", "secrets", "get")];

const OBJECTS: &str = "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [172.30.0.200/29]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

#[test]
fn every_right_is_needed_and_none_is_missing() -> Result<()> {
    let mut cluster = Cluster::start(Fabric::create(1)?, Extent::Whole)?;
    cluster.install()?;
    let controller = cluster.start_controller()?;
    let node = cluster.fabric().node("n1")?;
    let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
    let speaker = cluster.start_speaker(node, &frr)?;
    let _pod = cluster.pod("n1", "web")?;
    cluster.kubectl().apply(&OBJECTS)?;
    addressed(&cluster, true)?;
    announced(&cluster, 1)?;
    // and the same once more: an event that comes again is counted, which is another request than the first
    for (kind, has) in [("ClusterIP", false), ("LoadBalancer", true)] {
        let patch = format!(r#"{{"spec":{{"type":"{kind}"}}}}"#);
        cluster.kubectl().run(&["-n", "default", "patch", "svc", "web", "-p", &patch])?;
        addressed(&cluster, has)?;
    }
    announced(&cluster, 2)?;
    let node = cluster.fabric().node("n1")?;
    for net in [&cluster.fabric().control, &node.net] {
        assert_eq!(scrape(net, "nobody")?, "401", "{}", net.role());
        assert_eq!(scrape(net, ADMIN_TOKEN)?, "200", "{}", net.role());
    }

    let ahead: BTreeSet<Right> = AHEAD.iter().map(|(a, g, r, v)| Right::new(a, g, r, v)).collect();
    // the last requests may still be on their way
    wait::until_true(DEADLINE, "every granted right to be used", || {
        let rights = cluster.rights()?;
        anyhow::ensure!(rights.missed.is_empty(), "missing: {:#?}", rights.missed);
        anyhow::ensure!(rights.idle() == ahead, "never used: {:#?}", rights.idle());
        Ok(true)
    })?;
    controller.kill()?;
    metallbs_role_is_enough(&mut cluster)?;
    drop(speaker);
    Ok(())
}

/// A cluster whose role is still MetalLB's, with `update` alone on `services/status`, gets its addresses too.
fn metallbs_role_is_enough(cluster: &mut Cluster) -> Result<()> {
    let patch = r#"[
        {"op": "test", "path": "/rules/0/resources", "value": ["services"]},
        {"op": "replace", "path": "/rules/0/verbs", "value": ["get", "list", "watch"]},
        {"op": "test", "path": "/rules/1/resources", "value": ["services/status"]},
        {"op": "replace", "path": "/rules/1/verbs", "value": ["update"]}]"#;
    cluster.kubectl().run(&[
        "patch",
        "clusterrole",
        "metallb-system:controller",
        "--type=json",
        "-p",
        patch,
    ])?;
    wait::until_true(DEADLINE, "the API server to follow the role", || {
        let account = "--as=system:serviceaccount:metallb-system:controller";
        // `can-i` ends with 1 for a no
        let may =
            cluster.kubectl().run(&["auth", "can-i", "patch", "services", "--subresource=status", account]);
        Ok(may.is_err())
    })?;
    for (kind, has) in [("ClusterIP", false), ("LoadBalancer", true)] {
        // while no controller runs, the API server itself empties the status of what is no LoadBalancer
        let patch = format!(r#"{{"spec":{{"type":"{kind}"}}}}"#);
        cluster.kubectl().run(&["-n", "default", "patch", "svc", "web", "-p", &patch])?;
        let _controller = if has { Some(cluster.start_controller()?) } else { None };
        addressed(cluster, has)?;
    }
    Ok(())
}

fn addressed(cluster: &Cluster, has: bool) -> Result<()> {
    wait::until_true(DEADLINE, &format!("the Service to have an address: {has}"), || {
        let service = cluster.kubectl().get(&["-n", "default", "service", "web"])?;
        Ok(service.pointer("/status/loadBalancer/ingress/0/ip").is_some() == has)
    })
}

/// Waits until the speaker has told so many times that it announces the Service: the address alone does not say that
/// the endpoints were there before it went again.
fn announced(cluster: &Cluster, times: u64) -> Result<()> {
    wait::until_true(DEADLINE, &format!("{times} times nodeAssigned"), || {
        let selector = "involvedObject.name=web,reason=nodeAssigned";
        let events = cluster.kubectl().get(&["-n", "default", "events", "--field-selector", selector])?;
        let items = events.get("items").and_then(|items| items.as_array());
        let count = |event: &serde_json::Value| event.get("count").and_then(serde_json::Value::as_u64);
        Ok(items.into_iter().flatten().map(|event| count(event).unwrap_or(1)).sum::<u64>() >= times)
    })
}

/// The status with which `/metrics` answers the bearer of a token.
fn scrape(net: &Net, token: &str) -> Result<String> {
    net.command("curl")
        .args(["-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(["-H", &format!("Authorization: Bearer {token}"), "https://127.0.0.1:7472/metrics"])
        .text()
}
