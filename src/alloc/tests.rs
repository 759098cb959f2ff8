use super::*;
use crate::{
    config::{Pinning, Pool, Selector},
    net::Family,
    world::{FamilyPolicy, Ingress, Labels, TrafficPolicy, Transport},
};
use std::sync::Arc;

fn pool(ranges: &[&str]) -> Pool {
    Pool {
        ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
        auto_assign: true,
        avoid_buggy: false,
        pinning: None,
        labels: Labels::default(),
    }
}

fn config(pools: &[(&str, Pool)]) -> Config {
    let pools = pools.iter().map(|(name, pool)| (PoolName::from(*name), Arc::new(pool.clone())));
    Config { pools: pools.collect(), ..Config::default() }
}

#[derive(Clone, Default)]
struct Svc(Service);

impl Svc {
    fn v4() -> Self {
        Self(Service { load_balancer: true, families: vec![Family::V4], ..Service::default() })
    }
    fn dual(policy: FamilyPolicy) -> Self {
        Self(Service {
            load_balancer: true,
            families: vec![Family::V4, Family::V6],
            policy,
            ..Service::default()
        })
    }
    fn note(mut self, key: &str, value: &str) -> Self {
        self.0.annotations = self.0.annotations.iter().chain([(key, value)]).collect();
        self
    }
    fn ips(self, ips: &str) -> Self {
        self.note("metallb.io/loadBalancerIPs", ips)
    }
    fn pool(self, pool: &str) -> Self {
        self.note("metallb.io/address-pool", pool)
    }
    fn share(self, key: &str) -> Self {
        self.note("metallb.io/allow-shared-ip", key)
    }
    fn port(mut self, port: i32) -> Self {
        self.0.ports.push((Transport::Tcp, port));
        self
    }
    fn holds(mut self, ips: &[&str]) -> Self {
        self.0.ingress = ips.iter().map(|ip| Ingress::Ip((*ip).into())).collect();
        self
    }
    fn age(mut self, second: i64) -> Self {
        self.0.created = Some(jiff::Timestamp::from_second(second).unwrap());
        self
    }
    fn local(mut self, app: &str) -> Self {
        self.0.traffic = TrafficPolicy::Local;
        self.0.selector = [("app", app)].into();
        self
    }
    fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels = [(key, value)].into();
        self
    }
}

fn world(services: &[(&str, Svc)]) -> World {
    let services = services.iter().map(|(key, svc)| {
        let (namespace, name) = key.split_once('/').unwrap_or(("default", key));
        (ServiceKey::new(namespace, name), Box::new(svc.0.clone()))
    });
    World { services: services.collect(), ..World::default() }
}

/// `name=ip,ip` for those that hold something, `name: reason` for the others.
fn show(config: &Config, services: &[(&str, Svc)]) -> Vec<String> {
    assign(config, &world(services), &Class::default(), &UnderWay::new())
        .into_iter()
        .map(|(key, outcome)| match outcome {
            Outcome::Holds(h) => {
                let ips: Vec<String> = h.ips.iter().map(ToString::to_string).collect();
                let lacks = h.lacks.map(|r| format!(" ({r})")).unwrap_or_default();
                format!("{}={}{lacks}", key.name, ips.join(","))
            }
            Outcome::Without(reason) | Outcome::Untouched(reason) => format!("{}: {reason}", key.name),
        })
        .collect()
}

#[test]
fn first_free_address_in_the_order_of_age_and_name() {
    let config = config(&[("p", pool(&["10.0.0.0/30"]))]);
    let services =
        [("a", Svc::v4().age(3)), ("b", Svc::v4().age(2)), ("c", Svc::v4().age(2)), ("d", Svc::v4().age(9))];
    assert_eq!(show(&config, &services), ["a=10.0.0.2", "b=10.0.0.0", "c=10.0.0.1", "d=10.0.0.3"]);
    let five = [&services[..], &[("e", Svc::v4().age(10))]].concat();
    assert_eq!(show(&config, &five)[4], "e: no available IPs");
}

#[test]
fn holders_come_before_older_newcomers() {
    let config = config(&[("p", pool(&["10.0.0.0/31"]))]);
    let services = [("old", Svc::v4().age(1)), ("young", Svc::v4().age(5).holds(&["10.0.0.0"]))];
    assert_eq!(show(&config, &services), ["old=10.0.0.1", "young=10.0.0.0"]);
}

