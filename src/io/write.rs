//! What is to be written, and what became of it: the same messages for an API server and for a directory.
//!
//! `run` sends [`Status`] and [`Event`] into bounded channels with `try_send` and never waits for them: a status that
//! did not fit is tried again when the next [`Wrote`] arrives, an event that did not fit is dropped and counted.

use super::observe::Change;
use crate::names::{PoolName, ServiceKey};
use std::{net::IpAddr, sync::Arc};

/// The status that a Service must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The Service.
    pub key: ServiceKey,
    /// The version that the decision was taken on: another one is a conflict.
    pub version: Arc<str>,
    /// `status.loadBalancer.ingress`; empty for none.
    pub ips: Vec<IpAddr>,
    /// `metallb.io/ip-allocated-from-pool`; `None` takes the annotation away.
    pub pool: Option<PoolName>,
}

/// What became of a [`Status`].
#[derive(Clone, Debug)]
pub struct Wrote {
    /// The Service.
    pub key: ServiceKey,
    /// The Service as it is now, to be applied like any other change.
    pub result: Result<Change, Refused>,
}

/// Why a status was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// The Service has changed since: decide anew, on what it is now.
    #[error("the Service has changed in the meantime")]
    Conflict(Change),
    /// There is no such Service any more.
    #[error("the Service is gone")]
    Gone,
    /// We may not.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Anything else; may work later.
    #[error("{0}")]
    Failed(String),
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Information.
    Normal,
    /// Something is wrong.
    Warning,
}

/// An event on a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The Service.
    pub key: ServiceKey,
    /// Its uid.
    pub uid: Arc<str>,
    /// How much it matters.
    pub level: Level,
    /// One word, `IPAllocated`.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
}
