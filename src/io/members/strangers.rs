//! Whose datagrams are refused: said once for each address, and again when that goes on for long.
//!
//! A speaker with another key is a mistake that somebody wants to know of; a host that sends whatever it likes must not
//! fill a log.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Between two lines on one address.
const AGAIN: Duration = Duration::from_hours(1);

/// The most addresses that are said something of within that time: a sender can make them up.
const MOST: usize = 256;

/// When an address was last said something of.
#[derive(Debug, Default)]
pub(super) struct Strangers(BTreeMap<IpAddr, Instant>);

impl Strangers {
    /// A datagram from `from` was refused.
    pub(super) fn refused(&mut self, now: Instant, from: IpAddr) {
        if self.is_news(now, from.to_canonical()) {
            tracing::warn!(
                %from,
                "the speakers' gossip has a datagram that is not sealed with our key: a speaker with another key \
                 (--ml-secret-key-path), or none of ours; it is refused, and so are those that follow"
            );
        }
    }

    fn is_news(&mut self, now: Instant, from: IpAddr) -> bool {
        let recent = |told: &Instant| now.saturating_duration_since(*told) < AGAIN;
        if self.0.get(&from).is_some_and(recent) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, told| recent(told));
        }
        if self.0.len() >= MOST {
            return false;
        }
        self.0.insert(from, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{settings::LogLevel, telemetry::tests::lines};

    #[test]
    fn an_address_is_told_of_once_an_hour() {
        let mut strangers = Strangers::default();
        #[expect(clippy::disallowed_methods, reason = "a test begins somewhere")]
        let start = Instant::now();
        let [one, two] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut told = |seconds, from| {
            lines(LogLevel::Info, || strangers.refused(start + Duration::from_secs(seconds), from))
        };
        let [line] = &told(0, one)[..] else { panic!("not one line") };
        assert_eq!((&line["level"], &line["from"]), (&"warn".into(), &"10.0.0.1".into()));
        assert!(told(1, one).is_empty());
        assert_eq!(told(2, two).len(), 1);
        assert!(told(3599, one).is_empty());
        assert_eq!(told(3600, one).len(), 1);
        assert!(told(3601, two).is_empty());
    }

    #[test]
    fn made_up_addresses_are_not_told_of_for_ever() {
        let mut strangers = Strangers::default();
        #[expect(clippy::disallowed_methods, reason = "a test begins somewhere")]
        let start = Instant::now();
        let told = (0..10_000_u32).filter(|i| strangers.is_news(start, IpAddr::from(i.to_be_bytes())));
        assert_eq!(told.count(), MOST);
        assert!(strangers.is_news(start + AGAIN, [10, 0, 0, 1].into()));
    }
}
