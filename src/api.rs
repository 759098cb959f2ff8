//! The wire: every kind of object that this program reads or writes, with its schema and its CEL rules.
//!
//! Serde, schema and nothing else: a field here is what the user typed. What it means is decided in `config`.

mod bgp;
mod frr;
mod l2;
mod pool;

pub use bgp::*;
pub use frr::*;
pub use l2::*;
pub use pool::*;
