//! What is told to people: each problem once when it appears, and once when it is gone.

use crate::{
    config::{Problem, Problems},
    io::{files, frr::Report, settings::Source},
};
use std::{collections::BTreeSet, path::PathBuf};

const FAULT: &str = "object has a problem: if it is not valid, its last valid version counts, or none";
const REMARK: &str = "object has something without effect: it counts as if that were not there";

/// The problems that were told.
#[derive(Debug)]
pub(super) struct Told {
    problems: BTreeSet<Problem>,
    /// The remarks that were told.
    remarks: BTreeSet<Problem>,
    /// The manifest directory, where they are also written down, and who writes.
    file: Option<(PathBuf, String)>,
    /// What is in the file beside them.
    beside: Problems,
    /// Whether the file does not say what it should, since it could not be written.
    unwritten: bool,
    first: bool,
}

impl Told {
    /// Nothing yet; `component` is how the file in a manifest directory calls this program.
    pub(super) fn new(source: &Source, component: String) -> Self {
        let file = match source {
            Source::Api(_) => None,
            Source::Manifests(dir) => Some((dir.clone(), component)),
        };
        let (problems, remarks) = (BTreeSet::new(), BTreeSet::new());
        Self { problems, remarks, file, beside: Problems::default(), unwritten: false, first: true }
    }

    /// Tells what is new in `problems` and what is gone from them.
    pub(super) fn tell(&mut self, problems: &Problems) {
        self.tell_with(problems, Problems::default);
    }

    /// As [`Told::tell`], and writes down `beside` too, which the log has from elsewhere.
    pub(super) fn tell_with(&mut self, problems: &Problems, beside: impl FnOnce() -> Problems) {
        let beside = if self.file.is_some() { beside() } else { Problems::default() };
        let same = beside == self.beside;
        self.beside = beside;
        let told = problems.iter().eq(&self.problems) && problems.remarks().eq(&self.remarks);
        if !self.first && told {
            return if same { self.again(problems) } else { self.write(problems) };
        }
        let now: BTreeSet<Problem> = problems.iter().cloned().collect();
        let remarks: BTreeSet<Problem> = problems.remarks().cloned().collect();
        let new = now.difference(&self.problems).map(|problem| (problem, FAULT));
        for (problem, what) in new.chain(remarks.difference(&self.remarks).map(|remark| (remark, REMARK))) {
            tracing::warn!(
                object = %problem.object,
                field = problem.field,
                problem = problem.what,
                "{what}"
            );
        }
        for problem in self.problems.difference(&now).chain(self.remarks.difference(&remarks)) {
            tracing::info!(object = %problem.object, field = problem.field, "problem is gone");
        }
        self.write(problems);
        (self.problems, self.remarks) = (now, remarks);
        self.first = false;
    }

    /// Writes down what could not be written before.
    pub(super) fn again(&mut self, problems: &Problems) {
        if self.unwritten {
            self.write(problems);
        }
    }

