//! The product installed as a user installs it, on real nodes: `kubectl apply` of a manifest, the images of the
//! Dockerfiles, and everything judged from outside or read from the kernel.
//!
//! All tests of this binary share one cluster of three nodes ([`world`]) and take turns.

mod flat;
mod gossip;
mod hang;
mod itself;
mod life;
mod product;
mod rights;
mod world;
