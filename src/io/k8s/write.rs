//! The writer of Services' statuses: the only part that changes a Service.
//!
//! One patch of `services/status` puts the addresses and the annotation beside them. Where that right is missing, as in
//! MetalLB's own RBAC, which has `update` alone, the Service is read, as plain JSON so that fields of newer Kubernetes
//! survive, and replaced: one request more. Where neither right is there, the next write tries both again, so that a
//! repaired role needs no restart. Nothing is written over a version that the decision did not see.

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
    api::{ApiResource, Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
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
    let may_patch = Arc::new(AtomicBool::new(true));
    let mut open = true;
    while open || !writes.is_empty() {
        tokio::select! {
            status = from.recv(), if open && writes.len() < CONCURRENCY => match status {
                None => open = false,
                Some(status) => {
                    let (client, may_patch) = (client.clone(), Arc::clone(&may_patch));
                    writes.spawn(async move {
                        let result = write(&client, &may_patch, &status).await;
                        Wrote { key: status.key, result }
                    });
                }
            },
            Some(wrote) = writes.join_next() => {
                let wrote = wrote?;
                tracing::debug!(service = %wrote.key, "status written");
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
                tracing::error!(%service, %why, "may not write statuses: our ServiceAccount needs patch on services/status, or get on services and update on services/status");
            }
            Err(Refused::Failed(why)) if !std::mem::replace(&mut self.0, true) => {
                tracing::warn!(%service, %why, "cannot write a status, trying again");
            }
            Ok(_) if std::mem::take(&mut self.0) => tracing::info!(%service, "statuses can be written again"),
            _ => {}
        }
    }
}

async fn write(client: &Client, may_patch: &AtomicBool, status: &Status) -> Result<Change, Refused> {
    let ServiceKey { namespace, name } = &status.key;
    let resource = ApiResource::erase::<core::Service>(&());
    let api = Api::<Raw>::namespaced_with(client.clone(), namespace.as_str(), &resource);
    if may_patch.load(Ordering::Relaxed) {
        let patch = Patch::Merge(patch(status));
        match within(api.patch_status(name, &PatchParams::default(), &patch)).await {
            Ok(written) => return answer(written),
            Err(Fault::Forbidden(_)) => may_patch.store(false, Ordering::Relaxed),
            Err(fault) => return Err(fault.into()),
        }
    }
    let replaced = replace(&api, status).await;
    if matches!(replaced, Err(Refused::Forbidden(_))) {
        may_patch.store(true, Ordering::Relaxed);
    }
    replaced
}

/// Reads the Service and replaces its status: what MetalLB's role allows.
async fn replace(api: &Api<Raw>, status: &Status) -> Result<Change, Refused> {
    let name = &status.key.name;
    let mut service = within(api.get(name)).await?;
    if service.metadata.resource_version.as_deref() != Some(&*status.version) {
        return Err(Refused::Conflict);
    }
    if !set(&mut service.object, &status.ips, status.pool.as_ref().map(PoolName::as_str)) {
        return answer(service);
    }
    answer(within(api.replace_status(name, &PostParams::default(), &service)).await?)
}

/// The status as a merge patch (RFC 7386) on the version that it was decided on.
fn patch(status: &Status) -> Value {
    let ingress: Vec<Value> = status.ips.iter().map(|ip| json!({ "ip": ip })).collect();
    json!({
        "metadata": {
            "resourceVersion": status.version,
            "annotations": { ALLOCATED_FROM: status.pool.as_ref().map(PoolName::as_str) },
        },
        "status": { "loadBalancer": { "ingress": if ingress.is_empty() { Value::Null } else { ingress.into() } } },
    })
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
            Fault::Conflict => Self::Conflict,
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
    fn a_patch_says_all_of_it_and_the_version() {
        let mut status = Status {
            key: ServiceKey::new("n", "a"),
            version: "7".into(),
            ips: ips(&["10.0.0.1", "fd00::1"]),
            pool: Some("p".into()),
        };
        assert_eq!(
            patch(&status),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": "p"}},
                "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}})
        );
        (status.ips, status.pool) = (vec![], None);
        assert_eq!(
            patch(&status),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": null}},
                "status": {"loadBalancer": {"ingress": null}}})
        );
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
