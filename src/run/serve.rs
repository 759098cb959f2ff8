//! The HTTP side of both programs.

use crate::{
    frr::{Daemon, Model},
    io::{
        frr,
        http::{self, Access, Certificate, Missing},
        members::View,
        metrics::Metrics,
        observe::{Observed, Role},
        settings::Common,
    },
};
use anyhow::Context;
use kube::Client;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
use tokio::{sync::watch, task::JoinSet};

/// Serves what `common` asks for among `tasks`; `/readyz` says what the returned sender holds.
pub(super) async fn start(
    common: &Common,
    role: Role,
    client: Option<Client>,
    metrics: &Metrics,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<watch::Sender<Missing>> {
    let (missing, shown) = watch::channel(Missing::from(["the first look at the objects".to_owned()]));
    if let Some(port) = common.health_port {
        // The speaker is on the host's network, where the probe is the kubelet's alone.
        let address = match role {
            Role::Controller => None,
            Role::Speaker => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        };
        let listener = http::listen(address, port).await.context("--health-probe-port")?;
        tasks.spawn(async move {
            http::health(listener, shown).await;
            Ok(())
        });
    }
    if let Some(port) = common.port {
        let listener = http::listen(None, port).await.context("--port")?;
        let access = client.map_or(Access::NoApi, Access::Api);
        let certificate = Certificate::new(common.metrics_cert_dir.as_deref(), common.tls_min_version)?;
        let (metrics, plain) = (metrics.clone(), common.metrics_plain);
        tasks.spawn(async move {
            http::metrics(listener, metrics, access, certificate, plain).await;
            Ok(())
        });
    }
    Ok(missing)
}

/// The stores that `observed` still waits for, in words.
pub(super) fn waiting_for(observed: &Observed) -> Missing {
    observed.waiting().map(|kind| format!("the list of {kind} objects")).collect()
}

/// Whether a speaker still looks who else is there, in words.
pub(super) fn waiting_for_members(view: &View) -> Option<String> {
    (!view.settled).then(|| "the other speakers".to_owned())
}

/// The daemons of FRR that `model` needs and that are `away`, in words.
pub(super) fn waiting_for_frr(away: &BTreeMap<Daemon, String>, model: &Model) -> Missing {
    let needed = away.iter().filter(|(daemon, _)| frr::needed(**daemon, model));
    needed.map(|(daemon, why)| format!("FRR's {daemon} ({why})")).collect()
}

/// State travels as "latest wins", and only when it is another.
pub(super) fn send_if_new<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|held| {
        let news = *held != value;
        if news {
            *held = value;
        }
        news
    });
}
