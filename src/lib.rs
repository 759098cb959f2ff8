//! FerroLB: addresses for Services of type LoadBalancer on bare metal, and their announcement.
//!
//! Data flows one way: observe (`io`) → understand (`world`, `config`) → decide (`alloc`, `plan`) → desired state
//! (`frr`, `l2`) → effect (`io`). `run` wires the parts. `ARCHITECTURE.md` has the map, `tests/tidy.rs` the rules.

pub mod alloc;
pub mod api;
pub mod config;
pub mod frr;
pub mod io;
pub mod l2;
pub mod names;
pub mod net;
pub mod plan;
pub mod run;
pub mod world;

#[cfg(test)]
mod spent;
