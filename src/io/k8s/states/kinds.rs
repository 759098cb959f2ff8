//! The kinds of states, each as an object: names, labels and fields are the contract.

use super::{Kind, Writer};
use crate::{
    api,
    config::Neighbor,
    frr::show::{DEFAULT, Peering},
    io::states::{Answering, Configuration, NodeState, SessionState},
    names::{PeerName, PoolName, ServiceKey, Word},
    net::Mac,
};
use kube::{api::ApiResource, runtime::watcher};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

const NODE: &str = "metallb.io/node";
const SERVICE: [&str; 2] = ["metallb.io/service-namespace", "metallb.io/service-name"];
const SESSION: [&str; 3] = ["frrk8s.metallb.io/node", "frrk8s.metallb.io/peer", "frrk8s.metallb.io/vrf"];

/// A label, without its odd characters where JSON pointers have some.
fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

fn text(object: &Value, path: &str) -> Option<String> {
    object.pointer(path)?.as_str().map(str::to_owned)
}

/// Which peers were told of a Service.
#[derive(Debug)]
pub enum ServiceBgp {}

impl Kind for ServiceBgp {
    type Key = ServiceKey;
    type Body = Arc<[PeerName]>;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::ServiceBGPStatus>(&())
    }

    fn selection(writer: &Writer) -> watcher::Config {
        watcher::Config::default().labels(&format!("{NODE}={}", writer.node))
    }

    fn metadata(writer: &Writer, key: &ServiceKey) -> Value {
        let [namespace, name] = SERVICE;
        json!({"generateName": "bgp-", "labels": {
            NODE: writer.node.as_str(), namespace: key.namespace.as_str(), name: &*key.name}})
    }

    fn status(writer: &Writer, key: &ServiceKey, peers: &Self::Body) -> Value {
        let peers: Vec<&str> = peers.iter().map(PeerName::as_str).collect();
        json!({"node": writer.node.as_str(), "serviceName": &*key.name,
            "serviceNamespace": key.namespace.as_str(), "peers": peers})
    }

    fn read(object: &Value) -> Option<(ServiceKey, Option<Self::Body>)> {
        let [namespace, name] = SERVICE;
        let key = ServiceKey::new(label(object, namespace)?, label(object, name)?);
        let peers = object.pointer("/status/peers").and_then(Value::as_array);
        let peers = peers.map(|peers| peers.iter().filter_map(Value::as_str).map(PeerName::from).collect());
        Some((key, peers))
    }
}

/// Who answers for a Service on the links: one object for each, whoever wrote it. A node that answers deletes those of
/// others, since one that died cannot.
#[derive(Debug)]
pub enum ServiceL2 {}

impl Kind for ServiceL2 {
    type Key = ServiceKey;
    type Body = Arc<Answering>;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::ServiceL2Status>(&())
    }

    fn selection(_: &Writer) -> watcher::Config {
        watcher::Config::default()
    }

    fn metadata(writer: &Writer, key: &ServiceKey) -> Value {
        let [namespace, name] = SERVICE;
        json!({"generateName": "l2-", "labels": {
            NODE: writer.node.as_str(), namespace: key.namespace.as_str(), name: &*key.name}})
    }

    fn status(writer: &Writer, key: &ServiceKey, body: &Self::Body) -> Value {
        let interfaces: Vec<Value> = body.interfaces.iter().map(|name| json!({"name": name})).collect();
        let conflict = |(ip, mac): &(IpAddr, Mac)| json!({"ip": ip.to_string(), "mac": mac.to_string()});
        let conflicts: Vec<Value> = body.conflicts.iter().map(conflict).collect();
        json!({"node": writer.node.as_str(), "serviceName": &*key.name,
            "serviceNamespace": key.namespace.as_str(), "interfaces": interfaces, "conflicts": conflicts})
    }

    fn is_mine(writer: &Writer, object: &Value) -> bool {
        label(object, NODE) == Some(writer.node.as_str())
    }

    fn read(object: &Value) -> Option<(ServiceKey, Option<Self::Body>)> {
        let [namespace, name] = SERVICE;
        let key = ServiceKey::new(label(object, namespace)?, label(object, name)?);
        let all = |path: &str| object.pointer(path).and_then(Value::as_array).into_iter().flatten();
        let at = || Answering {
            interfaces: all("/status/interfaces")
                .filter_map(|one| Some(one.get("name")?.as_str()?.into()))
                .collect(),
            conflicts: all("/status/conflicts")
                .filter_map(|one| {
                    let field = |name: &str| one.get(name).and_then(Value::as_str);
                    Some((field("ip")?.parse().ok()?, field("mac")?.parse().ok()?))
                })
                .collect(),
        };
        Some((key, object.get("status").is_some().then(|| Arc::new(at()))))
    }
}

