//! When to tell what others claim: a thousand claims that come together are one piece of news, and each piece of it is
//! a pass over all Services for whoever hears it. What there is to tell is the responder's; no clock, no channel.

use std::time::{Duration, Instant};

/// What others claim is told so long after it has changed.
const TELL: Duration = Duration::from_millis(2);

/// What was told, and when more is.
#[derive(Debug, Default)]
pub(super) struct Telling {
    at: Option<Instant>,
    told: u64,
}

impl Telling {
    /// When it is to be told next.
    pub(super) const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Takes note of the revision that there is `now`. What comes before it is told does not put it off.
    pub(super) fn look(&mut self, revision: u64, now: impl FnOnce() -> Instant) {
        if self.at.is_none() && self.told != revision {
            self.at = Some(now() + TELL);
        }
    }

    /// This one is told.
    pub(super) const fn told(&mut self, revision: u64) {
        (self.at, self.told) = (None, revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change for each of these revisions, this long after one another, and the driver's loop around them: the
    /// revisions that are told, and when.
    fn told(revisions: &[u64], pause: Duration) -> Vec<(u64, Duration)> {
        #[expect(
            clippy::disallowed_methods,
            reason = "an origin can be had in no other way; nothing waits for another"
        )]
        let start = Instant::now();
        let (mut telling, mut all, mut now, mut current) = (Telling::default(), Vec::new(), start, 0);
        let mut come = revisions.iter();
        let mut next = Some(now);
        while let Some(at) = [next, telling.at()].into_iter().flatten().min() {
            now = at;
            if telling.at() == Some(at) {
                telling.told(current);
                all.push((current, at - start));
            } else if let Some(revision) = come.next() {
                current = *revision;
                next = (come.len() > 0).then_some(now + pause);
            }
            telling.look(current, || now);
        }
        all
    }

    #[test]
    fn what_comes_together_is_told_at_once_and_nothing_is_left_untold() {
        let (us, ms) = (Duration::from_micros(1), Duration::from_millis(1));
        assert_eq!(told(&[0], ms), [], "nothing has changed");
        assert_eq!(told(&[1], ms), [(1, 2 * ms)]);
        let thousand: Vec<u64> = (1..=1000).collect();
        let together = told(&thousand, us);
        assert_eq!(together, [(1000, 2 * ms)], "a thousand within a millisecond");
        let slowly = told(&thousand, 10 * us);
        assert_eq!(slowly.len(), 5, "a thousand within ten, and none is put off: {slowly:?}");
        assert_eq!(slowly.last().unwrap().0, 1000);
        assert!(slowly.windows(2).all(|pair| pair[1].1 - pair[0].1 <= 3 * ms), "{slowly:?}");
        assert_eq!(told(&[1, 2], 5 * ms), [(1, 2 * ms), (2, 7 * ms)], "one after the other");
    }
}
