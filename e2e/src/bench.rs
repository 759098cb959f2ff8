//! Measurements on the lab and the test cluster; `BENCHMARKS.md` has their results.

pub mod announce;
pub mod install;

mod memory;
mod population;
mod routes;
mod stats;
mod vty;
