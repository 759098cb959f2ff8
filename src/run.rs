//! The composition roots: each wires the parts of one program and runs its one loop over a closed set of events.
//!
//! Nothing is decided here that a pure room could decide; a loop observes, calls the deciding functions over the whole
//! snapshot, and hands the difference to `io`. A loop ends when any of its root tasks ends: the supervisor restarts it.

mod allocator;
mod announcer;
pub mod controller;
mod departure;
pub mod drain;
mod gossip;
mod handover;
pub mod main;
pub mod render;
mod report;
mod serve;
mod source;
pub mod speaker;
mod states;

use crate::io::settings::Ineffective;
use anyhow::Context;
use std::future;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

/// SIGTERM and SIGINT.
struct Stop(Signal, Signal);

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("listen to signals");
        Ok(Self(on(SignalKind::terminate())?, on(SignalKind::interrupt())?))
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Waits for the first root task to end, which none should.
async fn ended(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    match tasks.join_next().await {
        None => future::pending().await,
        Some(Ok(Ok(()))) => anyhow::anyhow!("a part of the program ended"),
        Some(Ok(Err(fault))) => fault,
        Some(Err(panic)) => anyhow::Error::new(panic).context("a part of the program panicked"),
    }
}

fn say_ineffective(settings: &[Ineffective]) {
    for setting in settings {
        tracing::warn!(setting = setting.name, "has no effect: {}", setting.why);
    }
}
