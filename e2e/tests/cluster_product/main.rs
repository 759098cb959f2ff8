//! The product in a real cluster: everything that a user does is done with `kubectl`, and everything that he sees is
//! read with it; the controller and the speakers have the rights that the manifest gives them and no others.
//!
//! All tests of this binary share one cluster with two nodes ([`world`]); each has Services and pools of its own.

mod allocation;
mod drain;
mod restart;
mod schema;
mod session;
mod states;
mod traffic;
mod world;
