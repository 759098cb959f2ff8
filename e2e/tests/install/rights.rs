//! What the product's containers may do, read from the kernel while they work; and that FRR's may not do less.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    cluster::SYSTEM,
    install::{Installation, condition},
    wait,
};
use serde_json::{Value, json};

use crate::{product::installed, world::turn};

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn containers_have_what_they_need_and_no_more() -> Result<()> {
    let mut turn = turn()?;
    let installation = installed(turn.world()?)?;
    let speakers = installation.wait_for_pods(SYSTEM, "component=speaker", 3)?;
    installation.wait_for_pods(SYSTEM, "component=controller", 1)?;
    let speaker = speakers.first().context("no speaker")?;

    // user, and the capabilities that it could ever have, that it has, and that are in effect
    for (program, user, bounding, permitted) in [
        ("controller", 65532, &[][..], &[][..]),
        // its raw sockets are open by now, and it gave up the capability that opened them
        ("speaker", 1000, &[NET_RAW], &[]),
        ("zebra", 1000, &FRR, &[NET_ADMIN, NET_RAW, SYS_ADMIN]),
        ("bgpd", 1000, &FRR, &[NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_ADMIN]),
        ("bfdd", 1000, &FRR, &[NET_BIND_SERVICE, NET_RAW, SYS_ADMIN]),
        ("staticd", 1000, &FRR, &[]),
    ] {
        let all = statuses(installation, program)?;
        assert_eq!(all.len(), if program == "controller" { 1 } else { 3 }, "{program}");
        for status in all {
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let number =
                |name| Ok::<_, anyhow::Error>(u64::from_str_radix(field(name).context(status.clone())?, 16)?);
            let users = [user; 4].map(|id: u32| id.to_string()).join("\t");
            assert_eq!(field("Uid:"), Some(&*users), "{program}");
            assert_eq!(number("CapBnd:")?, mask(bounding), "{program}");
            assert_eq!(number("CapPrm:")?, mask(permitted), "{program}");
            assert_eq!(number("CapEff:")?, 0, "{program}");
            assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")), "{program}");
        }
    }
    // FRR's entry point was root; nothing that it left running is
    assert_eq!(users(installation, "start")?, [1000]);

    every_capability_of_frr_is_needed(installation, speaker)
}

const NET_BIND_SERVICE: u64 = 10;
const NET_ADMIN: u64 = 12;
const NET_RAW: u64 = 13;
const SYS_ADMIN: u64 = 21;
/// SETGID and SETUID, and what the daemons insist on.
const FRR: [u64; 6] = [6, 7, NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_ADMIN];

/// A Pod per capability, of FRR as the manifest has it but for that one: none of them comes up, and the one that lacks
/// nothing does.
fn every_capability_of_frr_is_needed(installation: &Installation, speaker: &Value) -> Result<()> {
    let kubectl = installation.cluster.kubectl();
    let containers =
        speaker.pointer("/spec/containers").and_then(Value::as_array).context("no containers")?;
    let frr =
        containers.iter().find(|container| container.get("name") == Some(&json!("frr"))).context("no FRR")?;
    let granted =
        frr.pointer("/securityContext/capabilities/add").and_then(Value::as_array).context("none")?;
    let granted: Vec<&str> = granted.iter().filter_map(Value::as_str).collect();
    let cases: Vec<Option<&str>> = std::iter::once(None).chain(granted.iter().copied().map(Some)).collect();
    for lacking in &cases {
        let left: Vec<&str> = granted.iter().copied().filter(|name| Some(*name) != *lacking).collect();
        let daemons: Vec<String> = left
            .iter()
            .filter(|name| !["SETUID", "SETGID"].contains(*name))
            .map(|name| format!("+{}", name.to_lowercase()))
            .collect();
        let daemons = daemons.join(",");
        let mut context = frr.get("securityContext").context("no securityContext")?.clone();
        *context.pointer_mut("/capabilities/add").context("none")? = json!(left);
        kubectl.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod(*lacking), "namespace": SYSTEM},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "frr", "image": frr.get("image"), "securityContext": context,
                    // as the image's entry point, which would itself fail for want of the one that is left out
                    "command": [
                        "setpriv", "--reuid=frr", "--regid=frr", "--init-groups",
                        format!("--inh-caps={daemons}"), format!("--ambient-caps={daemons}"),
                        "--", "/usr/share/ferrolb/frr/start",
                    ],
                    "readinessProbe": {
                        "exec": {"command": ["vtysh", "-c", "show bfd peers"]}, "periodSeconds": 1,
                        "timeoutSeconds": 5,
                    },
                    "volumeMounts": [
                        {"name": "run", "mountPath": "/var/run/frr"}, {"name": "tmp", "mountPath": "/var/tmp"},
                    ],
                }],
                "volumes": [{"name": "run", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
            },
        }))?;
    }
    for lacking in cases {
        let name = pod(lacking);
        wait::until_true(DEADLINE, &format!("the fate of {name}"), || {
            let pod = kubectl.get(&["-n", SYSTEM, "pod", &name])?;
            let failed = pod.pointer("/status/phase") == Some(&json!("Failed"));
            let ready = condition(&pod, "Ready");
            ensure!(!(if lacking.is_some() { ready } else { failed }), "{name}: {:?}", pod.get("status"));
            Ok(if lacking.is_some() { failed } else { ready })
        })?;
        kubectl.run(&["-n", SYSTEM, "delete", "pod", &name, "--wait=false"])?;
    }
    Ok(())
}

fn pod(lacking: Option<&str>) -> String {
    lacking.map_or_else(
        || "frr-with-all".to_owned(),
        |name| format!("frr-without-{}", name.to_lowercase().replace('_', "-")),
    )
}

fn mask(capabilities: &[u64]) -> u64 {
    capabilities.iter().fold(0, |mask, bit| mask | 1 << bit)
}

/// The users of all processes of this name.
fn users(installation: &Installation, program: &str) -> Result<Vec<u32>> {
    let user = |status: &String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    let mut users = statuses(installation, program)?.iter().map(user).collect::<Result<Vec<u32>>>()?;
    users.dedup();
    Ok(users)
}

/// The processes of this name in the cluster's containers, as the kernel describes them.
fn statuses(installation: &Installation, program: &str) -> Result<Vec<String>> {
    let read = |pid| fs::read_to_string(format!("/proc/{pid}/status")).context("read a status");
    installation.processes(program)?.into_iter().map(read).collect()
}
