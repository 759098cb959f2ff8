//! `ferrolb drain` and `ferrolb undrain`.

use crate::{
    io::{files, k8s, settings::Source},
    names::NodeName,
};
use anyhow::Context;
use tokio::runtime::Builder;

/// Asks the speaker of `node` to leave, or to come back, where `source` says.
///
/// # Errors
/// There is no such Node, or it cannot be written.
pub fn drain(source: &Source, node: &NodeName, drain: bool) -> anyhow::Result<()> {
    match source {
        Source::Manifests(dir) => files::drain(dir, node, drain).map(drop),
        Source::Api(kubeconfig) => {
            let runtime = Builder::new_current_thread().enable_all().build().context("start")?;
            runtime.block_on(async {
                let client = k8s::client(kubeconfig.as_deref()).await?;
                k8s::drain::drain(client, node, drain).await
            })
        }
    }
}