#[test]
fn of_two_holders_the_oldest_keeps_the_address() {
    let config = config(&[("p", pool(&["10.0.0.0/31"]))]);
    let services =
        [("a", Svc::v4().age(5).holds(&["10.0.0.0"])), ("b", Svc::v4().age(1).holds(&["10.0.0.0"]))];
    assert_eq!(show(&config, &services), ["a=10.0.0.1", "b=10.0.0.0"]);
}

#[test]
fn requests() {
    let config = config(&[("p", pool(&["10.0.0.0/30", "fd00::/126"])), ("q", pool(&["10.1.0.0/30"]))]);
    for (svc, outcome) in [
        (Svc::v4().ips("10.0.0.2"), "s=10.0.0.2"),
        (Svc::v4().ips(" 10.0.0.2 "), "s=10.0.0.2"),
        (Svc::v4().note("metallb.universe.tf/loadBalancerIPs", "10.0.0.3"), "s=10.0.0.3"),
        (Svc::v4().ips(""), "s=10.0.0.0"),
        (Svc::v4().pool("q"), "s=10.1.0.0"),
        (Svc::v4().note("metallb.universe.tf/address-pool", "q"), "s=10.1.0.0"),
        (Svc::v4().pool("x"), "s: unknown pool \"x\""),
        (Svc::v4().ips("10.1.0.2").pool("q"), "s=10.1.0.2"),
        (Svc::v4().ips("10.1.0.2").pool("p"), "s: [\"10.1.0.2\"] is not in the requested pool \"p\""),
        (Svc::v4().ips("10.9.9.9"), "s: [\"10.9.9.9\"] is not allowed in config"),
        (Svc::v4().ips("10.0.0.300"), "s: requested address \"10.0.0.300\" is not an IP address"),
        (
            Svc::v4().ips("10.0.0.1,10.0.0.2"),
            "s: requested addresses \"10.0.0.1,10.0.0.2\": at most one of each family",
        ),
        (
            Svc::v4().ips("fd00::1"),
            "s: requested addresses [\"fd00::1\"] do not have the families of the Service's cluster IPs ([\"IPv4\"])",
        ),
        (Svc::dual(FamilyPolicy::RequireDualStack).ips("fd00::2,10.0.0.1"), "s=10.0.0.1,fd00::2"),
        // What it holds is given up for what it asks for, but not for a request that makes no sense.
        (Svc::v4().holds(&["10.0.0.1"]).ips("10.0.0.3"), "s=10.0.0.3"),
        (Svc::v4().holds(&["10.0.0.1"]).pool("q"), "s=10.1.0.0"),
        (
            Svc::v4().holds(&["10.0.0.1"]).ips("x"),
            "s=10.0.0.1 (requested address \"x\" is not an IP address)",
        ),
    ] {
        assert_eq!(show(&config, &[("s", svc)]), [outcome]);
    }
}

#[test]
fn who_names_an_address_gets_it_before_who_takes_any() {
    let config = config(&[("p", pool(&["10.0.0.0/31"]))]);
    let services = [("any", Svc::v4().age(1)), ("named", Svc::v4().age(2).ips("10.0.0.0"))];
    assert_eq!(show(&config, &services), ["any=10.0.0.1", "named=10.0.0.0"]);
}

#[test]
fn two_families() {
    let both = ("both", pool(&["10.0.0.0/30", "fd00::/126"]));
    let four = ("four", pool(&["10.4.0.0/30"]));
    use FamilyPolicy::{PreferDualStack as Prefer, RequireDualStack as Require};
    for (pools, svc, outcome) in [
        (vec![both.clone(), four.clone()], Svc::dual(Require), "s=10.0.0.0,fd00::"),
        (vec![four.clone()], Svc::dual(Require), "s: no available IPs"),
        (vec![four.clone()], Svc::dual(Prefer), "s=10.4.0.0"),
        (vec![both.clone()], Svc::dual(Prefer).holds(&["10.0.0.2"]), "s=10.0.0.2,fd00::"),
        (
            vec![four],
            Svc::dual(Prefer).holds(&["10.4.0.2"]),
            "s=10.4.0.2 (pool \"four\" has no IPv6 address to add)",
        ),
        (vec![both.clone()], Svc::dual(Require).holds(&["10.0.0.2"]), "s=10.0.0.0,fd00::"),
        // One cluster IP: a second address would be given and taken without end.
        (vec![both], Svc::v4().holds(&["10.0.0.1", "fd00::1"]), "s=10.0.0.0"),
    ] {
        assert_eq!(show(&config(&pools), &[("s", svc)]), [outcome]);
    }
}

