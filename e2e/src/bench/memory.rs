//! How much memory a process holds, and held at most.

use std::{fmt, fs};

use anyhow::{Context as _, Result};

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Now.
    pub(super) now: f64,
    /// At most, since the start.
    pub(super) peak: f64,
}

impl Memory {
    /// Of a process.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let field = |name: &str| field(&status, name).with_context(|| format!("{path} has no {name}"));
        Ok(Self { now: field("VmRSS")?, peak: field("VmHWM")? })
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: f64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.1} MiB (peak {:5.1})", self.now, self.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_kernels() {
        let status = "Name:\tx\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!((field(status, "VmRSS"), field(status, "VmHWM")), (Some(2.0), Some(3.0)));
        assert_eq!(field(status, "VmSwap"), None);
    }
}
