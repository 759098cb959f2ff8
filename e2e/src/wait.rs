//! Waiting for a condition with a deadline: the only place of the harness that reads the clock to wait, or sleeps.
//!
//! A test never sleeps and hopes; it says what it waits for, and a deadline that passes names it. Where a span of time
//! is itself what is measured, [`pass`] lets it go by.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

/// How long a program may take until it serves; most do so in well under a second. It is for one that never does.
pub const START: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` again and again until it finds something, and gives what it found.
///
/// # Errors
/// When `deadline` passes; the message names `what` and the last error that `look` had. An error of `look` is
/// not the end: what is waited for is often what makes it go away.
pub fn until<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = now();
    loop {
        let last = look();
        if let Ok(Some(found)) = last {
            return Ok(found);
        }
        if start.elapsed() >= deadline {
            let waited = format!("waited {:.1} s for: {what}", deadline.as_secs_f64());
            return match last {
                Err(error) => Err(error).context(waited),
                Ok(_) => bail!(waited),
            };
        }
        std::thread::sleep(PAUSE);
    }
}

/// [`until`] for a plain yes or no.
///
/// # Errors
/// As [`until`].
pub fn until_true(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    until(deadline, what, || Ok(look()?.then_some(())))
}

/// The median of some durations, the higher one of two; without any it never ends. What the product needs is in it, and
/// what one stall of the machine adds is not.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or(Duration::MAX)
}

/// Lets this much time go by, when the time itself is what it is about: an idle minute, or for how long a server is
/// away. It waits for nothing: whoever wants something to have happened by then says so to [`until`].
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// The moment: for measuring how long something took.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the harness measures real time; this is its one clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The same moment as a captured frame would be stamped with: since the epoch.
///
/// # Errors
/// When the machine's clock is set to before the epoch.
pub fn since_epoch() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stall_does_not_move_the_median() {
        let ms = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(median(&ms(&[9, 7, 4000, 8, 6])), Duration::from_millis(8));
        assert_eq!(median(&ms(&[1, 2])), Duration::from_millis(2));
        assert_eq!(median(&[]), Duration::MAX);
    }
}
