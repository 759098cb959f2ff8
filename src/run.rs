//! The composition roots: each wires the parts of one program and runs its one loop over a closed set of events.
//!
//! Nothing is decided here that a pure room could decide; a loop observes, calls the deciding functions over the whole
//! snapshot, and hands the difference to `io`. A loop ends when any of its root tasks ends: the supervisor restarts it.

pub mod controller;
mod report;
