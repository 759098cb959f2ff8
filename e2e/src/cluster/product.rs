//! The product in the cluster: its manifest applied with `kubectl`, its programs as processes with the rights of the
//! accounts that the manifest makes.
//!
//! The Pods of the manifest's Deployment and DaemonSet are made by the real controllers and stay pending, since no
//! kubelet runs their images here.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Cluster, PATIENCE, SYSTEM, plane::answers};
use crate::{
    bins,
    fabric::Node,
    frr::Frr,
    netns::Net,
    process::{Running, Spawn},
    wait,
};

/// The manifest's settings of the controller that are about the speakers' gossip.
pub const KEEPS_THE_KEY: [&str; 4] = ["--ml-secret-name", "memberlist", "--deployment", "controller"];

impl Cluster {
    /// Applies `manifests/ferrolb.yaml` and waits until its kinds are served.
    ///
    /// # Errors
    /// When the API server refuses any of it.
    pub fn install(&self) -> Result<()> {
        self.install_from("ferrolb.yaml")
    }

    /// The same with another file of `manifests/`.
    ///
    /// # Errors
    /// As [`Cluster::install`].
    pub fn install_from(&self, file: &str) -> Result<()> {
        let manifest = bins::checkout()?.join("manifests").join(file);
        self.kubectl().apply_file(&manifest)?;
        self.wait_for_kinds()?;
        self.wait_for_accounts()
    }

    /// Waits until the API server serves all kinds that it has a CRD of: it says so of each before it does.
    ///
    /// # Errors
    /// When there is one that it does not serve.
    pub fn wait_for_kinds(&self) -> Result<()> {
        wait::until(PATIENCE, "all kinds to be served", || {
            let names = self.kubectl().run(&["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"])?;
            let kinds = names.split_whitespace().collect::<Vec<_>>().join(",");
            self.kubectl().run(&["get", &kinds, "--all-namespaces", "-o", "name"]).map(Some)
        })
        .map(drop)
    }

    /// Waits until the API server's own RBAC has followed what was applied: what the product asks for before would count
    /// as a right that it lacks.
    ///
    /// # Errors
    /// When an account has not the rights that every manifest gives it.
    pub fn wait_for_accounts(&self) -> Result<()> {
        for account in ["controller", "speaker"] {
            // by a ClusterRole, and by a Role
            for resource in ["services", "ipaddresspools.metallb.io"] {
                wait::until(PATIENCE, &format!("the {account} to be allowed to list {resource}"), || {
                    let user = format!("--as=system:serviceaccount:{SYSTEM}:{account}");
                    let scope = if resource == "services" {
                        "--all-namespaces"
                    } else {
                        "--namespace=metallb-system"
                    };
                    // `can-i` ends with 1 for a no
                    self.kubectl().run(&["auth", "can-i", "list", resource, &user, scope]).map(Some)
                })?;
            }
        }
        Ok(())
    }

    /// Starts the controller, in the namespace `control` and with the manifest's settings, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not built, or does not become ready; the message holds the end of its log.
    pub fn start_controller(&self) -> Result<Running> {
        let running = self.launch_controller(&Identity::of("controller"), &KEEPS_THE_KEY)?;
        ready(&running, &self.fabric().control)?;
        Ok(running)
    }

    /// Starts the speaker of a node beside its FRR, and waits until it is ready. It takes every Node for alive.
    ///
    /// # Errors
    /// As [`Cluster::start_controller`].
    pub fn start_speaker(&self, node: &Node, frr: &Frr) -> Result<Running> {
        self.start_speaker_with(node, frr, &[])
    }

    /// The same with these further arguments.
    ///
    /// # Errors
    /// As [`Cluster::start_controller`].
    pub fn start_speaker_with(&self, node: &Node, frr: &Frr, args: &[&str]) -> Result<Running> {
        let running = self.launch_speaker(&Identity::of("speaker"), node, frr, args)?;
        ready(&running, &node.net)?;
        Ok(running)
    }

    /// Starts a controller with these further arguments and does not wait for anything: it may lack the right to become
    /// ready.
    ///
    /// # Errors
    /// When it is not built, or has no account.
    pub fn launch_controller(&self, identity: &Identity<'_>, args: &[&str]) -> Result<Running> {
        self.program("controller", identity, &self.fabric().control)?
            .args(args)
            .log(self.base.dir.join(format!("{}.log", identity.account)))
            .start(&self.fabric().warden)
    }

    /// The same for the speaker of a node.
    ///
    /// # Errors
    /// As [`Cluster::launch_controller`].
    pub fn launch_speaker(
        &self,
        identity: &Identity<'_>,
        node: &Node,
        frr: &Frr,
        args: &[&str],
    ) -> Result<Running> {
        self.program("speaker", identity, &node.net)?
            .args(args)
            .args(["--node-name", node.name()])
            .args([Path::new("--frr-vty-dir"), frr.vty_dir(), Path::new("--frr-conf"), frr.conf()])
            .log(self.base.dir.join(format!("{}-{}.log", identity.account, node.name())))
            .start(&self.fabric().warden)
    }

    /// Starts a speaker for a node, in any namespace of the network, that drives no FRR, with these further arguments.
    ///
    /// # Errors
    /// As [`Cluster::launch_controller`].
    pub fn launch_frr_k8s_speaker(
        &self,
        identity: &Identity<'_>,
        net: &Net,
        node: &str,
        args: &[&str],
    ) -> Result<Running> {
        self.program("speaker", identity, net)?
            .args(["--node-name", node])
            .args(args)
            .log(self.base.dir.join(format!("frrk8s-{node}.log")))
            .start(&self.fabric().warden)
    }

    fn program(&self, name: &str, identity: &Identity<'_>, net: &Net) -> Result<Spawn> {
        let kubeconfig = self.account(identity.account)?;
        let (port, health) = (identity.port.to_string(), identity.health_port().to_string());
        Ok(Spawn::new(bins::product(name)?)
            .in_net(net.path())
            .env("KUBECONFIG", kubeconfig)
            .args(["--namespace", SYSTEM, "--port", &port, "--health-probe-port", &health])
            .args(["--log-level", "info", "--lb-class", identity.class]))
    }
}

/// Who a program is in the cluster: the manifest's own, or one of several that run side by side and share nothing.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The ServiceAccount, in [`SYSTEM`].
    pub account: &'a str,
    /// The load balancer class of its Services; empty for those without one.
    pub class: &'a str,
    /// Its port of `/metrics`.
    pub port: u16,
}

impl<'a> Identity<'a> {
    const fn of(account: &'a str) -> Self {
        Self { account, class: "", port: 7472 }
    }

    /// Its port of `/readyz`.
    #[must_use]
    pub const fn health_port(&self) -> u16 {
        self.port.saturating_add(10_000)
    }
}

fn ready(program: &Running, net: &Net) -> Result<()> {
    program
        .wait_for(PATIENCE, "/readyz", || answers(net, &["http://127.0.0.1:17472/readyz"]))
        .with_context(|| format!("become ready in {}", net.name()))
}
