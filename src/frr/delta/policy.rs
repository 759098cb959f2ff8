//! Route-maps of neighbours: opened before the networks change, closed after.
//!
//! Nearly always each class has its own place in an out-map. Where two classes want one place, a class can have to
//! give way to another; it then stands at a free place too while the networks change.

use super::{Step, Subject};
use crate::{
    frr::{Entry, Gate, Policy, line},
    names::Word,
};
use std::collections::BTreeMap;

/// Places that are used only for the time of this delta, by neighbour.
pub(super) type Moved = BTreeMap<Word, Vec<u16>>;

type Policies = BTreeMap<Word, Policy>;

/// Makes maps, and the entries that are missing.
pub(super) fn open(from: &Policies, to: &Policies, steps: &mut Vec<Step>) -> Moved {
    let mut moved = Moved::new();
    for (name, wanted) in to {
        let subject = Subject::Policy(name.clone());
        let had = from.get(name);
        if wanted.inbound && !had.is_some_and(|had| had.inbound) {
            let text = format!("route-map {name}-in deny {}", Policy::INBOUND);
            steps.push(Step::plain(vec![text], &subject));
        }
        if had.is_none() {
            let text = format!("route-map {name}-out deny {}", Policy::LAST);
            steps.push(Step::plain(vec![text], &subject));
        }
        if wanted.plain && !had.is_some_and(|had| had.plain) {
            let (first, line) = line::first(name);
            let undo = Some(format!("no {first}"));
            // somebody else's, or of an earlier version
            let was = had.and_then(|had| had.gates.get(&Policy::FIRST));
            let was = was.map(|was| format!("no {}", line::gate_head(name, Policy::FIRST, was)));
            let lines = was.into_iter().chain([line::plain(name), first, line.to_owned()]).collect();
            steps.push(Step { undo, ..Step::plain(lines, &subject) });
        }
        let gates = had.map(|had| &had.gates);
        for (place, gate) in &wanted.gates {
            let was = gates.and_then(|gates| gates.get(place));
            if was != Some(gate) {
                steps.push(let_in(name, *place, gate, was));
            }
        }
        let none = BTreeMap::new();
        let had = had.map_or(&none, |had| &had.entries);
        for (place, entry) in &wanted.entries {
            match had.get(place) {
                Some(same) if same == entry => {}
                None => steps.push(put(name, *place, entry)),
                Some(_) => {
                    let spare = moved.entry(name.clone()).or_default();
                    let used =
                        |p: &u16| had.contains_key(p) || wanted.entries.contains_key(p) || spare.contains(p);
                    if let Some(free) = (1..Policy::LAST).find(|p| !used(p)) {
                        steps.push(put(name, free, entry));
                        spare.push(free);
                    }
                }
            }
        }
    }
    moved
}

/// Takes away the entries and maps that are no longer wanted.
pub(super) fn close(from: &Policies, to: &Policies, moved: Moved, steps: &mut Vec<Step>) {
    for (name, had) in from {
        let subject = Subject::Policy(name.clone());
        let Some(wanted) = to.get(name) else {
            let mut lines = vec![format!("no route-map {name}-out")];
            lines.extend(had.plain.then(|| shortcut(name)).into_iter().flatten());
            let gates = had.gates.iter();
            lines.extend(gates.map(|(place, gate)| format!("no {}", line::gate_head(name, *place, gate))));
            if had.inbound {
                lines.push(format!("no route-map {name}-in deny {}", Policy::INBOUND));
            }
            steps.push(Step::plain(lines, &subject));
            continue;
        };
        if had.plain && !wanted.plain {
            steps.push(Step::plain(shortcut(name).to_vec(), &subject));
        }
        // what was in the place of the first entry has gone before
        let gone = |place: &u16| wanted.plain && *place == Policy::FIRST;
        let shut = had.gates.iter().filter(|(place, _)| !wanted.gates.contains_key(*place) && !gone(place));
        let shut: Vec<_> =
            shut.map(|(place, gate)| format!("no {}", line::gate_head(name, *place, gate))).collect();
        if !shut.is_empty() {
            steps.push(Step::plain(shut, &subject));
        }
        for (place, was) in &had.entries {
            match wanted.entries.get(place) {
                Some(entry) if entry == was => {}
                Some(entry) => {
                    let mut step = put(name, *place, entry);
                    let first = super::Line { text: remove(name, *place), subject: subject.clone() };
                    step.lines.insert(0, first);
                    steps.push(step);
                }
                None => steps.push(Step::plain(vec![remove(name, *place)], &subject)),
            }
        }
    }
    for (name, places) in moved {
        let subject = Subject::Policy(name.clone());
        steps.push(Step::plain(places.iter().map(|place| remove(&name, *place)).collect(), &subject));
    }
}

fn put(name: &Word, place: u16, entry: &Entry) -> Step {
    let head = format!("route-map {name}-out permit {place}");
    let lines = std::iter::once(head).chain(line::entry(entry)).collect();
    let undo = Some(remove(name, place));
    Step { undo, ..Step::plain(lines, &Subject::Policy(name.clone())) }
}

fn shortcut(name: &Word) -> [String; 2] {
    [format!("no {}", line::first(name).0), format!("route-map {name}-in optimization")]
}

/// An entry of the in-map, in place of the one that was there.
fn let_in(name: &Word, place: u16, gate: &Gate, was: Option<&Gate>) -> Step {
    let head = line::gate_head(name, place, gate);
    let undo = Some(format!("no {head}"));
    let was = was.map(|was| format!("no {}", line::gate_head(name, place, was)));
    let lines = was.into_iter().chain([head]).chain(line::gate(gate)).collect();
    Step { undo, ..Step::plain(lines, &Subject::Policy(name.clone())) }
}

fn remove(name: &Word, place: u16) -> String {
    format!("no route-map {name}-out permit {place}")
}
