//! JSON of one object to its [`Change`], the same for an API server's answer and for a manifest.
//!
//! What is not needed goes here: managed fields, statuses of our own kinds, everything of the core kinds but the
//! facts. A fault names its field.

use super::{Change, strict::Strict};
use crate::{
    api,
    config::{Kind, Unreadable},
    names::ServiceKey,
    world::{Node, Origin, Secret, Service, Slice},
};
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The ConfigMap with text for the end of FRR's configuration, under the key `extras`: MetalLB's name for it.
pub const EXTRAS: &str = "bgpextras";

/// Reads `object`, which is of `kind`; `None` for one that says nothing to us (a slice of no Service).
///
/// # Errors
/// The path of the field that does not fit, and why.
pub fn decode(kind: Kind, object: Value, origin: Origin) -> Result<Option<Change>, Unreadable> {
    Ok(Some(match kind {
        Kind::Service => {
            let (key, facts) = Service::observe(read(object)?, origin);
            Change::Service(key, Some(Box::new(facts)))
        }
        Kind::EndpointSlice => {
            let slice: EndpointSlice = read(object)?;
            let namespace = slice.metadata.namespace.as_deref().unwrap_or("default").into();
            let name = slice.metadata.name.as_deref().unwrap_or_default().into();
            let facts = Slice::observe(&slice).map(|(owner, _, facts)| (owner, facts));
            Change::Slice(namespace, name, facts)
        }
        Kind::Node => {
            let (name, facts) = Node::observe(&read(object)?);
            Change::Node(name, Some(facts))
        }
        Kind::Namespace => {
            let namespace: core::Namespace = read(object)?;
            Change::Namespace(
                namespace.name_any().into(),
                Some(namespace.metadata.labels.unwrap_or_default().into()),
            )
        }
        Kind::IPAddressPool => config(object, Change::Pool)?,
        Kind::L2Advertisement => config(object, Change::L2Advertisement)?,
        Kind::BGPAdvertisement => config(object, Change::BgpAdvertisement)?,
        Kind::BGPPeer => config(object, Change::Peer)?,
        Kind::BFDProfile => config(object, Change::BfdProfile)?,
        Kind::Community => config(object, Change::Community)?,
        Kind::FRRConfiguration => config(object, Change::FrrConfiguration)?,
        Kind::ConfigMap => {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
            match text("/metadata/name") {
                // of all the others nothing is kept
                Some(name) if name == EXTRAS => match object.pointer("/data/extras") {
                    Some(value) if !value.is_string() && !value.is_null() => {
                        return Err(Unreadable::new("data.extras", "must be a text"));
                    }
                    _ => Change::Extras(name, Some(text("/data/extras").unwrap_or_default())),
                },
                _ => return Ok(None),
            }
        }
        Kind::Secret => {
            let (name, facts) = Secret::observe(&object);
            Change::Secret(name, Some(facts))
        }
        Kind::File => return Ok(None),
    }))
}

/// The fields of `object`, which is of `kind`, that no version of the kind has: an API server's client would have been
/// warned of them. Those of a status are none of a user's; what does not decode at all is [`decode`]'s to say.
pub fn unknown(kind: Kind, object: &Value) -> Vec<String> {
    let found = match kind {
        Kind::Service => ignored::<core::Service>(object),
        Kind::EndpointSlice => ignored::<EndpointSlice>(object),
        Kind::Node => ignored::<core::Node>(object),
        Kind::Namespace => ignored::<core::Namespace>(object),
        Kind::IPAddressPool => ignored::<api::IPAddressPool>(object),
        Kind::L2Advertisement => ignored::<api::L2Advertisement>(object),
        Kind::BGPAdvertisement => ignored::<api::BGPAdvertisement>(object),
        Kind::BGPPeer => ignored::<api::BGPPeer>(object),
        Kind::BFDProfile => ignored::<api::BFDProfile>(object),
        Kind::Community => ignored::<api::Community>(object),
        Kind::FRRConfiguration => ignored::<api::FRRConfiguration>(object),
        Kind::Secret => ignored::<core::Secret>(object),
        Kind::ConfigMap => ignored::<core::ConfigMap>(object),
        Kind::File => Vec::new(),
    };
    // Who read them to find the kind has read them, though a type of ours does not.
    let read = |path: &str| matches!(path, "apiVersion" | "kind" | "status") || path.starts_with("status.");
    found.into_iter().filter(|path| !read(path)).collect()
}

