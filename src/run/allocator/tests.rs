use super::*;
use crate::{
    config::Kind,
    io::{observe::Role, settings::LogLevel, telemetry::tests::lines as log_of},
    world::{Ingress, World},
};
use serde_json::json;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn service(version: &str) -> Box<Service> {
    Box::new(Service {
        uid: "u".into(),
        version: version.into(),
        load_balancer: true,
        families: vec![crate::net::Family::V4],
        ..Service::default()
    })
}

/// A controller that has seen one pool of one address and the Services `names`.
fn allocator(names: &[&str]) -> Allocator {
    let mut allocator = Allocator::new(Class::default(), Observed::new(Role::Controller));
    let pool = json!({"metadata": {"name": "p"}, "spec": {"addresses": ["10.0.0.1/32"]}});
    allocator.observe(Change::Pool("p".into(), serde_json::from_value(pool).unwrap()));
    for name in names {
        allocator.observe(Change::Service(key(name), Some(service("1"))));
    }
    allocator.observe(Change::Synced(Kind::Service));
    allocator.observe(Change::Synced(Kind::Namespace));
    assert!(allocator.decide().is_none(), "no decision before every store has synced");
    allocator.observe(Change::Synced(Kind::IPAddressPool));
    allocator
}

/// What the API server would answer to `status`.
fn answer(world: &World, status: &Status, version: &str) -> Wrote {
    let mut service = world.services[&status.key].clone();
    service.version = version.into();
    service.ingress = status.ips.iter().map(|ip| Ingress::Ip(ip.to_string().as_str().into())).collect();
    let mark = status.pool.iter().map(|p| (annotations::ALLOCATED_FROM, p.as_str()));
    service.annotations = mark.collect();
    Wrote { key: status.key.clone(), result: Ok(Change::Wrote(status.key.clone(), service)) }
}

fn reasons(events: &[Event]) -> Vec<&str> {
    events.iter().map(|e| e.reason).collect()
}

#[test]
fn an_address_is_written_once_and_told_once() {
    let mut allocator = allocator(&["a", "b"]);
    let effects = allocator.decide().unwrap();
    let [status] = effects.statuses.as_slice() else { panic!("{effects:?}") };
    assert_eq!((status.key.clone(), &*status.version, status.ips.len()), (key("a"), "1", 1));
    assert_eq!(reasons(&effects.events), ["AllocationFailed"]);
    assert_eq!(effects.events[0].message, "Failed to allocate IP for default/b: no available IPs");

    // Something else happens before the answer comes: nothing is written or told a second time.
    allocator.observe(Change::Namespace("default".into(), Some([("a", "b")].into())));
    let again = allocator.decide().unwrap();
    assert!(again.statuses.is_empty() && again.events.is_empty(), "{again:?}");

    let answer = answer(&allocator.observed.world, status, "2");
    let Answered { again, events } = allocator.wrote(answer);
    assert_eq!((again, reasons(&events)), (false, vec!["IPAllocated"]));
    assert!(allocator.decide().is_none(), "what was written is what was decided");
}

#[test]
fn a_service_without_an_address_is_a_complaint_and_no_problem_of_the_configuration() {
    let mut allocator = allocator(&["a", "b"]);
    let written = json!({"metadata": {"name": "c"}, "spec": {"type": "Loadbalancer", "clusterIP": "10.9.0.1",
        "ports": [{"port": 80}]}});
    let (key_c, c) =
        Service::observe(serde_json::from_value(written).unwrap(), crate::world::Origin::Manifests);
    allocator.observe(Change::Service(key_c, Some(Box::new(c))));
    allocator.decide().unwrap();
    let told: Vec<_> =
        allocator.complaints().iter().map(|p| (p.object.to_string(), p.field.clone())).collect();
    assert_eq!(
        told,
        [("Service default/b".into(), String::new()), ("Service default/c".into(), "spec.type".into())]
    );
    assert_eq!(allocator.complaints().iter().next().unwrap().what, "no available IPs");
    assert!(allocator.problems.is_empty());
    allocator.observe(Change::Service(key("b"), None));
    allocator.observe(Change::Service(key("c"), None));
    allocator.decide().unwrap();
    assert!(allocator.complaints().is_empty());
}

