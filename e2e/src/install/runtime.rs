//! A node's container runtime: containerd with runc and the CNI plugins of the distribution, and images put into it.
//!
//! Everything is where it is on any node (`/run/containerd`, `/var/lib/containerd`, `/var/lib/cni`): the machine has
//! these directories to itself.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{images, machine::Place};
use crate::cluster::PATIENCE;
use crate::{bins, cluster::pod, process::Running, warden::Warden};

/// Where containerd listens.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

const PLUGINS: &str = "/usr/lib/cni";

pub(super) fn start(place: &Place, warden: &Warden) -> Result<Running> {
    let network = place.dir.join("cni");
    fs::create_dir_all(&network)?;
    fs::write(network.join("10-bridge.conflist"), bridge(&place.name)?)?;
    let config = place.dir.join("containerd.toml");
    fs::write(&config, configuration(&network))?;
    let running = place
        .command(bins::tool("containerd")?)
        .arg("--config")
        .arg(&config)
        .log(place.dir.join("containerd.log"))
        .start(warden)?;
    running
        .wait_for(PATIENCE, "containerd to serve", || Ok(ctr(place, &["version"]).is_ok().then_some(())))?;
    Ok(running)
}

pub(super) fn ctr(place: &Place, args: &[&str]) -> Result<String> {
    place
        .command(bins::tool("ctr")?)
        .args(["--address", SOCKET, "--namespace", "k8s.io"])
        .args(args)
        .limit(Duration::from_mins(3))
        .text()
}

fn configuration(network: &Path) -> String {
    let cri = r#"[plugins."io.containerd.grpc.v1.cri""#;
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
{cri}]
sandbox_image = "{sandbox}"
disable_apparmor = true
restrict_oom_score_adj = true
{cri}.containerd]
snapshotter = "overlayfs"
{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
{cri}.cni]
bin_dir = "{PLUGINS}"
conf_dir = "{network}"
"#,
        sandbox = images::POD,
        network = network.display(),
    )
}

/// A bridge with the node's prefixes of Pods. The first addresses are left to what else the lab puts there.
fn bridge(node: &str) -> Result<String> {
    let number: u8 = node.trim_start_matches('n').parse().context("a node's name without its number")?;
    let [v4, v6] = pod::prefixes(number);
    let (v4_start, v6_start) = (v4.replace("0/24", "16"), v6.replace("/64", "16"));
    let v4_end = v4.replace("0/24", "250");
    let list = json!({
        "cniVersion": "1.0.0", "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [
                        [{"subnet": v4, "rangeStart": v4_start, "rangeEnd": v4_end}],
                        [{"subnet": v6, "rangeStart": v6_start}],
                    ],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    Ok(list.to_string())
}
