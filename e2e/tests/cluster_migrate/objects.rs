//! What `kubectl apply` makes of MetalLB's objects, in each of its modes, without any program running.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{Cluster, Extent, Identity, MetalLb, SYSTEM, documents},
    fabric::Fabric,
    wait,
};
use serde_json::Value;

use crate::{CONFIGURATION, DEADLINE, guide};

#[test]
fn the_manifest_applies_over_each_of_metallbs() -> Result<()> {
    let metallb = MetalLb::find()?;
    for (mode, steps) in [
        ("native", &["save", "stop", "apply", "clean", "compare"][..]),
        ("frr", &["save", "stop", "apply", "clean", "compare"]),
        ("frr-k8s", &["save", "stop", "stop-frr-k8s", "apply", "clean", "clean-frr-k8s", "compare"]),
    ] {
        let cluster = Cluster::start(Fabric::create(1)?, Extent::ApiOnly)?;
        guide::install_metallb(&cluster, &metallb.manifest(mode), CONFIGURATION)?;
        let objects = configuration(&cluster)?;
        let mut tries = 0;
        wait::until_true(DEADLINE, &format!("{mode}: MetalLB's webhook to be asked"), || {
            tries += 1;
            Ok(guide::pool_can_be_changed(&cluster, &format!("{mode}-{tries}")).is_err())
        })?;
        if mode == "frr-k8s" {
            // as MetalLB's speaker leaves it behind; nobody answers the webhook that would look at it
            cluster.kubectl().run(&["delete", "validatingwebhookconfiguration", "--all"])?;
            wait::until(DEADLINE, "what MetalLB's speaker leaves behind", || {
                let left = "{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRConfiguration, metadata: \
                            {name: metallb-n1, namespace: metallb-system}, spec: {}}";
                cluster.kubectl().apply(&left).map(Some)
            })?;
            cluster.kubectl().apply_file(&metallb.manifest(mode))?;
        }
        for step in steps {
            if *step == "clean" {
                wait::until(DEADLINE, &format!("{mode}: no webhook of MetalLB's to be left"), || {
                    guide::pool_can_be_changed(&cluster, mode).map(Some)
                })?;
            }
            guide::follow(&cluster, &metallb, mode, step).with_context(|| mode.to_owned())?;
        }
        as_if_new(&cluster, &bins::checkout()?.join("manifests/ferrolb.yaml"))
            .with_context(|| mode.to_owned())?;
        assert_eq!(configuration(&cluster)?, objects, "{mode}");
        let left = cluster.kubectl().run(&[
            "get",
            "-n",
            SYSTEM,
            "-o",
            "name",
            "frrconfigurations.frrk8s.metallb.io",
        ])?;
        assert_eq!(left, "", "{mode}");

        for step in ["back", "clean-back"] {
            guide::follow(&cluster, &metallb, mode, step).with_context(|| mode.to_owned())?;
        }
        as_if_new(&cluster, &metallb.manifest(mode)).with_context(|| format!("{mode}, and back"))?;
        assert_eq!(configuration(&cluster)?, objects, "{mode}, and back");
    }
    Ok(())
}

