//! `DIR/status/nodes/NODE/`: what a speaker says about itself, one file per kind, in the shape of the objects that an
//! API server would have.
//!
//! One file for all Services, since thousands of them would each cost a write of its own; nobody watches these files
//! for a program to react. Written whole, only when they differ, and at most once a second.

use super::{STATUS, replace};
use crate::{
    io::states::{Answering, Layer2, NodeState, Services, Sessions, States},
    names::{NodeName, PeerName, Word},
};
use serde_json::{Value, json};
use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Between two writings.
const PACE: Duration = Duration::from_secs(1);

/// Keeps the files of `node` as `states` says, until its senders are gone. A fault is said once, and tried again.
///
/// # Errors
/// When the thread that writes panicked.
pub async fn run(dir: &Path, node: NodeName, states: States) -> anyhow::Result<()> {
    let dir = dir.join(STATUS).join("nodes").join(node.as_str());
    let States { mut services, mut layer2, mut sessions, mut frr } = states;
    let mut failing = false;
    loop {
        let texts = [
            ("services", services.borrow_and_update().as_ref().map(|all| Text::Services(all.clone()))),
            ("layer2", layer2.borrow_and_update().as_ref().map(|all| Text::Layer2(all.clone()))),
            ("sessions", sessions.borrow_and_update().as_ref().map(|all| Text::Sessions(all.clone()))),
            ("frr", frr.borrow_and_update().as_ref().map(|state| Text::Frr(state.clone()))),
        ];
        let (below, name) = (dir.clone(), node.clone());
        let write = move || {
            texts
                .into_iter()
                .filter_map(|(file, text)| Some((file, text?)))
                .try_for_each(|(file, text)| write(&below.join(format!("{file}.yaml")), &text.yaml(&name)))
        };
        match tokio::task::spawn_blocking(write).await? {
            Ok(()) => failing = false,
            Err(fault) if !std::mem::replace(&mut failing, true) => {
                tracing::error!(%fault, "what this node does cannot be written down: trying again");
            }
            Err(_) => {}
        }
        sleep(PACE).await;
        if failing {
            continue;
        }
        tokio::select! {
            changed = services.changed() => if changed.is_err() { return gone().await },
            changed = layer2.changed() => if changed.is_err() { return gone().await },
            changed = sessions.changed() => if changed.is_err() { return gone().await },
            changed = frr.changed() => if changed.is_err() { return gone().await },
        }
    }
}

/// The program ends: that is said elsewhere.
async fn gone() -> anyhow::Result<()> {
    std::future::pending().await
}

enum Text {
    Services(Arc<Services>),
    Layer2(Arc<Layer2>),
    Sessions(Arc<Sessions>),
    Frr(Arc<NodeState>),
}

impl Text {
    /// A list, an item a line: JSON, which YAML shares, for all that is quoted.
    fn yaml(&self, node: &NodeName) -> String {
        let node = node.as_str();
        let items: Vec<Value> = match self {
            Self::Services(all) => {
                let item = |(key, peers): (&crate::names::ServiceKey, &Arc<[PeerName]>)| {
                    let peers: Vec<&str> = peers.iter().map(PeerName::as_str).collect();
                    json!({"serviceNamespace": key.namespace.as_str(), "serviceName": &*key.name, "node": node,
                        "peers": peers})
                };
                all.iter().map(item).collect()
            }
            Self::Layer2(all) => {
                let item = |(key, at): (&crate::names::ServiceKey, &Arc<Answering>)| {
                    let interfaces: Vec<Value> =
                        at.interfaces.iter().map(|name| json!({"name": name})).collect();
                    let conflict = |(ip, mac): &(std::net::IpAddr, crate::net::Mac)| json!({"ip": ip.to_string(), "mac": mac.to_string()});
                    let conflicts: Vec<Value> = at.conflicts.iter().map(conflict).collect();
                    json!({"serviceNamespace": key.namespace.as_str(), "serviceName": &*key.name, "node": node,
                        "interfaces": interfaces, "conflicts": conflicts})
                };
                all.iter().map(item).collect()
            }
            Self::Sessions(all) => {
                let item =
                    |(peering, state): (&crate::frr::show::Peering, &crate::io::states::SessionState)| {
                        json!({"node": node, "peer": peering.to_string(),
                        "vrf": peering.vrf.as_ref().map_or("", Word::as_str),
                        "bgpStatus": state.bgp, "bfdStatus": state.bfd})
                    };
                all.iter().map(item).collect()
            }
            Self::Frr(state) => {
                return format!(
                    "lastConversionResult: {}\nlastReloadResult: {}\nrunningConfig: |1\n{}",
                    Value::from(state.conversion.as_str()),
                    Value::from(state.reload.as_str()),
                    state.running.lines().map(|line| format!(" {line}\n")).collect::<String>()
                );
            }
        };
        items.iter().map(|item| format!("- {item}\n")).collect()
    }
}

/// Writes `text`, or removes the file where there is nothing to say.
fn write(path: &PathBuf, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match std::fs::remove_file(path) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(super::blame("write", path, &fault)),
            _ => Ok(()),
        };
    }
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    replace(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Neighbor, frr::show::Peering, io::states::SessionState, names::ServiceKey};

    #[test]
    fn the_files_are_yaml_and_go_when_there_is_nothing_to_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status/nodes/n1/services.yaml");
        let peers: Arc<[PeerName]> = ["tor-v4".into()].into();
        let services = Text::Services(Arc::new([(ServiceKey::new("ns", "a"), peers)].into()));
        write(&path, &services.yaml(&"n1".into())).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "- {\"node\":\"n1\",\"peers\":[\"tor-v4\"],\"serviceName\":\"a\",\"serviceNamespace\":\"ns\"}\n"
        );
        write(&path, &Text::Services(Arc::default()).yaml(&"n1".into())).unwrap();
        assert!(!path.exists());
        let at = Answering { interfaces: vec!["eth0".into()], ..Answering::default() };
        let layer2 = Text::Layer2(Arc::new([(ServiceKey::new("ns", "a"), Arc::new(at))].into()));
        assert_eq!(
            layer2.yaml(&"n1".into()),
            "- {\"conflicts\":[],\"interfaces\":[{\"name\":\"eth0\"}],\"node\":\"n1\",\"serviceName\":\"a\",\"serviceNamespace\":\"ns\"}\n"
        );
        let peering = Peering { vrf: None, neighbor: Neighbor::Address("fd00::1".parse().unwrap()) };
        let state = SessionState { bgp: "Idle".into(), bfd: "N/A".into() };
        let sessions = Text::Sessions(Arc::new([(peering, state)].into()));
        let read: Value = serde_saphyr::from_str(&sessions.yaml(&"n1".into())).unwrap();
        assert_eq!(
            read,
            json!([{"node": "n1", "peer": "fd00::1", "vrf": "", "bgpStatus": "Idle", "bfdStatus": "N/A"}])
        );
        let running = "log stdout\n!\nrouter bgp 1\n neighbor x\n";
        let frr = NodeState { running: running.into(), conversion: "success".into(), reload: "a\nb".into() };
        let read: Value = serde_saphyr::from_str(&Text::Frr(Arc::new(frr)).yaml(&"n1".into())).unwrap();
        assert_eq!(read["runningConfig"], running);
        assert_eq!(read["lastReloadResult"], "a\nb");
    }
}
