//! What is told to people: each problem once when it appears, and once when it is gone.

use crate::{
    config::{Problem, Problems},
    io::{files, frr::Report, settings::Source},
};
use std::{collections::BTreeSet, path::PathBuf};

/// The problems that were told.
#[derive(Debug)]
pub(super) struct Told {
    problems: BTreeSet<Problem>,
    /// The manifest directory, where they are also written down, and who writes.
    file: Option<(PathBuf, String)>,
    first: bool,
}

impl Told {
    /// Nothing yet; `component` is how the file in a manifest directory calls this program.
    pub(super) fn new(source: &Source, component: String) -> Self {
        let file = match source {
            Source::Api(_) => None,
            Source::Manifests(dir) => Some((dir.clone(), component)),
        };
        Self { problems: BTreeSet::new(), file, first: true }
    }

    /// Tells what is new in `problems` and what is gone from them.
    pub(super) fn tell(&mut self, problems: &Problems) {
        if !self.first && problems.iter().eq(&self.problems) {
            return;
        }
        let now: BTreeSet<Problem> = problems.iter().cloned().collect();
        for problem in now.difference(&self.problems) {
            tracing::warn!(
                object = %problem.object,
                field = problem.field,
                problem = problem.what,
                "object has a problem: its last valid version counts, or none"
            );
        }
        for problem in self.problems.difference(&now) {
            tracing::info!(object = %problem.object, field = problem.field, "problem is gone");
        }
        if let Some((dir, component)) = &self.file
            && let Err(fault) = files::write_problems(dir, component, problems)
        {
            tracing::debug!(fault = format!("{fault:#}"), "problems are not written down");
        }
        self.problems = now;
        self.first = false;
    }
}

/// The most lines that one log line shows.
const SHOWN: usize = 64;

/// Logs what the driver of FRR reports.
pub(super) fn tell_frr(report: &Report) {
    match report {
        Report::Connected { daemon, foreign } => {
            tracing::info!(?daemon, "connected to FRR");
            if !foreign.is_empty() {
                let lines = masked(foreign);
                tracing::info!(
                    ?daemon,
                    ?lines,
                    count = foreign.len(),
                    "FRR runs lines that are not ours: left alone"
                );
            }
        }
        Report::Unreachable { daemon, error } => {
            tracing::error!(?daemon, fault = format!("{error:#}"), "FRR cannot be reached: trying again");
        }
        Report::Applied { lines, took } => {
            let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            tracing::info!(lines = ?masked(lines), count = lines.len(), ms, "frr configuration applied");
        }
        Report::Refused { line, answer, .. } => {
            tracing::error!(line = mask(line), answer, "FRR refused a line");
        }
        Report::Remarked { line, answer } => {
            tracing::warn!(line = mask(line), answer, "FRR remarked on a line");
        }
        Report::Unwritten { error } => {
            tracing::error!(
                fault = format!("{error:#}"),
                "frr.conf was not written: FRR would start from an older one"
            );
        }
    }
}

fn masked(lines: &[String]) -> Vec<&str> {
    lines.iter().take(SHOWN).map(|line| mask(line)).collect()
}

/// A line without the password that it may end in.
pub(super) fn mask(line: &str) -> &str {
    match line.find(" password ") {
        Some(at) => line.get(..at + " password".len()).unwrap_or_default(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_logged() {
        assert_eq!(mask("neighbor 10.0.0.1 password s3cret"), "neighbor 10.0.0.1 password");
        assert_eq!(mask("no neighbor 10.0.0.1 password s3cret"), "no neighbor 10.0.0.1 password");
        assert_eq!(mask("neighbor 10.0.0.1 timers 3 9"), "neighbor 10.0.0.1 timers 3 9");
    }
}