/// How a session is.
#[derive(Debug)]
pub enum BgpSession {}

/// A label cannot have a colon, and `::` cannot be told from anything else: IPv6 addresses are written out.
fn peer_label(neighbor: &Neighbor) -> String {
    match neighbor {
        Neighbor::Address(IpAddr::V6(ip)) => ip.segments().map(|segment| format!("{segment:04x}")).join("-"),
        Neighbor::Address(ip) => ip.to_string(),
        Neighbor::Interface(name) => name.to_string(),
    }
}

fn neighbor(label: &str) -> Option<Neighbor> {
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from);
    match label.parse().ok().or_else(v6) {
        Some(ip) => Some(Neighbor::Address(ip)),
        None => Some(Neighbor::Interface(Word::new(label).ok()?)),
    }
}

impl Kind for BgpSession {
    type Key = Peering;
    type Body = SessionState;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::BGPSessionState>(&())
    }

    fn selection(writer: &Writer) -> watcher::Config {
        watcher::Config::default().labels(&format!("{}={}", SESSION[0], writer.node))
    }

    fn metadata(writer: &Writer, key: &Peering) -> Value {
        let [node, peer, vrf] = SESSION;
        json!({"generateName": format!("{}-", writer.node), "labels": {
            node: writer.node.as_str(), peer: peer_label(&key.neighbor),
            vrf: key.vrf.as_ref().map_or("", Word::as_str)}})
    }

    fn status(writer: &Writer, key: &Peering, body: &SessionState) -> Value {
        json!({"node": writer.node.as_str(), "peer": key.to_string(),
            "vrf": key.vrf.as_ref().map_or("", Word::as_str), "bgpStatus": body.bgp, "bfdStatus": body.bfd})
    }

    fn read(object: &Value) -> Option<(Peering, Option<SessionState>)> {
        let [_, peer, vrf] = SESSION;
        let vrf = match label(object, vrf)? {
            "" | DEFAULT => None,
            name => Some(Word::new(name).ok()?),
        };
        let key = Peering { vrf, neighbor: neighbor(label(object, peer)?)? };
        let bgp = text(object, "/status/bgpStatus");
        let bfd = text(object, "/status/bfdStatus");
        Some((key, bgp.zip(bfd).map(|(bgp, bfd)| SessionState { bgp, bfd })))
    }
}

/// What the FRR of the node runs: one object, with the node's name.
#[derive(Debug)]
pub enum Frr {}

impl Kind for Frr {
    type Key = ();
    type Body = Arc<NodeState>;
    const NAMESPACED: bool = false;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::FRRNodeState>(&())
    }

    fn selection(writer: &Writer) -> watcher::Config {
        watcher::Config::default().fields(&format!("metadata.name={}", writer.node))
    }

    fn metadata(writer: &Writer, (): &()) -> Value {
        json!({"name": writer.node.as_str()})
    }

    fn status(_: &Writer, (): &(), body: &Self::Body) -> Value {
        json!({"runningConfig": body.running, "lastConversionResult": body.conversion,
            "lastReloadResult": body.reload})
    }

    fn read(object: &Value) -> Option<((), Option<Self::Body>)> {
        let field = |name: &str| text(object, &format!("/status/{name}")).unwrap_or_default();
        let said = object.get("status").is_some();
        let state = || NodeState {
            running: field("runningConfig").into(),
            conversion: field("lastConversionResult"),
            reload: field("lastReloadResult"),
        };
        Some(((), said.then(state).map(Arc::new)))
    }
}

