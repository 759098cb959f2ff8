//! Watches: one task per kind, everything into one channel of [`Change`]s.
//!
//! An object is decoded by itself, so that a bad one is [`Change::Unreadable`] and the rest goes on. Only its facts
//! leave this file. A kind that cannot be listed keeps `synced` from coming, is logged once with what to do, and is
//! tried again with growing pauses. The exception is FRRConfiguration: where its CRD is missing there are none
//! (MetalLB runs without it in its native and frr modes), and they appear when the CRD does. Nothing is cached here.

use super::{brief, raw::Raw};
use crate::{
    api,
    config::{Kind, ObjectRef},
    io::observe::{Change, EXTRAS, Role, decode, removed},
    world::Origin,
};
use anyhow::Context;
use backon::ExponentialBuilder;
use futures_util::StreamExt;
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::ApiResource,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, Error, Event, ExponentialBackoff, watcher},
    },
};
use std::{pin::pin, time::Duration};
use tokio::{sync::mpsc::Sender, task::JoinSet};

/// Objects per page of a list: a page is the only time that whole objects are in memory.
const PAGE: u32 = 200;

/// The shortest and the longest pause before a watch is tried again that nobody refused, each by chance up to twice as
/// long: five seconds after the API server is back everybody follows it, and not all at once. Refused ones, which cost
/// the API server an answer each time, have kube's own pauses: they grow to a minute.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2500));

/// Watches what `role` needs for ever; configuration objects in `namespace` only. Returns when nobody listens any more.
///
/// # Errors
/// When a watch ended by itself, which is a bug.
pub async fn run(client: Client, namespace: &str, role: Role, to: Sender<Change>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for kind in role.kinds().iter().copied() {
        let Some(resource) = resource(kind) else { continue };
        let api = match kind {
            Kind::Service | Kind::EndpointSlice | Kind::Node | Kind::Namespace => {
                Api::all_with(client.clone(), &resource)
            }
            _ => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        tasks.spawn(one(kind, api, resource, role, to.clone()));
    }
    match tasks.join_next().await {
        Some(ended) if !to.is_closed() => {
            let kind = ended.context("a watch panicked")?;
            anyhow::bail!("the watch of {kind} ended")
        }
        _ => Ok(()),
    }
}

async fn one(kind: Kind, api: Api<Raw>, resource: ApiResource, role: Role, to: Sender<Change>) -> Kind {
    let mut events = pin!(watcher(api, selection(kind, role)));
    let (mut away, mut refused) = (pauses(), DefaultBackoff::default());
    let mut failing = false;
    while let Some(event) = events.next().await {
        let mut changes = Vec::new();
        let mut pause = None;
        match event {
            Ok(event) => {
                // A list begins with an event of its own, before the API server was even asked.
                if !matches!(event, Event::Init) {
                    away.reset();
                    refused.reset();
                    if std::mem::take(&mut failing) {
                        tracing::info!(%kind, "watch works again");
                    }
                }
                changes.extend(change(kind, event));
            }
            Err(error) => {
                let none = kind == Kind::FRRConfiguration && is_missing(&error);
                if none {
                    changes.extend([Change::Listing(kind), Change::Synced(kind)]);
                }
                if is_expired(&error) {
                    tracing::debug!(%kind, "the API server cannot go on from where the watch was: listing anew");
                } else if !std::mem::replace(&mut failing, true) {
                    report(kind, &resource, &error, none);
                }
                pause = if is_refused(&error) { refused.next() } else { away.next() };
            }
        }
        for change in changes {
            if to.send(change).await.is_err() {
                return kind;
            }
        }
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = to.closed() => return kind,
            }
        }
    }
    kind
}

fn pauses() -> ExponentialBackoff {
    let (shortest, longest) = RETRY;
    ExponentialBuilder::new()
        .with_min_delay(shortest)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .into()
}

