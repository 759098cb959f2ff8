//! How much processor time a process has taken.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// In user and in kernel mode, since its start.
pub(super) fn of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("{path} is {text:?}"))?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    Ok(Duration::from_secs(ticks) / u32::try_from(per_second)?)
}

/// Fields 14 and 15; the name, field 2, may hold anything, and ends with the last parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_behind_any_name() {
        assert_eq!(ticks("7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 9 9 20 0 1 0"), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(of(std::process::id()).unwrap() < Duration::from_secs(3600));
    }
}
