//! Every option of a session, and every one of an advertisement, as the router at the other end sees it.
//!
//! One lab for all: see [`peers`] and [`world`]. The tests take it in turn, and each leaves it as it found it.

mod advertisements;
mod bfd;
mod drift;
mod eligible;
mod flags;
mod injection;
mod peers;
mod rest;
mod restart;
mod secrets;
mod sessions;
mod states;
mod users;
mod wire;
mod world;
