//! What is known of a Node.

use super::Labels;
use crate::names::NodeName;
use k8s_openapi::api::core::v1 as core;
use std::net::IpAddr;

/// The label that keeps load balancers away from a node, by its presence.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The annotation that asks a node's speaker to leave, by the value `true`.
pub const DRAIN: &str = "ferrolb.io/drain";

/// The facts of a Node. Readiness is none: it moves no address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is `True`.
    pub network_unavailable: bool,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Its annotation `ferrolb.io/router-id`, as written.
    pub router_id: Option<Box<str>>,
    /// Whether somebody asked for it to be drained.
    pub drained: bool,
    /// `spec.unschedulable`. Moves an address only where `--drain-on=cordon` says so.
    pub cordoned: bool,
}

impl Node {
    /// The annotation that gives the BGP identifier of a node's sessions.
    pub const ROUTER_ID: &str = "ferrolb.io/router-id";

    /// The facts of `node`.
    #[must_use]
    pub fn observe(node: &core::Node) -> (NodeName, Self) {
        let status = node.status.as_ref();
        let unavailable = |c: &core::NodeCondition| c.type_ == "NetworkUnavailable" && c.status == "True";
        let facts = Self {
            labels: node.metadata.labels.clone().unwrap_or_default().into(),
            network_unavailable: status
                .and_then(|s| s.conditions.as_ref())
                .is_some_and(|c| c.iter().any(unavailable)),
            addresses: status
                .and_then(|s| s.addresses.as_ref())
                .into_iter()
                .flatten()
                .filter(|a| a.type_ == "InternalIP")
                .filter_map(|a| a.address.parse().ok())
                .collect(),
            router_id: node
                .metadata
                .annotations
                .as_ref()
                .and_then(|a| a.get(Self::ROUTER_ID))
                .map(|id| id.as_str().into()),
            drained: node
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(DRAIN))
                .is_some_and(|value| value == "true"),
            cordoned: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default(),
        };
        (node.metadata.name.as_deref().unwrap_or_default().into(), facts)
    }

    /// Whether its labels keep load balancers away.
    #[must_use]
    pub fn excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The facts of a Node with this beside its name.
    fn observe(
        metadata: &serde_json::Value,
        spec: &serde_json::Value,
        conditions: &serde_json::Value,
    ) -> Node {
        let mut metadata = metadata.clone();
        metadata.as_object_mut().unwrap().insert("name".into(), "n".into());
        let node = json!({"metadata": metadata, "spec": spec, "status": {"conditions": conditions}});
        let (name, facts) = Node::observe(&serde_json::from_value(node).unwrap());
        assert_eq!(name.as_str(), "n");
        facts
    }

    #[test]
    fn a_condition_says_that_the_network_is_not_there() {
        for (conditions, unavailable) in [
            (json!([]), false),
            (json!([{"type": "NetworkUnavailable", "status": "True"}]), true),
            (json!([{"type": "NetworkUnavailable", "status": "False"}]), false),
            (json!([{"type": "NetworkUnavailable", "status": "Unknown"}]), false),
            (json!([{"type": "Ready", "status": "False"}]), false),
            (
                json!([{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "True"}]),
                true,
            ),
        ] {
            let facts = observe(&json!({}), &json!({}), &conditions);
            assert_eq!(facts, Node { network_unavailable: unavailable, ..Node::default() }, "{conditions}");
        }
    }

    #[test]
    fn who_carries_no_traffic() {
        let exclude = |value: &str| json!({"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": value}});
        let drain = |value: &str| json!({"annotations": {"ferrolb.io/drain": value}});
        for (metadata, spec, is) in [
            (json!({}), json!({}), (false, false, false)),
            (exclude(""), json!({}), (true, false, false)),
            (exclude("false"), json!({}), (true, false, false)),
            (
                json!({"labels": {"exclude-from-external-load-balancers": ""}}),
                json!({}),
                (false, false, false),
            ),
            (drain("true"), json!({}), (false, true, false)),
            (drain("false"), json!({}), (false, false, false)),
            (json!({}), json!({"unschedulable": true}), (false, false, true)),
        ] {
            let facts = observe(&metadata, &spec, &json!([]));
            assert_eq!((facts.excluded(), facts.drained, facts.cordoned), is, "{metadata} {spec}");
        }
    }
}
