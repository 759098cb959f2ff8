use super::*;
use crate::{
    io::observe::Role,
    world::{Class, Node},
};
use serde_json::json;

/// A speaker of node `n` that has seen one peer.
fn announcer(frr: bool) -> Announcer {
    let me = Viewpoint {
        node: "n".into(),
        class: Class::default(),
        frr,
        ignore_exclude_label: false,
        drain_on_cordon: false,
        leave: crate::plan::Leave::Staying,
    };
    let mut announcer = Announcer::new(me, frr::LogLevel::Informational, Observed::new(Role::Speaker));
    let peer = json!({"metadata": {"name": "tor"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"}});
    announcer.observe(Change::Peer("tor".into(), serde_json::from_value(peer).unwrap()));
    announcer.observe(Change::Node("n".into(), Some(Node::default())));
    for kind in Role::Speaker.kinds() {
        assert!(announcer.decide().is_none(), "no decision before every store has synced");
        announcer.observe(Change::Synced(*kind));
    }
    announcer
}

#[test]
fn a_peer_becomes_a_session() {
    let mut announcer = announcer(true);
    let model = announcer.decide().unwrap().frr.unwrap();
    assert_eq!(model.routers.values().map(|router| router.sessions.len()).collect::<Vec<_>>(), [1]);
    assert!(announcer.problems().is_empty());
}

#[test]
fn without_frr_a_peer_is_a_problem_and_nothing_is_built() {
    let mut announcer = announcer(false);
    assert!(announcer.decide().unwrap().frr.is_none());
    let problems: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.contains("BGPPeer tor") && problem.contains("runs without FRR"), "{problem}");
}

#[test]
fn a_speaker_of_a_node_that_is_not_there_says_so_and_goes_on() {
    let mut announcer = announcer(true);
    announcer.observe(Change::Node("n".into(), None));
    assert!(announcer.decide().unwrap().frr.is_some());
    let problems: Vec<_> = announcer.problems().iter().map(ToString::to_string).collect();
    assert!(
        problems.iter().any(|problem| problem.starts_with("Node n: there is no such Node")),
        "{problems:?}"
    );
}
