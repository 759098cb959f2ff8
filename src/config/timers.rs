//! Timers of a BGP session: from durations as written to the whole seconds that go over the wire.

use super::problem::Report;
use crate::api::Duration;

/// `timers`, in whole seconds; `hold` 0 switches them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timers {
    /// Seconds between keepalives.
    pub keepalive: u16,
    /// Seconds of silence after which the session ends; 0 or at least 3 (RFC 4271 §4.2).
    pub hold: u16,
}

const SECOND: i64 = 1_000_000_000;

/// What is wrong with a keepalive time of less than a second.
pub const FRACTION: &str = "must be 0 or >=1s: FRR counts in whole seconds";

/// The timers; where only one is given, the other follows by the customary ratio of three.
pub(super) fn timers(
    hold: Option<&Duration>,
    keepalive: Option<&Duration>,
    report: &mut Report<'_>,
) -> Option<Timers> {
    let mut nanos = |field: &str, time: Option<&Duration>| match time {
        Some(time) => nanos(field, time, report).map(Some),
        None => Some(None),
    };
    let written = (nanos("spec.holdTime", hold), nanos("spec.keepaliveTime", keepalive));
    let (Some(hold), Some(keepalive)) = written else { return None };
    // Cut off to whole seconds it would be 0, which switches keepalives off, and the session ended with the hold time.
    // Where that is cut off to 0 as well, it never ends.
    if keepalive.is_some_and(|time| (1..SECOND).contains(&time)) && hold.is_none_or(|time| time >= SECOND) {
        report.fault("spec.keepaliveTime", FRACTION);
        return None;
    }
    let (hold, keepalive) = match (hold, keepalive) {
        (None, None) => return None,
        (Some(hold), None) => (hold, hold / 3),
        (None, Some(keepalive)) => (keepalive.saturating_mul(3), keepalive),
        (Some(hold), Some(keepalive)) => (hold, keepalive),
    };
    if keepalive > hold {
        report.fault("spec.keepaliveTime", "must not be longer than holdTime");
    }
    let hold = seconds("spec.holdTime", hold, report)?;
    if matches!(hold, 1 | 2) {
        report.fault("spec.holdTime", format_args!("invalid hold time {hold}s: must be 0 or >=3s"));
    }
    Some(Timers { hold, keepalive: seconds("spec.keepaliveTime", keepalive, report)? })
}

/// Seconds between attempts to connect.
pub(super) fn connect_time(time: &Duration, report: &mut Report<'_>) -> Option<u16> {
    const FIELD: &str = "spec.connectTime";
    let nanos = nanos(FIELD, time, report)?;
    if nanos % SECOND != 0 {
        report.fault(FIELD, "connect time should contain a whole number of seconds");
    }
    let seconds = u16::try_from(nanos / SECOND).ok().filter(|s| *s > 0);
    report.value(FIELD, seconds.ok_or("connect time should be between 1 seconds to 65535"))
}

fn nanos(field: &str, time: &Duration, report: &mut Report<'_>) -> Option<i64> {
    let nanos = report.value(field, time.nanos())?;
    if nanos < 0 {
        report.fault(field, "must not be negative");
    }
    Some(nanos)
}

/// Whole seconds, as many as the wire has room for.
fn seconds(field: &str, nanos: i64, report: &mut Report<'_>) -> Option<u16> {
    let seconds = (nanos / SECOND).max(0);
    report.value(field, u16::try_from(seconds).map_err(|_| format!("must be at most 65535s, is {seconds}s")))
}
