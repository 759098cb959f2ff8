//! The annotation on a Node that asks its speaker to leave, written for the user who asks for it.

use super::brief;
use crate::{names::NodeName, world::DRAIN};
use anyhow::anyhow;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

/// Annotates `node` to be drained, or not any more. Doing it again changes nothing.
///
/// # Errors
/// The API server refuses, or has no such Node.
pub async fn drain(client: Client, node: &NodeName, drain: bool) -> anyhow::Result<()> {
    let value = drain.then_some("true");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {(DRAIN): value}}}));
    let api: Api<Node> = Api::all(client);
    match api.patch(node.as_str(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow!("annotate Node {node}: {}", brief(&error))),
    }
}
