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
};

impl Cluster {
    /// Applies `manifests/ferrolb.yaml` and waits until its kinds are served.
    ///
    /// # Errors
    /// When the API server refuses any of it.
    pub fn install(&self) -> Result<()> {
        let manifest = bins::checkout()?.join("manifests/ferrolb.yaml");
        let kubectl = self.kubectl();
        kubectl.apply_file(&manifest)?;
        kubectl.run(&["wait", "--for=condition=established", "--timeout=30s", "crd", "--all"])?;
        Ok(())
    }

    /// Starts the controller, in the namespace `control`, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not built, or does not become ready; the message holds the end of its log.
    pub fn start_controller(&self) -> Result<Running> {
        let control = &self.fabric().control;
        let running = self
            .program("controller", control)?
            .log(self.base.dir.join("controller.log"))
            .start(&self.fabric().warden)?;
        ready(&running, control)?;
        Ok(running)
    }

    /// Starts the speaker of a node beside its FRR, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cluster::start_controller`].
    pub fn start_speaker(&self, node: &Node, frr: &Frr) -> Result<Running> {
        let running = self
            .program("speaker", &node.net)?
            .args(["--node-name", node.name()])
            .args([Path::new("--frr-vty-dir"), frr.vty_dir(), Path::new("--frr-conf"), frr.conf()])
            .log(self.base.dir.join(format!("speaker-{}.log", node.name())))
            .start(&self.fabric().warden)?;
        ready(&running, &node.net)?;
        Ok(running)
    }

    fn program(&self, name: &str, net: &Net) -> Result<Spawn> {
        let kubeconfig = self.account(name)?;
        Ok(Spawn::new(bins::product(name)?)
            .in_net(net.path())
            .env("KUBECONFIG", kubeconfig)
            .args(["--namespace", SYSTEM, "--port", "7472", "--health-probe-port", "17472"])
            .args(["--log-level", "info"]))
    }
}

fn ready(program: &Running, net: &Net) -> Result<()> {
    program
        .wait_for(PATIENCE, "/readyz", || answers(net, &["http://127.0.0.1:17472/readyz"]))
        .with_context(|| format!("become ready in {}", net.name()))
}