/// The change that `event` means; `None` where it means none to us.
fn change(kind: Kind, event: Event<Raw>) -> Option<Change> {
    match event {
        Event::Init => Some(Change::Listing(kind)),
        Event::InitDone => Some(Change::Synced(kind)),
        Event::Delete(Raw { metadata, .. }) => removed(
            kind,
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        ),
        Event::Apply(Raw { metadata, object }) | Event::InitApply(Raw { metadata, object }) => {
            decode(kind, object, Origin::Api).unwrap_or_else(|why| {
                let name = metadata.name.unwrap_or_default();
                let name = match (kind, metadata.namespace) {
                    (Kind::Service | Kind::EndpointSlice, Some(namespace)) => format!("{namespace}/{name}"),
                    _ => name,
                };
                Some(Change::Unreadable(ObjectRef { kind, name }, vec![why]))
            })
        }
    }
}

/// What need not be seen is left to the API server: slices of headless Services, and for a speaker Services of other
/// types (one that stops being a load balancer is then seen as gone, which for a speaker is the same).
fn selection(kind: Kind, role: Role) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    match kind {
        Kind::EndpointSlice => config.labels("kubernetes.io/service-name,!service.kubernetes.io/headless"),
        // a role that names this one object lets us watch nothing else
        Kind::ConfigMap => config.fields(&format!("metadata.name={EXTRAS}")),
        Kind::Service if role == Role::Speaker => config.fields("spec.type=LoadBalancer"),
        _ => config,
    }
}

/// By the code too: for a whole group that it does not know, the API server answers with plain text.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error,
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))
            if status.is_not_found() || status.code == 404)
}

/// Whether the API server has only forgotten how to go on from where a watch was, which it may at any time, and does
/// soon after a CRD was made: what there is is listed anew.
fn is_expired(error: &Error) -> bool {
    matches!(error, Error::WatchError(status) if status.code == 410)
}

/// Whether the API server is there and said no: it lacks the kind, we lack a right, or it has too much to do.
fn is_refused(error: &Error) -> bool {
    matches!(error,
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))
            if (400..500).contains(&status.code))
}

/// Once per outage, and what to do about it.
fn report(kind: Kind, resource: &ApiResource, error: &Error, none: bool) {
    let crd = format!("{}.{}", resource.plural, resource.group);
    let fault = match error {
        Error::InitialListFailed(fault) | Error::WatchStartFailed(fault) | Error::WatchFailed(fault) => {
            brief(fault)
        }
        other => other.to_string(),
    };
    let forbidden = matches!(error,
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))
            if status.is_forbidden());
    if none {
        tracing::info!(%kind, %crd, "there is no such CRD, so there are none of these objects");
    } else if is_missing(error) {
        tracing::error!(%kind, %crd, "the CRD is missing: apply the CRDs of this version; nothing is decided before");
    } else if forbidden {
        let right = format!("list and watch {}", crd.trim_end_matches('.'));
        tracing::error!(%kind, %right, %fault, "our ServiceAccount lacks a right: apply the RBAC of this version");
    } else {
        tracing::warn!(%kind, %fault, "watch failed, trying again; what was seen last stands");
    }
}

