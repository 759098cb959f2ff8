//! What programs say about themselves comes and goes with what it needs: with its CRD, and with its Node.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{Cluster, Extent, SYSTEM},
    fabric::Fabric,
    frr::{Frr, Listens},
    objects, tor, wait,
};
use serde_json::{Value, json};

/// Pauses are of half a minute at most, and so are the garbage collector's.
const DEADLINE: Duration = Duration::from_secs(90);

/// Kinds that MetalLB of some version, or without frr-k8s, has no CRD of.
const SAID: [&str; 4] = [
    "servicebgpstatuses.metallb.io",
    "configurationstates.metallb.io",
    "bgpsessionstates.frrk8s.metallb.io",
    "frrnodestates.frrk8s.metallb.io",
];

fn start(extent: Extent, nodes: u8) -> Result<(tor::FrrTor, Cluster)> {
    let fabric = Fabric::create(nodes)?;
    let tor = tor::FrrTor::start(&fabric)?;
    let cluster = Cluster::start(fabric, extent)?;
    cluster.install()?;
    Ok((tor, cluster))
}

/// Deletes these CRDs, and waits until they are gone: an API server that finds no end of their objects at once looks
/// again after a minute.
fn delete(cluster: &Cluster, crds: &[&str]) -> Result<()> {
    cluster.kubectl().run(&[&["delete", "crd", "--wait=false"], crds].concat())?;
    wait::until_true(DEADLINE, &format!("{crds:?} to be gone"), || {
        let names = cluster.kubectl().run(&["get", "crd", "-o", "name"])?;
        Ok(!crds.iter().any(|crd| names.contains(crd)))
    })
}

/// Peers, pools, a Service with endpoints.
fn configure(cluster: &Cluster) -> Result<()> {
    let service = objects::Service::new("web", "routed", cluster.fabric()).yaml(cluster.fabric());
    let all = [objects::pools(), objects::peers(), objects::advertisements(), service];
    cluster.kubectl().apply(&all.join("---\n")).map(drop)
}

/// The objects of a kind that are about a node, each with the owners that it has.
fn said(cluster: &Cluster, kind: &str, node: &str) -> Result<Vec<Value>> {
    let all = cluster.kubectl().get(&["-n", SYSTEM, kind])?;
    let about = |object: &&Value| {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let label = |object: &Value| {
            let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
            labels.is_some_and(|labels| labels.values().any(|value| value == node))
        };
        name == node || label(object)
    };
    let items = all.get("items").and_then(Value::as_array).context("no list")?;
    Ok(items.iter().filter(about).cloned().collect())
}

/// Waits until something is said of the node in each kind, or nothing in any.
fn wait_for_all(cluster: &Cluster, node: &str, is: bool) -> Result<()> {
    for kind in SAID {
        wait::until_true(DEADLINE, &format!("{kind} of {node}: {is}"), || {
            let all = said(cluster, kind, node)?;
            ensure!(all.iter().all(|object| object.get("status").is_some()), "without status: {all:?}");
            Ok(all.is_empty() != is)
        })?;
    }
    Ok(())
}

#[test]
fn a_kind_without_a_crd_holds_up_nothing_and_is_said_when_its_crd_is_there() -> Result<()> {
    let (_tor, cluster) = start(Extent::ApiOnly, 1)?;
    let missing: Vec<&str> = SAID.into_iter().chain(["frrconfigurations.frrk8s.metallb.io"]).collect();
    delete(&cluster, &missing)?;
    configure(&cluster)?;
    let controller = cluster.start_controller()?;
    let node = cluster.fabric().node("n1")?;
    let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
    let speaker = cluster.start_speaker(node, &frr)?;
    for ip in ["10.99.0.0", "fd00:99::"] {
        speaker.wait_for(DEADLINE, &format!("a route to {ip}"), || {
            Ok(tor::in_kernel(&cluster.fabric().tor, ip)?.then_some(()))
        })?;
    }
    let told = |log: &str, kind: &str| {
        let line = |line: &&str| line.contains("there is no such CRD") && line.contains(kind);
        log.lines().filter(line).count()
    };
    for kind in missing {
        speaker.wait_for(DEADLINE, &format!("the log to tell of {kind}"), || {
            Ok((told(&speaker.log_text(), kind) > 0).then_some(()))
        })?;
    }

    let crds = bins::checkout()?.join("manifests/crds").display().to_string();
    cluster.kubectl().run(&["apply", "-k", &crds])?;
    wait_for_all(&cluster, "n1", true)?;
    controller.wait_for(DEADLINE, "what the controller says of itself", || {
        let state = ["-n", SYSTEM, "configurationstate", "controller"];
        Ok(cluster.kubectl().get(&state)?.pointer("/status/result").map(drop))
    })?;
    for kind in SAID {
        assert_eq!(told(&speaker.log_text(), kind), 1, "{kind}: {}", speaker.log_text());
    }

    // and once more, with all of it running
    delete(&cluster, &SAID[..1])?;
    speaker.wait_for(DEADLINE, "the log to tell of it again", || {
        Ok((told(&speaker.log_text(), SAID[0]) == 2).then_some(()))
    })?;
    cluster.kubectl().run(&["apply", "-k", &crds])?;
    wait_for_all(&cluster, "n1", true)?;
    ensure!(tor::in_kernel(&cluster.fabric().tor, "10.99.0.0")?, "the route went with a CRD");
    Ok(())
}

/// No Pod is known here: with one, what has a namespace goes with that, which Kubernetes deletes with the Node.
#[test]
fn what_is_said_of_a_node_goes_with_it_and_comes_back_with_it() -> Result<()> {
    let (_tor, cluster) = start(Extent::Whole, 2)?;
    configure(&cluster)?;
    let _controller = cluster.start_controller()?;
    let mut speakers = Vec::new();
    for node in &cluster.fabric().nodes {
        let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
        let speaker = cluster.start_speaker(node, &frr)?;
        speakers.push((speaker, frr));
    }
    let kubectl = cluster.kubectl();
    for node in ["n1", "n2"] {
        wait_for_all(&cluster, node, true)?;
        let uid = kubectl.run(&["get", "node", node, "-o", "jsonpath={.metadata.uid}"])?;
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}]);
        for kind in SAID {
            for object in said(&cluster, kind, node)? {
                assert_eq!(object["metadata"]["ownerReferences"], owner, "{object}");
            }
        }
    }

    // deleted under a speaker that goes on: nothing is made that nobody would ever delete
    kubectl.run(&["delete", "node", "n2"])?;
    wait_for_all(&cluster, "n2", false)?;
    let (speaker, _) = &speakers[1];
    speaker.wait_for_log(DEADLINE, "there is no Node n2")?;
    kubectl.apply(&json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n2", "labels": {"kubernetes.io/hostname": "n2"}},
    }))?;
    wait_for_all(&cluster, "n2", true)?;

    // gone for good, with its speaker
    speaker.kill()?;
    kubectl.run(&["delete", "node", "n2"])?;
    wait_for_all(&cluster, "n2", false)?;
    wait_for_all(&cluster, "n1", true)
}
