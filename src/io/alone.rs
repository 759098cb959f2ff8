//! One speaker for one thing: a second one on the same node would answer the same requests and drive the same FRR.
//!
//! A claim is an abstract Unix socket: such names are of one network namespace, and go with the process, however it
//! ends. Nobody ever connects to it.

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

/// What is claimed, for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _socket: UnixListener,
}

impl Claim {
    /// Claims `what`, in words that a name may hold: `the FRR of /var/run/frr`.
    ///
    /// # Errors
    /// When another process of this network namespace has it.
    pub fn lay(what: &str) -> anyhow::Result<Self> {
        // an abstract name has room for 107 bytes; what is claimed may be a long path
        let digest =
            Sha256::digest(what).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let address = SocketAddr::from_abstract_name(format!("ferrolb/{digest}"))
            .with_context(|| format!("name a socket for {what}"))?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(fault) if fault.kind() == ErrorKind::AddrInUse => {
                bail!(
                    "another speaker on this host has {what} already: end it first, two would answer for the same addresses"
                )
            }
            Err(fault) => Err(fault).with_context(|| format!("claim {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_and_the_name_goes_with_the_first() {
        let what = format!("the test of process {}", std::process::id());
        let first = Claim::lay(&what).unwrap();
        let fault = Claim::lay(&what).unwrap_err().to_string();
        assert!(fault.contains("another speaker") && fault.contains(&what), "{fault}");
        assert!(Claim::lay(&format!("{what}, long {}", "x".repeat(300))).is_ok());
        drop(first);
        Claim::lay(&what).unwrap();
    }
}
