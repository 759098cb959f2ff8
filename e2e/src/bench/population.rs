//! Services by the thousand, each with an EndpointSlice that has one ready endpoint on the node.
//!
//! They select no Pods, so that no controller writes their slices: the bench does, before the Service, as a
//! Deployment's Pods are usually there before anyone asks for an address.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
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