#[test]
fn a_conflict_is_decided_anew_on_what_the_service_is_now() {
    let mut allocator = allocator(&["a"]);
    allocator.decide().unwrap();
    let conflict = || Wrote { key: key("a"), result: Err(Refused::Conflict) };
    // The watch has not told yet what is new: the same would be refused again.
    assert_eq!(allocator.wrote(conflict()), Answered { again: true, events: vec![] });
    assert!(allocator.decide().is_none_or(|effects| effects.statuses.is_empty()));
    allocator.observe(Change::Service(key("a"), Some(service("7"))));
    let again = allocator.decide().unwrap().statuses.remove(0);
    assert_eq!(&*again.version, "7");
    // This time the watch is faster than the answer.
    allocator.observe(Change::Service(key("a"), Some(service("8"))));
    allocator.decide();
    allocator.wrote(conflict());
    let again = allocator.decide().unwrap().statuses.remove(0);
    assert_eq!(&*again.version, "8");
}

#[test]
fn a_failed_write_rests_and_holds_up_nobody_else() {
    let mut allocator = allocator(&["a", "b"]);
    allocator.decide().unwrap();
    let failed = Wrote { key: key("a"), result: Err(Refused::Failed("down".into())) };
    assert_eq!(allocator.wrote(failed), Answered { again: true, events: vec![] }, "nothing is so yet");
    let pool = json!({"metadata": {"name": "p"}, "spec": {"addresses": ["10.0.0.1/32", "10.0.0.9/32"]}});
    allocator.observe(Change::Pool("p".into(), serde_json::from_value(pool).unwrap()));
    let others: Vec<_> = allocator.decide().unwrap().statuses.into_iter().map(|s| s.key).collect();
    assert_eq!(others, [key("b")]);
    allocator.retry();
    let rested: Vec<_> = allocator.decide().unwrap().statuses.into_iter().map(|s| s.key).collect();
    assert_eq!(rested, [key("a")]);
}

#[test]
fn a_status_that_cannot_be_written_is_told_once_and_so_is_its_return() {
    let mut allocator = allocator(&["a"]);
    let status = allocator.decide().unwrap().statuses.remove(0);
    let answer = answer(&allocator.observed.world, &status, "2");
    let lines = log_of(LogLevel::Info, || {
        for _ in 0..3 {
            let failed = Wrote { key: key("a"), result: Err(Refused::Failed("no space".into())) };
            assert!(allocator.wrote(failed).again);
            allocator.retry();
            assert_eq!(allocator.decide().unwrap().statuses.len(), 1);
        }
        assert!(!allocator.wrote(answer).again);
    });
    let said: Vec<_> = lines.iter().map(|l| (l["level"].as_str().unwrap(), l["service"].as_str())).collect();
    assert_eq!(said, [("error", Some("default/a")), ("info", Some("default/a"))], "{lines:?}");
}

#[test]
fn what_is_no_load_balancer_any_more_loses_its_address() {
    let mut allocator = allocator(&[]);
    let mut was = service("3");
    was.load_balancer = false;
    was.ingress = vec![Ingress::Ip("10.0.0.1".into())];
    was.annotations = [(annotations::ALLOCATED_FROM, "p")].into();
    allocator.observe(Change::Service(key("a"), Some(was)));
    let effects = allocator.decide().unwrap();
    assert_eq!(effects.statuses.len(), 1);
    assert_eq!((effects.statuses[0].ips.len(), &effects.statuses[0].pool), (0, &None));
    let answer = answer(&allocator.observed.world, &effects.statuses[0], "4");
    assert_eq!(reasons(&allocator.wrote(answer).events), ["ClearAssignment"]);
}