/// How much of a pool is in use: said on the users' own objects, by the controller.
#[derive(Debug)]
pub enum PoolInUse {}

impl Kind for PoolInUse {
    type Key = PoolName;
    type Body = api::IPAddressPoolStatus;
    const OURS: bool = false;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::IPAddressPool>(&())
    }

    fn selection(_: &Writer) -> watcher::Config {
        watcher::Config::default()
    }

    fn metadata(_: &Writer, key: &PoolName) -> Value {
        json!({"name": key.as_str()})
    }

    fn status(_: &Writer, _: &PoolName, body: &Self::Body) -> Value {
        json!(body)
    }

    fn read(object: &Value) -> Option<(PoolName, Option<Self::Body>)> {
        let status = object.get("status").and_then(|status| Self::Body::deserialize(status).ok());
        Some((text(object, "/metadata/name")?.into(), status))
    }
}

/// Whether we take the configuration: one object per program.
#[derive(Debug)]
pub enum Configured {}

/// How a program says it.
struct Voice {
    name: String,
    component: &'static str,
    condition: &'static str,
    manager: &'static str,
}

/// A controller is a writer without a node.
fn voice(writer: &Writer) -> Voice {
    match writer.node.as_str() {
        "" => Voice {
            name: "controller".to_owned(),
            component: "controller",
            condition: "poolReconcilerValid",
            manager: "poolReconciler",
        },
        node => Voice {
            name: format!("speaker-{node}"),
            component: "speaker",
            condition: "configReconcilerValid",
            manager: "configReconciler",
        },
    }
}

impl Kind for Configured {
    type Key = ();
    type Body = Configuration;

    fn resource() -> ApiResource {
        ApiResource::erase::<api::ConfigurationState>(&())
    }

