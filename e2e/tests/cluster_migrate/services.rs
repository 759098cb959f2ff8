//! The Services of the cluster that moves: every way to get an address, and one that gets none.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use ferrolb_e2e::cluster::Cluster;
use serde_json::{Value, json};

/// The one whose pool is full.
pub(crate) const PENDING: &str = "default/lone-second";

/// What a Service says of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The whole of `status.loadBalancer.ingress`.
    pub(crate) ingress: Vec<Value>,
    /// `metallb.io/ip-allocated-from-pool`.
    pub(crate) pool: Option<String>,
}

/// Name, annotations, and what its spec has beside the usual.
type Row = (&'static str, &'static [(&'static str, &'static str)], Value);

const REQUEST: &str = "metallb.io/loadBalancerIPs";
const POOL: &str = "metallb.io/address-pool";
const SHARE: &str = "metallb.io/allow-shared-ip";

fn rows() -> Vec<Row> {
    let both = || json!({"ipFamilyPolicy": "RequireDualStack"});
    let one = || json!({});
    let v6 = || json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]});
    vec![
        ("leaves", &[], both()),
        ("both", &[], both()),
        ("four", &[], one()),
        ("six", &[], v6()),
        ("prefers", &[], json!({"ipFamilyPolicy": "PreferDualStack"})),
        ("local", &[], json!({"ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": "Local"})),
        ("asks", &[(REQUEST, "10.98.0.15")], one()),
        ("asks-both", &[(REQUEST, "10.99.0.9,fd00:99::9")], both()),
        ("asks-in-spec", &[], json!({"loadBalancerIP": "10.98.0.17"})),
        ("asks-pool", &[(POOL, "ranges")], both()),
        ("asks-pool-old", &[("metallb.universe.tf/address-pool", "ranges")], one()),
        ("shares-a", &[(SHARE, "one"), (REQUEST, "10.98.0.12")], one()),
        (
            "shares-b",
            &[(SHARE, "one"), (REQUEST, "10.98.0.12")],
            json!({"ports": [{"port": 81, "targetPort": 8080}]}),
        ),
        ("pinned", &[], one()),
        ("flat", &[(POOL, "flat")], one()),
        ("lone-first", &[(POOL, "lone")], one()),
        ("lone-second", &[(POOL, "lone")], one()),
    ]
}

/// Applies them, one after the other, waits until all but [`PENDING`] have what they want, and takes one away again so
/// that a lower address is free.
pub(crate) fn create(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    for (name, annotations, extra) in rows() {
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut spec = json!({
            "type": "LoadBalancer", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
        });
        if let (Some(spec), Value::Object(extra)) = (spec.as_object_mut(), extra) {
            spec.extend(extra);
        }
        kubectl.apply(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "namespace": "default",
                "annotations": annotations, "labels": {"name": name},
            }, "spec": spec,
        }))?;
        // in this order: who comes second to the lone address shall not be first
        let key = format!("default/{name}");
        if key != PENDING {
            ferrolb_e2e::wait::until_true(crate::DEADLINE, &format!("the addresses of {key}"), || {
                Ok(held(cluster)?.get(&key).is_some_and(|held| !held.ingress.is_empty()))
            })?;
        }
    }
    kubectl.run(&["-n", "default", "delete", "service", "leaves"]).map(drop)
}

/// What all Services of type LoadBalancer hold.
pub(crate) fn held(cluster: &Cluster) -> Result<BTreeMap<String, Held>> {
    let services = cluster.kubectl().get(&["services", "--all-namespaces"])?;
    let services = services.get("items").and_then(Value::as_array).context("a list without items")?;
    let balanced = services.iter().filter(|service| is_balanced(service));
    balanced.map(|service| Ok((key(service)?, Held::of(service)))).collect()
}

/// Whether it is of type LoadBalancer.
pub(crate) fn is_balanced(service: &Value) -> bool {
    service.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer")
}

/// `namespace/name`.
pub(crate) fn key(object: &Value) -> Result<String> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").context("an object without namespace")?;
    Ok(format!("{namespace}/{}", text("/metadata/name").context("an object without name")?))
}

impl Held {
    pub(crate) fn of(service: &Value) -> Self {
        let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        let pool = service.pointer("/metadata/annotations/metallb.io~1ip-allocated-from-pool");
        Self {
            ingress: ingress.cloned().unwrap_or_default(),
            pool: pool.and_then(Value::as_str).map(str::to_owned),
        }
    }

    /// The addresses in text, in order.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        self.ingress.iter().filter_map(|entry| entry.get("ip")?.as_str()).collect()
    }
}
