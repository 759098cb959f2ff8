//! Kubernetes: one client, a watch per kind, and the only writers of its objects.

pub mod drain;
pub mod events;
pub mod frrk8s;
mod raw;
pub mod secret;
pub mod states;
pub mod watch;
pub mod write;

use anyhow::Context;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};

/// The most that a connection may take to come about. Where the API server's host is away and nobody refuses, this is
/// also how often it is looked for.
const CONNECT: Duration = Duration::from_secs(5);

/// A client for the API of `kubeconfig`, else of `KUBECONFIG`, else of the cluster that we run in. Sends nothing yet.
///
/// # Errors
/// When there is no such configuration, or it cannot be read.
pub async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        None => Config::infer().await.context("find the Kubernetes API")?,
        Some(file) => {
            let read = Kubeconfig::read_from(file).with_context(|| format!("read {}", file.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("find the Kubernetes API in {}", file.display()))?
        }
    };
    config.connect_timeout = Some(CONNECT);
    let url = config.cluster_url.clone();
    Client::try_from(config).with_context(|| format!("make a client for {url}"))
}

/// What went wrong, in the API server's words where it has some, not in those of a dump.
fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message.trim(), status.code),
        other => other.to_string(),
    }
}
