//! Where the other speakers are: by name, or as the API's Pods say.
//!
//! This is only where to begin: who is once in the gossip is known by it. So a source that is away for a while matters
//! to nobody but those who start meanwhile.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};
use tokio::{net::lookup_host, sync::watch};

/// Between two looks: soon at first, since speakers that start together have no address yet when they look for each
/// other, then ever less often.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// After one that failed.
const RETRY: Duration = Duration::from_secs(2);

/// Where the other speakers are.
#[derive(Clone)]
pub enum Peers {
    /// These hosts, with or without a port; this one may be among them.
    Named(Vec<String>),
    /// The Pods with these labels in a namespace.
    Pods {
        /// The API.
        client: Client,
        /// The namespace.
        namespace: String,
        /// The labels, as in a selector.
        labels: String,
    },
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(hosts) => f.write_str(&hosts.join(",")),
            Self::Pods { namespace, labels, .. } => write!(f, "the Pods of {namespace} with {labels}"),
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Peers {
    /// The address of this host that the others are reached from, once one of them is found: names may come later than
    /// this speaker does, and what it tells routers need not wait for them.
    ///
    /// # Errors
    /// When there are no names to find.
    pub(super) async fn own(&self, port: u16) -> anyhow::Result<IpAddr> {
        let Self::Named(hosts) = self else {
            bail!("the address of the gossip is needed: set --ml-bindaddr")
        };
        if hosts.is_empty() {
            bail!("--members names nobody");
        }
        let mut failing = false;
        loop {
            match reached_from(hosts, port).await {
                Ok(ip) => return Ok(ip),
                Err(fault) if !std::mem::replace(&mut failing, true) => {
                    let fault = format!("{fault:#}");
                    tracing::warn!(
                        fault,
                        "no way to the other speakers: nothing is answered for on layer 2 until one is found; \
                         looking again"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tells where they are, for ever.
    pub(super) async fn follow(
        &self,
        port: u16,
        tell: watch::Sender<Option<BTreeSet<SocketAddr>>>,
    ) -> anyhow::Result<()> {
        let (mut failing, mut pause) = (false, AGAIN.0);
        loop {
            let (found, fault) = self.find(port).await;
            if let Some(found) = found {
                tell.send_if_modified(|told| {
                    let news = told.as_ref() != Some(&found);
                    *told = Some(found);
                    news
                });
            }
            match &fault {
                Some(fault) if !failing => {
                    let fault = format!("{fault:#}");
                    tracing::warn!(fault, "cannot find out where the other speakers are; looking again");
                }
                None if failing => tracing::info!("where the other speakers are is known again"),
                _ => {}
            }
            failing = fault.is_some();
            if failing {
                tokio::time::sleep(RETRY).await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN.1);
            }
        }
    }

    async fn find(&self, port: u16) -> (Option<BTreeSet<SocketAddr>>, Option<anyhow::Error>) {
        match self {
            Self::Named(hosts) => {
                let (found, fault) = resolve(hosts, port).await;
                (Some(found), fault)
            }
            Self::Pods { client, namespace, labels } => {
                let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
                match pods.list(&ListParams::default().labels(labels)).await {
                    Ok(pods) => (Some(pods.iter().filter_map(|pod| address(pod, port)).collect()), None),
                    Err(kube::Error::Api(status)) if status.is_forbidden() => (
                        None,
                        Some(anyhow::anyhow!(
                            "our ServiceAccount needs list on pods here: {}",
                            status.message
                        )),
                    ),
                    Err(fault) => (None, Some(anyhow::Error::new(fault).context("list the speakers' Pods"))),
                }
            }
        }
    }
}

/// Where the speaker of a Pod is; none where it has ended, or has no address yet.
fn address(pod: &Pod, port: u16) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let ip: IpAddr = status.pod_ip.as_deref().filter(|_| !over)?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// The address of this host that the first of `hosts` that is found is reached from.
async fn reached_from(hosts: &[String], port: u16) -> anyhow::Result<IpAddr> {
    let (peers, fault) = resolve(hosts, port).await;
    let Some(peer) = peers.first() else {
        return Err(fault.unwrap_or_else(|| anyhow::anyhow!("--members names nobody")));
    };
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // nothing is sent: the kernel only looks for the way
    let socket = UdpSocket::bind((any, 0)).context("open a socket")?;
    socket.connect(peer).with_context(|| format!("find the way to {peer}; or set --ml-bindaddr"))?;
    Ok(socket.local_addr().context("read a socket's address")?.ip())
}

/// Those of `hosts` that are found, and what is wrong with the others.
async fn resolve(hosts: &[String], port: u16) -> (BTreeSet<SocketAddr>, Option<anyhow::Error>) {
    let mut found = BTreeSet::new();
    let mut faults = Vec::new();
    for host in hosts {
        match one(host, port).await {
            Ok(addrs) => found.extend(addrs),
            Err(fault) => faults.push(format!("{host:?}: {fault:#}")),
        }
    }
    let fault = (!faults.is_empty()).then(|| anyhow::anyhow!("--members: {}", faults.join("; ")));
    (found, fault)
}

async fn one(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if let Ok(addr) = host.parse() {
        return Ok(vec![addr]);
    }
    let found: Vec<SocketAddr> = match host.rsplit_once(':') {
        Some(_) => lookup_host(host).await?.collect(),
        None => lookup_host((host, port)).await?.collect(),
    };
    // of several one will do: more would be members that never come
    Ok(found.into_iter().take(1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{settings::LogLevel, telemetry::tests::lines};

    #[tokio::test]
    async fn hosts_are_addresses_names_and_ports() {
        for (host, addr) in [
            ("192.0.2.1", "192.0.2.1:7946"),
            ("192.0.2.1:9000", "192.0.2.1:9000"),
            ("2001:db8::1", "[2001:db8::1]:7946"),
            ("[2001:db8::1]", "[2001:db8::1]:7946"),
            ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
        ] {
            assert_eq!(one(host, 7946).await.unwrap(), [addr.parse().unwrap()], "{host}");
        }
        assert_eq!(one("localhost:9000", 7946).await.unwrap()[0].port(), 9000);
        let (found, fault) = resolve(&["192.0.2.1".into(), "no.such.host.invalid".into()], 7946).await;
        assert_eq!(found.len(), 1);
        let fault = fault.unwrap().to_string();
        assert!(fault.starts_with("--members: \"no.such.host.invalid\": "), "{fault}");
    }

    #[tokio::test]
    async fn the_own_address_is_the_one_on_the_way() {
        // one that cannot be found does not keep it from the others
        let peers = Peers::Named(vec!["127.0.0.1:x".into(), "127.0.0.1".into()]);
        assert_eq!(peers.own(7946).await.unwrap(), IpAddr::from([127, 0, 0, 1]));
    }

    /// The speaker goes on, and says once which flag has which value that is of no use.
    #[test]
    fn where_nobody_is_found_somebody_may_be_later() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lines = lines(LogLevel::Info, || {
            let peers = Peers::Named(vec!["127.0.0.1:x".into()]);
            runtime.block_on(async {
                // before it looks again
                let soon = tokio::time::timeout(RETRY * 3 / 4, peers.own(7946));
                soon.await.expect_err("goes on looking");
            });
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let fault = line["fault"].as_str().unwrap();
        assert!(line["level"] == "warn" && fault.starts_with("--members: \"127.0.0.1:x\": "), "{fault}");
    }

    #[test]
    fn pods_that_run_or_will_have_an_address() {
        let pod =
            |status| -> Pod { serde_json::from_value(serde_json::json!({ "status": status })).unwrap() };
        let of = |status| address(&pod(status), 7946).map(|addr| addr.to_string());
        assert_eq!(
            of(serde_json::json!({"podIP": "192.0.2.1", "phase": "Running"})),
            Some("192.0.2.1:7946".into())
        );
        assert_eq!(of(serde_json::json!({"podIP": "192.0.2.1", "phase": "Failed"})), None);
        assert_eq!(of(serde_json::json!({"phase": "Pending"})), None);
    }
}
