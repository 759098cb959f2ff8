//! `make cluster`: the real cluster with the product installed, kept up for a look around.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

use super::Installation;
use crate::{
    bins,
    cluster::SYSTEM,
    fabric::LAN,
    tor::{BirdTor, FrrTor},
    wait,
};

/// Brings it up with routers, Pods and a Service of each kind, says what to try and waits for Ctrl-C or `lab down`.
///
/// # Errors
/// When a step fails; the cluster is taken down all the same.
pub fn run() -> Result<()> {
    say(
        "FerroLB on a real Kubernetes: three nodes, a router that runs FRR, one that runs BIRD, and clients",
    )?;
    let since = wait::now();
    let line = |text: &str| say(&format!("  {:>6.1} s  {text}", since.elapsed().as_secs_f64()));
    let installation = Installation::start(3)?;
    let fabric = installation.cluster.fabric();
    line(&format!("the nodes of {} are Ready", fabric.warden.id()))?;
    let _routers = (FrrTor::start(fabric)?, BirdTor::start(fabric)?);
    installation.cluster.install()?;
    line("manifests/ferrolb.yaml is applied")?;
    installation.configure()?;
    installation.serve("web")?;
    let mut tries = Vec::new();
    for (pool, clients) in [("flat", vec![&fabric.client]), ("routed", vec![&fabric.remote, &fabric.far])] {
        installation.publish(pool, "web", pool)?;
        for ip in installation.addresses(pool)? {
            let url = if ip.is_ipv4() { format!("http://{ip}/") } else { format!("http://[{ip}]/") };
            for client in &clients {
                installation.wait_for_answer(client, ip)?;
                line(&format!("{url} answers the client {}", client.role()))?;
                tries.push(format!("ip netns exec {} curl {url}", client.name()));
            }
            if pool == "flat" {
                let ask = if ip.is_ipv4() {
                    format!("arping -c 3 -i {LAN} {ip}")
                } else {
                    format!("ndisc6 {ip} {LAN}")
                };
                tries.push(format!("ip netns exec {} {ask}", fabric.client.name()));
            }
        }
    }
    installation.wait_for_pods(SYSTEM, "app=metallb", fabric.nodes.len() + 1)?;
    line("controller, speakers and FRR are Ready")?;

    let n1 = fabric.nodes.first().context("a cluster without a node")?;
    let kubectl =
        format!("ip netns exec {} {}", fabric.control.name(), installation.cluster.kubectl().line());
    say("\nThe cluster stays up. From another terminal, as root:")?;
    say(&format!("  export KUBECONFIG={}", installation.kubeconfig().display()))?;
    say(&format!("  alias kubectl='{kubectl}'    # the API server is in the lab: kubectl must be, too"))?;
    say("  kubectl get nodes,pods,services --all-namespaces -o wide")?;
    say(&format!("  kubectl -n {SYSTEM} exec ds/speaker -c frr -- vtysh -c 'show bgp summary'"))?;
    for line in tries {
        say(&format!("  {line}"))?;
    }
    say(&format!(
        "  ls {}/{}    # logs of containerd, kubelet, kube-proxy",
        installation.dir().display(),
        n1.name()
    ))?;
    say(&format!("  {} down {}    # or Ctrl-C here\n", bins::own("lab")?.display(), fabric.warden.id()))?;
    fabric.warden.note_kept()?;
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // only now: whatever was started before would have inherited it
    ends.thread_block()?;
    ends.wait()?;
    say("taking the cluster down")
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
