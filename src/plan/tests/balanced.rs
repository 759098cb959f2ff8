//! Balanced placement, from the plans of all nodes together.

use super::*;

/// `count` more Services with an address each, on any node, balanced.
fn balanced(nodes: &[&str], count: u8) -> Case {
    let mut case = Case::new(nodes, &["10.0.0.1"], nodes);
    case.config.l2.insert("l2".into(), Arc::new(L2Advertisement { balanced: true, ..l2() }));
    let template = case.service().clone();
    let slice = case.world.slices.values().next().unwrap().clone();
    for n in 0..count {
        let key = ServiceKey::new("default", &format!("s{n:03}"));
        let service =
            Service { ingress: vec![Ingress::Ip(format!("10.0.1.{n}").as_str().into())], ..template.clone() };
        case.world.services.insert(key.clone(), Box::new(service));
        case.world.slices.insert((key, "s-1".into()), slice.clone());
    }
    case
}

/// Every node says what it holds; where each address is answered for.
fn settle(case: &mut Case) -> BTreeMap<IpAddr, String> {
    let nodes: Vec<NodeName> = case.members.keys().cloned().collect();
    let plans: Vec<Plan> = nodes.iter().map(|node| case.plan(node.as_str())).collect();
    let mut at = BTreeMap::new();
    for (node, plan) in nodes.iter().zip(plans) {
        for ip in plan.l2.keys() {
            assert_eq!(at.insert(*ip, node.to_string()), None, "{ip} has one node");
        }
        case.members.insert(node.clone(), Arc::new(Member { held: plan.held, ..Member::default() }));
    }
    at
}

#[test]
fn balanced_addresses_are_spread_and_stay() {
    let nodes = ["n1", "n2", "n3", "n4"];
    let mut case = balanced(&nodes, 99);
    let at = settle(&mut case);
    assert_eq!(at.len(), 100);
    let count = |at: &BTreeMap<IpAddr, String>, node: &str| at.values().filter(|of| *of == node).count();
    assert!(nodes.iter().all(|node| count(&at, node) <= 32), "{at:?}");
    assert_eq!(settle(&mut case), at, "nothing moves by itself");

    let gone = case.members.remove("n2").unwrap();
    let without = settle(&mut case);
    let moved = at.iter().filter(|(ip, node)| without.get(*ip) != Some(*node));
    assert!(moved.clone().all(|(_, node)| node == "n2"), "only a dead node's addresses move");
    assert_eq!(moved.count(), gone.held.len());
    assert!(nodes.iter().all(|node| count(&without, node) <= 42), "over all others");

    case.members.insert("n2".into(), Arc::default());
    assert_eq!(settle(&mut case), without, "who comes back takes nothing away");

    // who may not have them any more gives them up
    let exclude = [("node.kubernetes.io/exclude-from-external-load-balancers", "")];
    case.node("n3").labels = labels(&exclude);
    let after = settle(&mut case);
    assert_eq!((after.len(), count(&after, "n3")), (100, 0));
    assert!(count(&after, "n2") > 0, "and one that has little has some of it");
}

#[test]
fn a_balanced_address_has_both_families_and_its_reason_elsewhere() {
    let mut case = Case::new(&["n1", "n2"], &["10.0.0.1", "1000::1"], &["n1", "n2"]);
    case.config.l2.insert("l2".into(), Arc::new(L2Advertisement { balanced: true, ..l2() }));
    let (here, there) = match case.why("n1", Protocol::Layer2) {
        Ok(()) => ("n1", "n2"),
        Err(_) => ("n2", "n1"),
    };
    assert_eq!(case.why(there, Protocol::Layer2), Err(Reason::ElectedElsewhere(here.into())));
    let plan = case.plan(here);
    assert_eq!(plan.l2.len(), 2);
    assert_eq!(plan.held, ["10.0.0.1".parse().unwrap()].into(), "the first stands for both");
    // with the preferred nodes among themselves only
    let preferred = vec![(10, selector("kind", "edge"))];
    case.node(there).labels = labels(&[("kind", "edge")]);
    case.config.l2.insert("l2".into(), Arc::new(L2Advertisement { balanced: true, preferred, ..l2() }));
    let held = plan.held;
    case.members.insert(here.into(), Arc::new(Member { held, ..Member::default() }));
    assert_eq!(case.why(there, Protocol::Layer2), Ok(()));
    // and without an annotation the election decides, and nothing is held
    case.config.l2.insert("l2".into(), Arc::new(l2()));
    assert!(case.plan("n1").held.is_empty() && case.plan("n2").held.is_empty());
}

/// A cut, and both sides hold everything. Whoever hears the other when it heals, before any gossip does, concedes or
/// not as the other expects, and as the plan has it when the gossip has told.
#[test]
fn of_two_that_hold_it_since_a_cut_both_know_the_loser() {
    let nodes = ["n1", "n2", "n3", "n4"];
    for side in [&["n1"][..], &["n2"], &["n3", "n4"], &["n1", "n4"]] {
        let mut case = balanced(&nodes, 49);
        settle(&mut case);
        let (all, mut said) = (case.members.clone(), Members::new());
        let mut plans = BTreeMap::<&str, Plan>::new();
        for near in [true, false] {
            case.members = all.clone();
            case.members.retain(|node, _| side.contains(&node.as_str()) == near);
            assert_eq!(settle(&mut case).len(), 50);
            plans.extend(
                nodes.iter().filter(|node| side.contains(node) == near).map(|node| (*node, case.plan(node))),
            );
            said.extend(case.members);
            case.members = Members::new();
        }
        case.members = said;
        for (ip, winner) in settle(&mut case) {
            let holders: Vec<&str> =
                plans.iter().filter(|(_, plan)| plan.l2.contains_key(&ip)).map(|(node, _)| *node).collect();
            let [a, b] = holders[..] else { panic!("{ip} at {holders:?}") };
            for (me, other) in [(a, b), (b, a)] {
                let owners = plans[me].in_place_of.get(&ip);
                let concedes = owners.is_some_and(|owners| owners.contains(&NodeName::from(other)));
                assert_eq!(concedes, me != winner, "{ip}: {me} and {other}, {winner} wins");
            }
        }
    }
}