fn ignored<T: DeserializeOwned>(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    // The object itself is not wanted, and a fault of it is told by who wants it.
    let _ = serde_ignored::deserialize::<_, _, T>(object, |path| found.push(written(&path)));
    found
}

/// A path as faults have it: `spec.addresses[1]`.
fn written(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Path::Map { parent, key } => match written(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            written(parent)
        }
    }
}

/// The change that says that the object is gone; `None` where the kind has no objects.
#[must_use]
pub fn removed(kind: Kind, namespace: &str, name: &str) -> Option<Change> {
    let text = name.to_owned();
    Some(match kind {
        Kind::Service => Change::Service(ServiceKey::new(namespace, name), None),
        Kind::EndpointSlice => Change::Slice(namespace.into(), name.into(), None),
        Kind::Node => Change::Node(name.into(), None),
        Kind::Namespace => Change::Namespace(name.into(), None),
        Kind::IPAddressPool => Change::Pool(text, None),
        Kind::L2Advertisement => Change::L2Advertisement(text, None),
        Kind::BGPAdvertisement => Change::BgpAdvertisement(text, None),
        Kind::BGPPeer => Change::Peer(text, None),
        Kind::BFDProfile => Change::BfdProfile(text, None),
        Kind::Community => Change::Community(text, None),
        Kind::FRRConfiguration => Change::FrrConfiguration(text, None),
        Kind::Secret => Change::Secret(text, None),
        Kind::ConfigMap => Change::Extras(text, None),
        Kind::File => return None,
    })
}

/// Only what users write: a status that we wrote ourselves must not look like a change of configuration.
fn config<K: Resource + DeserializeOwned>(
    mut object: Value,
    change: fn(String, Option<Box<K>>) -> Change,
) -> Result<Change, Unreadable> {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let mut object: K = read(object)?;
    let meta = object.meta_mut();
    let name = meta.name.clone().unwrap_or_default();
    meta.managed_fields = None;
    meta.resource_version = None;
    Ok(change(name, Some(Box::new(object))))
}

