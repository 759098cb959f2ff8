//! The hand that writes to bgpd's vty socket: the floor under every announcement.
//!
//! Apart from the product's own code on purpose, since it is what that code is measured against.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A connection to one daemon.
#[derive(Debug)]
pub(super) struct Vty {
    socket: UnixStream,
}

impl Vty {
    /// Connects to `<dir>/bgpd.vty`, ready for `show` and `configure terminal`.
    pub(super) fn connect(dir: &Path) -> Result<Self> {
        let path = dir.join("bgpd.vty");
        let socket = UnixStream::connect(&path).with_context(|| format!("connect to {}", path.display()))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut vty = Self { socket };
        vty.say("enable")?;
        Ok(vty)
    }

    /// Sends one line and gives the answer.
    ///
    /// A line ends with a zero byte, an answer with three of them and a return code.
    pub(super) fn say(&mut self, line: &str) -> Result<String> {
        self.socket.write_all(format!("{line}\0").as_bytes())?;
        let mut answer = Vec::new();
        let mut buffer = [0; 16384];
        loop {
            let count = self.socket.read(&mut buffer).with_context(|| format!("the answer to `{line}`"))?;
            if count == 0 {
                bail!("bgpd hung up at `{line}`");
            }
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if let [text @ .., 0, 0, 0, code] = answer.as_slice() {
                let text = String::from_utf8_lossy(text).into_owned();
                if *code != 0 {
                    bail!("bgpd answers `{line}` with {code}: {text}");
                }
                return Ok(text);
            }
        }
    }
}
