use super::*;
use crate::world::Origin;
use serde_json::{Value, json};

fn see(kind: Kind, object: Value) -> Change {
    decode(kind, object, Origin::Api).unwrap().unwrap()
}

fn service(name: &str, version: &str, ip: Option<&str>) -> Change {
    let ingress: Vec<Value> = ip.iter().map(|ip| json!({"ip": ip})).collect();
    see(
        Kind::Service,
        json!({"metadata": {"name": name, "namespace": "n", "uid": "u", "resourceVersion": version},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1"}, "status": {"loadBalancer": {"ingress": ingress}}}),
    )
}

fn wrote(name: &str, version: &str, ip: Option<&str>) -> Change {
    match service(name, version, ip) {
        Change::Service(key, Some(facts)) => Change::Wrote(key, facts),
        other => panic!("{other:?}"),
    }
}

fn pool(name: &str, version: &str, addresses: Value) -> Result<Option<Change>, Unreadable> {
    let object = json!({"metadata": {"name": name, "resourceVersion": version, "managedFields": [{}]},
        "spec": {"addresses": addresses},
        "status": {"assignedIPv4": version.len(), "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0}});
    decode(Kind::IPAddressPool, object, Origin::Api)
}

fn slice(name: &str, of: &str) -> Change {
    see(
        Kind::EndpointSlice,
        json!({"metadata": {"name": name, "namespace": "n", "labels": {"kubernetes.io/service-name": of}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "a"}]}),
    )
}

fn ips(observed: &Observed, name: &str) -> Vec<String> {
    let facts = observed.world.services.get(&ServiceKey::new("n", name));
    facts.into_iter().flat_map(|s| s.addresses().flatten()).map(|ip| ip.to_string()).collect()
}

#[test]
fn a_new_version_alone_is_kept_and_is_no_news() {
    let mut observed = Observed::new(Role::Controller);
    assert!(observed.apply(service("a", "1", None)).services);
    assert!(!observed.apply(service("a", "2", None)).any());
    assert_eq!(&*observed.world.services[&ServiceKey::new("n", "a")].version, "2");
    assert!(observed.apply(pool("p", "1", json!(["10.0.0.0/24"])).unwrap().unwrap()).config);
    assert!(!observed.apply(pool("p", "222", json!(["10.0.0.0/24"])).unwrap().unwrap()).any());
    assert!(observed.apply(pool("p", "3", json!(["10.0.1.0/24"])).unwrap().unwrap()).config);
}

#[test]
fn what_is_older_than_our_own_write_is_stale() {
    let mut observed = Observed::new(Role::Controller);
    observed.apply(service("a", "9", None));
    assert!(observed.apply(wrote("a", "12", Some("10.0.0.1"))).services);
    assert!(!observed.apply(service("a", "10", None)).any(), "somebody else's change before ours");
    assert_eq!(ips(&observed, "a"), ["10.0.0.1"]);
    assert!(!observed.apply(service("a", "12", Some("10.0.0.1"))).any(), "the echo");
    assert!(observed.apply(service("a", "13", None)).services);
    assert!(
        !observed.apply(wrote("a", "12", Some("10.0.0.1"))).any(),
        "our answer after the watch went past it"
    );
    assert_eq!(ips(&observed, "a"), [""; 0]);
}

#[test]
fn after_the_watch_has_caught_up_it_decides_alone() {
    let mut observed = Observed::new(Role::Controller);
    observed.apply(service("a", "90", None));
    observed.apply(wrote("a", "91", Some("10.0.0.1")));
    observed.apply(service("a", "91", Some("10.0.0.1")));
    assert!(observed.apply(service("a", "5", None)).services, "an API server restored from a backup");
}

#[test]
fn our_own_write_brings_nothing_back() {
    let mut observed = Observed::new(Role::Controller);
    observed.apply(service("a", "1", None));
    assert!(observed.apply(Change::Service(ServiceKey::new("n", "a"), None)).services);
    assert!(!observed.apply(wrote("a", "2", Some("10.0.0.1"))).any());
    assert!(observed.world.services.is_empty());
}

#[test]
fn a_listing_removes_what_it_lacks_and_only_of_its_kind() {
    let mut observed = Observed::new(Role::Controller);
    for change in [service("a", "1", None), service("b", "2", None), slice("s", "b"), slice("t", "b")] {
        observed.apply(change);
    }
    observed.apply(pool("p", "1", json!(["10.0.0.0/24"])).unwrap().unwrap());
    observed.apply(Change::Listing(Kind::Service));
    assert!(!observed.apply(service("b", "3", None)).any());
    assert_eq!(observed.world.services.len(), 2, "nothing goes before the listing is over");
    assert!(observed.apply(Change::Synced(Kind::Service)).services);
    assert_eq!(observed.world.services.keys().map(|k| &*k.name).collect::<Vec<_>>(), ["b"]);
    observed.apply(Change::Listing(Kind::EndpointSlice));
    observed.apply(slice("t", "b"));
    let touched = observed.apply(Change::Synced(Kind::EndpointSlice));
    assert!(touched.slices && !touched.services && !touched.config);
    assert_eq!(
        observed.world.slices.keys().filter(|(owner, _)| *owner == ServiceKey::new("n", "b")).count(),
        1
    );
    assert_eq!(observed.input.pools.len(), 1);
    observed.apply(Change::Listing(Kind::IPAddressPool));
    assert!(observed.apply(Change::Synced(Kind::IPAddressPool)).config);
    assert!(observed.input.pools.is_empty());
}

#[test]
fn an_unreadable_object_keeps_its_last_version_until_it_decodes_or_goes() {
    let mut observed = Observed::new(Role::Controller);
    observed.apply(pool("p", "1", json!(["10.0.0.0/24"])).unwrap().unwrap());
    let object = ObjectRef { kind: Kind::IPAddressPool, name: "p".into() };
    let why = vec![pool("p", "2", json!([7])).unwrap_err()];
    assert_eq!(why[0].field, "spec.addresses[0]");
    assert_eq!(why[0].what, "invalid type: integer `7`, expected a string");
    assert!(observed.apply(Change::Unreadable(object.clone(), why.clone())).config);
    assert!(!observed.apply(Change::Unreadable(object.clone(), why.clone())).any(), "said before");
    assert_eq!(observed.input.unreadable.get(&object), Some(&why));
    // It is there, so a listing keeps it.
    observed.apply(Change::Listing(Kind::IPAddressPool));
    observed.apply(Change::Unreadable(object.clone(), why.clone()));
    assert!(!observed.apply(Change::Synced(Kind::IPAddressPool)).config);
    assert_eq!((observed.input.pools.len(), observed.input.unreadable.len()), (1, 1));
    // It decodes again, to what it was before: only the fault went.
    assert!(observed.apply(pool("p", "3", json!(["10.0.0.0/24"])).unwrap().unwrap()).config);
    assert!(observed.input.unreadable.is_empty());
    // It is unreadable from the start, and goes.
    observed.apply(Change::Unreadable(ObjectRef { kind: Kind::IPAddressPool, name: "q".into() }, why));
    observed.apply(Change::Listing(Kind::IPAddressPool));
    assert!(observed.apply(Change::Synced(Kind::IPAddressPool)).config);
    assert!(observed.input.unreadable.is_empty() && observed.input.pools.is_empty());
}

#[test]
fn a_slice_can_change_hands() {
    let mut observed = Observed::new(Role::Speaker);
    for name in ["a", "b"] {
        observed.apply(service(name, "1", Some("10.0.0.1")));
    }
    assert!(observed.apply(slice("s", "a")).slices);
    assert!(!observed.apply(slice("s", "a")).any());
    assert!(observed.apply(slice("s", "b")).slices);
    assert_eq!(observed.world.slices.keys().map(|(owner, _)| &*owner.name).collect::<Vec<_>>(), ["b"]);
    assert!(observed.apply(Change::Slice("n".into(), "s".into(), None)).slices);
    assert!(observed.world.slices.is_empty());
}

/// Most slices of a cluster are of Services without an address, which a speaker does not even watch.
#[test]
fn a_slice_of_an_unknown_service_is_kept_but_no_news() {
    let mut observed = Observed::new(Role::Speaker);
    assert!(!observed.apply(slice("s", "a")).any());
    assert_eq!(observed.world.slices.len(), 1);
    assert!(observed.apply(service("a", "1", Some("10.0.0.1"))).services);
    assert!(observed.apply(Change::Slice("n".into(), "s".into(), None)).slices);
}

/// A pass over thousands of Services for each that has no address yet would hold up the pass that announces it.
#[test]
fn a_service_without_an_address_is_no_news_to_a_speaker() {
    let mut observed = Observed::new(Role::Speaker);
    assert!(!observed.apply(service("a", "1", None)).any());
    assert!(!observed.apply(slice("s", "a")).any());
    assert!(observed.apply(service("a", "2", Some("10.0.0.1"))).services);
    assert!(observed.apply(Change::Slice("n".into(), "s".into(), None)).slices);
    assert!(observed.apply(service("a", "3", None)).services, "it has lost it");
    let gone =
        |observed: &mut Observed| observed.apply(Change::Service(ServiceKey::new("n", "a"), None)).any();
    assert!(!gone(&mut observed));
    observed.apply(service("a", "4", Some("10.0.0.1")));
    assert!(gone(&mut observed));
}

#[test]
fn no_decision_before_every_store_was_seen_whole() {
    let mut observed = Observed::new(Role::Controller);
    assert!(!observed.apply(Change::Synced(Kind::Service)).synced);
    assert!(!observed.apply(Change::Synced(Kind::Namespace)).synced);
    assert_eq!(observed.waiting().collect::<Vec<_>>(), [Kind::IPAddressPool]);
    assert!(observed.apply(Change::Synced(Kind::IPAddressPool)).synced && observed.synced());
    assert!(!observed.apply(Change::Synced(Kind::IPAddressPool)).synced, "only the first time is news");
}