/// The API's name for `kind`; `None` where it is none of its kinds.
fn resource(kind: Kind) -> Option<ApiResource> {
    Some(match kind {
        Kind::IPAddressPool => ApiResource::erase::<api::IPAddressPool>(&()),
        Kind::L2Advertisement => ApiResource::erase::<api::L2Advertisement>(&()),
        Kind::BGPAdvertisement => ApiResource::erase::<api::BGPAdvertisement>(&()),
        Kind::BGPPeer => ApiResource::erase::<api::BGPPeer>(&()),
        Kind::BFDProfile => ApiResource::erase::<api::BFDProfile>(&()),
        Kind::Community => ApiResource::erase::<api::Community>(&()),
        Kind::FRRConfiguration => ApiResource::erase::<api::FRRConfiguration>(&()),
        Kind::Service => ApiResource::erase::<core::Service>(&()),
        Kind::Node => ApiResource::erase::<core::Node>(&()),
        Kind::Namespace => ApiResource::erase::<core::Namespace>(&()),
        Kind::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
        Kind::ConfigMap => ApiResource::erase::<core::ConfigMap>(&()),
        Kind::Secret => ApiResource::erase::<core::Secret>(&()),
        Kind::File => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn raw(object: Value) -> Raw {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn one_bad_object_is_named_and_is_no_error_of_the_watch() {
        let bad = raw(serde_json::json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": "p", "namespace": "n", "resourceVersion": "7", "managedFields": [{"x": 1}]},
            "spec": {"addresses": ["10.0.0.0/24", 7]}}));
        assert!(bad.object.pointer("/metadata/managedFields").is_none());
        assert_eq!(bad.metadata.resource_version.as_deref(), Some("7"));
        let Some(Change::Unreadable(object, faults)) = change(Kind::IPAddressPool, Event::Apply(bad.clone()))
        else {
            panic!("{bad:?}")
        };
        assert_eq!(object, ObjectRef { kind: Kind::IPAddressPool, name: "p".into() });
        assert_eq!(faults[0].field, "spec.addresses[1]");
        assert!(
            matches!(change(Kind::IPAddressPool, Event::Delete(bad)), Some(Change::Pool(name, None)) if name == "p")
        );
    }

    #[test]
    fn a_version_that_is_too_old_is_no_failure() {
        let said = |code| {
            let mut status = kube::core::Status::default();
            (status.code, status.message) = (code, "too old resource version: 190 (213)".into());
            Error::WatchError(Box::new(status))
        };
        assert!(is_expired(&said(410)));
        assert!(!is_expired(&said(500)) && !is_expired(&Error::NoResourceVersion));
    }

    #[test]
    fn pauses_grow_to_five_seconds_and_differ() {
        let many: Vec<Vec<Duration>> = (0..20).map(|_| pauses().take(100).collect()).collect();
        for pauses in &many {
            assert_eq!(pauses.len(), 100, "it goes on for ever");
            assert!(pauses[0] >= RETRY.0 && pauses[0] <= RETRY.0 * 2, "{pauses:?}");
            assert!(pauses[5..].iter().all(|pause| *pause >= RETRY.1 && *pause <= RETRY.1 * 2), "{pauses:?}");
        }
        assert!(many.iter().any(|pauses| pauses[9] != many[0][9]), "no two programs at once");
    }

    #[test]
    fn who_is_refused_asks_less_often_than_who_hears_nothing() {
        let status = |code: u16| kube::Error::Api(kube::core::Status { code, ..Default::default() }.into());
        for (code, refused) in [(403, true), (404, true), (429, true), (500, false), (503, false)] {
            assert_eq!(is_refused(&Error::InitialListFailed(status(code))), refused, "{code}");
            assert_eq!(is_refused(&Error::WatchStartFailed(status(code))), refused, "{code}");
        }
        assert!(!is_refused(&Error::WatchFailed(kube::Error::Service("connection refused".into()))));
    }

    #[test]
    fn a_listing_is_told_as_one() {
        assert!(matches!(change(Kind::Node, Event::Init), Some(Change::Listing(Kind::Node))));
        assert!(matches!(change(Kind::Node, Event::InitDone), Some(Change::Synced(Kind::Node))));
    }

    #[test]
    fn every_kind_but_files_has_a_resource() {
        let crd = resource(Kind::BGPPeer).unwrap();
        assert_eq!((crd.plural.as_str(), crd.api_version.as_str()), ("bgppeers", "metallb.io/v1beta2"));
        assert_eq!(resource(Kind::EndpointSlice).unwrap().plural, "endpointslices");
        assert_eq!(resource(Kind::FRRConfiguration).unwrap().plural, "frrconfigurations");
        assert!(resource(Kind::File).is_none());
    }
}
