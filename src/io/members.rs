//! Who is alive: the speakers' gossip, and what each says of itself.

mod fact;
mod gossip;
mod identity;
mod pace;
mod said;
mod seal;

#[cfg(test)]
mod simulation;

pub use fact::{Fact, Stage};
pub use gossip::View;
pub use pace::Pace;
pub use seal::Seal;
