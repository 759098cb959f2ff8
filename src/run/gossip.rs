//! The speaker's part in the gossip, as its settings have it.

use crate::io::{
    k8s::secret::Place,
    members::{self, Fact, View, lease},
    metrics::Metrics,
    settings,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
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
    if let Some(file) = tuning(&settings.excludel2) {
        tracing::warn!(file = %file.display(), "has no effect: its numbers are about another protocol than ours");
    }
    let peers = match (&gossip.others, client.clone()) {
        (settings::Others::Named(hosts), _) => members::Peers::Named(hosts.clone()),
        (settings::Others::Pods(labels), Some(client)) => {
            let namespace = settings.common.namespace.clone();
            members::Peers::Pods { client, namespace, labels: labels.clone() }
        }
        (settings::Others::Leases, Some(client)) => {
            let common = &settings.common;
            let setup = lease::Setup {
                client,
                namespace: common.namespace.clone(),
                node: settings.node.clone(),
                pod: common.pod_name.clone().zip(common.pod_uid.clone()),
                pace: gossip.pace,
                counts: metrics.members.clone(),
            };
            let (view, task) = lease::join(setup, said);
            tasks.spawn(task);
            return Ok(Gossip { say, view: Some(view) });
        }
        (settings::Others::Pods(_) | settings::Others::Leases, None) => {
            anyhow::bail!("there is no API to ask")
        }
    };
    let key = match (&gossip.key_dir, &gossip.secret, client) {
        (dir, Some(name), Some(client)) => {
            let (namespace, name) = (settings.common.namespace.clone(), name.clone());
            members::Key::Awaited(dir.clone(), Place { client, namespace, name })
        }
        (Some(dir), ..) => members::Key::Mounted(dir.clone()),
        (None, ..) => members::Key::None,
    };
    let setup = members::Setup {
        node: settings.node.clone(),
        bind: gossip.bind,
        port: gossip.port,
        peers,
        key,
        pace: gossip.pace,
        counts: metrics.members.clone(),
    };
    let (view, task) = members::join(setup, said).await?;
    tasks.spawn(task);
    Ok(Gossip { say, view: Some(view) })
}

/// The file that MetalLB's speakers take the pace of their memberlist from, beside the one of excluded interfaces.
fn tuning(excludel2: &Path) -> Option<PathBuf> {
    Some(excludel2.with_file_name("memberlist").join("config.json")).filter(|file| file.exists())
}

/// Waits for another view; for ever where there is none.
pub(super) async fn changed(view: &mut Option<watch::Receiver<Arc<View>>>) -> Option<()> {
    match view {
        // when it is gone its task says why
        Some(view) => view.changed().await.ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallbs_numbers_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let excludel2 = dir.path().join("excludel2.yaml");
        assert_eq!(tuning(&excludel2), None);
        let file = dir.path().join("memberlist/config.json");
        std::fs::create_dir(dir.path().join("memberlist")).unwrap();
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(tuning(&excludel2), Some(file));
    }
}
