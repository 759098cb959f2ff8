//! The writer of our FRRConfiguration, for an frr-k8s that drives FRR in our place.
//!
//! It keeps the object's spec what it must be: made where it is not there, put right when somebody edits it or takes it
//! away, never written when nothing differs, never deleted. Nothing is written before it was asked for once.

use super::{brief, raw::Raw, watch::is_missing};
use crate::api::FRRConfiguration;
use anyhow::Context;
use futures_util::StreamExt;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::sync::watch::Receiver;

/// The most that one request may take; the client has no limit of its own.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps the object `name` in `namespace` what is wanted, until nobody wants anything any more.
///
/// # Errors
/// When the watch ended by itself, which is a bug.
pub async fn run(
    client: Client,
    namespace: &str,
    name: &str,
    mut wanted: Receiver<Option<Arc<FRRConfiguration>>>,
) -> anyhow::Result<()> {
    let resource = ApiResource::erase::<FRRConfiguration>(&());
    let api = Api::<Raw>::namespaced_with(client, namespace, &resource);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api.clone(), only));
    let mut keeper = Keeper { api, namespace, name, seen: None, failing: false };
    // Nothing is known before the first listing is over, and during another one.
    let mut listing = true;
    loop {
        let mut pause = None;
        let changed = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => true,
                Err(_) => return Ok(()),
            },
            event = events.next() => match event.context("the watch of our FRRConfiguration ended")? {
                Ok(Event::Init) => {
                    (listing, keeper.seen) = (true, None);
                    false
                }
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    keeper.seen = Some(object);
                    true
                }
                Ok(Event::Delete(_)) => {
                    keeper.seen = None;
                    true
                }
                Ok(Event::InitDone) => {
                    listing = false;
                    true
                }
                Err(fault) => {
                    let why = if is_missing(&fault) {
                        "the CRD frrconfigurations.frrk8s.metallb.io is missing: install frr-k8s".to_owned()
                    } else {
                        fault.to_string()
                    };
                    keeper.fails(&why);
                    pause = Some(PAUSE);
                    false
                }
            },
        };
        let object = wanted.borrow_and_update().clone();
        if let Some(object) = object.filter(|_| changed && !listing)
            && !keeper.keep(&object).await
        {
            pause = Some(PAUSE);
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
            // what failed is tried again, whether or not something is new
            wanted.mark_changed();
        }
    }
}

struct Keeper<'a> {
    api: Api<Raw>,
    namespace: &'a str,
    name: &'a str,
    /// The object as the API server has it.
    seen: Option<Raw>,
    failing: bool,
}

impl Keeper<'_> {
    /// Writes `wanted` unless it is there; whether it is there now.
    async fn keep(&mut self, wanted: &FRRConfiguration) -> bool {
        let Ok(spec) = serde_json::to_value(&wanted.spec) else { return true };
        if self.seen.as_ref().is_some_and(|seen| says(&seen.object, &spec)) {
            return true;
        }
        let body = self.body(&spec);
        let params = PostParams::default();
        let request = async {
            match &self.seen {
                None => self.api.create(&params, &body).await,
                Some(_) => self.api.replace(self.name, &params, &body).await,
            }
        };
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(Ok(written)) => {
                let name = self.name;
                if std::mem::take(&mut self.failing) {
                    tracing::info!(name, "our FRRConfiguration can be written again");
                }
                tracing::info!(name, namespace = self.namespace, "FRRConfiguration written for frr-k8s");
                if !says(&written.object, &spec) {
                    tracing::warn!(
                        name,
                        "the API server has dropped fields of our FRRConfiguration: the CRD is older"
                    );
                }
                self.seen = Some(written);
                true
            }
            // somebody was faster: the watch brings what they wrote
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => true,
            Ok(Err(fault)) => {
                self.fails(&brief(&fault));
                false
            }
            Err(_) => {
                self.fails("no answer");
                false
            }
        }
    }

    /// What is sent: a new object, or the one that is there with another spec.
    fn body(&self, spec: &Value) -> Raw {
        let mut body = self.seen.clone().unwrap_or_else(|| {
            let object = json!({
                "apiVersion": FRRConfiguration::api_version(&()), "kind": FRRConfiguration::kind(&()),
                "metadata": {"name": self.name, "namespace": self.namespace},
            });
            Raw { metadata: kube::core::ObjectMeta::default(), object }
        });
        if let Some(fields) = body.object.as_object_mut() {
            fields.insert("spec".into(), spec.clone());
        }
        body
    }

    /// Once per outage.
    fn fails(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let (name, namespace) = (self.name, self.namespace);
            tracing::error!(
                name,
                namespace,
                why,
                "our FRRConfiguration cannot be written for frr-k8s: our ServiceAccount needs list, watch, create and update on frrconfigurations there; trying again"
            );
        }
    }
}

/// Whether the object says what is wanted: what an API server fills in is no difference.
fn says(object: &Value, spec: &Value) -> bool {
    let read = |spec: &Value| serde_json::from_value::<crate::api::FRRConfigurationSpec>(spec.clone()).ok();
    let is = object.get("spec").and_then(read);
    is.is_some() && is == read(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let wanted = json!({"bgp": {"routers": [{"asn": 1, "neighbors": [{"asn": 2, "address": "10.0.0.1", "port": 179}]}]}});
        let mut there = json!({"spec": wanted.clone()});
        there["spec"]["bgp"]["routers"][0]["neighbors"][0]["addressFamilies"] = json!(["unicast"]);
        there["spec"]["bgp"]["routers"][0]["neighbors"][0]["toReceive"] =
            json!({"allowed": {"mode": "filtered"}});
        there["spec"]["raw"] = json!({});
        assert!(says(&there, &wanted));
        there["spec"]["bgp"]["routers"][0]["neighbors"][0]["port"] = json!(1179);
        assert!(!says(&there, &wanted));
        assert!(!says(&json!({}), &wanted));
        assert!(!says(&json!({"spec": {"bgp": 7}}), &wanted));
    }
}
