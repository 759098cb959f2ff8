//! The shell: the only room, with `run`, that touches the world.
//!
//! Observing files turn the world into [`observe::Change`]s; effect files carry out what was decided. Nothing is
//! decided here. Every channel is bounded, every outside thing has one writer.

pub mod alone;
mod apart;
pub(crate) mod clock;
pub mod excluded;
pub mod files;
pub mod frr;
pub mod http;
pub mod k8s;
pub mod l2;
pub mod link;
pub mod members;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod settings;
mod socket;
pub mod states;
pub mod telemetry;
pub mod write;
