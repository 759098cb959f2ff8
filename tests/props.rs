//! Properties of the decisions, over random histories.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use ferrolb::{
    alloc::{self, Outcome, UnderWay},
    config::{Config, Pool},
    names::{NodeName, PoolName, ServiceKey},
    net::Family,
    plan,
    world::{Class, FamilyPolicy, Ingress, Labels, Service, Transport, World, annotations},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

const RANGES: [&str; 4] = ["10.0.0.0/30", "10.1.0.0/29", "fd00::/126", "10.2.0.0-10.2.0.2"];

fn config() -> impl Strategy<Value = Config> {
    let pool = (prop::sample::subsequence(vec![0, 1, 2, 3], 1..4), any::<bool>(), any::<bool>());
    prop::collection::vec(pool, 1..4).prop_map(|pools| {
        let mut free: Vec<&str> = RANGES.to_vec();
        let mut config = Config::default();
        for (i, (wanted, auto_assign, avoid_buggy)) in pools.into_iter().enumerate() {
            let ranges: Vec<&str> =
                free.iter().copied().filter(|r| wanted.iter().any(|w| RANGES[*w] == *r)).collect();
            free.retain(|r| !ranges.contains(r));
            let ranges = ranges.iter().map(|r| r.parse().unwrap()).collect();
            let pool = Pool { ranges, auto_assign, avoid_buggy, pinning: None, labels: Labels::default() };
            config.pools.insert(PoolName::from(format!("p{i}")), Arc::new(pool));
        }
        config
    })
}

fn service() -> impl Strategy<Value = Service> {
    let families =
        prop::sample::select(vec![vec![Family::V4], vec![Family::V6], vec![Family::V4, Family::V6]]);
    let policy = prop::sample::select(vec![
        FamilyPolicy::SingleStack,
        FamilyPolicy::PreferDualStack,
        FamilyPolicy::RequireDualStack,
    ]);
    let request = prop::option::weighted(
        0.3,
        prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "fd00::1", "10.1.0.3,fd00::2", "x", "10.9.9.9"]),
    );
    let pool = prop::option::weighted(0.2, prop::sample::select(vec!["p0", "p1", "p9"]));
    let sharing = prop::option::weighted(0.3, prop::sample::select(vec!["k", "l"]));
    (families, policy, request, pool, sharing, 80..83i32, 0..4i64).prop_map(
        |(families, policy, request, pool, sharing, port, created)| {
            let notes = [("loadBalancerIPs", request), ("address-pool", pool), ("allow-shared-ip", sharing)];
            Service {
                load_balancer: true,
                families,
                policy,
                annotations: notes
                    .into_iter()
                    .filter_map(|(key, value)| Some((format!("metallb.io/{key}"), value?.to_owned())))
                    .collect(),
                ports: vec![(Transport::Tcp, port)],
                created: jiff::Timestamp::from_second(created).ok(),
                ..Service::default()
            }
        },
    )
}

/// Something that happens to the Services.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, Box<Service>),
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..12u8, service()).prop_map(|(i, s)| Step::Put(i, Box::new(s)));
    prop::collection::vec(prop_oneof![4 => put, 1 => (0..12u8).prop_map(Step::Remove)], 1..30)
}

fn key(i: u8) -> ServiceKey {
    ServiceKey::new("d", &format!("s{i}"))
}

/// Writes the outcomes into the statuses, as the controller does.
fn write(world: &mut World, outcomes: &BTreeMap<ServiceKey, Outcome>) {
    for (key, outcome) in outcomes {
        let service = world.services.get_mut(key).unwrap();
        match outcome {
            Outcome::Holds(holding) => {
                service.ingress =
                    holding.ips.iter().map(|ip| Ingress::Ip(ip.to_string().as_str().into())).collect();
            }
            Outcome::Without(_) => service.ingress.clear(),
            Outcome::Untouched(_) => {}
        }
    }
}

fn held(outcome: &Outcome) -> &[IpAddr] {
    match outcome {
        Outcome::Holds(holding) => &holding.ips,
        Outcome::Without(_) | Outcome::Untouched(_) => &[],
    }
}

