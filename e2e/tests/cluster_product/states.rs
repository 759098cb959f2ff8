//! What the programs say about themselves, as objects: names, labels, columns and texts are what others compare with.

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{cluster::SYSTEM, wait};
use serde_json::{Value, json};

use crate::world::{DEADLINE, World, n2, world};

/// The objects of a kind with these labels.
fn objects(world: &World, kind: &str, labels: &str) -> Result<Vec<Value>> {
    let all = world.kubectl().get(&["-n", SYSTEM, kind, "-l", labels])?;
    Ok(all.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// The one object of a kind with these labels, once it says what `check` wants.
fn one(world: &World, kind: &str, labels: &str, check: impl Fn(&Value) -> Result<()>) -> Result<Value> {
    wait::until(DEADLINE, &format!("the {kind} of {labels}"), || {
        let all = objects(world, kind, labels)?;
        let [object] = &all[..] else { anyhow::bail!("{} objects", all.len()) };
        check(object)?;
        Ok(Some(object.clone()))
    })
}

#[test]
fn a_service_has_a_status_for_each_node_with_the_peers_that_were_told() -> Result<()> {
    let world = world()?;
    let _same = n2();
    world.service("said", &["metallb.io/address-pool: routed"])?;
    world.addressed("said")?;
    let of = |node: &str| {
        format!("metallb.io/service-name=said,metallb.io/service-namespace=default,metallb.io/node={node}")
    };
    for node in ["n1", "n2"] {
        let told = |object: &Value| {
            let status = object.get("status").context("no status")?;
            let peers = status.get("peers").and_then(Value::as_array).context("no peers")?;
            ensure!(!peers.is_empty(), "{status}");
            ensure!(status["node"] == node && status["serviceName"] == "said", "{status}");
            ensure!(status["serviceNamespace"] == "default", "{status}");
            let mut sorted = peers.clone();
            sorted.sort_by_key(ToString::to_string);
            ensure!(sorted == *peers, "{status}");
            Ok(())
        };
        let object = one(world, "servicebgpstatus", &of(node), told)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
        ensure!(name.starts_with("bgp-"), "{name}");
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object).context("no labels")?;
        ensure!(labels.len() == 3, "{labels:?}");
        // what is deleted is made again
        world.kubectl().run(&["-n", SYSTEM, "delete", "servicebgpstatus", name])?;
        one(world, "servicebgpstatus", &of(node), told)?;
    }
    world.kubectl().run(&["-n", "default", "delete", "service", "said"])?;
    wait::until_true(DEADLINE, "the statuses to go", || {
        Ok(objects(world, "servicebgpstatus", "metallb.io/service-name=said")?.is_empty())
    })
}

/// One object, of the node that answers; what others wrote goes, and so does it with the Service.
#[test]
fn a_service_has_one_status_with_the_node_that_answers() -> Result<()> {
    let world = world()?;
    let _same = n2();
    world.service("answered", &["metallb.io/address-pool: flat"])?;
    world.addressed("answered")?;
    let labels = "metallb.io/service-name=answered,metallb.io/service-namespace=default";
    let said = |object: &Value| {
        let status = object.get("status").context("no status")?;
        let node = status["node"].as_str().context("no node")?;
        ensure!(["n1", "n2"].contains(&node) && status["serviceName"] == "answered", "{status}");
        ensure!(status["serviceNamespace"] == "default", "{status}");
        let none = |field: &str| status.get(field).is_none_or(|all| *all == json!([]));
        ensure!(none("interfaces") && none("conflicts"), "all interfaces, and nobody else: {status}");
        Ok(())
    };
    let object = one(world, "servicel2status", labels, said)?;
    let text =
        |path: &str| object.pointer(path).and_then(Value::as_str).context("missing").map(str::to_owned);
    let (name, node) = (text("/metadata/name")?, text("/status/node")?);
    ensure!(name.starts_with("l2-"), "{name}");
    let wanted = json!({"metallb.io/node": node, "metallb.io/service-name": "answered",
        "metallb.io/service-namespace": "default"});
    ensure!(object.pointer("/metadata/labels") == Some(&wanted), "{object}");
    let event = world.event("answered", "nodeAssigned")?;
    ensure!(event == format!("announcing from node \"{node}\" with protocol \"layer2\""), "{event}");
    // what is deleted is made again; what a node that has gone has left is deleted
    world.kubectl().run(&["-n", SYSTEM, "delete", "servicel2status", &name])?;
    one(world, "servicel2status", labels, said)?;
    let mut stale = wanted;
    stale["metallb.io/node"] = "gone".into();
    world.kubectl().apply(&json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status",
        "metadata": {"name": "l2-stale", "namespace": SYSTEM, "labels": stale}, "spec": {},
    }))?;
    let object = one(world, "servicel2status", labels, said)?;
    ensure!(object.pointer("/status/node").and_then(Value::as_str) == Some(&node), "{object}");
    world.kubectl().run(&["-n", "default", "delete", "service", "answered"])?;
    wait::until_true(DEADLINE, "the status to go", || {
        Ok(objects(world, "servicel2status", labels)?.is_empty())
    })
}

