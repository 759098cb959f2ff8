//! Measurements on the lab and the test cluster; `BENCHMARKS.md` has their results.

pub mod announce;
pub mod arp;
pub mod edits;
pub mod install;
pub mod takeover;

mod cpu;
mod memory;
mod population;
mod routes;
mod stats;
mod vty;
