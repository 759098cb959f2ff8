//! When a route entered or left a router's kernel table: the time stamps of `ip -ts monitor route`.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::{
    netns::Net,
    process::{Running, Spawn},
    warden::Warden,
};

/// What happened to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is in the table.
    Added,
    /// It is not any more.
    Deleted,
}

/// One line of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When the kernel told it.
    pub(super) at: SystemTime,
    /// In or out.
    pub(super) change: Change,
    /// Of which address (a /32).
    pub(super) address: Ipv4Addr,
}

/// A monitor on a router, running.
#[derive(Debug)]
pub(super) struct Monitor {
    process: Running,
    log: PathBuf,
}

impl Monitor {
    /// Starts it.
    pub(super) fn start(warden: &Warden, router: &Net) -> Result<Self> {
        let log = warden.dir().join(format!("{}-routes.log", router.role()));
        let process = Spawn::new("ip")
            .args(["-4", "-ts", "monitor", "route"])
            .env("TZ", "UTC")
            .in_net(router.path())
            .log(&log)
            .start(warden)?;
        Ok(Self { process, log })
    }

    /// How much it has told so far: a position for [`Monitor::wait`].
    pub(super) fn position(&self) -> Result<u64> {
        Ok(fs::metadata(&self.log).with_context(|| format!("look at {}", self.log.display()))?.len())
    }

    /// Waits for the first event after `position` that `wanted` accepts.
    pub(super) fn wait(
        &self,
        position: u64,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let mut news = News::after(File::open(&self.log)?, position)?;
        self.process.wait_for(deadline, what, || Ok(news.read()?.into_iter().find(&wanted)))
    }
}

/// The end of a log that is being written. Each look reads only what is new, since whoever waits shares the processors
/// with what it waits for.
#[derive(Debug)]
struct News {
    log: File,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl News {
    fn after(mut log: File, position: u64) -> Result<Self> {
        log.seek(SeekFrom::Start(position))?;
        Ok(Self { log, begun: Vec::new() })
    }

    /// The events that came since the last look.
    fn read(&mut self) -> Result<Vec<Event>> {
        self.log.read_to_end(&mut self.begun)?;
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        let text = String::from_utf8_lossy(&lines);
        Ok(text.split_inclusive('\n').filter_map(|line| parse(line).ok()).collect())
    }
}

/// Reads `[2026-01-02T03:04:05.678901] [Deleted ]192.0.2.1 …`; other lines are errors.
fn parse(line: &str) -> Result<Event> {
    let (stamp, rest) = line.strip_prefix('[').and_then(|l| l.split_once("] ")).context("no time stamp")?;
    let at: jiff::civil::DateTime = stamp.parse().context("not a time")?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().into();
    let (change, rest) = match rest.strip_prefix("Deleted ") {
        Some(rest) => (Change::Deleted, rest),
        None => (Change::Added, rest),
    };
    let address = rest.split_whitespace().next().context("no prefix")?.parse().context("not a /32")?;
    Ok(Event { at, change, address })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_monitors_lines() {
        let added =
            parse("[2026-01-02T03:04:05.678901] 10.128.0.1 nhid 7 via 172.31.1.11 dev tor proto bgp\n");
        let added = added.unwrap();
        assert_eq!((added.change, added.address), (Change::Added, Ipv4Addr::new(10, 128, 0, 1)));
        let since = added.at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::from_micros(1_767_323_045_678_901));
        let deleted =
            parse("[2026-01-02T03:04:05.678901] Deleted 10.128.0.1 via 172.31.1.11 dev tor\n").unwrap();
        assert_eq!(deleted.change, Change::Deleted);
        assert!(parse("[2026-01-02T03:04:05.678901] 10.0.0.0/24 dev tor\n").is_err());
        assert!(parse("local 10.128.0.1 dev lo\n").is_err());
    }

    /// What came before is not read, each line once, and half a line only when its end is there.
    #[test]
    fn only_news_is_read() {
        let line =
            |host: u8| format!("[2026-01-02T03:04:05.678901] 10.128.0.{host} via 172.31.1.11 dev tor\n");
        let log = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| log.as_file().write_all(text.as_bytes()).unwrap();
        write(&line(1));
        let mut news = News::after(log.reopen().unwrap(), u64::try_from(line(1).len()).unwrap()).unwrap();
        let mut hosts =
            || news.read().unwrap().into_iter().map(|event| event.address.octets()[3]).collect::<Vec<_>>();
        assert!(hosts().is_empty());
        let (three, end) = (line(3), line(3).split_off(30));
        write(&(line(2) + &three[..30]));
        assert_eq!(hosts(), [2]);
        write(&(end + &line(4)));
        assert_eq!(hosts(), [3, 4]);
        assert!(hosts().is_empty());
    }
}
