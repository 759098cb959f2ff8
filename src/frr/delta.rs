//! Model × Model → the lines that turn an FRR with the one into an FRR with the other.
//!
//! The order never opens a hole: what is referred to exists before it is referred to, and goes after. A prefix that
//! changes its class is named again with the new one, which FRR announces at once without a withdrawal. No line
//! touches a session unless that session's own settings changed.

mod lists;
mod policy;
mod router;

use super::{ClassId, ListName, LogLevel, Model, line, show::Peering};
use crate::{config::Neighbor, names::Word};
use ipnet::IpNet;
use std::{collections::BTreeSet, fmt};

/// A daemon of FRR, as far as it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// `bgpd`.
    Bgp,
    /// `bfdd`.
    Bfd,
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bgp => "bgpd",
            Self::Bfd => "bfdd",
        })
    }
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The daemons themselves.
    Node,
    /// The BGP instance of a VRF.
    Router(Option<Word>),
    /// A neighbour, in a VRF.
    Neighbor(Option<Word>, Neighbor),
    /// A neighbour's route-maps.
    Policy(Word),
    /// A prefix-list.
    List(ListName),
    /// A policy class.
    Class(ClassId),
    /// A prefix, in a VRF.
    Prefix(Option<Word>, IpNet),
    /// A BFD profile.
    BfdProfile(Word),
    /// Raw configuration of this object.
    Raw(String),
}

/// A line of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text.
    pub text: String,
    /// What it is about.
    pub subject: Subject,
}

/// Lines of one daemon that belong together, from `configure terminal` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The daemon.
    pub daemon: Daemon,
    /// The lines that lead to where `lines` belong.
    pub context: Vec<Line>,
    /// The lines.
    pub lines: Vec<Line>,
    /// What to say, from `configure terminal` on, when a line is refused: half of this would be worse than nothing.
    /// Such a step must reach the daemon in one piece, so that nothing is announced in the middle of it.
    pub undo: Option<String>,
}

/// The steps from `from` to `to`, in order.
#[must_use]
pub fn delta(from: &Model, to: &Model) -> Vec<Step> {
    let mut steps = Vec::new();
    log(from.log, to.log, &mut steps);
    // whoever leaves says so first, and unsays it last
    if to.leaving && !from.leaving {
        steps.push(Step::plain(vec![line::LEAVING.to_owned()], &Subject::Node));
    }
    profiles(from, to, &mut steps);
    for class in to.classes.difference(&from.classes) {
        add_class(*class, &mut steps);
    }
    if to.guard && !from.guard {
        steps.push(Step::plain(vec![line::GUARD.to_owned()], &Subject::Node));
    }
    lists::open(&from.lists, &to.lists, &mut steps);
    let moved = policy::open(&from.policies, &to.policies, &mut steps);
    router::routers(from, to, &mut steps);
    policy::close(&from.policies, &to.policies, moved, &mut steps);
    lists::close(&from.lists, &to.lists, &mut steps);
    if from.guard && !to.guard {
        steps.push(Step::plain(vec![format!("no {}", line::GUARD)], &Subject::Node));
    }
    for class in from.classes.difference(&to.classes) {
        remove_class(*class, &mut steps);
    }
    for name in from.bfd.keys().filter(|name| !to.bfd.contains_key(*name)) {
        let subject = Subject::BfdProfile(name.clone());
        let context = vec![Line { text: "bfd".to_owned(), subject: Subject::Node }];
        let lines = vec![Line { text: format!("no profile {name}"), subject }];
        steps.push(Step { daemon: Daemon::Bfd, context, lines, undo: None });
    }
    if from.leaving && !to.leaving {
        steps.push(Step::plain(vec![format!("no {}", line::LEAVING)], &Subject::Node));
    }
    steps
}

/// What begins sessions that rest ([`super::show::Progress::Resting`]): BFD is taken away from each, which begins it, and given
/// back.
#[must_use]
pub fn wake(model: &Model, who: &BTreeSet<Peering>) -> Vec<Step> {
    let mut without = model.clone();
    for Peering { vrf, neighbor } in who {
        let session = without.routers.get_mut(vrf).and_then(|router| router.sessions.get_mut(neighbor));
        if let Some(session) = session {
            session.bfd = None;
        }
    }
    let mut steps = delta(model, &without);
    steps.extend(delta(&without, model));
    steps
}

impl Step {
    /// Lines of bgpd that need no context.
    fn plain(lines: Vec<String>, subject: &Subject) -> Self {
        let lines = lines.into_iter().map(|text| Line { text, subject: subject.clone() }).collect();
        Self { daemon: Daemon::Bgp, context: Vec::new(), lines, undo: None }
    }
}

fn log(from: Option<LogLevel>, to: Option<LogLevel>, steps: &mut Vec<Step>) {
    let text = match (from, to) {
        (a, b) if a == b => return,
        (_, Some(level)) => format!("log stdout {level}"),
        (_, None) => "no log stdout".to_owned(),
    };
    let (was, is) = (from == Some(LogLevel::Debugging), to == Some(LogLevel::Debugging));
    for (daemon, debug) in [(Daemon::Bfd, &line::DEBUG_BFD[..]), (Daemon::Bgp, &line::DEBUG_BGP[..])] {
        let mut lines = vec![text.clone()];
        match (was, is) {
            (false, true) => lines.extend(debug.iter().map(ToString::to_string)),
            (true, false) => lines.extend(debug.iter().map(|line| format!("no {line}"))),
            _ => {}
        }
        steps.push(Step { daemon, ..Step::plain(lines, &Subject::Node) });
    }
}

fn profiles(from: &Model, to: &Model, steps: &mut Vec<Step>) {
    for (name, wanted) in &to.bfd {
        let had = from.bfd.get(name);
        if had == Some(wanted) {
            continue;
        }
        let subject = Subject::BfdProfile(name.clone());
        let line = |text: String| Line { text, subject: subject.clone() };
        let wanted = line::profile(wanted);
        let had = had.map(line::profile).unwrap_or_default();
        let gone = had.keys().filter(|option| !wanted.contains_key(*option)).map(|o| line::default(o));
        let set = wanted.iter().filter(|(option, text)| had.get(*option) != Some(text));
        let lines = gone.chain(set.map(|(_, text)| text.clone())).map(line).collect();
        let context = vec![line("bfd".to_owned()), line(format!("profile {name}"))];
        steps.push(Step { daemon: Daemon::Bfd, context, lines, undo: None });
    }
}

fn add_class(class: ClassId, steps: &mut Vec<Step>) {
    let (list, map) = line::class(class);
    let lines = std::iter::once(list).chain(map).collect();
    let undo = Some(format!("no route-map {class}"));
    steps.push(Step { undo, ..Step::plain(lines, &Subject::Class(class)) });
}

fn remove_class(class: ClassId, steps: &mut Vec<Step>) {
    let (list, _) = line::class(class);
    let lines = vec![format!("no route-map {class}"), format!("no {list}")];
    steps.push(Step::plain(lines, &Subject::Class(class)));
}
