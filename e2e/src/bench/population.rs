//! Services by the thousand, each with an EndpointSlice that has one ready endpoint on the node.
//!
//! They select no Pods, so that no controller writes their slices: the bench does, before the Service, as a
//! Deployment's Pods are usually there before anyone asks for an address.

use std::{collections::BTreeSet, pin::pin, time::SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use ferrolb::api::ServiceBGPStatus;
use futures_util::TryStreamExt as _;
use k8s_openapi::api::{
    core::v1::{Event, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::task::JoinSet;

const NAMESPACE: &str = "default";
const WORKERS: usize = 32;

/// Makes the Services `svc-<number>` of a range of numbers.
pub(super) async fn create(client: &Client, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let client = client.clone();
        let mine: Vec<usize> = numbers.clone().skip(worker).step_by(WORKERS).collect();
        workers.spawn(async move {
            for number in mine {
                let name = format!("svc-{number}");
                create_slice(&client, &name).await?;
                create_service(&client, &name).await?;
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| anyhow!("{error}"))??;
    }
    Ok(())
}

/// How new the API server's Services are.
pub(super) async fn version(client: &Client) -> Result<String> {
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let list = api.list_metadata(&ListParams::default().limit(1)).await.context("list Services")?;
    list.metadata.resource_version.context("a list without a version")
}

/// When the API server told of the last of these many Services that were given an address after `version`.
pub(super) async fn last_served(client: &Client, version: &str, count: usize) -> Result<SystemTime> {
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let mut events = pin!(api.watch(&WatchParams::default(), version).await.context("watch Services")?);
    let mut served = BTreeSet::new();
    while let Some(event) = events.try_next().await.context("watch Services")? {
        let (WatchEvent::Added(service) | WatchEvent::Modified(service)) = event else { continue };
        let ingress = service.status.and_then(|status| status.load_balancer?.ingress);
        if ingress.is_some_and(|ingress| !ingress.is_empty()) {
            served.insert(service.metadata.name);
        }
        if served.len() >= count {
            return Ok(SystemTime::now());
        }
    }
    bail!("the API server ended the watch")
}

/// Whether these many Services say that these many peers were told of them. The first page on which one does not is the
/// last that the API server is asked for.
pub(super) async fn told(client: &Client, services: usize, peers: usize) -> Result<bool> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<ServiceBGPStatus>(&()));
    let (mut page, mut seen) = (ListParams::default().limit(500), 0);
    loop {
        let list = api.list(&page).await.context("list ServiceBGPStatuses")?;
        seen += list.items.len();
        let named = |object: &DynamicObject| {
            let names = object.data.pointer("/status/peers").and_then(|peers| peers.as_array());
            names.map_or(0, Vec::len)
        };
        if !list.iter().all(|object| named(object) == peers) {
            return Ok(false);
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(seen == services),
        }
    }
}

/// How many events there are of Services.
pub(super) async fn events(client: &Client) -> Result<usize> {
    let api: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let list = api.list_metadata(&ListParams::default().limit(1)).await.context("list events")?;
    let rest = list.metadata.remaining_item_count.unwrap_or_default();
    Ok(list.items.len() + usize::try_from(rest)?)
}

/// Writes the EndpointSlice of a Service.
pub(super) async fn create_slice(client: &Client, name: &str) -> Result<()> {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": true}}],
    }))?;
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &slice).await.with_context(|| format!("create the slice {name}"))?;
    Ok(())
}

/// Writes a Service of type LoadBalancer.
pub(super) async fn create_service(client: &Client, name: &str) -> Result<()> {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer",
            // there are fewer node ports than Services here
            "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }))?;
    let api: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &service)
        .await
        .with_context(|| format!("create the Service {name}"))?;
    Ok(())
}

/// Deletes a Service and its slice.
pub(super) async fn delete(client: &Client, name: &str) -> Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    services.delete(name, &DeleteParams::default()).await.with_context(|| format!("delete {name}"))?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    slices
        .delete(name, &DeleteParams::default())
        .await
        .with_context(|| format!("delete the slice {name}"))?;
    Ok(())
}
