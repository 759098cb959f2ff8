//! `manifests/ferrolb.yaml` and `manifests/ferrolb-l2.yaml` are what kustomize makes of `manifests/overlays`, of this
//! version, which fails when they are stale; and they say what others rely on.
//!
//! `make manifests` renews them.

use std::fs;

use anyhow::{Context as _, Result, bail};
use ferrolb_e2e::{bins, cluster::kustomize};
use serde_json::{Value, json};

const OVERLAYS: [(&str, &str); 2] = [("frr", "ferrolb.yaml"), ("l2", "ferrolb-l2.yaml")];

#[test]
fn the_manifests_are_made_of_their_overlays() -> Result<()> {
    let manifests = bins::checkout()?.join("manifests");
    for (overlay, file) in OVERLAYS {
        let path = manifests.join(file);
        let header =
            format!("# Made of manifests/overlays/{overlay}: edit there, then `make manifests`.\n---\n");
        let made = header + &kustomize(&manifests.join("overlays").join(overlay))?;
        for image in
            made.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "))
        {
            if !image.ends_with(concat!(":v", env!("CARGO_PKG_VERSION"))) {
                bail!("{image} is not of this version: set newTag in manifests/base and manifests/overlays");
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, made).with_context(|| format!("write {}", path.display()))?;
        } else if fs::read_to_string(&path).unwrap_or_default() != made {
            bail!("manifests/{file} is stale; renew it with `make manifests`");
        }
    }
    Ok(())
}

