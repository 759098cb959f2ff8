//! The lab and the test cluster: real routing daemons, real clients and the real product in network namespaces.
//!
//! - [`warden`]: a lab's name and directory, and the process that cleans up after it
//! - [`netns`]: namespaces and the cables between them
//! - [`process`], [`bins`], [`wait`]: programs, where they are, and waiting for what they do
//!
//! Nothing here runs outside the namespaces that it makes, except for programs that reach no network.

pub mod bins;
pub mod netns;
pub mod process;
pub mod wait;
pub mod warden;
