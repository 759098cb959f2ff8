//! What an administrator does to an installation, and what happens to its nodes.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Installation;
use crate::{
    bins,
    cluster::{PATIENCE, SYSTEM},
    objects, wait,
};

/// Long enough for a rollout over three nodes, each of which has to be ready for ten seconds.
const LONG: Duration = Duration::from_mins(4);

/// The product's two workloads.
pub(super) const WORKLOADS: [&str; 2] = ["deployment/controller", "daemonset/speaker"];

impl Installation {
    /// `kubectl rollout restart`, and waits until all Pods are new ones and available.
    ///
    /// # Errors
    /// When they do not become available.
    pub fn rollout_restart(&self, workload: &str) -> Result<()> {
        self.cluster.kubectl().run(&["-n", SYSTEM, "rollout", "restart", workload])?;
        self.wait_for_rollout(workload)
    }

    /// Waits until every Pod of a workload is of its newest revision and available.
    ///
    /// # Errors
    /// When they do not become available; the message holds what the product said.
    pub fn wait_for_rollout(&self, workload: &str) -> Result<()> {
        let rolled = wait::until_true(LONG, &format!("{workload} to be rolled out"), || {
            let object = self.cluster.kubectl().get(&["-n", SYSTEM, workload])?;
            let number = |path: &str| object.pointer(path).and_then(Value::as_u64);
            let seen = number("/status/observedGeneration") == number("/metadata/generation");
            let wanted = number("/status/desiredNumberScheduled")
                .or_else(|| number("/spec/replicas"))
                .context("none")?;
            let is = |paths: [&str; 2]| paths.into_iter().find_map(number).unwrap_or(0) == wanted;
            let updated = is(["/status/updatedNumberScheduled", "/status/updatedReplicas"]);
            let available = is(["/status/numberAvailable", "/status/availableReplicas"]);
            // a Deployment's old Pods are counted, too, until they are gone
            let none_left = number("/status/replicas").is_none_or(|count| count == wanted);
            Ok(seen && updated && available && none_left)
        });
        rolled.with_context(|| self.report())
    }

    /// Ends a node's kubelet and waits until the cluster has noticed.
    ///
    /// # Errors
    /// When the node stays Ready.
    pub fn stop_kubelet(&self, node: &str) -> Result<()> {
        self.machine(node)?.kubelet.stop()?;
        wait::until_true(LONG, &format!("{node} to be NotReady"), || {
            Ok(!super::condition(&self.cluster.kubectl().get(&["node", node])?, "Ready"))
        })
    }

    /// Starts it again and waits until all nodes are Ready.
    ///
    /// # Errors
    /// When one is not.
    pub fn start_kubelet(&mut self, node: &str) -> Result<()> {
        let machine = self.machines.iter_mut().find(|machine| machine.name() == node);
        let machine = machine.with_context(|| format!("there is no node {node}"))?;
        machine.start_kubelet(&self.cluster.base, self.cluster.fabric().node(node)?)?;
        self.wait_for_nodes()
    }

    /// Waits until everything follows an API server that was away: every kubelet runs what is new, and a Service that
    /// is made now answers. Kubernetes' own programs look for a lost API server once a minute at worst.
    ///
    /// # Errors
    /// When something does not.
    pub fn wait_for_followers(&self) -> Result<()> {
        self.wait_for_nodes()?;
        self.serve_within(LONG, "again")?;
        // nobody counts what is announced on the flat segment, as the routes are
        self.publish("again", "again", "flat")?;
        for ip in self.addresses("again")? {
            self.wait_longer_for_answer(LONG, &self.cluster.fabric().client, ip)?;
        }
        self.cluster.kubectl().run(&["-n", "default", "delete", "service/again", "daemonset/again"])?;
        WORKLOADS.iter().try_for_each(|workload| self.wait_for_rollout(workload))
    }

