//! The speaker's part in the gossip, as its settings have it.

use crate::io::{
    members::{self, Fact, View},
    metrics::Metrics,
    settings,
};
use anyhow::Context;
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// What to say, and who is there, where there is a gossip.
pub(super) struct Gossip {
    pub(super) say: watch::Sender<Fact>,
    pub(super) view: Option<watch::Receiver<Arc<View>>>,
}

/// The speakers' gossip among `tasks`, where there is one: what to say, and who is there.
pub(super) async fn start(
    settings: &settings::Speaker,
    client: Option<kube::Client>,
    metrics: &Metrics,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Gossip> {
    let (say, said) = watch::channel(Fact::default());
    let Some(gossip) = &settings.gossip else {
        tracing::info!("no gossip among the speakers: every Node is taken for one with a live speaker");
        return Ok(Gossip { say, view: None });
    };
    let peers = match (&gossip.others, client) {
        (settings::Others::Named(hosts), _) => members::Peers::Named(hosts.clone()),
        (settings::Others::Pods(labels), Some(client)) => {
            let namespace = settings.common.namespace.clone();
            members::Peers::Pods { client, namespace, labels: labels.clone() }
        }
        (settings::Others::Pods(_), None) => anyhow::bail!("there is no API to ask for Pods"),
    };
    let seal = match &gossip.key_dir {
        Some(dir) => members::Seal::read(dir).context("the key of the speakers' gossip")?,
        None => {
            tracing::warn!(
                "the speakers' gossip is not sealed (--ml-secret-key-path): who reaches its port is believed"
            );
            members::Seal::open()
        }
    };
    let setup = members::Setup {
        node: settings.node.clone(),
        bind: gossip.bind,
        port: gossip.port,
        peers,
        seal,
        pace: gossip.pace,
        counts: metrics.members.clone(),
    };
    let (view, task) = members::join(setup, said).await?;
    tasks.spawn(task);
    Ok(Gossip { say, view: Some(view) })
}

/// Waits for another view; for ever where there is none.
pub(super) async fn changed(view: &mut Option<watch::Receiver<Arc<View>>>) -> Option<()> {
    match view {
        // when it is gone its task says why
        Some(view) => view.changed().await.ok(),
        None => None,
    }
}
