//! Route-maps and community lists: which of them are classes, which are the maps of neighbours, and which are
//! somebody else's.

use super::Found;
use crate::{
    config::Community,
    frr::{ClassId, Entry, Gate, ListName, Policy, Range, line},
    names::{Asn, Word},
    net::Family,
    plan::Attributes,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Entries of route-maps by their first line, and lines of community lists.
#[derive(Default)]
pub(super) struct Maps {
    entries: BTreeMap<String, Vec<String>>,
    lists: BTreeSet<String>,
    plain: BTreeSet<String>,
    prefixes: BTreeMap<ListName, BTreeMap<u32, Range>>,
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
        // one entry of a number: FRR changes what it does
        let words: Vec<&str> = head.split(' ').collect();
        if let [map, name, action, number] = words[..] {
            let other = if action == "permit" { "deny" } else { "permit" };
            if let Some(lines) = self.entries.remove(&format!("{map} {name} {other} {number}")) {
                self.entries.insert(head.to_owned(), lines);
            }
        }
        self.entries.entry(head.to_owned()).or_default();
    }

    /// A line of that entry.
    pub(super) fn entry_line(&mut self, head: &str, text: &str) -> bool {
        self.entries.get_mut(head).map(|lines| lines.push(text.to_owned())).is_some()
    }

    /// `no route-map … optimization`.
    pub(super) fn plain(&mut self, map: &str) {
        self.plain.insert(map.to_owned());
    }

    /// `bgp large-community-list …`.
    pub(super) fn list(&mut self, text: &str) {
        self.lists.insert(text.to_owned());
    }

    /// `ip prefix-list …`, of which only the inbound lists of neighbours can be ours.
    pub(super) fn range(&mut self, text: &str) -> bool {
        let Some((list, place, range)) = range(text) else { return false };
        self.prefixes.entry(list).or_default().insert(place, range);
        true
    }

    /// Says which is which.
    pub(super) fn settle(&mut self, found: &mut Found) {
        self.classes(found);
        self.policies(found);
        let others = std::mem::take(&mut self.plain).into_iter();
        found.foreign.extend(others.map(|map| format!("no route-map {map} optimization")));
        found.model.guard = self.lists.remove(line::GUARD);
        found.model.lists = std::mem::take(&mut self.prefixes);
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
            // one without the other is not as we write it
            let (first, line) = line::first(&name);
            let map = format!("{name}-in");
            if self.plain.contains(&map) && self.entries.get(&first).is_some_and(|lines| *lines == [line]) {
                self.plain.remove(&map);
                self.entries.remove(&first);
                policy.plain = true;
            }
            for permit in [false, true] {
                let head = format!("route-map {name}-in {} ", if permit { "permit" } else { "deny" });
                self.entries.retain(|other, lines| {
                    let place = other.strip_prefix(&head).and_then(|place| place.parse().ok());
                    let found = place.zip(gate(permit, lines));
                    let ours = found.is_some();
                    policy.gates.extend(found);
                    !ours
                });
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

/// An entry of an in-map exactly as we write it.
fn gate(permit: bool, lines: &[String]) -> Option<Gate> {
    let rest = lines.first()?.strip_prefix("match ")?;
    let (family, rest) = rest
        .strip_prefix("ip ")
        .map_or_else(|| Some((Family::V6, rest.strip_prefix("ipv6 ")?)), |rest| Some((Family::V4, rest)))?;
    let name = Word::new(rest.strip_prefix("address prefix-list ")?).ok()?;
    let gate = Gate { permit, list: ListName { family, name } };
    (line::gate(&gate) == lines).then_some(gate)
}

fn range(text: &str) -> Option<(ListName, u32, Range)> {
    let (family, text) = match text.strip_prefix("ip prefix-list ") {
        Some(text) => (Family::V4, text),
        None => (Family::V6, text.strip_prefix("ipv6 prefix-list ")?),
    };
    let (name, rest) = text.split_once(" seq ")?;
    let (policy, kind) = name.rsplit_once("-inpl-")?;
    if policy.is_empty() || !matches!(kind, "ipv4" | "ipv6" | "dual") {
        return None;
    }
    let (place, rest) = rest.split_once(" permit ")?;
    let range = Range::parse(rest, family).ok()?;
    Some((ListName { family, name: Word::new(name).ok()? }, place.parse().ok()?, range))
}

fn entry(lines: &[String]) -> Entry {
    parse(lines).unwrap_or_else(|| Entry { class: None, attributes: Attributes::default(), own_as: None })
}

fn parse(lines: &[String]) -> Option<Entry> {
    let mut class = None;
    let mut own_as = None;
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
        } else if let Some(med) = line.strip_prefix("set metric ") {
            attributes.med = Some(med.parse().ok()?);
        } else if let Some(path) = line.strip_prefix("set as-path prepend ") {
            let path = path.split(' ').map(|asn| asn.parse().ok()).collect::<Option<Vec<Asn>>>()?;
            own_as = path.first().copied().filter(|first| path.iter().all(|asn| asn == first));
            attributes.prepend = own_as.and(u8::try_from(path.len()).ok());
            own_as?;
        } else if let Some(hop) = line.strip_prefix("set ip next-hop ") {
            attributes.next_hop = Some(IpAddr::V4(hop.parse().ok()?));
        } else if let Some(hop) = line.strip_prefix("set ipv6 next-hop global ") {
            attributes.next_hop = Some(IpAddr::V6(hop.parse().ok()?));
        } else {
            return None;
        }
    }
    // without that line the tag would leave
    large.then_some(Entry { class: Some(class?), attributes, own_as })
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
