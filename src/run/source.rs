//! Where objects come from and effects go to: an API server or a manifest directory, behind the same channels.

use crate::{
    io::{
        files, k8s,
        observe::{Change, Role},
        settings::{Common, Source},
        write::{Event, Events, Status, Wrote},
    },
    names::NodeName,
};
use kube::Client;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
};

/// Changes under way from the source to the loop.
const CHANGES: usize = 1024;

/// Statuses and answers under way between the loop and the writer: as many as a large cluster has Services, since what
/// does not fit is decided again with the next answer.
const STATUSES: usize = 65_536;

/// Events under way to their writer, who takes 20 a second: as many as a burst of Services has, which is over minutes
/// later; beyond that they are dropped and counted.
const EVENTS: usize = 16_384;

/// The channels of a source.
pub(super) struct Attached {
    /// What is observed.
    pub(super) changes: Receiver<Change>,
    /// What to write, and what became of it: for the controller alone.
    pub(super) writer: Option<(Sender<Status>, Receiver<Wrote>)>,
    /// What to tell.
    pub(super) events: Events,
    /// The client of an API server.
    pub(super) client: Option<Client>,
}

/// Starts the tasks of the source among `tasks`.
pub(super) async fn attach(
    common: &Common,
    role: Role,
    node: Option<&NodeName>,
    dropped: Counter,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Attached> {
    let (change, changes) = mpsc::channel(CHANGES);
    let (statuses, status) = mpsc::channel::<Status>(STATUSES);
    let (answer, wrote) = mpsc::channel::<Wrote>(STATUSES);
    let (event, events) = mpsc::channel::<Event>(EVENTS);
    let namespace = common.namespace.clone();
    let client = match &common.source {
        Source::Api(kubeconfig) => {
            let client = k8s::client(kubeconfig.as_deref()).await?;
            let component = match role {
                Role::Controller => "metallb-controller",
                Role::Speaker => "metallb-speaker",
            };
            let host = node.map(ToString::to_string);
            let (a, b, c) = (client.clone(), client.clone(), client.clone());
            tasks.spawn(async move { k8s::watch::run(a, &namespace, role, change).await });
            if role == Role::Controller {
                tasks.spawn(async move { k8s::write::run(b, status, answer).await });
            }
            tasks.spawn(async move {
                k8s::events::run(c, component, host, events).await;
                Ok(())
            });
            Some(client)
        }
        Source::Manifests(dir) => {
            let dir = dir.clone();
            // Events have no place in a directory but the log.
            let writer = (role == Role::Controller).then_some((status, answer));
            tasks.spawn(async move { files::run(&dir, &namespace, role, change, writer).await });
            tasks.spawn(log_events(events));
            None
        }
    };
    let writer = (role == Role::Controller).then_some((statuses, wrote));
    Ok(Attached { changes, writer, events: Events::new(event, dropped), client })
}

async fn log_events(mut events: Receiver<Event>) -> anyhow::Result<()> {
    while let Some(Event { key, level, reason, message, .. }) = events.recv().await {
        tracing::info!(service = %key, r#type = level.as_str(), reason, event = message, "event");
    }
    Ok(())
}
