//! The writer of Services' statuses: the only part that changes a Service.
//!
//! Reads the Service as it is, as plain JSON so that fields of newer Kubernetes survive, and replaces its status with
//! the annotation beside it: `services/status` `update` is the one right that MetalLB's RBAC has. Nothing is written
//! over a version that the decision did not see, and nothing when nothing would change.

use super::{brief, raw::Raw};
use crate::{
    config::Kind,
    io::{
        observe::{Change, decode},
        write::{Refused, Status, Wrote},
    },
    names::{PoolName, ServiceKey},
    world::{Origin, annotations::ALLOCATED_FROM},
};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    api::{ApiResource, PostParams},
};
use serde_json::{Map, Value, json};
use std::{net::IpAddr, time::Duration};
use tokio::{
    sync::mpsc::{Receiver, Sender},
    task::JoinSet,
};

/// Writes in flight.
const CONCURRENCY: usize = 8;

/// The most that one request may take; the client has no limit of its own.
const DEADLINE: Duration = Duration::from_secs(10);

/// Carries out every [`Status`] and tells what became of it, in any order; returns when no more can come.
///
/// Idempotent: a status that the Service has already is not written. Cancelled in the middle, a write has happened or
/// not, and the watch tells which.
///
/// # Errors
/// When a write panicked.
pub async fn run(client: Client, mut from: Receiver<Status>, to: Sender<Wrote>) -> anyhow::Result<()> {
    let mut writes = JoinSet::new();
    let mut outage = Outage::default();
    let mut open = true;
    while open || !writes.is_empty() {
        tokio::select! {
            status = from.recv(), if open && writes.len() < CONCURRENCY => match status {
                None => open = false,
                Some(status) => {
                    let client = client.clone();
                    writes.spawn(async move {
                        let result = write(&client, &status).await;
                        Wrote { key: status.key, result }
                    });
                }
            },
            Some(wrote) = writes.join_next() => {
                let wrote = wrote?;
                outage.note(&wrote);
                if to.send(wrote).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Whether writes fail, so that it is logged when that begins and when it ends, not for each of thousands.
#[derive(Default)]
struct Outage(bool);

impl Outage {
    fn note(&mut self, wrote: &Wrote) {
        let service = &wrote.key;
        match &wrote.result {
            Err(Refused::Forbidden(why)) if !std::mem::replace(&mut self.0, true) => {
                tracing::error!(%service, %why, "may not write statuses: our ServiceAccount needs get on services and update on services/status");
            }
            Err(Refused::Failed(why)) if !std::mem::replace(&mut self.0, true) => {
                tracing::warn!(%service, %why, "cannot write a status, trying again");
            }
            Ok(_) if std::mem::take(&mut self.0) => tracing::info!(%service, "statuses can be written again"),
            _ => {}
        }
    }
}

async fn write(client: &Client, status: &Status) -> Result<Change, Refused> {
    let ServiceKey { namespace, name } = &status.key;
    let resource = ApiResource::erase::<core::Service>(&());
    let api = Api::<Raw>::namespaced_with(client.clone(), namespace.as_str(), &resource);
    let mut service = within(api.get(name)).await?;
    if service.metadata.resource_version.as_deref() != Some(&*status.version) {
        return Err(Refused::Conflict(answer(service)?));
    }
    if !set(&mut service.object, &status.ips, status.pool.as_ref().map(PoolName::as_str)) {
        return answer(service);
    }
    match within(api.replace_status(name, &PostParams::default(), &service)).await {
        Ok(written) => answer(written),
        // Somebody was faster, between our two requests: what is there now is the news.
        Err(Fault::Conflict) => Err(Refused::Conflict(answer(within(api.get(name)).await?)?)),
        Err(fault) => Err(fault.into()),
    }
}

/// Why one request failed.
enum Fault {
    Conflict,
    Gone,
    Forbidden(String),
    Failed(String),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Conflict => Self::Failed("a read was answered with a conflict".into()),
            Fault::Gone => Self::Gone,
            Fault::Forbidden(why) => Self::Forbidden(why),
            Fault::Failed(why) => Self::Failed(why),
        }
    }
}

/// One request within its deadline.
async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(DEADLINE, request).await {
        Err(_) => Err(Fault::Failed(format!("no answer within {} s", DEADLINE.as_secs()))),
        Ok(Ok(object)) => Ok(object),
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Err(Fault::Gone),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Err(Fault::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(Fault::Forbidden(status.message.clone()))
        }
        Ok(Err(fault)) => Err(Fault::Failed(brief(&fault))),
    }
}

/// What the API server answered, as news.
fn answer(service: Raw) -> Result<Change, Refused> {
    match decode(Kind::Service, service.object, Origin::Api) {
        Ok(Some(Change::Service(key, Some(facts)))) => Ok(Change::Wrote(key, facts)),
        Ok(_) => Err(Refused::Failed("the answer is not a Service".into())),
        Err(why) => Err(Refused::Failed(format!("the answer does not decode: {why}"))),
    }
}

/// Puts addresses and pool into `service`; `false` when they were there. What the API server fills in beside an
/// address (`ipMode`) is no difference.
fn set(service: &mut Value, ips: &[IpAddr], pool: Option<&str>) -> bool {
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let had = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let same_ips = had.map_or(0, Vec::len) == ips.len()
        && had.into_iter().flatten().zip(&ips).all(|(had, ip)| {
            had.get("ip").and_then(Value::as_str) == Some(ip) && had.get("hostname").is_none()
        });
    let annotation = service.pointer("/metadata/annotations").and_then(|a| a.get(ALLOCATED_FROM));
    if same_ips && annotation.and_then(Value::as_str) == pool {
        return false;
    }
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
    let balancer = if ingress.is_empty() { json!({}) } else { json!({ "ingress": ingress }) };
    *object(object(service, "status"), "loadBalancer") = balancer;
    let annotations = object(object(service, "metadata"), "annotations");
    if let Some(annotations) = annotations.as_object_mut() {
        match pool {
            Some(pool) => annotations.insert(ALLOCATED_FROM.into(), pool.into()),
            None => annotations.remove(ALLOCATED_FROM),
        };
    }
    true
}

/// The member `name` of `value`, an object, made where it is not.
fn object<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let member = match value {
        Value::Object(members) => members.entry(name).or_insert(Value::Null),
        other => other,
    };
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_status_is_replaced_and_the_rest_survives() {
        let mut service = json!({
            "metadata": {"name": "a", "annotations": {"theirs": "x"}, "unknown": 1},
            "spec": {"future": true}, "status": {"conditions": [1]}});
        assert!(set(&mut service, &ips(&["10.0.0.1", "fd00::1"]), Some("p")));
        assert_eq!(
            service,
            json!({
                "metadata": {"name": "a", "unknown": 1,
                    "annotations": {"theirs": "x", "metallb.io/ip-allocated-from-pool": "p"}},
                "spec": {"future": true},
                "status": {"conditions": [1], "loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}})
        );
        assert!(!set(&mut service, &ips(&["10.0.0.1", "fd00::1"]), Some("p")), "there already");
        assert!(set(&mut service, &[], None));
        assert_eq!(service["status"]["loadBalancer"], json!({}));
        assert_eq!(service["metadata"]["annotations"], json!({"theirs": "x"}));
        assert!(!set(&mut service, &[], None));
    }

    #[test]
    fn what_counts_as_a_difference() {
        let with = |entry: Value| json!({"status": {"loadBalancer": {"ingress": [entry]}}});
        for (entry, differs) in [
            (json!({"ip": "10.0.0.1", "ipMode": "VIP"}), false),
            (json!({"ip": "10.0.0.2"}), true),
            (json!({"hostname": "h"}), true),
            (json!({"ip": "10.0.0.1", "hostname": "h"}), true),
        ] {
            assert_eq!(set(&mut with(entry.clone()), &ips(&["10.0.0.1"]), None), differs, "{entry}");
        }
        let mut with_null = json!({"metadata": {"annotations": null}, "status": null});
        assert!(set(&mut with_null, &ips(&["10.0.0.1"]), Some("p")));
        assert_eq!(with_null["metadata"]["annotations"][ALLOCATED_FROM], "p");
    }
}
