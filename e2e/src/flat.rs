//! The flat segment alone: speakers without FRR.

use std::ffi::OsStr;

use anyhow::{Context as _, Result};

use crate::{
    lab,
    manifests::Manifests,
    netns::Net,
    process::{Running, Spawn},
};

/// A speaker without FRR on a node, with more flags.
///
/// # Errors
/// When its binary is missing.
pub fn speaker(manifests: &Manifests, net: &Net, name: &str, flags: &[&str]) -> Result<Spawn> {
    let spawn = lab::product(manifests, "speaker", net)?.args(["--node-name", name, "--frr-vty-dir="]);
    Ok(spawn.args(flags.iter().map(OsStr::new)))
}

/// Waits until a process of the product says that it is ready.
///
/// # Errors
/// When it ends instead, or does not become ready.
pub fn ready(process: &Running, net: &Net) -> Result<()> {
    lab::ready(process, net)
}

/// The octets of a hardware address.
///
/// # Errors
/// When it is none.
pub fn octets(mac: &str) -> Result<[u8; 6]> {
    let parts: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>()?;
    parts.try_into().ok().with_context(|| format!("{mac} is no hardware address"))
}