    fn manager(writer: &Writer) -> Option<&'static str> {
        Some(voice(writer).manager)
    }

    fn selection(writer: &Writer) -> watcher::Config {
        watcher::Config::default().fields(&format!("metadata.name={}", voice(writer).name))
    }

    fn metadata(writer: &Writer, (): &()) -> Value {
        let Voice { name, component, .. } = voice(writer);
        let mut labels = json!({"metallb.io/component-type": component});
        if let Some(labels) = labels.as_object_mut().filter(|_| component == "speaker") {
            labels.insert("metallb.io/node-name".into(), writer.node.as_str().into());
        }
        json!({"name": name, "labels": labels})
    }

    fn status(writer: &Writer, (): &(), body: &Configuration) -> Value {
        let (result, holds, reason) = match body.is_valid() {
            true => ("Valid", "True", "Reconciled"),
            false => ("Invalid", "False", "ConfigurationError"),
        };
        let message = body.to_string();
        // as an empty text, it is the same as none to a client in Go
        json!({"result": result, "errorSummary": message, "conditions": [{
            "type": voice(writer).condition, "status": holds, "reason": reason, "message": message,
            "lastTransitionTime": crate::io::states::timestamp(),
        }]})
    }

    fn read(object: &Value) -> Option<((), Option<Configuration>)> {
        let said = text(object, "/status/result").map(|result| {
            let summary = text(object, "/status/errorSummary").unwrap_or_default();
            Configuration::read(&result, &summary)
        });
        Some(((), said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(node: &str) -> Writer {
        Writer { node: node.into(), namespace: "metallb-system".into(), owner: None, home: None }
    }

    /// An object as the API server would have it.
    fn object<K: Kind>(writer: &Writer, key: &K::Key, body: &K::Body) -> Value {
        json!({"metadata": K::metadata(writer, key), "status": K::status(writer, key, body)})
    }

    #[test]
    fn what_is_written_is_read() {
        let me = writer("n1");
        let peers: Arc<[PeerName]> = ["a".into(), "b".into()].into();
        let key = ServiceKey::new("ns", "svc");
        let status = object::<ServiceBgp>(&me, &key, &peers);
        assert_eq!(ServiceBgp::read(&status), Some((key, Some(peers))));
        assert_eq!(
            status["metadata"]["labels"],
            json!({"metallb.io/node": "n1", "metallb.io/service-name": "svc", "metallb.io/service-namespace": "ns"})
        );
        assert_eq!(status["status"]["peers"], json!(["a", "b"]));
        let body = SessionState { bgp: "Established".into(), bfd: "N/A".into() };
        for (peer, vrf, label) in [
            ("10.0.0.1", None, "10.0.0.1"),
            ("fd00::1", Some("red"), "fd00-0000-0000-0000-0000-0000-0000-0001"),
            ("eth0", None, "eth0"),
        ] {
            let neighbor = neighbor(peer).unwrap();
            let neighbor = match peer.parse() {
                Ok(ip) => Neighbor::Address(ip),
                Err(_) => neighbor,
            };
            let key = Peering { vrf: vrf.map(|vrf| Word::new(vrf).unwrap()), neighbor };
            let state = object::<BgpSession>(&me, &key, &body);
            assert_eq!(state["metadata"]["labels"]["frrk8s.metallb.io/peer"], label);
            assert_eq!(state["metadata"]["labels"]["frrk8s.metallb.io/vrf"], vrf.unwrap_or_default());
            assert_eq!(
                (&state["status"]["peer"], &state["metadata"]["generateName"]),
                (&peer.into(), &"n1-".into())
            );
            assert_eq!(BgpSession::read(&state), Some((key, Some(body.clone()))));
        }
        let used = api::IPAddressPoolStatus { assigned_ipv4: 1, available_ipv4: 9, ..Default::default() };
        let pool = object::<PoolInUse>(&me, &"p".into(), &used);
        assert_eq!(PoolInUse::read(&pool), Some(("p".into(), Some(used))));
        assert_eq!(
            pool["status"],
            json!({"assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 9, "availableIPv6": 0})
        );
        let node =
            Arc::new(NodeState { running: "x".into(), conversion: "success".into(), reload: "y".into() });
        assert_eq!(Frr::read(&object::<Frr>(&me, &(), &node)), Some(((), Some(node))));
    }

    #[test]
    fn configuration_states_are_word_for_word() {
        let me = writer("n1");
        assert_eq!(
            Configured::metadata(&me, &()),
            json!({"name": "speaker-n1", "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"}})
        );
        let controller = writer("");
        assert_eq!(
            Configured::metadata(&controller, &()),
            json!({"name": "controller", "labels": {"metallb.io/component-type": "controller"}})
        );
        assert_eq!(Configured::manager(&controller), Some("poolReconciler"));
        assert_eq!(Configured::manager(&me), Some("configReconciler"));
        for wrong in
            [vec![], vec!["peer p referencing non existing bfd profile b".to_owned(), "x\ny".to_owned()]]
        {
            let body = Configuration(wrong);
            let state = object::<Configured>(&me, &(), &body);
            let Some(((), Some(read))) = Configured::read(&state) else { panic!("{state}") };
            assert_eq!(read, body, "the same to whoever compares");
            let condition = &state["status"]["conditions"][0];
            assert_eq!(condition["type"], "configReconcilerValid");
            assert_eq!(condition["message"], body.to_string());
            assert_eq!(state["status"]["result"] == "Valid", body.is_valid());
        }
    }
}