    /// Writes the problems down, where there is a directory; says once that it does not work, and once that it does again.
    fn write(&mut self, problems: &Problems) {
        let Some((dir, component)) = &self.file else { return };
        let mut all = problems.clone();
        all.extend(self.beside.clone());
        match files::write_problems(dir, component, &all) {
            Ok(()) if std::mem::take(&mut self.unwritten) => {
                tracing::info!(dir = %dir.display(), "problems are written down again");
            }
            Ok(()) => {}
            Err(fault) if std::mem::replace(&mut self.unwritten, true) => {
                tracing::debug!(%fault, "problems are still not written down");
            }
            Err(fault) => {
                tracing::error!(%fault, "problems cannot be written down: they are in the log alone");
            }
        }
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
        Report::Unreachable { daemon, needed: true, error } => {
            tracing::error!(
                ?daemon,
                fault = format!("{error:#}"),
                "FRR cannot be reached: start it, or say with --frr-vty-dir where it is; trying again"
            );
        }
        Report::Unreachable { daemon, needed: false, error } => {
            tracing::info!(
                ?daemon,
                fault = format!("{error:#}"),
                "FRR cannot be reached, and nothing needs it yet; trying again"
            );
        }
        Report::Drift { daemon, lines } => {
            tracing::warn!(
                ?daemon,
                lines = ?masked(lines),
                count = lines.len(),
                "somebody else changed FRR's configuration: it is put right"
            );
        }
        Report::Unrepaired { daemon, lines } => {
            tracing::error!(
                ?daemon,
                lines = ?masked(lines),
                count = lines.len(),
                "FRR does not run what it was told, and telling it again does not help"
            );
        }
        Report::Applied { lines, took } => {
            let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            tracing::info!(lines = ?masked(lines), count = lines.len(), ms, "frr configuration applied");
        }
        Report::Refused { line, answer, .. } => {
            tracing::error!(line = mask(line), answer = mask(answer), "FRR refused a line");
        }
        Report::Remarked { line, answer } => {
            tracing::warn!(line = mask(line), answer = mask(answer), "FRR remarked on a line");
        }
        Report::Woken { who } => {
            tracing::info!(
                peer = %who,
                vrf = who.vrf_name(),
                "BGP and BFD of this peer waited for each other: BGP begins without BFD"
            );
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

/// A line, or what FRR says of one and repeats it, without the password that it may end in.
pub(super) fn mask(text: &str) -> &str {
    const WORD: &str = "password";
    let secret = |(at, _): &(usize, &str)| {
        let (before, after) = (text.get(..*at).unwrap_or_default(), text.get(at + WORD.len()..));
        before.chars().next_back().is_none_or(char::is_whitespace)
            && after.is_some_and(|after| after.starts_with(char::is_whitespace))
    };
    match text.match_indices(WORD).find(secret) {
        Some((at, _)) => text.get(..at + WORD.len()).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Kind, ObjectRef},
        io::{settings::LogLevel, telemetry::tests::lines as log_of},
    };

    #[test]
    fn a_file_that_cannot_be_written_is_told_once_and_so_is_its_return() {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Told::new(&Source::Manifests(dir.path().into()), "controller".into());
        let mut problems = Problems::default();
        let mut tell = |name: &str| {
            problems.add(ObjectRef { kind: Kind::BGPPeer, name: name.into() }, "spec", "is wrong");
            let lines = log_of(LogLevel::Info, || {
                told.tell(&problems);
                told.tell(&problems);
            });
            lines.into_iter().filter(|line| line["object"].is_null()).collect::<Vec<_>>()
        };
        // Not a directory: nobody, not even root, can write below it.
        std::fs::write(dir.path().join("status"), "").unwrap();
        let [line] = &tell("a")[..] else { panic!("not one line") };
        assert_eq!(line["level"], "error");
        assert!(line["fault"].as_str().unwrap().contains("problems.controller.yaml"), "{line}");
        assert!(tell("b").is_empty(), "said before");
        std::fs::remove_file(dir.path().join("status")).unwrap();
        // The same problems: they are written all the same.
        let lines = log_of(LogLevel::Info, || told.tell(&problems));
        assert_eq!((lines.len(), &lines[0]["level"]), (1, &"info".into()), "{lines:?}");
        let text = std::fs::read_to_string(dir.path().join("status/problems.controller.yaml")).unwrap();
        assert!(text.contains("BGPPeer b"), "{text}");
        assert!(log_of(LogLevel::Info, || told.tell(&problems)).is_empty());
    }

    /// What has no effect is told of once, and no configuration is stale for it.
    #[test]
    fn a_remark_is_told_once_and_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Told::new(&Source::Manifests(dir.path().into()), "speaker-n".into());
        let mut problems = Problems::default();
        let object = ObjectRef { kind: Kind::BGPAdvertisement, name: "ad".into() };
        problems.remark(object, "spec.peers[0]", "there is no BGPPeer \"nosuch\"");
        assert!(problems.is_empty() && problems.iter().next().is_none());
        let lines = log_of(LogLevel::Info, || {
            told.tell(&problems);
            told.tell(&problems);
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["level"], &line["object"]), (&"warn".into(), &"BGPAdvertisement ad".into()));
        assert_eq!(
            (&line["field"], &line["problem"]),
            (&"spec.peers[0]".into(), &"there is no BGPPeer \"nosuch\"".into())
        );
        let path = dir.path().join("status/problems.speaker-n.yaml");
        assert!(std::fs::read_to_string(&path).unwrap().contains("BGPAdvertisement ad"));
        let lines = log_of(LogLevel::Info, || told.tell(&Problems::default()));
        assert_eq!((lines.len(), &lines[0]["level"]), (1, &"info".into()), "{lines:?}");
        assert!(!path.exists());
    }

    #[test]
    fn what_the_log_has_already_is_written_down_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Told::new(&Source::Manifests(dir.path().into()), "controller".into());
        let path = dir.path().join("status/problems.controller.yaml");
        let none = Problems::default();
        told.tell(&none);
        let mut beside = Problems::default();
        let object = ObjectRef { kind: Kind::Service, name: "default/x".into() };
        beside.add(object, "spec.type", "is none");
        assert!(log_of(LogLevel::Info, || told.tell_with(&none, || beside)).is_empty());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "- object: \"Service default/x\"\n  field: \"spec.type\"\n  what: \"is none\"\n");
        told.tell_with(&none, Problems::default);
        assert!(!path.exists());
    }

    #[test]
    fn no_password_is_logged() {
        assert_eq!(mask("neighbor 10.0.0.1 password s3cret"), "neighbor 10.0.0.1 password");
        assert_eq!(mask("no neighbor 10.0.0.1 password s3cret"), "no neighbor 10.0.0.1 password");
        assert_eq!(mask("neighbor 10.0.0.1 timers 3 9"), "neighbor 10.0.0.1 timers 3 9");
        assert_eq!(mask("password s3cret"), "password");
        let answer = "% [STATIC] Unknown command: neighbor 10.0.0.1 password s3cret";
        assert_eq!(mask(answer), "% [STATIC] Unknown command: neighbor 10.0.0.1 password");
        assert_eq!(mask("description no-password here"), "description no-password here");
    }
}