#[test]
fn sessions_and_frr_have_their_states() -> Result<()> {
    let world = world()?;
    wait::until_true(DEADLINE, "a state for each session", || {
        let all = objects(world, "bgpsessionstates", "frrk8s.metallb.io/node=n1")?;
        ensure!(!all.is_empty(), "none");
        for object in &all {
            let status = object.get("status").context("no status")?;
            let labels = object.pointer("/metadata/labels").context("no labels")?;
            let peer = status["peer"].as_str().context("no peer")?;
            let label = match peer.parse::<std::net::Ipv6Addr>() {
                Ok(ip) => ip.segments().map(|part| format!("{part:04x}")).join("-"),
                Err(_) => peer.to_owned(),
            };
            ensure!(
                *labels
                    == json!({"frrk8s.metallb.io/node": "n1", "frrk8s.metallb.io/peer": label, "frrk8s.metallb.io/vrf": ""}),
                "{labels}"
            );
            ensure!(status["bgpStatus"] == "Established" && status["bfdStatus"] == "N/A", "{status}");
        }
        Ok(true)
    })?;
    wait::until_true(DEADLINE, "what the FRR of n1 runs", || {
        let state = world.kubectl().get(&["frrnodestate", "n1"])?;
        let status = state.get("status").context("no status")?;
        ensure!(status["lastReloadResult"] == "success", "{status}");
        Ok(status["runningConfig"].as_str().is_some_and(|text| text.contains("router bgp")))
    })
}

/// Word for word, and with nothing beside it: others compare whole objects.
#[test]
fn the_configuration_is_taken_or_not_in_metallbs_words() -> Result<()> {
    let world = world()?;
    let state = |name: &str| world.kubectl().get(&["-n", SYSTEM, "configurationstate", name]);
    for (name, labels) in [
        ("controller", json!({"metallb.io/component-type": "controller"})),
        ("speaker-n1", json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"})),
    ] {
        wait::until_true(DEADLINE, &format!("a ConfigurationState {name}"), || {
            let object = state(name)?;
            ensure!(object.pointer("/metadata/labels") == Some(&labels), "{object}");
            ensure!(object.get("spec").is_none(), "{object}");
            Ok(object.pointer("/status/result").is_some())
        })?;
        world.kubectl().run(&["-n", SYSTEM, "delete", "configurationstate", name])?;
        wait::until_true(DEADLINE, &format!("{name} to be made again"), || {
            Ok(state(name)?.pointer("/status/conditions/0").is_some())
        })?;
    }
    let n1 = json!({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n1"}}]});
    let mut spec = n1;
    for (field, value) in [
        ("myASN", json!(64512)),
        ("peerASN", json!(64999)),
        ("peerAddress", json!("172.31.1.99")),
        ("bfdProfile", json!("my-bfd-profile")),
    ] {
        spec[field] = value;
    }
    world.kubectl().apply(&json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": {"name": "peer1", "namespace": SYSTEM}, "spec": spec,
    }))?;
    let wanted = "configuration error: peer peer1 referencing non existing bfd profile my-bfd-profile";
    wait::until_true(DEADLINE, "the summary of n1", || {
        let object = state("speaker-n1")?;
        let status = object.get("status").context("no status")?;
        ensure!(status["result"] == "Invalid" && status["errorSummary"] == wanted, "{status}");
        let condition = &status["conditions"][0];
        ensure!(
            condition["type"] == "configReconcilerValid" && condition["status"] == "False",
            "{condition}"
        );
        ensure!(condition["reason"] == "ConfigurationError" && condition["message"] == wanted, "{condition}");
        Ok(true)
    })?;
    world.kubectl().run(&["-n", SYSTEM, "delete", "bgppeer", "peer1"])?;
    wait::until_true(DEADLINE, "n1 to be content again", || {
        let object = state("speaker-n1")?;
        Ok(object.pointer("/status/result") == Some(&json!("Valid")))
    })?;
    let managers = world.kubectl().run(&[
        "-n",
        SYSTEM,
        "get",
        "configurationstates",
        "--show-managed-fields",
        "-o",
        "jsonpath={.items[*].metadata.managedFields[*].manager}",
    ])?;
    ensure!(managers.contains("poolReconciler") && managers.contains("configReconciler"), "{managers}");
    Ok(())
}
