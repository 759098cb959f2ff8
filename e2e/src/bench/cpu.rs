//! How much processor time a process has taken.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

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

/// The same of all threads that it has now, to the nanosecond; threads that have ended are left out.
pub(super) fn exactly_of(pid: u32) -> Result<Duration> {
    let dir = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&dir).with_context(|| format!("read {dir}"))?;
    threads.map(|thread| scheduled(&thread?.path().join("schedstat"))).sum()
}

/// The same of the calling thread.
pub(super) fn of_this_thread() -> Result<Duration> {
    scheduled(Path::new("/proc/thread-self/schedstat"))
}

/// The first field, in nanoseconds. A thread that has just ended has taken none.
fn scheduled(path: &Path) -> Result<Duration> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Duration::ZERO),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let nanos = text.split_whitespace().next().and_then(|field| field.parse().ok());
    nanos.map(Duration::from_nanos).with_context(|| format!("{} is {text:?}", path.display()))
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

    #[test]
    fn a_thread_is_a_part_of_its_process() {
        let begin = of_this_thread().unwrap();
        let sum: u64 = (0..10_000_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0 && of_this_thread().unwrap() > begin);
        assert!(exactly_of(std::process::id()).unwrap() >= begin);
    }
}
