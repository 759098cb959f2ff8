//! Where the key of the gossip comes from: a directory that the node mounts, and the API while nothing is there.
//!
//! A kubelet looks once a minute whether a Secret that was missing when the Pod started has come, so that the first
//! speakers of a cluster, which start before the controller has made it, would wait for long. A speaker without a key
//! does not take part: it decides nothing that the others have to know of.

use super::seal::Seal;
use crate::io::k8s::secret::Place;
use anyhow::Context;
use std::{path::PathBuf, time::Duration};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the key is.
#[derive(Clone)]
pub enum Key {
    /// Nowhere: everybody who reaches the port is believed.
    None,
    /// In this directory.
    Mounted(PathBuf),
    /// In this directory or in this Secret, sooner or later.
    Awaited(Option<PathBuf>, Place),
}

impl Key {
    /// The seal that it makes, once it is there.
    ///
    /// # Errors
    /// When it is not in the only place where it can be.
    pub(super) async fn seal(self) -> anyhow::Result<Seal> {
        match self {
            Self::None => {
                tracing::warn!(
                    "the speakers' gossip is not sealed (--ml-secret-key-path): who reaches its port is believed"
                );
                Ok(Seal::open())
            }
            Self::Mounted(dir) => Seal::read(&dir).context("the key of the speakers' gossip"),
            Self::Awaited(dir, place) => {
                let mut waiting = false;
                loop {
                    if let Some(seal) = dir.as_ref().and_then(|dir| Seal::read(dir).ok()) {
                        return Ok(seal);
                    }
                    let why = match place.find().await {
                        Ok(Some(key)) => return Seal::new(&key),
                        Ok(None) => "there is no such Secret yet".to_owned(),
                        Err(fault) => format!("{fault:#}"),
                    };
                    if !std::mem::replace(&mut waiting, true) {
                        tracing::info!(
                            secret = place.name,
                            why,
                            "waiting for the key of the speakers' gossip"
                        );
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}
