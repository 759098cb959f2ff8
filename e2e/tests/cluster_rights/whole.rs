//! The product does once everything that it can do, with the accounts of the manifest; then the rights that were
//! granted are compared with those in the API server's audit log.

use std::collections::BTreeSet;

use anyhow::Result;
use ferrolb_e2e::{
    cluster::{ADMIN_TOKEN, Cluster, Right, SYSTEM},
    fabric::Segment,
    wait,
};
use serde_json::json;

use crate::{
    manifest,
    world::{DEADLINE, WHOLE, scrape, world},
};

/// Where `/metrics` is, unless said otherwise.
const PORT: u16 = 7472;

const OBJECTS: &str = "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: whole, namespace: metallb-system}
spec: {addresses: [172.30.0.200/29]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: whole, namespace: metallb-system}
spec: {ipAddressPools: [whole], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: whole, namespace: metallb-system}
spec: {ipAddressPools: [whole], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

const PEER: &str = "apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: whole, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64999
  peerAddress: 172.31.1.99
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]
";

/// Doing everything once needs nothing that is not granted, uses all that is, and the accounts have nothing else.
#[test]
fn every_right_is_used_and_none_is_missing() -> Result<()> {
    let world = world()?;
    let cluster = &world.cluster;
    let alone = crate::lock(&crate::CONTROLLERS);
    let controller = cluster.start_controller()?;
    let node = cluster.fabric().node(WHOLE)?;
    let bind = Segment::Lan.v4(node.host()).to_string();
    let gossip = ["--ml-bindaddr", &bind, "--ml-labels", "app=metallb,component=speaker"];
    // there is no kubelet to mount the key
    let key = ["--ml-secret-key-path", "", "--ml-secret-name", "memberlist"];
    let speaker = cluster.start_speaker_with(node, &world.whole, &[gossip, key].concat())?;
    cluster.kubectl().apply(&OBJECTS)?;
    addressed(cluster, true)?;
    announced(cluster, 1)?;
    said(cluster, true)?;
    // and the same once more: an event that comes again is counted, which is another request than the first
    for (kind, has) in [("ClusterIP", false), ("LoadBalancer", true)] {
        let patch = format!(r#"{{"spec":{{"type":"{kind}"}}}}"#);
        cluster.kubectl().run(&["-n", "default", "patch", "svc", "web", "-p", &patch])?;
        addressed(cluster, has)?;
        said(cluster, has)?;
    }
    announced(cluster, 2)?;
    for net in [&cluster.fabric().control, &node.net] {
        for (token, status) in [("nobody", "401"), (ADMIN_TOKEN, "200")] {
            wait::until_true(DEADLINE, &format!("{status} for {token:?} in {}", net.role()), || {
                let answer = scrape(net, PORT, token)?;
                anyhow::ensure!(answer == status, "it is {answer}");
                Ok(true)
            })?;
        }
    }
    // a peer that goes takes its session with it, and that its state
    cluster.kubectl().apply(&PEER)?;
    let sessions = || {
        let node = "frrk8s.metallb.io/node=n1";
        let all = cluster.kubectl().get(&["-n", SYSTEM, "bgpsessionstates", "-l", node])?;
        Ok::<_, anyhow::Error>(manifest::list(&all, "/items").count())
    };
    wait::until_true(DEADLINE, "the state of another session", || Ok(sessions()? > 1))?;
    cluster.kubectl().run(&["-n", SYSTEM, "delete", "bgppeer", "whole"])?;
    wait::until_true(DEADLINE, "the state to go", || Ok(sessions()? == 1))?;
    for account in ["controller", "speaker"] {
        // the last requests may still be on their way
        wait::until_true(DEADLINE, "every granted right to be used", || {
            let rights = cluster.rights()?.of(account);
            anyhow::ensure!(rights.missed.is_empty(), "missing: {:#?}", rights.missed);
            anyhow::ensure!(rights.idle().is_empty(), "never used: {:#?}", rights.idle());
            Ok(true)
        })?;
        nothing_else(cluster, account)?;
    }
    controller.kill()?;
    metallbs_role_is_enough(cluster)?;
    drop(alone);
    drop(speaker);
    Ok(())
}

/// By whatever role: the API server itself says what an account may do in the product's namespace.
fn nothing_else(cluster: &Cluster, account: &str) -> Result<()> {
    let kubectl = cluster.kubectl_as(&cluster.account(account)?);
    let answer = kubectl.create(&json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": SYSTEM},
    }))?;
    let rules = manifest::list(&answer, "/status/resourceRules");
    let may: BTreeSet<Right> =
        rules.flat_map(|rule| manifest::expand(account, true, rule)).map(|grant| grant.right).collect();
    // what every account may: ask about itself
    let own = |right: &Right| right.resource.starts_with("selfsubject");
    let more: Vec<_> =
        may.difference(&cluster.rights()?.granted).filter(|right| !own(right)).cloned().collect();
    anyhow::ensure!(more.is_empty(), "{account} may do more than the manifest grants: {more:?}");
    Ok(())
}

/// A cluster whose role is still MetalLB's, with `update` alone on `services/status`, gets its addresses too.
fn metallbs_role_is_enough(cluster: &Cluster) -> Result<()> {
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

/// Waits until both statuses of the Service are there, or neither: what comes back at once never went, and nobody had to
/// delete it.
fn said(cluster: &Cluster, is: bool) -> Result<()> {
    for kind in ["servicebgpstatuses", "servicel2statuses"] {
        wait::until_true(DEADLINE, &format!("{kind} of the Service: {is}"), || {
            let all = cluster.kubectl().get(&["-n", SYSTEM, kind, "-l", "metallb.io/service-name=web"])?;
            Ok((manifest::list(&all, "/items").count() > 0) == is)
        })?;
    }
    Ok(())
}

/// Waits until the speaker has told so many times, by one protocol, that it announces the Service: the address alone does
/// not say that the endpoints were there before it went again.
fn announced(cluster: &Cluster, times: u64) -> Result<()> {
    wait::until_true(DEADLINE, &format!("{times} times nodeAssigned"), || {
        let selector = "involvedObject.name=web,reason=nodeAssigned";
        let events = cluster.kubectl().get(&["-n", "default", "events", "--field-selector", selector])?;
        let items = events.get("items").and_then(|items| items.as_array());
        let count = |event: &serde_json::Value| event.get("count").and_then(serde_json::Value::as_u64);
        Ok(items.into_iter().flatten().any(|event| count(event).unwrap_or(1) >= times))
    })
}
