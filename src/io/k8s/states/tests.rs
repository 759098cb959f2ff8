//! What is done about objects that are there, on the example of one that nodes take over from each other.

use super::*;
use crate::{io::states::Answering, names::ServiceKey};

fn keeper() -> Keeper<ServiceL2> {
    let writer = Writer { node: "n1".into(), namespace: "metallb-system".into(), owner: None, home: None };
    Keeper {
        writer,
        there: BTreeMap::new(),
        seen: BTreeSet::new(),
        listed: true,
        dirty: BTreeSet::new(),
        contested: BTreeSet::new(),
        busy: BTreeSet::new(),
        trouble: Trouble::default(),
    }
}

fn object(node: &str, name: &str) -> Raw {
    let writer = Writer { node: node.into(), namespace: "metallb-system".into(), owner: None, home: None };
    let (key, body) = (ServiceKey::new("ns", "s"), Arc::new(Answering::default()));
    let mut object = json!({"metadata": ServiceL2::metadata(&writer, &key), "status": ServiceL2::status(&writer, &key, &body)});
    object["metadata"]["name"] = name.into();
    object["metadata"]["resourceVersion"] = "1".into();
    serde_json::from_value(object).unwrap()
}

/// All that is done until nothing is left to do, each carried out at once.
fn acts(keeper: &mut Keeper<ServiceL2>, wanted: &BTreeMap<ServiceKey, Arc<Answering>>) -> Vec<String> {
    let mut done = Vec::new();
    keeper.dirty.insert(ServiceKey::new("ns", "s"));
    while let Some((key, act)) = keeper.next(wanted) {
        let (what, result) = match &act {
            Act::Make => ("make".to_owned(), Ok(Some(object("n1", "made")))),
            Act::Say(name, _) => (format!("say {name}"), Ok(None)),
            Act::Delete(name) => (format!("delete {name}"), Ok(None)),
        };
        keeper.done(&ServiceL2::resource(), key, act, result, Some(wanted));
        done.push(what);
        assert!(done.len() < 9, "no end: {done:?}");
    }
    done
}

#[test]
fn who_answers_leaves_one_object_and_who_does_not_only_takes_its_own() {
    let mine: BTreeMap<_, _> = [(ServiceKey::new("ns", "s"), Arc::new(Answering::default()))].into();
    let none = BTreeMap::new();
    // the objects that are there; what is done by a node that answers, and by one that does not
    type Texts = &'static [&'static str];
    type Objects = &'static [(&'static str, &'static str)];
    let cases: [(Objects, Texts, Texts); 5] = [
        (&[], &["make"], &[]),
        (&[("n1", "a")], &[], &["delete a"]),
        (&[("n2", "b")], &["delete b", "make"], &[]),
        (&[("n1", "a"), ("n1", "c")], &["delete c"], &["delete a", "delete c"]),
        (&[("n2", "b"), ("n1", "a"), ("n3", "c")], &["delete b", "delete c"], &["delete a"]),
    ];
    for (there, answering, other) in cases {
        for (wanted, expected) in [(&mine, answering), (&none, other)] {
            let mut keeper = keeper();
            for (node, name) in there {
                keeper.saw(&object(node, name), Some(wanted));
            }
            assert_eq!(acts(&mut keeper, wanted), expected, "{there:?}");
        }
    }
}

/// The labels, the name's beginning and the fields are the contract.
#[test]
fn a_status_of_layer_2_is_word_for_word() {
    let writer = Writer { node: "n1".into(), namespace: "metallb-system".into(), owner: None, home: None };
    let key = ServiceKey::new("ns", "s");
    assert_eq!(
        ServiceL2::metadata(&writer, &key),
        json!({"generateName": "l2-", "labels": {"metallb.io/node": "n1",
            "metallb.io/service-name": "s", "metallb.io/service-namespace": "ns"}})
    );
    let body = Arc::new(Answering {
        interfaces: vec!["eth0".into(), "eth1".into()],
        conflicts: vec![("192.0.2.7".parse().unwrap(), "02:00:00:00:00:ee".parse().unwrap())],
    });
    let status = ServiceL2::status(&writer, &key, &body);
    assert_eq!(
        status,
        json!({"node": "n1", "serviceName": "s", "serviceNamespace": "ns",
            "interfaces": [{"name": "eth0"}, {"name": "eth1"}],
            "conflicts": [{"ip": "192.0.2.7", "mac": "02:00:00:00:00:ee"}]})
    );
    let object = json!({"metadata": ServiceL2::metadata(&writer, &key), "status": status});
    assert_eq!(ServiceL2::read(&object), Some((key.clone(), Some(body))));
    // one that was only just made
    let object = json!({"metadata": ServiceL2::metadata(&writer, &key)});
    assert_eq!(ServiceL2::read(&object), Some((key, None)));
}

/// A CRD of before has no such field, and the API server drops it: that is no reason to say it for ever.
#[test]
fn what_the_api_server_drops_is_said_once() {
    let key = ServiceKey::new("ns", "s");
    let conflicts = vec![("192.0.2.7".parse().unwrap(), "02:00:00:00:00:ee".parse().unwrap())];
    let at = Arc::new(Answering { conflicts, ..Answering::default() });
    let wanted = BTreeMap::from([(key.clone(), at)]);
    let mut keeper = keeper();
    keeper.saw(&object("n1", "a"), Some(&wanted));
    keeper.dirty.insert(key);
    let (key, act) = keeper.next(&wanted).unwrap();
    assert!(matches!(&act, Act::Say(name, _) if name == "a"));
    let mut answer = object("n1", "a");
    answer.metadata.resource_version = Some("2".into());
    keeper.done(&ServiceL2::resource(), key, act, Ok(Some(answer)), Some(&wanted));
    assert!(keeper.next(&wanted).is_none());
}