/// The names, labels, ports and accounts that other software looks for, and what keeps an installation at work: who may
/// be pushed away, how many stop at once, and who notices that something hangs.
#[test]
fn the_manifests_keep_their_contract() -> Result<()> {
    for (overlay, file) in OVERLAYS {
        let text = fs::read_to_string(bins::checkout()?.join("manifests").join(file))?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("decode the manifest")?;
        let find = |kind: &str, name: &str| {
            let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
            objects.iter().find(is).with_context(|| format!("{file} has no {kind} {name}"))
        };
        let namespace = find("Namespace", "metallb-system")?;
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
        for (kind, name, component) in
            [("Deployment", "controller", "controller"), ("DaemonSet", "speaker", "speaker")]
        {
            let workload = find(kind, name)?;
            find("ServiceAccount", name)?;
            let labels = json!({"app": "metallb", "component": component});
            assert_eq!(workload["metadata"]["labels"], labels);
            assert_eq!(workload["metadata"]["namespace"], "metallb-system");
            assert_eq!(workload["spec"]["selector"]["matchLabels"], labels);
            let template = &workload["spec"]["template"];
            assert_eq!(template["metadata"]["labels"], labels);
            let annotations = &template["metadata"]["annotations"];
            assert_eq!(annotations["kubectl.kubernetes.io/default-container"], name);
            assert_eq!(annotations["prometheus.io/scrape"], "true");
            assert_eq!(annotations["prometheus.io/port"], "7472");
            assert_eq!(template["spec"]["serviceAccountName"], name);
            assert_eq!(template["spec"]["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
            let containers = template["spec"]["containers"].as_array().context("no containers")?;
            let main = &containers[0];
            assert_eq!(main["name"], name);
            let metrics = json!({"name": "metricshttps", "containerPort": 7472});
            let gossip = json!({"name": "memberlist-udp", "containerPort": 7946, "protocol": "UDP"});
            let ports = if name == "speaker" { vec![&metrics, &gossip] } else { vec![&metrics] };
            assert_eq!(main["ports"], json!(ports));
            for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
                let get = &main[probe]["httpGet"];
                assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!(17472)), "{name} {probe}");
                let numbers = ["periodSeconds", "timeoutSeconds", "failureThreshold"];
                assert_eq!(numbers.map(|number| &main[probe][number]), [10, 1, 3], "{name} {probe}");
            }
            for container in containers {
                let (context, what) = (&container["securityContext"], &container["name"]);
                assert!(container["livenessProbe"].is_object(), "nobody notices when {what} hangs");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{what}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{what}");
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{what}");
                assert!(context["privileged"].is_null(), "{what}");
            }
        }

        // mounted where the speaker looks, and read by it as it is
        let excluded = &find("ConfigMap", "metallb-excludel2")?["data"]["excludel2.yaml"];
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("excludel2.yaml");
        fs::write(&path, excluded.as_str().context("no text")?)?;
        let excluded = ferrolb::io::excluded::Excluded::read(&path)?;
        for (interface, left_alone) in [
            ("docker0", true),
            ("veth12ab", true),
            ("lo", true),
            ("cali1", true),
            ("eth0", false),
            ("bond0", false),
        ] {
            assert_eq!(excluded.has(interface), left_alone, "{interface}");
        }
        let speaker = &find("DaemonSet", "speaker")?["spec"]["template"]["spec"];
        let mounts = &speaker["containers"][0]["volumeMounts"];
        let mount = mounts.as_array().into_iter().flatten().find(|m| m["name"] == "metallb-excludel2");
        assert_eq!(mount.context("not mounted")?["mountPath"], "/etc/metallb");

        the_speakers_have_what_the_controller_makes(find)?;
        let controller = &find("Deployment", "controller")?["spec"];
        assert_eq!(controller["strategy"], json!({"type": "Recreate"}));
        let pod = &controller["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "system-cluster-critical");
        assert_eq!(pod["topologySpreadConstraints"][0]["topologyKey"], "kubernetes.io/hostname");
        // one that is deleted is another one at once
        assert_eq!(pod["terminationGracePeriodSeconds"], 0);
        let budget = &find("PodDisruptionBudget", "controller")?["spec"];
        assert_eq!(budget["selector"], controller["selector"]);
        assert_eq!(budget["maxUnavailable"], 1);

        let speaker = &find("DaemonSet", "speaker")?["spec"];
        let one = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
        assert_eq!(speaker["updateStrategy"], one);
        let pod = &speaker["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(pod["hostNetwork"], true);
        assert_eq!(pod["terminationGracePeriodSeconds"], 2);
        // its node's own taints and no others: `kubectl taint` keeps it away
        let tolerated: Vec<&Value> = pod["tolerations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|toleration| &toleration["key"])
            .collect();
        assert_eq!(
            tolerated,
            ["node-role.kubernetes.io/master", "node-role.kubernetes.io/control-plane"],
            "{file}"
        );
        let containers = pod["containers"].as_array().context("no containers")?;
        let names: Vec<&Value> = containers.iter().map(|container| &container["name"]).collect();
        assert_eq!(names, if overlay == "frr" { vec!["speaker", "frr"] } else { vec!["speaker"] });
        let frr = containers.get(1).map(|frr| (&frr["startupProbe"]["exec"], &frr["livenessProbe"]["exec"]));
        let check = json!({"command": ["/usr/share/ferrolb/frr/check"]});
        assert!(frr.is_none_or(|probes| probes == (&check, &check)), "{frr:?}");
    }
    Ok(())
}

/// The gossip is on, with MetalLB's settings, and nobody waits for a key: a Pod starts without it.
fn the_speakers_have_what_the_controller_makes<'a>(
    find: impl Fn(&str, &str) -> Result<&'a Value>,
) -> Result<()> {
    let at = |value: &Value, path: &str| value.pointer(path).cloned().unwrap_or_default();
    let member = |list: Value, key: &str, value: &Value| {
        let found = list.as_array().into_iter().flatten().find(|one| one.get(key) == Some(value)).cloned();
        found.with_context(|| format!("none has {key} {value}: {list}"))
    };
    let pod = |workload: &Value| at(workload, "/spec/template/spec");
    let env = |pod: &Value, name: &str| member(at(pod, "/containers/0/env"), "name", &json!(name));
    let value = |pod: &Value, name: &str| Ok::<_, anyhow::Error>(at(&env(pod, name)?, "/value"));
    let controller = pod(find("Deployment", "controller")?);
    let secret = value(&controller, "METALLB_ML_SECRET_NAME")?;
    assert_eq!(
        (&secret, value(&controller, "METALLB_DEPLOYMENT")?),
        (&json!("memberlist"), json!("controller"))
    );
    let daemons = find("DaemonSet", "speaker")?;
    let speaker = pod(daemons);
    assert_eq!(value(&speaker, "METALLB_ML_SECRET_NAME")?, secret);
    let bind = at(&env(&speaker, "METALLB_ML_BIND_ADDR")?, "/valueFrom/fieldRef/fieldPath");
    assert_eq!(bind, "status.podIP");
    let labels = at(daemons, "/spec/selector/matchLabels");
    let labels = labels.as_object().context("no labels")?.iter();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    assert_eq!(value(&speaker, "METALLB_ML_LABELS")?, labels.join(","));
    let dir = value(&speaker, "METALLB_ML_SECRET_KEY_PATH")?;
    let mount = member(at(&speaker, "/containers/0/volumeMounts"), "mountPath", &dir)?;
    let volume = member(at(&speaker, "/volumes"), "name", &at(&mount, "/name"))?;
    assert_eq!(at(&volume, "/secret"), json!({"secretName": secret, "optional": true}));
    Ok(())
}
