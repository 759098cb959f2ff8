//! Medians and percentiles.

use std::{fmt, time::Duration};

/// The durations of one measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub(super) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The smallest sample that `percent` of all samples do not exceed (nearest rank), in milliseconds; 0 without
    /// samples.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map_or(0.0, |sample| sample.as_secs_f64() * 1000.0)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, max) = (self.percentile(50), self.percentile(99), self.percentile(100));
        write!(f, "p50 {p50:6.1} ms   p99 {p99:6.1} ms   max {max:6.1} ms   ({} samples)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = Samples((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!([50, 99, 100].map(|p| samples.percentile(p)), [100.0, 198.0, 200.0]);
        assert_eq!(Samples(vec![Duration::from_millis(7)]).percentile(99), 7.0);
        assert_eq!(Samples::default().percentile(50), 0.0);
    }
}
