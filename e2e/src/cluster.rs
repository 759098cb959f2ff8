//! A real Kubernetes in a lab: etcd, the API server and its controllers in a namespace of their own, kube-proxy in the
//! namespace of every node.
//!
//! Nothing is imitated but the kubelet, whose part the test plays ([`pod`]): it creates Pods that are bound to a node,
//! gives them addresses, reports them ready and lets a small HTTP server answer there. What a user does goes through
//! the real `kubectl`; what a kubelet or a bench does goes through the `kube` client.
//!
//! The control plane lives in the lab's `control` namespace, on the flat segment: a node that is unplugged loses the
//! API too.

mod audit;
pub(crate) mod credentials;
mod kubectl;
mod metallb;
pub(crate) mod plane;
pub(crate) mod pod;
mod product;
mod programs;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::json;

pub use audit::{Right, Rights};
pub use kubectl::{Kubectl, kustomize};
pub use metallb::{MetalLb, MetalLbSpeaker, documents};
pub use pod::Pod;
pub use product::{Identity, KEEPS_THE_KEY};

use crate::{
    fabric::{Fabric, LAN, Node, Segment},
    process::Running,
};
use credentials::Credentials;
use plane::Plane;
use programs::Programs;

/// Long enough for a machine that builds something else at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace that the product lives in.
pub const SYSTEM: &str = "metallb-system";

/// The bearer of this token may do everything.
pub const ADMIN_TOKEN: &str = "admin";

/// How much of the control plane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// API server, controllers, audit log.
    Whole,
    /// The scheduler and the controllers that watch over nodes, too. Nodes join by themselves:
    /// [`crate::install`] runs their kubelets.
    Nodes,
    /// The API server alone: nothing else shall use the processor while a bench measures.
    ApiOnly,
}

/// A running cluster. Dropped, it ends, last started first, and the lab with it.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Joined>,
    plane: Plane,
    extent: Extent,
    pub(crate) base: Foundation,
}

/// What is there before the first program starts.
#[derive(Debug)]
pub(crate) struct Foundation {
    pub(crate) dir: PathBuf,
    pub(crate) programs: Programs,
    pub(crate) credentials: Credentials,
    pub(crate) fabric: Fabric,
}

/// A node that the API knows.
#[derive(Debug)]
struct Joined {
    number: u8,
    next_pod: u8,
    proxy: Option<Running>,
}

impl Cluster {
    /// Starts the control plane, makes Node objects of the lab's nodes and (in a whole cluster) starts kube-proxy on
    /// each.
    ///
    /// # Errors
    /// When a program is missing or does not come up; the message holds the end of its log.
    pub fn start(fabric: Fabric, extent: Extent) -> Result<Self> {
        let programs = Programs::find()?;
        let dir = fabric.warden.make_dir("kube")?;
        let names: Vec<&str> = fabric.nodes.iter().map(Node::name).collect();
        let credentials = Credentials::make(&dir, plane::address(), &plane::cluster_ips(), &names)?;
        let base = Foundation { dir, programs, credentials, fabric };
        let plane = plane::start(&base, extent)?;
        let mut cluster = Self { nodes: Vec::new(), plane, extent, base };
        for node in &cluster.base.fabric.nodes {
            for other in cluster.fabric().nodes.iter().filter(|other| other.number != node.number) {
                let [v4, v6] = pod::prefixes(other.number);
                node.net.ip(&format!("route add {v4} via {}", Segment::Lan.v4(other.host())))?;
                node.net.ip(&format!("-6 route add {v6} via {}", Segment::Lan.v6(other.host())))?;
            }
            if extent == Extent::Nodes {
                // a packet must have a way out before kube-proxy can turn it elsewhere
                for prefix in plane::SERVICE_PREFIXES.split(',') {
                    node.net.ip(&format!("route add {prefix} dev {LAN}"))?;
                }
                // Pods talk to the API server, and it to them, under their own addresses
                let [v4, v6] = pod::prefixes(node.number);
                let control = &cluster.fabric().control;
                control.ip(&format!("route add {v4} via {}", Segment::Lan.v4(node.host())))?;
                control.ip(&format!("-6 route add {v6} via {}", Segment::Lan.v6(node.host())))?;
                continue;
            }
            cluster.register(node)?;
            let start = || plane::start_proxy(&cluster.base, &node.net);
            let proxy = (extent == Extent::Whole).then(start).transpose()?;
            cluster.nodes.push(Joined { number: node.number, next_pod: pod::FIRST, proxy });
        }
        for (joined, node) in cluster.nodes.iter().zip(&cluster.base.fabric.nodes) {
            if let Some(proxy) = &joined.proxy {
                plane::wait_for_proxy(proxy, &node.net)?;
            }
        }
        Ok(cluster)
    }

    /// The lab that it runs in.
    #[must_use]
    pub const fn fabric(&self) -> &Fabric {
        &self.base.fabric
    }

    /// The administrator's `kubectl`.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl<'_> {
        self.kubectl_as(&self.base.credentials.path("admin.kubeconfig"))
    }

    /// `kubectl` with another kubeconfig, such as [`Cluster::account`] makes.
    #[must_use]
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Kubectl<'_> {
        Kubectl::new(&self.base, kubeconfig.to_owned())
    }

    /// Ends the API server, does `meanwhile`, and starts it again.
    ///
    /// # Errors
    /// When it does not come back, or `meanwhile` fails.
    pub fn without_api<T>(&mut self, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        self.plane.api.stop()?;
        let done = meanwhile();
        self.plane.api = plane::start_api(&self.base, self.extent)?;
        done
    }

    /// What the kubelet of a node says of it.
    fn register(&self, node: &Node) -> Result<()> {
        let name = node.name();
        let prefixes = pod::prefixes(node.number);
        self.kubectl().apply(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": prefixes.first(), "podCIDRs": prefixes},
        }))?;
        self.kubectl().patch_status(
            &["node", name],
            &json!({"status": {
                "addresses": [
                    {"type": "InternalIP", "address": Segment::Lan.v4(node.host())},
                    {"type": "InternalIP", "address": Segment::Lan.v6(node.host())},
                    {"type": "Hostname", "address": name},
                ],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            }}),
        )
    }

    /// A kubeconfig with a fresh token of a ServiceAccount of [`SYSTEM`].
    ///
    /// # Errors
    /// When there is no such account.
    pub fn account(&self, name: &str) -> Result<PathBuf> {
        let token = self
            .kubectl()
            .run(&["-n", SYSTEM, "create", "token", name, "--duration=2h"])
            .with_context(|| format!("make a token of the account {name}"))?;
        self.base.credentials.kubeconfig(&format!("account-{name}"), token.trim())
    }

    /// Does `work` with the administrator's client, on a thread inside the namespace `control`.
    ///
    /// # Errors
    /// When the client cannot be made, or `work` fails.
    pub fn client<T, F>(&self, work: F) -> Result<T>
    where
        T: Send,
        F: AsyncFnOnce(kube::Client) -> Result<T> + Send,
    {
        let path = self.base.credentials.path("admin.kubeconfig");
        self.base.fabric.control.enter(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let kubeconfig = kube::config::Kubeconfig::read_from(path)?;
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
                work(kube::Client::try_from(config)?).await
            })
        })
    }
}
