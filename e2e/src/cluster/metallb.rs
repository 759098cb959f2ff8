//! MetalLB's own controller and speaker in the cluster, for the test of moving from it: its manifests as they are
//! released, its programs as processes with the rights that those manifests give.
//!
//! What a kubelet would do is done here: each program is told the name of a Pod that the real controllers have made of
//! MetalLB's Deployment and DaemonSet, and the speaker has an FRR and MetalLB's own reloader beside it (FRR mode).
//!
//! Two things differ from an installation. The controller runs with `--webhook-mode=disabled`, since it would wait for
//! a kubelet to mount its certificate; and the speakers do not gossip, so its L2 election counts every node.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Cluster, PATIENCE, SYSTEM, plane::answers};
use crate::{
    bins,
    fabric::Node,
    frr::{Frr, Listens},
    netns::Net,
    process::{Running, Spawn},
};

/// A release of MetalLB, built.
#[derive(Clone, Debug)]
pub struct MetalLb {
    dir: PathBuf,
}

/// A speaker with what is in its Pod; dropped, all of it ends, the speaker first.
#[derive(Debug)]
pub struct MetalLbSpeaker {
    speaker: Running,
    _reloader: Running,
    frr: Frr,
}

impl MetalLb {
    /// Builds it when it is not built yet.
    ///
    /// # Errors
    /// When `e2e/cluster/metallb.sh` fails.
    pub fn find() -> Result<Self> {
        let script = bins::checkout()?.join("e2e/cluster/metallb.sh");
        let path = Spawn::new(script).limit(Duration::from_mins(40)).text()?;
        Ok(Self { dir: PathBuf::from(path.trim()) })
    }

    /// The manifest of its `native`, `frr` or `frr-k8s` mode.
    #[must_use]
    pub fn manifest(&self, mode: &str) -> PathBuf {
        self.dir.join(format!("metallb-{mode}.yaml"))
    }

    fn program(&self, cluster: &Cluster, name: &str, pod: &str, net: &Net) -> Result<Spawn> {
        Ok(Spawn::new(self.dir.join(name))
            .in_net(net.path())
            .env("KUBECONFIG", cluster.account(name)?)
            .env("METALLB_BGP_TYPE", "frr")
            .env("METALLB_POD_NAME", pod)
            .args(["--namespace", SYSTEM, "--port", "9120", "--log-level", "info"]))
    }
}

impl MetalLbSpeaker {
    /// Ends the Pod as a kubelet does: the speaker first, then FRR.
    ///
    /// # Errors
    /// When one of them does not end.
    pub fn stop(self) -> Result<()> {
        self.speaker.stop()?;
        self.frr.stop()
    }
}

impl Cluster {
    /// Starts MetalLB's controller, in the namespace `control`, and waits until it is ready.
    ///
    /// # Errors
    /// When its manifest has not been applied, or it does not become ready.
    pub fn start_metallb_controller(&self, metallb: &MetalLb) -> Result<Running> {
        let control = &self.fabric().control;
        let pod = self.pod_of("controller", None)?;
        let running = metallb
            .program(self, "controller", &pod, control)?
            .env("METALLB_ML_SECRET_NAME", "memberlist")
            .env("METALLB_DEPLOYMENT", "controller")
            .arg("--webhook-mode=disabled")
            .log(self.base.dir.join("metallb-controller.log"))
            .start(&self.fabric().warden)?;
        ready(&running, control)?;
        Ok(running)
    }

    /// Starts MetalLB's speaker of a node with an FRR of its own, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cluster::start_metallb_controller`].
    pub fn start_metallb_speaker(&self, metallb: &MetalLb, node: &Node) -> Result<MetalLbSpeaker> {
        let warden = &self.fabric().warden;
        // a new Pod has no configuration of an older one's
        fs::remove_file(warden.make_dir(&format!("{}/frr", node.name()))?.join("frr.conf")).ok();
        let frr = Frr::start(warden, &node.net, Listens::No, "")?;
        let shared = warden.make_dir(&format!("{}/metallb/shared", node.name()))?;
        let etc = warden.make_dir(&format!("{}/metallb/etc", node.name()))?;
        fs::copy(bins::checkout()?.join("frr/vtysh.conf"), etc.join("vtysh.conf"))?;
        let pid_file = shared.join("reloader.pid");
        fs::remove_file(&pid_file).ok();
        // the reloader finds FRR's sockets and writes its configuration where they are in a container
        let reloader = node
            .net
            .command("unshare")
            .args(["--mount", "sh", "-c"])
            .arg("mount --bind \"$1\" /var/run/frr && mount --bind \"$2\" /etc/frr && exec bash \"$3\"")
            .arg("sh")
            .args([frr.vty_dir(), etc.as_path(), metallb.dir.join("frr-reloader.sh").as_path()])
            .env("SHARED_VOLUME", &shared)
            .log(self.base.dir.join(format!("metallb-reloader-{}.log", node.name())))
            .start(warden)?;
        reloader.wait_for(PATIENCE, "the reloader's pid", || Ok(pid_file.is_file().then_some(())))?;
        let pod = self.pod_of("speaker", Some(node.name()))?;
        let speaker = metallb
            .program(self, "speaker", &pod, &node.net)?
            .env("METALLB_NODE_NAME", node.name())
            .env("FRR_CONFIG_FILE", shared.join("frr.conf"))
            .env("FRR_RELOADER_PID_FILE", &pid_file)
            .log(self.base.dir.join(format!("metallb-speaker-{}.log", node.name())))
            .start(warden)?;
        ready(&speaker, &node.net)?;
        Ok(MetalLbSpeaker { speaker, _reloader: reloader, frr })
    }

    /// Waits for the Pod that the API has for a component (on a node).
    fn pod_of(&self, component: &str, node: Option<&str>) -> Result<String> {
        let label = format!("component={component}");
        crate::wait::until(PATIENCE, &format!("a Pod with {label}"), || {
            let pods = self.kubectl().get(&["-n", SYSTEM, "pods", "-l", &label])?;
            let pods = pods.get("items").and_then(Value::as_array).context("a list without items")?;
            // no scheduler runs: a Pod of a DaemonSet says in its affinity which node it is for
            let here = |pod: &&Value| {
                node.is_none_or(|node| {
                    pod.pointer("/spec/affinity")
                        .is_some_and(|affinity| affinity.to_string().contains(&format!("[\"{node}\"]")))
                })
            };
            let name = |pod: &Value| Some(pod.pointer("/metadata/name")?.as_str()?.to_owned());
            Ok(pods.iter().find(here).and_then(name))
        })
    }
}

fn ready(program: &Running, net: &Net) -> Result<()> {
    program
        .wait_for(PATIENCE, "/readyz", || answers(net, &["http://127.0.0.1:17472/readyz"]))
        .with_context(|| format!("MetalLB becomes ready in {}", net.name()))
}

/// The documents of a YAML file.
///
/// # Errors
/// When it cannot be read.
pub fn documents(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(text.split("\n---\n").map(str::to_owned).collect())
}
