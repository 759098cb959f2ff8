//! Our Node as the owner of what we make: of what has no namespace, and could not go with a Pod, and of everything where
//! our Pod is not known. When somebody deletes the Node, the garbage collector takes it all.

use super::Fault;
use crate::{
    io::{clock::after, k8s::brief},
    names::NodeName,
};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// How long an answer is good. A Node that was made anew has another uid, and what names the old one does not live.
const FRESH: Duration = Duration::from_secs(10);

/// Which Node we are on, asked again and again.
#[derive(Debug)]
pub(super) struct Home {
    nodes: Api<Node>,
    name: NodeName,
    /// Its uid, and until when.
    known: Mutex<Option<(String, Instant)>>,
}

impl Home {
    pub(super) fn new(client: Client, name: NodeName) -> Self {
        Self { nodes: Api::all(client), name, known: Mutex::default() }
    }

    /// The same object, with our Node as its owner.
    ///
    /// # Errors
    /// When there is no such Node: then nothing is to be made, since nobody would ever take it away.
    pub(super) async fn own(&self, mut object: Value) -> Result<Value, Fault> {
        let uid = self.uid().await.map_err(|fault| Fault::Failed(brief(&fault)))?;
        let uid = uid.ok_or_else(|| Fault::Failed(format!("there is no Node {}", self.name)))?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let owner = json!({"apiVersion": "v1", "kind": "Node", "name": self.name.as_str(), "uid": uid});
            metadata.insert("ownerReferences".into(), json!([owner]));
        }
        Ok(object)
    }

    async fn uid(&self) -> kube::Result<Option<String>> {
        let mut known = self.known.lock().await;
        if let Some((uid, until)) = known.as_ref()
            && after(Duration::ZERO) < *until
        {
            return Ok(Some(uid.clone()));
        }
        // whoever may list them need not be allowed to get one
        let ours = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = self.nodes.list_metadata(&ours).await?.items.pop();
        let uid = found.and_then(|node| node.metadata.uid);
        *known = uid.clone().map(|uid| (uid, after(FRESH)));
        Ok(uid)
    }
}
