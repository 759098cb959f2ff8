//! Prefix-lists of what comes in: longer before the networks change, shorter after.

use super::{Step, Subject};
use crate::frr::{ListName, Range, line};
use std::collections::BTreeMap;

type Lists = BTreeMap<ListName, BTreeMap<u32, Range>>;

/// Adds the lines that are missing.
pub(super) fn open(from: &Lists, to: &Lists, steps: &mut Vec<Step>) {
    for (list, wanted) in to {
        let had = from.get(list);
        let missing = wanted.iter().filter(|(place, range)| had.and_then(|h| h.get(*place)) != Some(*range));
        let mut lines = Vec::new();
        for (place, range) in missing {
            // FRR does not put one line in the place of another
            let was = had.and_then(|had| had.get(place));
            lines.extend(was.map(|was| format!("no {}", line::range(list, *place, was))));
            lines.push(line::range(list, *place, range));
        }
        push(list, lines, steps);
    }
}

/// Takes away the lines that are no longer wanted.
pub(super) fn close(from: &Lists, to: &Lists, steps: &mut Vec<Step>) {
    for (list, had) in from {
        let wanted = to.get(list);
        let gone = had.iter().filter(|(place, _)| wanted.is_none_or(|wanted| !wanted.contains_key(*place)));
        let lines = gone.map(|(place, range)| format!("no {}", line::range(list, *place, range))).collect();
        push(list, lines, steps);
    }
}

fn push(list: &ListName, lines: Vec<String>, steps: &mut Vec<Step>) {
    if !lines.is_empty() {
        steps.push(Step::plain(lines, &Subject::List(list.clone())));
    }
}
