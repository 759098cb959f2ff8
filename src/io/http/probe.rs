//! Asks the process that runs on this host how it is, for exec probes in images that have no shell.
//!
//! One request on loopback with a limit to everything; without the runtime, since nothing else is to be done.

use anyhow::{Context, bail};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// For each step.
const LIMIT: Duration = Duration::from_secs(1);

/// Whether `/healthz` on `port` of this host answers 200.
///
/// # Errors
/// What it did instead.
pub fn healthy(port: Option<u16>) -> anyhow::Result<()> {
    let port = port.context("--health-probe-port is 0: there is nothing to ask")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)
        .with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).with_context(|| format!("no answer from {address}"))?;
    if !answer.ends_with(b" 200") {
        bail!("{address} answers {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
