//! `ferrolb.io/l2-placement: balanced`: addresses spread evenly over nodes, and left where they are.
//!
//! Bounded-load rendezvous: who holds an address keeps it as long as he may; any other address goes to the node that
//! comes first for it, unless that one has a quarter more than its share already. A node that comes back therefore
//! takes nothing away, and one that dies leaves its addresses to all others. The election moves what a returning node
//! is elected for, and can give one node twice the addresses of another.
//!
//! Who holds what is said by each speaker in the gossip: it is the only thing that every node hears within
//! milliseconds, with an API server or without one. Nodes that have heard the same decide alike; where two hold the same
//! address (a partition has healed), the one that comes first for it keeps it, as on the wire.

use crate::{names::NodeName, world::Members};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Where each address goes. Every address comes with the nodes that may have it, those that come first for it first.
pub(super) fn place(
    units: &BTreeMap<IpAddr, Vec<&NodeName>>,
    members: &Members,
) -> BTreeMap<IpAddr, NodeName> {
    let holds =
        |node: &NodeName, ip: &IpAddr| members.get(node).is_some_and(|member| member.held.contains(ip));
    let mut placed = BTreeMap::new();
    let mut loads = BTreeMap::<&NodeName, usize>::new();
    for (ip, nodes) in units {
        if let Some(holder) = nodes.iter().find(|node| holds(node, ip)) {
            placed.insert(*ip, (*holder).clone());
            *loads.entry(*holder).or_default() += 1;
        }
    }
    let nodes: BTreeSet<_> = units.values().flatten().collect();
    // a quarter more than the share of each
    let bound = (units.len() * 5).div_ceil(nodes.len().max(1) * 4);
    for (ip, nodes) in units {
        if placed.contains_key(ip) {
            continue;
        }
        let load = |node: &&&NodeName| loads.get(**node).copied().unwrap_or_default();
        let free = nodes.iter().find(|node| load(node) < bound);
        // the first of the least loaded
        if let Some(node) = free.or_else(|| nodes.iter().min_by_key(load)).copied() {
            placed.insert(*ip, node.clone());
            *loads.entry(node).or_default() += 1;
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::digest, world::Member};
    use std::sync::Arc;

    /// Addresses, each with all nodes in the order of their digests.
    fn units(count: u32, nodes: &[NodeName]) -> BTreeMap<IpAddr, Vec<&NodeName>> {
        let unit = |n: u32| {
            let ip = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let mut ranked: Vec<&NodeName> = nodes.iter().collect();
            ranked.sort_by_key(|node| digest(node, ip));
            (ip, ranked)
        };
        (0..count).map(unit).collect()
    }

    fn names(count: usize) -> Vec<NodeName> {
        (0..count).map(|n| NodeName::from(format!("n{n}").as_str())).collect()
    }

    /// What each of `nodes` says once `placed` has come about.
    fn holding(nodes: &[NodeName], placed: &BTreeMap<IpAddr, NodeName>) -> Members {
        let held = |node: &NodeName| placed.iter().filter(|(_, of)| *of == node).map(|(ip, _)| *ip).collect();
        let say =
            |node: &NodeName| (node.clone(), Arc::new(Member { held: held(node), ..Member::default() }));
        nodes.iter().map(say).collect()
    }

    fn loads(nodes: &[NodeName], placed: &BTreeMap<IpAddr, NodeName>) -> Vec<usize> {
        nodes.iter().map(|node| placed.values().filter(|of| *of == node).count()).collect()
    }

    #[test]
    fn nobody_has_a_quarter_more_than_its_share() {
        for (count, size) in [(1, 3), (7, 3), (100, 3), (1000, 10), (1000, 100)] {
            let nodes = names(size);
            let placed = place(&units(count, &nodes), &holding(&nodes, &BTreeMap::new()));
            assert_eq!(placed.len(), count as usize);
            let most = loads(&nodes, &placed).into_iter().max().unwrap();
            assert!(most <= (count as usize * 5).div_ceil(size * 4), "{count} on {size}: {most}");
        }
    }

    #[test]
    fn what_is_held_stays_and_only_a_dead_nodes_addresses_move() {
        let nodes = names(5);
        let all = place(&units(500, &nodes), &holding(&nodes, &BTreeMap::new()));
        // n0 dies: only its own move, over all others
        let left = &nodes[1..];
        let after = place(&units(500, left), &holding(left, &all));
        let moved = |a: &BTreeMap<IpAddr, NodeName>, b: &BTreeMap<IpAddr, NodeName>| {
            a.iter()
                .filter(|(ip, node)| b.get(*ip) != Some(*node))
                .map(|(_, node)| node.clone())
                .collect::<Vec<_>>()
        };
        assert!(moved(&all, &after).iter().all(|node| *node == nodes[0]));
        let most = loads(left, &after).into_iter().max().unwrap();
        assert!(most <= 500 * 5 / (4 * 4) + 1, "{most}");
        // it comes back: nothing moves
        let back = place(&units(500, &nodes), &holding(&nodes, &after));
        assert_eq!(back, after);
        // new addresses find it
        let more = place(&units(600, &nodes), &holding(&nodes, &after));
        assert!(moved(&after, &more).is_empty());
        assert!(loads(&nodes, &more)[0] > 0, "{:?}", loads(&nodes, &more));
    }

    #[test]
    fn of_two_that_hold_it_the_first_one_keeps_it() {
        let nodes = names(3);
        let units = units(20, &nodes);
        let everything = units.keys().copied().collect::<BTreeSet<_>>();
        let both =
            |n: usize| (nodes[n].clone(), Arc::new(Member { held: everything.clone(), ..Member::default() }));
        let placed = place(&units, &[both(0), both(2)].into());
        for (ip, ranked) in &units {
            let first = ranked.iter().find(|node| ***node != nodes[1]).unwrap();
            assert_eq!(placed[ip], **first, "{ip}");
        }
    }

    #[test]
    fn an_address_that_nobody_may_have_is_nowhere() {
        let nodes = names(1);
        let mut units = units(2, &nodes);
        let ip = *units.keys().next().unwrap();
        units.insert(ip, Vec::new());
        assert_eq!(
            place(&units, &Members::new()).keys().copied().collect::<Vec<_>>(),
            [*units.keys().last().unwrap()]
        );
    }
}
