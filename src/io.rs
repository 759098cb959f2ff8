//! The outside world: sockets, netlink, files, processes, the Kubernetes API.
//!
//! The only room beside `run` that awaits, locks, logs or reads a clock. Nothing is decided here.

pub mod l2;
pub mod link;
mod socket;
