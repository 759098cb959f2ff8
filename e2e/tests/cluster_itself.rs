//! The test cluster serves before the product is asked anything: a Service whose address is written by hand reaches a
//! Pod through the real endpoint controller and the real kube-proxy.

use std::time::Duration;

use anyhow::Result;
use ferrolb_e2e::{
    cluster::{Cluster, Extent, Right, SYSTEM},
    fabric::{Fabric, Segment},
    wait,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn a_client_reaches_a_pod_through_kube_proxy() -> Result<()> {
    let started = wait::now();
    let mut cluster = Cluster::start(Fabric::create(2)?, Extent::Whole)?;
    eprintln!("nodes after {:?}", started.elapsed());
    let _pod = cluster.pod("n2", "web")?;
    cluster.kubectl().apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }))?;
    let vips = ["192.0.2.10", "2001:db8:2::10"];
    cluster.kubectl().patch_status(
        &["-n", "default", "service", "web"],
        &json!({"status": {"loadBalancer": {"ingress": vips.map(|ip| json!({"ip": ip}))}}}),
    )?;
    // to the node that the pod is not on
    let client = &cluster.fabric().client;
    client.ip(&format!("route add 192.0.2.10 via {}", Segment::Lan.v4(11)))?;
    client.ip(&format!("route add 2001:db8:2::10 via {}", Segment::Lan.v6(11)))?;
    for vip in ["http://192.0.2.10/", "http://[2001:db8:2::10]/"] {
        wait::until_true(DEADLINE, vip, || {
            let answer = client.command("curl").args(["-sf", "-m", "1", "-o", "/dev/null", vip]).output()?;
            Ok(answer.status.success())
        })?;
    }
    eprintln!("served after {:?}", started.elapsed());
    Ok(())
}

/// What the rights test relies on: the manifest is accepted as a whole, its Pods are admitted, its accounts have the
/// rights that it says, and the audit log tells what they asked for.
#[test]
fn the_manifest_applies_and_its_accounts_are_watched() -> Result<()> {
    let cluster = Cluster::start(Fabric::create(2)?, Extent::Whole)?;
    cluster.install()?;
    cluster.install()?; // applying it again changes nothing and is no error
    for (component, count) in [("controller", 1), ("speaker", 2)] {
        wait::until_true(DEADLINE, &format!("the Pods of the {component}"), || {
            let pods =
                cluster.kubectl().get(&["-n", SYSTEM, "pods", "-l", &format!("component={component}")])?;
            Ok(pods.get("items").and_then(Value::as_array).is_some_and(|pods| pods.len() == count))
        })?;
    }

    let speaker = cluster.kubectl_as(&cluster.account("speaker")?);
    speaker.run(&["get", "services", "--all-namespaces"])?;
    assert!(speaker.run(&["-n", SYSTEM, "get", "endpoints"]).is_err(), "the speaker may list Endpoints");
    let rights = cluster.rights()?;
    let list = |resource| Right::new("speaker", "", resource, "list");
    assert!(rights.used.contains(&list("services")), "{:?}", rights.used);
    assert!(!rights.idle().contains(&list("services")));
    assert!(rights.idle().contains(&list("nodes")));
    assert_eq!(rights.missed.iter().collect::<Vec<_>>(), [&list("endpoints")]);
    assert!(cluster.no_right_missing().is_err());
    Ok(())
}