    /// Ends a container of the node's speaker without asking (SIGKILL), and waits until it runs again and all is Ready.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn kill_container(&self, node: &str, container: &str) -> Result<()> {
        self.until_restarted(node, container, |id| {
            self.machine(node)?.ctr(&["tasks", "kill", "--signal", "SIGKILL", "--all", id]).map(drop)
        })
    }

    /// Lets something end a container of the node's speaker, which has this id, and waits until it runs again and all is
    /// Ready.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn until_restarted(
        &self,
        node: &str,
        container: &str,
        end: impl FnOnce(&str) -> Result<()>,
    ) -> Result<()> {
        let (name, pod) = self.speaker_on(node)?;
        let (id, restarts) = container_of(&pod, container)?;
        end(&id)?;
        wait::until_true(LONG, &format!("{container} of {name} to run again"), || {
            let pod = self.cluster.kubectl().get(&["-n", SYSTEM, "pod", &name])?;
            let (now, count) = container_of(&pod, container)?;
            Ok(now != id && count > restarts && super::condition(&pod, "Ready"))
        })
    }

    /// `kubectl delete pod` of the node's speaker, with its FRR, and waits until another one is available in its place.
    ///
    /// # Errors
    /// When none is.
    pub fn delete_speaker(&self, node: &str) -> Result<()> {
        let (name, _) = self.speaker_on(node)?;
        self.cluster.kubectl().run(&["-n", SYSTEM, "delete", "pod", &name, "--timeout=55s"])?;
        self.wait_for_rollout("daemonset/speaker")?;
        ensure!(self.speaker_on(node)?.0 != name, "{name} is still there");
        Ok(())
    }

    /// The Pod of a node's speaker.
    fn speaker_on(&self, node: &str) -> Result<(String, Value)> {
        let speakers = self.wait_for_pods(SYSTEM, "component=speaker", self.machines.len())?;
        let on = |pod: &Value| pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node);
        let pod = speakers.into_iter().find(on).with_context(|| format!("no speaker on {node}"))?;
        let name = pod.pointer("/metadata/name").and_then(Value::as_str).context("a Pod without a name")?;
        Ok((name.to_owned(), pod))
    }

    /// `kubectl drain`; Pods of DaemonSets stay.
    ///
    /// # Errors
    /// When something holds it up for a minute.
    pub fn drain(&self, node: &str) -> Result<()> {
        let drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s"];
        self.cluster.kubectl().run(&drain).map(drop)
    }

    /// `kubectl uncordon`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn uncordon(&self, node: &str) -> Result<()> {
        self.cluster.kubectl().run(&["uncordon", node]).map(drop)
    }

    /// The node that a Pod with these labels runs on.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn node_of(&self, labels: &str) -> Result<String> {
        let pods = self.wait_for_pods(SYSTEM, labels, 1)?;
        let node = pods.first().and_then(|pod| pod.pointer("/spec/nodeName")?.as_str());
        node.map(str::to_owned).context("a Pod on no node")
    }

    /// Gives the product's images a second tag on every node and applies the manifest with that, as one does who
    /// upgrades; waits until everything runs under it.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn upgrade(&self, tag: &str) -> Result<()> {
        let text = fs::read_to_string(bins::checkout()?.join("manifests/ferrolb.yaml"))?;
        let mut renewed = String::new();
        let mut images = BTreeSet::new();
        for line in text.lines() {
            let image = line.trim().trim_start_matches("- ").strip_prefix("image: ");
            match image.and_then(|image| image.rsplit_once(':').map(|(name, _)| (image, name))) {
                Some((image, name)) => {
                    images.insert((format!("docker.io/{image}"), format!("docker.io/{name}:{tag}")));
                    renewed += &line.replace(image, &format!("{name}:{tag}"));
                }
                None => renewed += line,
            }
            renewed.push('\n');
        }
        ensure!(images.len() == 3, "the manifest has other images than thought: {images:?}");
        for machine in &self.machines {
            for (old, new) in &images {
                machine.ctr(&["images", "tag", "--force", old, new])?;
            }
        }
        self.cluster.kubectl().apply(&renewed)?;
        WORKLOADS.iter().try_for_each(|workload| self.wait_for_rollout(workload))
    }

    /// `kubectl delete -f` of a manifest: everything, or (with a selector) what has that label.
    ///
    /// # Errors
    /// When something of it does not go.
    pub fn uninstall(&self, file: &str, selector: Option<&str>) -> Result<()> {
        let manifest = bins::checkout()?.join("manifests").join(file).display().to_string();
        let kubectl = self.cluster.kubectl();
        let what = ["--ignore-not-found", "-f", &manifest];
        let only: Vec<&str> = selector.into_iter().flat_map(|selector| ["-l", selector]).collect();
        // the end of a CRD may take longer than one command is given
        kubectl.run(&[&["delete", "--wait=false"], &what[..], &only].concat())?;
        wait::until_true(LONG, &format!("what {file} has made to go"), || {
            let left = kubectl.run(&[&["get", "-o", "name"], &what[..], &only].concat())?;
            ensure!(left.trim().is_empty(), "left: {left}");
            Ok(true)
        })
        .with_context(|| self.report())?;
        wait::until_true(PATIENCE, "the product's Pods to go", || {
            let pods = self.cluster.kubectl().run(&[
                "-n",
                SYSTEM,
                "get",
                "pods",
                "-l",
                "app=metallb",
                "-o",
                "name",
            ])?;
            Ok(pods.trim().is_empty())
        })
    }

    /// The lab's pools, peers and advertisements, the peers with graceful restart, as YAML.
    #[must_use]
    pub fn graceful() -> String {
        let peers: Vec<String> = objects::peers()
            .split("---\n")
            .map(|peer| format!("{peer}  enableGracefulRestart: true\n"))
            .collect();
        [objects::pools(), peers.join("---\n"), objects::advertisements()].join("---\n")
    }

    /// The processes of this name in the containers of all nodes.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self, program: &str) -> Result<Vec<u32>> {
        self.processes_below("", program)
    }

    /// The same of one node.
    ///
    /// # Errors
    /// As [`Installation::processes`].
    pub fn processes_on(&self, node: &str, program: &str) -> Result<Vec<u32>> {
        self.processes_below(&format!("{node}/"), program)
    }

    fn processes_below(&self, below: &str, program: &str) -> Result<Vec<u32>> {
        let group = format!("/{}/{below}", self.cluster.fabric().warden.id());
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")?.flatten() {
            let text = |file| fs::read_to_string(process.path().join(file)).unwrap_or_default();
            if text("comm").trim() == program && text("cgroup").contains(&group) {
                found.extend(process.file_name().to_string_lossy().parse::<u32>());
            }
        }
        Ok(found)
    }
}

/// A container's id and how often it was started again.
fn container_of(pod: &Value, name: &str) -> Result<(String, u64)> {
    let all = pod.pointer("/status/containerStatuses").and_then(Value::as_array).context("no containers")?;
    let status = all.iter().find(|status| status.get("name").and_then(Value::as_str) == Some(name));
    let status = status.with_context(|| format!("no container {name}"))?;
    let id = status.get("containerID").and_then(Value::as_str).and_then(|id| id.split_once("://"));
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
    Ok((id.map(|(_, id)| id.to_owned()).unwrap_or_default(), restarts))
}