/// With the frr-k8s that came with MetalLB left where it is: our speaker writes the object that MetalLB's wrote.
#[test]
fn the_frr_k8s_of_metallb_can_stay() -> Result<()> {
    let metallb = MetalLb::find()?;
    let cluster = Cluster::start(Fabric::create(1)?, Extent::ApiOnly)?;
    guide::install_metallb(&cluster, &metallb.manifest("frr-k8s"), CONFIGURATION)?;
    let kubectl = cluster.kubectl();
    for step in ["save", "stop", "keep-frr-k8s", "clean", "compare"] {
        guide::follow(&cluster, &metallb, "frr-k8s", step)?;
    }
    let daemons = kubectl.run(&["-n", SYSTEM, "get", "daemonsets", "-o", "name"])?;
    assert_eq!(daemons, "daemonset.apps/frr-k8s-daemon\ndaemonset.apps/speaker\n");
    let speaker = kubectl.get(&["-n", SYSTEM, "daemonset", "speaker"])?;
    let containers = speaker["spec"]["template"]["spec"]["containers"].as_array().context("no containers")?;
    assert_eq!(containers.len(), 1, "{containers:?}");
    let env = containers[0]["env"].as_array().into_iter().flatten();
    ensure!(env.clone().all(|one| one["name"] != "METALLB_BGP_TYPE"), "{containers:?}");
    let args = containers[0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let args: Vec<&str> = args.filter(|arg| arg.starts_with("--frrk8s")).collect();

    // in life it is answered by frr-k8s
    kubectl.run(&["delete", "validatingwebhookconfiguration", "frr-k8s-validating-webhook-configuration"])?;
    let node = cluster.fabric().node("n1")?;
    let identity = Identity { account: "speaker", class: "", port: 7472 };
    let running = cluster.launch_frr_k8s_speaker(&identity, &node.net, "n1", &args)?;
    running.wait_for(DEADLINE, "the object that MetalLB's speaker wrote", || {
        let object = kubectl.get(&["-n", SYSTEM, "frrconfiguration", "metallb-n1"])?;
        let neighbors = object.pointer("/spec/bgp/routers/0/neighbors").and_then(Value::as_array);
        Ok((neighbors.map_or(0, Vec::len) == 2).then_some(()))
    })
}

/// A cluster that has seen MetalLB versions with BGPPeers stored as `v1beta1`.
#[test]
fn an_old_stored_version_stops_the_manifest_until_the_guide_is_followed() -> Result<()> {
    let metallb = MetalLb::find()?;
    let cluster = Cluster::start(Fabric::create(1)?, Extent::ApiOnly)?;
    guide::install_metallb(&cluster, &metallb.manifest("native"), CONFIGURATION)?;
    // in life MetalLB's controller still answers its webhooks at this step
    cluster.kubectl().run(&["delete", "validatingwebhookconfiguration", "metallb-webhook-configuration"])?;
    cluster.kubectl().patch_status(
        &["crd", "bgppeers.metallb.io"],
        &serde_json::json!({"status": {"storedVersions": ["v1beta1", "v1beta2"]}}),
    )?;
    let refusal = guide::follow(&cluster, &metallb, "native", "apply").err().context("it was accepted")?;
    ensure!(format!("{refusal:#}").contains("storedVersions"), "{refusal:#}");
    guide::follow(&cluster, &metallb, "native", "versions")?;
    guide::follow(&cluster, &metallb, "native", "apply").map(drop)
}

/// Helm keeps no note of what it applied on the objects: what FerroLB's definitions leave out then stays, such as the
/// conversion webhook that nobody answers any more. With one version there is nothing to convert.
#[test]
fn definitions_that_kubectl_did_not_apply_serve_the_objects_too() -> Result<()> {
    let metallb = MetalLb::find()?;
    let cluster = Cluster::start(Fabric::create(1)?, Extent::ApiOnly)?;
    let kubectl = cluster.kubectl();
    let desk = cluster.fabric().warden.make_dir("definitions")?;
    for (number, document) in documents(&metallb.manifest("native"))?.iter().enumerate() {
        if document.contains("kind: CustomResourceDefinition") {
            let file = desk.join(format!("{number}.yaml"));
            std::fs::write(&file, document)?;
            kubectl.run(&["create", "-f", &file.display().to_string()])?;
        }
    }
    cluster.wait_for_kinds()?;
    kubectl.run(&["create", "namespace", SYSTEM])?;
    kubectl.apply(&CONFIGURATION)?;
    let objects = configuration(&cluster)?;
    guide::follow(&cluster, &metallb, "native", "apply")?;
    assert_eq!(configuration(&cluster)?, objects);
    let versions =
        kubectl.run(&["get", "crd", "bgppeers.metallb.io", "-o", "jsonpath={.spec.versions[*].name}"])?;
    assert_eq!(versions, "v1beta2");
    let patch = r#"{"spec":{"holdTime":"30s"}}"#;
    kubectl.run(&["-n", SYSTEM, "patch", "bgppeer", "tor-v4", "--type=merge", "-p", patch])?;
    kubectl.run(&["-n", SYSTEM, "delete", "bgppeer", "tor-v6"]).map(drop)
}

/// Definitions, workloads and rights are what this manifest makes of them in a cluster that never had another.
fn as_if_new(cluster: &Cluster, manifest: &Path) -> Result<()> {
    let kubectl = cluster.kubectl();
    let desk = cluster.fabric().warden.make_dir("as-if-new")?;
    for document in documents(manifest)? {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default();
        let part = match kind {
            "Deployment" | "DaemonSet" | "CustomResourceDefinition" => "/spec",
            "ClusterRole" | "Role" => "/rules",
            "ClusterRoleBinding" | "RoleBinding" => "/subjects",
            _ => continue,
        };
        let file = desk.join("object.yaml");
        std::fs::write(&file, &document)?;
        let file = file.display().to_string();
        let object = kubectl.get(&["-f", &file])?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).context("no name")?.to_owned();
        let version =
            object.pointer("/metadata/resourceVersion").and_then(Value::as_str).context("no version")?;
        // a kind's definition is only replaced by one that says which
        std::fs::write(
            &file,
            document.replacen("metadata:\n", &format!("metadata:\n  resourceVersion: \"{version}\"\n"), 1),
        )?;
        let new: Value = serde_json::from_str(&kubectl.run(&[
            "replace",
            "--dry-run=server",
            "-o",
            "json",
            "-f",
            &file,
        ])?)?;
        let facts = |object: &Value| {
            let mut facts = object.pointer(part).cloned().unwrap_or_default();
            let containers = facts.pointer_mut("/template/spec/containers").and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                // kubectl merges ports by number alone and loses one of MetalLB's two on 7946. They are a note to
                // the reader: in the node's network every port can be reached
                if let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut) {
                    ports.retain(|port| port.get("containerPort") != Some(&Value::from(7946)));
                }
            }
            facts
        };
        ensure!(facts(&object) == facts(&new), "{kind} {name} differs:\n{object:#}\n{new:#}");
    }
    Ok(())
}

/// The specs of all that the user wrote.
fn configuration(cluster: &Cluster) -> Result<Vec<(String, Value)>> {
    let kinds = "ipaddresspools,bgppeers,bgpadvertisements,l2advertisements,communities,bfdprofiles";
    let all = cluster.kubectl().get(&["-n", SYSTEM, kinds])?;
    let items = all.get("items").and_then(Value::as_array).context("a list without items")?;
    let found: Vec<_> = items
        .iter()
        .map(|item| {
            (crate::services::key(item).unwrap_or_default(), item.get("spec").cloned().unwrap_or_default())
        })
        .collect();
    ensure!(found.len() == 10, "{found:#?}");
    Ok(found)
}
