//! The install tier: a cluster of real nodes, and the product on it as a user installs it.
//!
//! A node is a machine of its own as far as one kernel goes ([`machine`]): the network namespace that the lab cables,
//! with its own processes, its own `/var` and `/run`, and in it containerd, runc, kubelet, kube-proxy and CNI plugins
//! ([`runtime`], [`kubelet`]). What runs on them is [`workload`]; what happens to them is [`operate`], and [`life`] is
//! all that at once, judged by a [`witness`] outside; [`show`] is for a look around. Images come from
//! [`images`] by way of [`store`], there is no registry. The control plane is the one of
//! [`crate::cluster`].

pub mod images;
mod kubelet;
pub mod life;
pub mod machine;
mod operate;
mod runtime;
pub mod show;
mod store;
pub mod witness;
mod workload;

use std::{path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Extent, PATIENCE},
    fabric::Fabric,
    wait,
    warden::cgroup,
};
use images::Images;
use machine::Machine;

/// A cluster of real nodes. Dropped, it ends with all that runs on it, and the lab with it.
#[derive(Debug)]
pub struct Installation {
    /// The nodes' machines, in the order of the lab's nodes.
    pub machines: Vec<Machine>,
    /// The control plane, and the lab.
    pub cluster: Cluster,
    /// What the nodes can run.
    pub images: Images,
}

impl Installation {
    /// Starts the control plane and this many nodes, each with the product's images, and waits until all are Ready.
    ///
    /// # Errors
    /// When a program or an image is missing or a node does not become Ready; the message holds the end of its log.
    pub fn start(nodes: u8) -> Result<Self> {
        let images = Images::find()?;
        let cluster = Cluster::start(Fabric::create(nodes)?, Extent::Nodes)?;
        let store = store::prepared(&images, &cluster.fabric().warden)?;
        let warden = &cluster.fabric().warden;
        warden.note_cgroup(warden.id())?;
        cgroup::make(warden.id())?;
        let machines = thread::scope(|scope| {
            let starts: Vec<_> = cluster
                .fabric()
                .nodes
                .iter()
                .map(|node| scope.spawn(|| Machine::start(&cluster.base, node, &store)))
                .collect();
            let ends =
                starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a start panicked"))?);
            ends.collect::<Result<Vec<_>>>()
        })?;
        let installation = Self { machines, cluster, images };
        installation.wait_for_nodes()?;
        Ok(installation)
    }

    /// The machine of the node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine(&self, name: &str) -> Result<&Machine> {
        let machine = self.machines.iter().find(|machine| machine.name() == name);
        machine.with_context(|| format!("there is no node {name}"))
    }

    /// Waits until every node is Ready and free of taints.
    ///
    /// # Errors
    /// When one is not, within a minute.
    pub fn wait_for_nodes(&self) -> Result<()> {
        for machine in &self.machines {
            machine.kubelet.wait_for(PATIENCE, "the node to be Ready", || {
                let node = self.cluster.kubectl().get(&["node", machine.name()])?;
                let untainted = node.pointer("/spec/taints").is_none();
                Ok((untainted && condition(&node, "Ready")).then_some(()))
            })?;
        }
        for (machine, node) in self.machines.iter().zip(&self.cluster.fabric().nodes) {
            crate::cluster::plane::wait_for_proxy(&machine.proxy, &node.net)?;
        }
        Ok(())
    }

    /// Waits until so many Pods have these labels and all of them are Ready, and gives them.
    ///
    /// # Errors
    /// When they are not, within a minute; the message holds what `kubectl describe` says of them.
    pub fn wait_for_pods(&self, namespace: &str, labels: &str, count: usize) -> Result<Vec<Value>> {
        self.wait_longer_for_pods(PATIENCE, namespace, labels, count)
    }

    fn wait_longer_for_pods(
        &self,
        patience: Duration,
        namespace: &str,
        labels: &str,
        count: usize,
    ) -> Result<Vec<Value>> {
        let kubectl = self.cluster.kubectl();
        let what = format!("{count} Pods {labels} to be Ready");
        let ready = wait::until(patience, &what, || {
            let list = kubectl.get(&["-n", namespace, "pods", "-l", labels])?;
            let pods = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            Ok((pods.len() == count && pods.iter().all(|pod| condition(pod, "Ready"))).then_some(pods))
        });
        ready.with_context(|| {
            let describe = ["-n", namespace, "describe", "pods", "-l", labels];
            kubectl.run(&describe).unwrap_or_else(|error| format!("{error:#}"))
        })
    }

    /// Runs a program in a container and gives what it wrote, as `kubectl exec` does.
    ///
    /// # Errors
    /// When it fails.
    pub fn exec(&self, namespace: &str, pod: &str, container: &str, program: &[&str]) -> Result<String> {
        self.cluster
            .kubectl()
            .run(&[&["-n", namespace, "exec", pod, "-c", container, "--"], program].concat())
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.cluster.base.credentials.path("admin.kubeconfig")
    }

    /// Where the logs of the nodes' programs are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.cluster.fabric().warden.dir()
    }
}

/// Whether an object's condition of this type is True.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let is =
        |condition: &Value, key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
    conditions.into_iter().flatten().any(|entry| is(entry, "type", kind) && is(entry, "status", "True"))
}
