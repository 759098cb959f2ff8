//! The control plane's programs and kube-proxy: with which flags they run, and when they serve.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Extent, Foundation, PATIENCE, pod};
use crate::{
    fabric::Segment,
    netns::Net,
    process::{Running, Spawn},
};

/// Where the API server listens: host 2 of the flat segment.
pub(super) fn address() -> IpAddr {
    Segment::Lan.v4(2).into()
}

/// Where Pods find the API server: the first address of each prefix of Services.
pub(super) fn cluster_ips() -> [IpAddr; 2] {
    [Ipv4Addr::new(10, 96, 0, 1).into(), Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1).into()]
}

/// The prefixes that Services have their own addresses of.
pub(super) const SERVICE_PREFIXES: &str = "10.96.0.0/16,fd00:96::/112";
const ETCD: &str = "http://127.0.0.1:2379";

/// The running programs, in the order in which they end.
#[derive(Debug)]
pub(super) struct Plane {
    /// The controller manager, unless only the API was wanted.
    pub(super) controllers: Option<Running>,
    _scheduler: Option<Running>,
    /// The API server.
    pub(super) api: Running,
    _etcd: Running,
}

/// Starts etcd, the API server and (where wanted) the controllers, and waits until the API serves.
pub(super) fn start(cluster: &Foundation, extent: Extent) -> Result<Plane> {
    let control = &cluster.fabric.control;
    let file = |name: &str| cluster.credentials.path(name).display().to_string();
    let etcd = launch(
        cluster,
        control,
        "etcd",
        &[
            format!("--data-dir={}", file("etcd")),
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--unsafe-no-fsync=true".to_owned(),
            "--log-level=error".to_owned(),
        ],
    )?;
    let api = start_api(cluster, extent)?;
    // not before: until the API server has made the standard roles, they end for want of a right
    let controllers = match extent {
        Extent::Whole | Extent::Nodes => {
            Some(launch(cluster, control, "kube-controller-manager", &controllers(extent, &file))?)
        }
        Extent::ApiOnly => None,
    };
    let scheduler = match extent {
        Extent::Nodes => Some(launch(cluster, control, "kube-scheduler", &scheduler(&file))?),
        Extent::Whole | Extent::ApiOnly => None,
    };
    Ok(Plane { controllers, _scheduler: scheduler, api, _etcd: etcd })
}

/// Starts the API server on what etcd holds, and waits until it serves.
pub(super) fn start_api(cluster: &Foundation, extent: Extent) -> Result<Running> {
    let address = address();
    let file = |name: &str| cluster.credentials.path(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers={ETCD}"),
        format!("--bind-address={address}"),
        // without it the server looks for a default route, and there is none
        format!("--advertise-address={address}"),
        "--secure-port=6443".to_owned(),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-cluster-ip-range={SERVICE_PREFIXES}"),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ];
    if extent != Extent::Nodes {
        // it taints young nodes, and the controller that would take the taint away does not run
        flags.push("--disable-admission-plugins=TaintNodesByCondition".to_owned());
    }
    if extent != Extent::ApiOnly {
        let policy = cluster.credentials.write("audit-policy.json", &audit_policy().to_string())?;
        flags.push(format!("--audit-policy-file={}", policy.display()));
        flags.push(format!("--audit-log-path={}", file("audit.log")));
    }
    let control = &cluster.fabric.control;
    let api = launch(cluster, control, "kube-apiserver", &flags)?;
    let ready = format!("https://{address}:6443/readyz");
    api.wait_for(PATIENCE, "the API server to be ready", || {
        let authority = cluster.credentials.path("ca.crt");
        answers(control, &["--cacert", &authority.display().to_string(), &ready])
    })?;
    Ok(api)
}

fn scheduler(file: &dyn Fn(&str) -> String) -> Vec<String> {
    let kubeconfig = file("scheduler.kubeconfig");
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--cert-dir={}", file("scheduler")),
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
    ]
}

fn controllers(extent: Extent, file: &dyn Fn(&str) -> String) -> Vec<String> {
    let kubeconfig = file("controllers.kubeconfig");
    let mut flags = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", file("accounts.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--cert-dir={}", file("controllers")),
        "--bind-address=127.0.0.1".to_owned(),
    ];
    if extent != Extent::Nodes {
        // no kubelet renews its lease here, and a test that stops a node says so itself
        flags.push("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller".to_owned());
    }
    flags
}

/// What the product's own accounts ask for, and whether they may; of nobody else's requests anything.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": [format!("system:serviceaccounts:{}", super::SYSTEM)]},
            {"level": "None"},
        ],
    })
}

/// Starts kube-proxy in the namespace of a node.
pub(super) fn start_proxy(cluster: &Foundation, node: &Net) -> Result<Running> {
    launch(cluster, node, "kube-proxy", &proxy_flags(cluster, node))
}

/// What kube-proxy is told on a node.
pub(crate) fn proxy_flags(cluster: &Foundation, node: &Net) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", cluster.credentials.path("proxy.kubeconfig").display()),
        "--proxy-mode=nftables".to_owned(),
        format!("--hostname-override={}", node.role()),
        format!("--cluster-cidr={}", pod::CLUSTER_PREFIXES),
        "--nodeport-addresses=primary".to_owned(),
        "--conntrack-max-per-core=0".to_owned(),
        "--healthz-bind-address=127.0.0.1:10256".to_owned(),
        "--metrics-bind-address=127.0.0.1:10249".to_owned(),
    ]
}

/// Waits until kube-proxy has written its first rules.
pub(crate) fn wait_for_proxy(proxy: &Running, node: &Net) -> Result<()> {
    proxy
        .wait_for(PATIENCE, "kube-proxy to be healthy", || answers(node, &["http://127.0.0.1:10256/healthz"]))
}

fn launch(cluster: &Foundation, net: &Net, name: &'static str, flags: &[String]) -> Result<Running> {
    let program = cluster.programs.program(name);
    Spawn::new(&program.binary)
        .args(program.name)
        .args(flags)
        .in_net(net.path())
        .log(cluster.dir.join(format!("{}-{name}.log", net.role())))
        .start(&cluster.fabric.warden)
        .with_context(|| format!("start {name} in {}", net.name()))
}

/// `Some` when an HTTP server there answers with success.
pub(super) fn answers(net: &Net, target: &[&str]) -> Result<Option<()>> {
    let answer = net.command("curl").args(["-sf", "-m", "2", "-o", "/dev/null"]).args(target).output()?;
    Ok(answer.status.success().then_some(()))
}
