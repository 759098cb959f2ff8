//! What is told to people: each problem once when it appears, and once when it is gone.

use crate::config::{Problem, Problems};
use std::collections::BTreeSet;

/// The problems that were told.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<Problem>);

impl Told {
    /// Logs what is new in `problems` and what is gone from them.
    pub(super) fn tell(&mut self, problems: &Problems) {
        let now: BTreeSet<Problem> = problems.iter().cloned().collect();
        for problem in now.difference(&self.0) {
            tracing::warn!(
                object = %problem.object,
                field = problem.field,
                problem = problem.what,
                "object has a problem: its last valid version counts, or none"
            );
        }
        for problem in self.0.difference(&now) {
            tracing::info!(object = %problem.object, field = problem.field, "problem is gone");
        }
        self.0 = now;
    }
}