#[test]
fn sharing() {
    let config = config(&[("p", pool(&["10.0.0.0/30"]))]);
    let first = || Svc::v4().ips("10.0.0.1").share("k").port(80);
    for (second, outcome) in [
        (Svc::v4().ips("10.0.0.1").share("k").port(81), "b=10.0.0.1"),
        (
            Svc::v4().ips("10.0.0.1").share("k").port(80),
            "b: port 80/TCP of address 10.0.0.1 is in use by Service default/a",
        ),
        (
            Svc::v4().ips("10.0.0.1").share("other").port(81),
            "b: address 10.0.0.1 is in use by Service default/a, and the two do not share: both need the same metallb.io/allow-shared-ip",
        ),
        (
            Svc::v4().ips("10.0.0.1").share("k").port(81).local("x"),
            "b: address 10.0.0.1 is shared with Service default/a, whose externalTrafficPolicy Local selects other Pods",
        ),
        // Without a request: the lowest address that is free or can be shared.
        (Svc::v4().share("k").port(81), "b=10.0.0.0"),
    ] {
        assert_eq!(show(&config, &[("a", first()), ("b", second)])[1], outcome);
    }
}

#[test]
fn pools_that_are_not_for_everybody() {
    let pinned = |priority, namespace: &str| Pool {
        pinning: Some(Pinning { priority, namespaces: [namespace.into()].into(), ..Pinning::default() }),
        ..pool(&["10.1.0.0/30"])
    };
    let at = |base: &str, pool: Pool| Pool { ranges: vec![base.parse().unwrap()], ..pool };
    let labelled = Pool {
        pinning: Some(Pinning {
            priority: Some(5),
            service_selectors: vec![
                Selector::parse(
                    &serde_json::from_value(serde_json::json!({"matchLabels": {"team": "x"}})).unwrap(),
                )
                .unwrap(),
            ],
            ..Pinning::default()
        }),
        ..pool(&["10.5.0.0/30"])
    };
    let config = config(&[
        ("any", at("10.0.0.0/30", pool(&[]))),
        ("late", at("10.1.0.0/30", pinned(None, "ns"))),
        ("early", at("10.2.0.0/30", pinned(Some(10), "ns"))),
        ("labelled", labelled),
        ("manual", Pool { auto_assign: false, ..at("10.6.0.0/30", pool(&[])) }),
    ]);
    for (key, svc, outcome) in [
        ("ns/s", Svc::v4(), "s=10.2.0.0"),
        ("other/s", Svc::v4(), "s=10.0.0.0"),
        ("ns/s", Svc::v4().label("team", "x"), "s=10.5.0.0"),
        ("other/s", Svc::v4().pool("manual"), "s=10.6.0.0"),
        (
            "other/s",
            Svc::v4().pool("early"),
            "s: pool \"early\" is not for this Service: its serviceAllocation selects others",
        ),
        ("other/s", Svc::v4().holds(&["10.2.0.1"]), "s=10.0.0.0"),
    ] {
        assert_eq!(show(&config, &[(key, svc)]), [outcome]);
    }
}

#[test]
fn what_is_not_ours_is_left_alone_and_its_address_is_not_given_away() {
    let config = config(&[("p", pool(&["10.0.0.0/31"]))]);
    let mut foreign = Svc::v4().holds(&["10.0.0.0"]);
    foreign.0.class = Some("other".into());
    assert_eq!(
        show(&config, &[("a", Svc::v4()), ("f", foreign)]),
        ["a=10.0.0.1", "f: spec.loadBalancerClass is another controller's"]
    );
    let mut was = Svc::v4().holds(&["10.0.0.0"]).note("metallb.io/ip-allocated-from-pool", "p");
    was.0.load_balancer = false;
    assert_eq!(
        assign(&config, &world(&[("s", was)]), &Class::default(), &UnderWay::new()).into_values().next(),
        Some(Outcome::Without(Reason::NotLoadBalancer))
    );
}

