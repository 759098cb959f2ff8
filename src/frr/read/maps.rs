//! Route-maps and community lists: which of them are classes, which are the maps of neighbours, and which are
//! somebody else's.

use super::Found;
use crate::{
    config::Community,
    frr::{ClassId, Entry, Policy, line},
    names::Word,
    plan::Attributes,
};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of route-maps by their first line, and lines of community lists.
#[derive(Default)]
pub(super) struct Maps {
    entries: BTreeMap<String, Vec<String>>,
    lists: BTreeSet<String>,
}

/// FRR's names of well-known communities.
const WELL_KNOWN: [(&str, Community); 17] = [
    ("internet", Community::Standard(0, 0)),
    ("graceful-shutdown", Community::Standard(65535, 0)),
    ("accept-own", Community::Standard(65535, 1)),
    ("route-filter-translated-v4", Community::Standard(65535, 2)),
    ("route-filter-v4", Community::Standard(65535, 3)),
    ("route-filter-translated-v6", Community::Standard(65535, 4)),
    ("route-filter-v6", Community::Standard(65535, 5)),
    ("llgr-stale", Community::Standard(65535, 6)),
    ("no-llgr", Community::Standard(65535, 7)),
    ("accept-own-nexthop", Community::Standard(65535, 8)),
    ("standby-pe", Community::Standard(65535, 9)),
    ("blackhole", Community::Standard(65535, 666)),
    ("no-export", Community::Standard(65535, 65281)),
    ("no-advertise", Community::Standard(65535, 65282)),
    ("local-AS", Community::Standard(65535, 65283)),
    ("no-export-subconfed", Community::Standard(65535, 65283)),
    ("no-peer", Community::Standard(65535, 65284)),
];

impl Maps {
    /// `route-map NAME ACTION NUMBER`.
    pub(super) fn entry(&mut self, head: &str) {
        self.entries.entry(head.to_owned()).or_default();
    }

    /// A line of that entry.
    pub(super) fn entry_line(&mut self, head: &str, text: &str) -> bool {
        self.entries.get_mut(head).map(|lines| lines.push(text.to_owned())).is_some()
    }

    /// `bgp large-community-list …`.
    pub(super) fn list(&mut self, text: &str) {
        self.lists.insert(text.to_owned());
    }

    /// Says which is which.
    pub(super) fn settle(&mut self, found: &mut Found) {
        self.classes(found);
        self.policies(found);
        for (head, lines) in std::mem::take(&mut self.entries) {
            found.foreign.push(head);
            found.foreign.extend(lines.into_iter().map(|line| format!(" {line}")));
        }
        found.foreign.extend(std::mem::take(&mut self.lists));
    }

    /// A class is its list and its map, each exactly as we write it.
    fn classes(&mut self, found: &mut Found) {
        let ids: BTreeSet<ClassId> =
            self.entries.keys().filter_map(|head| head.split(' ').nth(1)?.parse().ok()).collect();
        for id in ids {
            let (list, [head, set]) = line::class(id);
            let map = self.entries.get(&head).is_some_and(|lines| *lines == [set]);
            if map && self.lists.contains(&list) {
                self.entries.remove(&head);
                self.lists.remove(&list);
                found.model.classes.insert(id);
            }
        }
    }

    /// A neighbour's out-map is known by the `deny` that ends it.
    fn policies(&mut self, found: &mut Found) {
        let last = format!("-out deny {}", Policy::LAST);
        let names: Vec<Word> = self
            .entries
            .iter()
            .filter(|(_, lines)| lines.is_empty())
            .filter_map(|(head, _)| head.strip_prefix("route-map ")?.strip_suffix(&last))
            .filter_map(|name| Word::new(name).ok())
            .collect();
        for name in names {
            let mut policy = Policy::default();
            self.entries.remove(&format!("route-map {name}{last}"));
            let inbound = format!("route-map {name}-in deny {}", Policy::INBOUND);
            if self.entries.get(&inbound).is_some_and(Vec::is_empty) {
                self.entries.remove(&inbound);
                policy.inbound = true;
            }
            let out = format!("route-map {name}-out ");
            self.entries.retain(|head, lines| {
                let place = head.strip_prefix(&out).and_then(|rest| rest.split_once(' '));
                let place = place.and_then(|(action, place)| Some((action, place.parse().ok()?)));
                if let Some((action, place)) = place {
                    // a `deny` before our entries is no more ours than an entry of another kind
                    let lines = if action == "permit" { &lines[..] } else { &[] };
                    policy.entries.insert(place, entry(lines));
                }
                place.is_none()
            });
            found.model.policies.insert(name, policy);
        }
    }
}

fn entry(lines: &[String]) -> Entry {
    parse(lines).unwrap_or_else(|| Entry { class: None, attributes: Attributes::default() })
}

fn parse(lines: &[String]) -> Option<Entry> {
    let mut class = None;
    let mut large = false;
    let mut attributes = Attributes::default();
    for line in lines {
        if let Some(name) = line.strip_prefix("match large-community ") {
            class = Some(name.parse().ok()?);
        } else if let Some(list) = line.strip_prefix("set large-community ") {
            large = true;
            for word in list.split(' ').filter(|word| *word != "none") {
                attributes.communities.insert(large_community(word)?);
            }
        } else if let Some(list) = line.strip_prefix("set community ") {
            for word in list.split(' ') {
                attributes.communities.insert(standard_community(word)?);
            }
        } else if let Some(preference) = line.strip_prefix("set local-preference ") {
            attributes.local_pref = Some(preference.parse().ok()?);
        } else {
            return None;
        }
    }
    // without that line the tag would leave
    large.then_some(Entry { class: Some(class?), attributes })
}

fn large_community(word: &str) -> Option<Community> {
    let (a, rest) = word.split_once(':')?;
    let (b, c) = rest.split_once(':')?;
    Some(Community::Large(a.parse().ok()?, b.parse().ok()?, c.parse().ok()?))
}

fn standard_community(word: &str) -> Option<Community> {
    if let Some((_, community)) = WELL_KNOWN.iter().find(|(name, _)| *name == word) {
        return Some(*community);
    }
    let (a, b) = word.split_once(':')?;
    Some(Community::Standard(a.parse().ok()?, b.parse().ok()?))
}
