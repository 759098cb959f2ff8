//! What is to be written, and what became of it: the same messages for an API server and for a directory.
//!
//! `run` sends [`Status`] and [`Event`] into bounded channels with `try_send` and never waits for them: a status that
//! did not fit is tried again when the next [`Wrote`] arrives, an event that did not fit is dropped and counted.

use super::observe::Change;
use crate::names::{PoolName, ServiceKey};
use prometheus_client::metrics::counter::Counter;
use std::{net::IpAddr, sync::Arc};
use tokio::sync::mpsc::Sender;

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
    Conflict,
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

/// Where events go in: never waits, and counts what does not fit.
#[derive(Clone, Debug)]
pub struct Events {
    to: Sender<Event>,
    dropped: Counter,
}

impl Events {
    /// Into `to`; what does not fit counts as `dropped`.
    #[must_use]
    pub const fn new(to: Sender<Event>, dropped: Counter) -> Self {
        Self { to, dropped }
    }

    /// Publishes `event`, or drops it.
    pub fn publish(&self, event: Event) {
        if self.to.try_send(event).is_err() {
            self.dropped.inc();
        }
    }
}

impl Level {
    /// The API's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_does_not_fit_is_counted_and_holds_nobody_up() {
        let (to, mut from) = tokio::sync::mpsc::channel(1);
        let events = Events::new(to, Counter::default());
        let event = |message: &str| Event {
            key: ServiceKey::new("n", "a"),
            uid: "u".into(),
            level: Level::Normal,
            reason: "IPAllocated",
            message: message.into(),
        };
        events.publish(event("first"));
        events.publish(event("second"));
        assert_eq!(events.dropped.get(), 1);
        assert_eq!(from.try_recv().unwrap().message, "first");
    }
}