#[test]
fn without_any_pool_nothing_is_taken_away() {
    let held = [("s", Svc::v4().holds(&["10.0.0.0"]))];
    assert_eq!(
        assign(&config(&[]), &world(&held), &Class::default(), &UnderWay::new()).into_values().next(),
        Some(Outcome::Untouched(Reason::NoPools))
    );
}

#[test]
fn five_thousand_newcomers_take_one_linear_pass() {
    let config = config(&[("p", pool(&["10.0.0.0/16"]))]);
    let world = World {
        services: (0..5000)
            .map(|i| (ServiceKey::new("d", &format!("s{i:05}")), Box::new(Svc::v4().0)))
            .collect(),
        ..World::default()
    };
    let outcomes = assign(&config, &world, &Class::default(), &UnderWay::new());
    let last = outcomes.last_key_value().unwrap().1;
    assert!(
        matches!(last, Outcome::Holds(h) if h.ips == ["10.0.19.135".parse::<IpAddr>().unwrap()]),
        "{last:?}"
    );
}

/// Input: a manifest that no API server would take, of a Service that holds an address. Output: the reason, and
/// nobody else gets the address meanwhile.
#[test]
fn a_misfit_keeps_what_it_has_and_gets_no_more() {
    let config = config(&[("p", pool(&["10.0.0.0/31"]))]);
    let mut misfit = Svc::v4().age(2);
    let what = "[\"IPv9\"] is not one or both of IPv4, IPv6".to_owned();
    misfit.0.misfit = Some(Arc::new(crate::world::Misfit { field: "spec.ipFamilies".into(), what }));
    let mut no_balancer = misfit.clone();
    no_balancer.0.load_balancer = false;
    let services = [
        ("a", Svc::v4().age(1)),
        ("m", misfit.clone()),
        ("n", no_balancer),
        ("o", misfit.holds(&["10.0.0.0"])),
    ];
    let why = "spec.ipFamilies [\"IPv9\"] is not one or both of IPv4, IPv6";
    let expected = ["a=10.0.0.1".to_owned(), format!("m: {why}"), format!("n: {why}"), format!("o: {why}")];
    assert_eq!(show(&config, &services), expected);
    let outcomes = assign(&config, &world(&services), &Class::default(), &UnderWay::new());
    assert!(matches!(outcomes[&ServiceKey::new("default", "o")], Outcome::Untouched(Reason::Misfit(_))));
}

/// What people write into annotations reaches events and logs; it cannot begin a line there. White space around an
/// address is nothing, as for MetalLB; that around a pool's name is part of it.
#[test]
fn no_reason_has_a_line_break() {
    let config = config(&[("p", pool(&["10.0.0.0/30"]))]);
    let odd = ServiceKey::new("n", "a\nb");
    for (svc, expected) in [
        (Svc::v4().ips("10.0.0.1\n"), "s=10.0.0.1"),
        (Svc::v4().ips(" 10.0.0.1 \t"), "s=10.0.0.1"),
        (Svc::v4().ips("10.0.0.1\nx"), "s: requested address \"10.0.0.1\\nx\" is not an IP address"),
        (
            Svc::v4().ips("10.0.0.1,10.0.0.2\n"),
            "s: requested addresses \"10.0.0.1,10.0.0.2\\n\": at most one of each family",
        ),
        (Svc::v4().pool("p\n"), "s: unknown pool \"p\\n\""),
    ] {
        assert_eq!(show(&config, &[("s", svc)]), [expected]);
    }
    let ip = "10.0.0.1".parse().unwrap();
    for reason in [
        Reason::InUse(ip, odd.clone()),
        Reason::OtherBackends(ip, odd.clone()),
        Reason::PortInUse { ip, transport: Transport::Tcp, port: 1, user: odd },
    ] {
        assert_eq!(reason.to_string().lines().count(), 1, "{reason}");
    }
}