fn sharing(service: &Service) -> Option<&str> {
    service.annotation(annotations::ALLOW_SHARED_IP)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Addresses are of a pool, of the right family, and nobody has an address that he may not share.
    #[test]
    fn no_address_is_given_twice(config in config(), steps in steps()) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Put(i, service) => drop(world.services.insert(key(i), service)),
                Step::Remove(i) => drop(world.services.remove(&key(i))),
            }
            let outcomes = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
            prop_assert_eq!(outcomes.len(), world.services.len());
            let mut users: BTreeMap<IpAddr, Vec<&Service>> = BTreeMap::new();
            for (key, outcome) in &outcomes {
                for ip in held(outcome) {
                    prop_assert!(config.pool_of(*ip).is_some_and(|(_, pool)| pool.contains(*ip)));
                    prop_assert!(world.services[key].families.contains(&Family::of(*ip)));
                    users.entry(*ip).or_default().push(&world.services[key]);
                }
            }
            for (ip, users) in users {
                for (i, a) in users.iter().enumerate() {
                    for b in &users[i + 1..] {
                        prop_assert!(sharing(a).is_some() && sharing(a) == sharing(b), "{} is given twice", ip);
                        prop_assert!(a.ports.iter().all(|p| !b.ports.contains(p)), "{} has a port twice", ip);
                    }
                }
            }
            write(&mut world, &outcomes);
        }
    }

    /// A restart changes nothing: the statuses are all the memory there is.
    #[test]
    fn writing_the_outcome_makes_it_stay(config in config(), services in prop::collection::vec(service(), 0..12)) {
        let mut world = World::default();
        world.services.extend(services.into_iter().enumerate().map(|(i, s)| (key(i as u8), Box::new(s))));
        let first = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
        write(&mut world, &first);
        let second = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
        write(&mut world, &second);
        // The second pass may still add the second address of a Service that prefers two; the third adds nothing.
        let third = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
        for (key, outcome) in &third {
            prop_assert_eq!(held(outcome), held(&second[key]), "{:?}", key);
            prop_assert!(held(outcome).starts_with(held(&first[key])) || held(&first[key]).is_empty());
            let is_new = matches!(outcome, Outcome::Holds(holding) if holding.new);
            prop_assert!(!is_new, "{:?} is new again", key);
        }
    }

    /// Whatever comes and goes: who holds an address and did not change keeps it.
    #[test]
    fn a_holder_is_not_moved_by_others(config in config(), steps in steps()) {
        let mut world = World::default();
        for step in steps {
            let before = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
            write(&mut world, &before);
            let touched = match step {
                Step::Put(i, service) => {
                    world.services.insert(key(i), service);
                    key(i)
                }
                Step::Remove(i) => {
                    world.services.remove(&key(i));
                    key(i)
                }
            };
            let after = alloc::assign(&config, &world, &Class::default(), &UnderWay::new());
            for (key, outcome) in before.iter().filter(|(key, _)| **key != touched) {
                prop_assert!(
                    held(&after[key]).starts_with(held(outcome)),
                    "{:?} had {:?} and has {:?}", key, held(outcome), held(&after[key])
                );
            }
        }
    }

    /// Every node elects the same one, and a node that leaves moves only what it had.
    #[test]
    fn elections_agree_and_move_little(nodes in prop::collection::btree_set("[a-z]{1,6}", 2..6), ip in any::<u32>()) {
        let ip = IpAddr::from(std::net::Ipv4Addr::from_bits(ip));
        let rank = |node: &String| plan::digest(&NodeName::from(node.as_str()), ip);
        let winner = nodes.iter().min_by_key(|n| rank(n)).unwrap();
        for gone in nodes.iter().filter(|n| *n != winner) {
            let rest = nodes.iter().filter(|n| *n != gone);
            prop_assert_eq!(rest.min_by_key(|n| rank(n)).unwrap(), winner);
        }
    }
}