/// A pass leaves alone what is being written. When the watch tells of that write before its answer comes, the answer,
/// though it says nothing new, is the sign to decide again.
#[test]
fn what_changed_during_a_write_is_decided_after_it() {
    let mut allocator = allocator(&["b"]);
    let of_b = allocator.decide().unwrap().statuses.remove(0);
    // An older holder of the same address appears while the status of `b` is on its way.
    let mut older = service("2");
    older.ingress = vec![Ingress::Ip("10.0.0.1".into())];
    older.annotations = [(annotations::ALLOCATED_FROM, "p")].into();
    allocator.observe(Change::Service(key("a"), Some(older)));
    let answer = answer(&allocator.observed.world, &of_b, "3");
    let Ok(Change::Wrote(_, seen)) = answer.result.as_ref() else { panic!("{answer:?}") };
    allocator.observe(Change::Service(key("b"), Some(seen.clone())));
    assert!(allocator.decide().unwrap().statuses.is_empty(), "the status of b is still on its way");
    allocator.wrote(answer);
    let taken: Vec<_> =
        allocator.decide().unwrap().statuses.into_iter().map(|s| (s.key, s.ips.len())).collect();
    assert_eq!(taken, [(key("b"), 0)], "one address, one holder");
}

#[test]
fn the_echo_of_a_write_costs_no_pass() {
    let mut allocator = allocator(&["a"]);
    let status = allocator.decide().unwrap().statuses.remove(0);
    let answer = answer(&allocator.observed.world, &status, "2");
    let Ok(Change::Wrote(_, seen)) = answer.result.as_ref() else { panic!("{answer:?}") };
    allocator.observe(Change::Service(key("a"), Some(seen.clone())));
    assert!(allocator.decide().is_none(), "the watch was faster than the answer");
    assert!(!allocator.wrote(answer).again);
    assert!(allocator.decide().is_none());
}

/// Who sorts earlier does not get an address whose status is being written for somebody else.
#[test]
fn an_address_under_way_is_nobody_elses() {
    let mut allocator = allocator(&["b"]);
    assert_eq!(allocator.decide().unwrap().statuses.len(), 1);
    allocator.observe(Change::Service(key("a"), Some(service("2"))));
    let effects = allocator.decide().unwrap();
    assert!(effects.statuses.is_empty(), "{effects:?}");
    assert_eq!(reasons(&effects.events), ["AllocationFailed"]);
}

/// After a restart, of two pools that overlap the one stands that Services have addresses of, whatever its name and
/// whenever it arrives: it was there before.
#[test]
fn of_pools_that_overlap_the_one_in_use_stands() {
    for (used, other) in [("b", "a"), ("a", "b")] {
        let mut allocator = Allocator::new(Class::default(), Observed::new(Role::Controller));
        for (name, addresses) in [(other, "10.0.0.0/30"), (used, "10.0.0.0/24")] {
            let pool = json!({"metadata": {"name": name}, "spec": {"addresses": [addresses]}});
            allocator.observe(Change::Pool(name.into(), serde_json::from_value(pool).unwrap()));
        }
        let mut held = service("1");
        held.ingress = vec![Ingress::Ip("10.0.0.77".into())];
        held.annotations = [(annotations::ALLOCATED_FROM, used)].into();
        allocator.observe(Change::Service(key("x"), Some(held)));
        Role::Controller.kinds().iter().for_each(|kind| allocator.observe(Change::Synced(*kind)));
        assert!(allocator.decide().unwrap().statuses.is_empty(), "it keeps what it has");
        let [problem] = &allocator.problems.iter().map(ToString::to_string).collect::<Vec<_>>()[..] else {
            panic!("{:?}", allocator.problems)
        };
        assert!(problem.starts_with(&format!("IPAddressPool {other}: spec.addresses[0]: ")), "{problem}");
    }
}
