//! When a route entered or left a router's kernel table: the time stamps of `ip -ts monitor route`.

use std::{
    net::Ipv4Addr,
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
}

impl Monitor {
    /// Starts it.
    pub(super) fn start(warden: &Warden, router: &Net) -> Result<Self> {
        let log = warden.dir().join(format!("{}-routes.log", router.role()));
        let process = Spawn::new("ip")
            .args(["-4", "-ts", "monitor", "route"])
            .env("TZ", "UTC")
            .in_net(router.path())
            .log(log)
            .start(warden)?;
        Ok(Self { process })
    }

    /// How much it has told so far: a position for [`Monitor::wait`].
    pub(super) fn position(&self) -> usize {
        self.process.log_text().len()
    }

    /// Waits for the first event after `position` that `wanted` accepts.
    pub(super) fn wait(
        &self,
        position: usize,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        self.process.wait_for(deadline, what, || {
            let text = self.process.log_text();
            // a line is complete when its end is there
            let lines = text.get(position..).unwrap_or_default().split_inclusive('\n');
            let mut events = lines.filter(|line| line.ends_with('\n')).filter_map(|line| parse(line).ok());
            Ok(events.find(&wanted))
        })
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
}