fn read<T: DeserializeOwned>(object: Value) -> Result<T, Unreadable> {
    serde_path_to_error::deserialize(Strict(object)).map_err(|fault| {
        let path = fault.path().to_string();
        Unreadable::new(if path == "." { "" } else { &path }, fault.inner())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::observe::Role;
    use serde_json::json;

    #[test]
    fn of_secrets_and_config_maps_only_what_is_ours_is_kept() {
        let read = |kind, object| decode(kind, object, Origin::Api).unwrap();
        let extras = json!({"metadata": {"name": "bgpextras"}, "data": {"extras": "!", "other": "x"}});
        let Some(Change::Extras(name, Some(text))) = read(Kind::ConfigMap, extras) else {
            panic!("no extras")
        };
        assert_eq!((name.as_str(), text.as_str()), ("bgpextras", "!"));
        // whoever writes it elsewhere is to be told
        let nothing = json!({"metadata": {"name": "bgpextras"}, "data": {"frr.conf": "!"}});
        let Some(Change::Extras(_, Some(text))) = read(Kind::ConfigMap, nothing) else { panic!("no extras") };
        assert_eq!(text, "");
        let number = json!({"metadata": {"name": "bgpextras"}, "data": {"extras": 1}});
        let fault = decode(Kind::ConfigMap, number, Origin::Api).unwrap_err();
        assert_eq!(fault.to_string(), "data.extras: must be a text");
        let other = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"extras": "!"}});
        assert!(read(Kind::ConfigMap, other).is_none());
        let secret = json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "eA=="}});
        let told = read(Kind::Secret, secret);
        assert!(matches!(told, Some(Change::Secret(name, Some(Secret::OtherType))) if name == "s"));
    }

    /// Whatever the kind: a list is no map, also an empty one, which serde would take for one with no field in it.
    #[test]
    fn a_list_is_no_map() {
        let refused = |kind, object: Value| match decode(kind, object, Origin::Manifests) {
            Err(fault) => (fault.field, fault.what),
            Ok(_) => panic!("{kind} is taken"),
        };
        let what = "invalid type: sequence, expected a map";
        // of the other two nothing is read by serde
        let kinds = [Role::Controller, Role::Speaker].into_iter().flat_map(Role::kinds).copied();
        for kind in kinds.filter(|kind| !matches!(kind, Kind::Secret | Kind::ConfigMap)) {
            let object = json!({"metadata": []});
            assert_eq!(refused(kind, object), ("metadata".to_owned(), what.to_owned()), "{kind}");
            if kind != Kind::EndpointSlice {
                let object = json!({"metadata": {"name": "a"}, "spec": []});
                assert_eq!(refused(kind, object), ("spec".to_owned(), what.to_owned()), "{kind}");
            }
        }
        for (kind, spec, field) in [
            (Kind::BGPPeer, json!({"myASN": 1, "passwordSecret": []}), "spec.passwordSecret"),
            (Kind::BGPPeer, json!({"myASN": 1, "nodeSelectors": [{}, []]}), "spec.nodeSelectors[1]"),
            (
                Kind::IPAddressPool,
                json!({"addresses": [], "serviceAllocation": [1]}),
                "spec.serviceAllocation",
            ),
            (Kind::Community, json!({"communities": [["a", "1:1"]]}), "spec.communities[0]"),
            (
                Kind::FRRConfiguration,
                json!({"bgp": {"routers": [{"asn": 1, "neighbors": [{"asn": 2, "toReceive": []}]}]}}),
                "spec.bgp.routers[0].neighbors[0].toReceive",
            ),
        ] {
            let object = json!({"metadata": {"name": "a"}, "spec": spec});
            assert_eq!(refused(kind, object), (field.to_owned(), what.to_owned()));
        }
    }

    #[test]
    fn unknown_fields_are_named_by_their_path() {
        for (kind, object, found) in [
            (
                Kind::IPAddressPool,
                json!({"spec": {"addresses": [], "autoAsign": false}}),
                &["spec.autoAsign"][..],
            ),
            (
                Kind::IPAddressPool,
                json!({"spec": {"addresses": [], "serviceAllocation": {"serviceSelectors": [{"matchLables": {}}]}}}),
                &["spec.serviceAllocation.serviceSelectors[0].matchLables"],
            ),
            (
                Kind::L2Advertisement,
                json!({"metadata": {"name": "a", "lables": {"x": "y"}}, "spec": {"interfces": ["eth0"]}}),
                &["metadata.lables", "spec.interfces"],
            ),
            (Kind::BGPPeer, json!({"spec": {"myASN": 1, "srcAddress": "10.0.0.1"}}), &["spec.srcAddress"]),
            (Kind::BGPAdvertisement, json!({"spec": {"peer": ["a"]}, "sepc": {}}), &["sepc", "spec.peer"]),
            (Kind::BFDProfile, json!({"spec": {"detectMultiplyer": 3}}), &["spec.detectMultiplyer"]),
            (
                Kind::Community,
                json!({"spec": {"communities": [{"name": "a", "valu": "1:1"}]}}),
                &["spec.communities[0].valu"],
            ),
            (
                Kind::FRRConfiguration,
                json!({"spec": {"bgp": {"routers": [{"asn": 1, "neighbours": []}]}}}),
                &["spec.bgp.routers[0].neighbours"],
            ),
            (
                Kind::Service,
                json!({"spec": {"sesionAffinity": "None", "ports": [{"port": 80, "targetport": 8080}]}}),
                &["spec.ports[0].targetport", "spec.sesionAffinity"],
            ),
            (Kind::EndpointSlice, json!({"addressType": "IPv4", "endpoint": []}), &["endpoint"]),
            (Kind::Node, json!({"spec": {"podCidr": ""}}), &["spec.podCidr"]),
            (Kind::Namespace, json!({"lables": {}}), &["lables"]),
        ] {
            let mut is = unknown(kind, &object);
            is.sort();
            assert_eq!(is, found, "{kind}");
        }
    }

    /// What `kubectl get -o yaml` says of each kind: with everything that an API server adds.
    #[test]
    fn what_a_server_adds_is_known() {
        let meta = json!({"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 2,
            "creationTimestamp": "2025-01-01T00:00:00Z", "generateName": "a-", "finalizers": ["f"], "selfLink": "",
            "labels": {"any": "x"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "deletionTimestamp": "2025-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "a", "uid": "u", "controller": true,
                "blockOwnerDeletion": true}],
            "managedFields": [{"apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "m", "operation": "Update",
                "subresource": "status", "time": "2025-01-01T00:00:00Z",
                "fieldsV1": {"f:spec": {"f:x": {".": {}}}}}]});
        for (kind, version, rest) in [
            (
                Kind::IPAddressPool,
                "metallb.io/v1beta1",
                json!({"spec": {"addresses": ["10.0.0.0/24"],
                "autoAssign": false, "avoidBuggyIPs": true, "serviceAllocation": {"priority": 1,
                "namespaces": ["a"], "namespaceSelectors": [{"matchLabels": {"a": "b"}}], "serviceSelectors":
                [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}}),
            ),
            (
                Kind::L2Advertisement,
                "metallb.io/v1beta1",
                json!({"spec": {"ipAddressPools": ["a"],
                "ipAddressPoolSelectors": [], "nodeSelectors": [], "interfaces": ["eth0"]}}),
            ),
            (
                Kind::BGPAdvertisement,
                "metallb.io/v1beta1",
                json!({"spec": {"aggregationLength": 32,
                "aggregationLengthV6": 128, "localPref": 1, "communities": ["1:1"], "ipAddressPools": [],
                "ipAddressPoolSelectors": [], "nodeSelectors": [], "peers": ["p"]}}),
            ),
            (
                Kind::BGPPeer,
                "metallb.io/v1beta2",
                json!({"spec": {"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1",
                "sourceAddress": "10.0.0.2", "peerPort": 179, "holdTime": "90s", "keepaliveTime": "30s",
                "connectTime": "1s", "routerID": "1.1.1.1", "nodeSelectors": [], "password": "",
                "passwordSecret": {"name": "s", "namespace": "n"}, "bfdProfile": "b", "enableGracefulRestart": true,
                "ebgpMultiHop": true, "vrf": "", "disableMP": false, "dualStackAddressFamily": true,
                "dynamicASN": "external", "interface": ""}}),
            ),
            (
                Kind::BFDProfile,
                "metallb.io/v1beta1",
                json!({"spec": {"receiveInterval": 300, "transmitInterval": 300,
                "detectMultiplier": 3, "echoInterval": 50, "echoMode": false, "passiveMode": false,
                "minimumTtl": 254}}),
            ),
            (
                Kind::Community,
                "metallb.io/v1beta1",
                json!({"spec": {"communities": [{"name": "a", "value": "1:1"}]}}),
            ),
            (
                Kind::Service,
                "v1",
                json!({"spec": {"allocateLoadBalancerNodePorts": true, "clusterIP": "10.0.0.1",
                "clusterIPs": ["10.0.0.1"], "externalIPs": [], "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 1, "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "loadBalancerClass": "a/b", "loadBalancerIP": "10.0.0.1",
                "loadBalancerSourceRanges": [], "ports": [{"name": "a", "port": 1, "targetPort": "x", "nodePort": 2,
                "protocol": "TCP", "appProtocol": "http"}], "publishNotReadyAddresses": true, "selector": {"a": "b"},
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}},
                "trafficDistribution": "PreferClose", "type": "LoadBalancer", "externalName": ""}}),
            ),
            (
                Kind::EndpointSlice,
                "discovery.k8s.io/v1",
                json!({"addressType": "IPv4", "endpoints": [{"addresses":
                ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}, "nodeName": "n",
                "targetRef": {"kind": "Pod", "name": "p", "namespace": "n", "uid": "u"}, "zone": "z", "hostname": "h",
                "hints": {"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}}],
                "ports": [{"name": "", "port": 1, "protocol": "TCP"}]}),
            ),
            (
                Kind::Node,
                "v1",
                json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"],
                "providerID": "x", "unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule",
                "timeAdded": "2025-01-01T00:00:00Z"}]}}),
            ),
            (Kind::Namespace, "v1", json!({"spec": {"finalizers": ["kubernetes"]}})),
        ] {
            let mut object = rest;
            let fields = object.as_object_mut().unwrap();
            fields.insert("apiVersion".into(), version.into());
            fields.insert("kind".into(), kind.to_string().into());
            fields.insert("metadata".into(), meta.clone());
            fields.insert("status".into(), json!({"ofANewerVersion": {"x": 1}, "conditions": []}));
            assert_eq!(unknown(kind, &object), [""; 0], "{kind}");
            assert!(decode(kind, object, Origin::Manifests).is_ok(), "{kind}");
        }
    }
}
