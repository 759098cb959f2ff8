//! Responders on one segment: who answers, when, and what is said.

mod segment;

use super::*;
use crate::{
    l2::origin,
    names::NodeName,
    net::{Interfaces, Link, Links},
    spent::spent,
};
use segment::{ETH0, STRANGER, Segment, Sent, mac, name, rivals, vip};
use std::{collections::BTreeSet, time::Duration};

const MS: Duration = Duration::from_millis(1);

/// The loser hears the winner, or the winner the loser: either way the one concedes in the same moment, and the other
/// announces itself at once.
#[test]
fn of_two_that_announce_the_one_that_is_not_elected_concedes_at_once() {
    for (first, second) in [(0, 1), (1, 0)] {
        for ip in [vip(0), vip(1)] {
            let mut segment = Segment::new(2, &[&[], &[0]]);
            segment.want(first, 2);
            segment.pass(20_000 * MS);
            segment.want(second, 2);
            let met = segment.now;
            segment.pass(Duration::ZERO);
            assert_eq!(segment.answer(ip), [0], "at once");
            let claim = Claim { by: mac(0), node: Some(name(0)), conceded: true };
            assert_eq!(segment.claims(1), [(vip(0), claim.clone()), (vip(1), claim)].into());
            assert_eq!(segment.claims(0), BTreeMap::new());
            segment.pass(30 * MS);
            let announced = segment.announced(0, ip, met);
            assert!(announced.first().is_some_and(|at| *at <= met + 10 * MS), "{announced:?}");
            // and it stays so
            let later = segment.now;
            segment.pass(600_000 * MS);
            assert_eq!(segment.answer(ip), [0]);
            assert!(segment.announced(1, ip, later).is_empty(), "who has conceded says nothing");
            let asked = segment.sent.iter().filter(|sent| sent.from == 1 && sent.at > later).count();
            assert!((100..200).contains(&asked), "{asked} questions in ten minutes");
        }
    }
}

/// Ours again when the other falls silent, and not while it answers.
#[test]
fn an_address_comes_back_when_the_other_falls_silent() {
    for ip in [vip(0), vip(1)] {
        let mut segment = Segment::new(2, &[&[], &[0]]);
        segment.want(0, 2);
        segment.want(1, 2);
        segment.pass(100 * MS);
        assert_eq!(segment.answer(ip), [0]);
        let gone = segment.now;
        segment.want(0, 0);
        segment.pass(1500 * MS);
        assert_eq!(segment.answer(ip), [1]);
        let announced = segment.announced(1, ip, gone);
        assert!(announced.first().is_some_and(|at| *at <= gone + 1000 * MS), "{announced:?} after {gone:?}");
        assert_eq!(segment.claims(1), BTreeMap::new());
    }
}

/// The other may not have it any more, says the plan: no need to ask.
#[test]
fn an_address_comes_back_when_the_other_has_no_right_to_it() {
    let mut segment = Segment::new(1, &[&[], &[0]]);
    segment.want(0, 1);
    segment.want(1, 1);
    segment.pass(100 * MS);
    let (now, nobody) = (segment.at(), BTreeSet::new());
    segment.nodes[1].follow(now, &rivals(1, &nobody, 1, &[]));
    assert_eq!(segment.answer(vip(0)), [0, 1]);
    // nor does it hold on to what is not wanted any more
    let mut segment = Segment::new(1, &[&[], &[0]]);
    segment.want(0, 1);
    segment.want(1, 1);
    segment.pass(100 * MS);
    segment.want(1, 0);
    assert_eq!((segment.claims(1), segment.nodes[1].next_deadline()), (BTreeMap::new(), None));
}

/// Views that contradict each other: both think that it is theirs, or that it is the other's. In the end one answers
/// and goes on to; where neither gives way, the one with the lesser name.
#[test]
fn two_that_do_not_agree_end_with_one_answer() {
    for owners in [[&[][..], &[]], [&[1], &[0]]] {
        for order in [[0, 1], [1, 0]] {
            let mut segment = Segment::new(2, &owners);
            for node in order {
                segment.want(node, 2);
                segment.pass(700 * MS);
            }
            segment.pass(12_000 * MS);
            let settled = segment.now;
            let winner = segment.answer(vip(0));
            assert!(winner == [0] || winner == [1] && !owners[0].is_empty(), "{owners:?}: {winner:?}");
            for _ in 0..600 {
                assert_eq!(segment.answer(vip(0)), winner, "{owners:?} {:?}", segment.now);
                assert_eq!(segment.answer(vip(1)), winner, "{owners:?} {:?}", segment.now);
                segment.pass(100 * MS);
            }
            let said = segment.announced(winner[0], vip(0), settled).len();
            assert!(said < 9, "{said} announcements in a minute");
        }
    }
}

/// RFC 5227 §2.4 c: kept, announced once in ten seconds, reported; and forgotten when it is over.
#[test]
fn a_stranger_gets_one_announcement_in_ten_seconds_and_not_the_address() {
    for ip in [vip(0), vip(1)] {
        let mut segment = Segment::new(2, &[&[]]);
        segment.want(0, 2);
        segment.pass(30_000 * MS);
        let first = segment.now;
        segment.strange(ip);
        assert_eq!(segment.claims(0), BTreeMap::new(), "what passes is not told");
        for _ in 0..17 {
            segment.pass(500 * MS);
            segment.strange(ip);
            assert_eq!(segment.answer(ip), [0], "the address is kept");
        }
        assert_eq!(segment.announced(0, ip, first), [first], "one announcement, at once");
        let claim = Claim { by: STRANGER, node: None, conceded: false };
        assert_eq!(segment.claims(0), [(ip, claim)].into());
        segment.pass(2000 * MS);
        segment.strange(ip);
        segment.pass(MS);
        assert_eq!(segment.announced(0, ip, first).len(), 2, "ten seconds later another");
        segment.pass(299_000 * MS);
        assert_eq!(segment.claims(0).len(), 1);
        segment.pass(2000 * MS);
        assert_eq!(segment.claims(0), BTreeMap::new());
    }
}

/// An address moves: who has it hears of the new one before it hears why. It lets the moment pass.
#[test]
fn one_that_is_alive_gets_a_moment() {
    let mut segment = Segment::new(1, &[&[], &[]]);
    let (now, nobody) = (segment.at(), BTreeSet::new());
    segment.nodes[0].follow(now, &rivals(0, &nobody, 1, &[0, 1]));
    segment.nodes[1].follow(now, &rivals(1, &nobody, 1, &[0, 1]));
    segment.want(0, 1);
    segment.pass(30_000 * MS);
    segment.want(1, 1);
    let moved = segment.now;
    segment.pass(40 * MS);
    segment.want(0, 0);
    segment.pass(2000 * MS);
    assert!(segment.announced(0, vip(0), moved).is_empty());
    assert_eq!(segment.answer(vip(0)), [1]);
}

/// A network that was cut heals, and nobody says so. A thousand addresses of both families: two answers until the next
/// question, 25 ms, and none for longer; and in peace, the questions bother nobody but the one that is away.
#[test]
fn a_heal_is_noticed_on_the_wire() {
    let vips = 1000;
    let mut segment = Segment::new(vips, &[&[], &[0]]);
    segment.cut = true;
    segment.want(0, vips);
    segment.want(1, vips);
    segment.pass(60_000 * MS);
    assert_eq!(segment.answer(vip(0)), [0, 1]);
    let questions = |sent: &&Sent| sent.from == 1 && sent.frame.destination == mac(0);
    let asked = segment.sent.iter().filter(questions).count();
    assert!((2300..=2450).contains(&asked), "{asked} questions in a minute");
    let healed = segment.now;
    segment.cut = false;
    segment.pass(25 * MS);
    for n in 0..vips {
        assert_eq!(segment.answer(vip(n)), [0], "address {n}");
    }
    assert!(segment.claims(1).len() < vips / 2, "what was not heard is not told");
    segment.pass(115 * MS);
    assert_eq!(segment.claims(1).len(), vips);
    // the winner has announced every one of them
    for n in 0..vips {
        assert!(!segment.announced(0, vip(n), healed).is_empty(), "address {n}");
    }
    let most = segment.sent.iter().filter(questions).filter(|sent| sent.at >= healed).count();
    assert!(most <= 2 * vips + 20, "{most} frames: for each address a question and a last word");
}

/// After ten minutes one that is away is rather dead, and is asked once in a second; but where somebody wants to know
/// where an address is, and so may get two answers, it is asked at once.
#[test]
fn a_heal_after_a_long_time_is_noticed_when_somebody_asks() {
    let questions = |sent: &&Sent| sent.from == 1 && sent.frame.destination == mac(0);
    let mut segment = Segment::new(1, &[&[], &[0]]);
    segment.cut = true;
    segment.want(1, 1);
    segment.pass(601_000 * MS);
    let long = segment.now;
    segment.pass(60_000 * MS);
    let asked = segment.sent.iter().filter(questions).filter(|sent| sent.at >= long).count();
    assert!((55..=65).contains(&asked), "{asked} questions in a minute");

    // clients that cannot wait have it asked more often, but not each time
    let busy = segment.now;
    for _ in 0..10_000 {
        segment.ask(vip(0));
        segment.pass(MS);
    }
    let asked = segment.sent.iter().filter(questions).filter(|sent| sent.at >= busy).count();
    assert!((1990..=2001).contains(&asked), "{asked} questions in ten seconds");

    for ip in [vip(0), vip(1)] {
        let mut segment = Segment::new(2, &[&[], &[0]]);
        segment.cut = true;
        segment.want(0, 2);
        segment.want(1, 2);
        segment.pass(700_000 * MS);
        // long after one of its own questions, and long before the next
        let last = segment.sent.iter().rfind(questions).unwrap().at;
        let rest = last + 1100 * MS - segment.now;
        segment.pass(rest);
        segment.cut = false;
        assert_eq!(segment.answer(ip), [0, 1], "nobody has asked");
        segment.ask(ip);
        segment.pass(Duration::ZERO);
        assert_eq!(segment.answer(ip), [0], "no second question is answered by both");
    }
}

/// A node that has ten thousands of what is another's leaves all of it at the first word, which takes no time, and
/// concedes it bit by bit.
#[test]
fn however_much_it_is_the_first_word_ends_it() {
    let vips = 20_000;
    let mut segment = Segment::new(vips, &[&[], &[0]]);
    segment.want(1, vips);
    let (now, node) = (segment.at(), &mut segment.nodes[1]);
    let (outcome, took) = spent(|| node.contest(now, ETH0, vip(7), mac(0), false));
    assert_eq!(outcome, Outcome::Concede);
    assert!(took < 20 * MS, "{took:?} for the first word");
    for n in [0, 7, vips / 2, vips - 1] {
        assert!(segment.answer(vip(n)).is_empty(), "address {n}");
    }
    // nor is any of it announced in the time that it takes
    let node = &mut segment.nodes[1];
    assert!(node.next_deadline().is_some_and(|at| at <= now), "there is something to do");
    assert!(node.due(now).is_empty());
    assert!(node.questions(now).is_empty());
    assert_eq!(node.schedule.places().count(), vips - 1 - QUESTIONS);
    // another pass, or other nodes, find it done
    let nobody = BTreeSet::new();
    node.follow(now, &rivals(1, &[name(0)].into(), vips, &[]));
    assert_eq!(node.schedule.places().count(), 0);
    node.follow(now, &rivals(1, &nobody, vips, &[]));
    assert_eq!(node.schedule.places().count(), vips, "and it comes back as ever");
}

/// Each has taken what is the other's: the first question of either is the news for both.
#[test]
fn a_heal_is_noticed_by_both_at_once() {
    for first in [0, 1] {
        let mut segment = Segment::new(8, &[&[], &[]]);
        let now = segment.at();
        for (node, theirs) in [(0, 4..8), (1, 0..4)] {
            let owners = theirs.map(|n| (vip(n), [name(1 - node)].into())).collect();
            let all = Rivals { owners, ..Rivals::clone(&rivals(node, &BTreeSet::new(), 8, &[])) };
            segment.nodes[node].follow(now, &Arc::new(all));
        }
        segment.cut = true;
        segment.want(first, 8);
        segment.pass(10 * MS);
        segment.want(1 - first, 8);
        // `first` asks at 25, 50, 75 …, the other one ten later
        segment.pass(10_005 * MS);
        segment.cut = false;
        segment.pass(9 * MS);
        assert_eq!(segment.answer(vip(0)), [0, 1], "nobody has asked");
        segment.pass(MS);
        for n in 0..8 {
            assert_eq!(segment.answer(vip(n)), if n < 4 { [0] } else { [1] }, "address {n}, {first} asks");
        }
        segment.pass(300 * MS);
        assert_eq!([segment.claims(0).len(), segment.claims(1).len()], [4, 4]);
    }
}

/// Who is back has not everything that it was away from: the rest is answered for as before, after a moment.
#[test]
fn what_one_that_is_back_does_not_have_is_taken_back() {
    let mut segment = Segment::new(8, &[&[], &[0]]);
    segment.cut = true;
    segment.want(0, 4);
    segment.want(1, 8);
    segment.pass(60_000 * MS);
    segment.cut = false;
    segment.pass(1100 * MS);
    for n in 0..8 {
        assert_eq!(segment.answer(vip(n)), if n < 4 { [0] } else { [1] }, "address {n}");
    }
    assert_eq!(segment.claims(1).len(), 4);
}

/// Two are back, and only they know which of them has what.
#[test]
fn what_one_that_is_back_does_not_have_another_one_may() {
    let mut segment = Segment::new(8, &[&[], &[0, 2], &[0]]);
    segment.want(0, 4);
    segment.want(2, 8);
    segment.pass(1000 * MS);
    segment.cut = true;
    segment.want(1, 8);
    // no longer than the two on the other side take to ask each other again
    segment.pass(100 * MS);
    let (healed, sent) = (segment.now, segment.sent.len());
    segment.cut = false;
    segment.pass(25 * MS);
    for n in 0..8 {
        assert_eq!(segment.answer(vip(n)), if n < 4 { [0] } else { [2] }, "address {n}");
    }
    segment.pass(300 * MS);
    for (ip, claim) in segment.claims(1) {
        let first = (0..4).any(|n| vip(n) == ip);
        assert_eq!((claim.conceded, claim.node), (true, Some(name(if first { 0 } else { 2 }))), "{ip}");
    }
    assert_eq!(segment.claims(1).len(), 8);
    assert!(segment.announced(1, vip(7), healed).is_empty(), "{:?}", &segment.sent[sent..]);
}

/// The one that takes over saw first that the address moves, and has said so: the other concedes as soon as it sees it,
/// too, and waits for no second word.
#[test]
fn who_hears_of_a_move_after_the_claim_concedes_at_once() {
    for (late, moves) in [(30 * MS, true), (1500 * MS, false)] {
        let mut segment = Segment::new(2, &[&[], &[]]);
        let (now, nobody) = (segment.at(), BTreeSet::new());
        for node in [0, 1] {
            segment.nodes[node].follow(now, &rivals(node, &nobody, 2, &[0, 1]));
        }
        segment.want(1, 2);
        segment.pass(30_000 * MS);
        segment.want(0, 2);
        let moved = segment.now;
        segment.pass(MS);
        if !moves {
            segment.want(0, 0);
        }
        segment.pass(late);
        let now = segment.at();
        segment.nodes[1].follow(now, &rivals(1, &[name(0)].into(), 2, &[0, 1]));
        for ip in [vip(0), vip(1)] {
            assert_eq!(segment.answer(ip), if moves { [0] } else { [1] });
        }
        segment.pass(1000 * MS);
        assert_eq!(segment.announced(1, vip(0), moved).is_empty(), moves, "who has conceded says nothing");
        assert_eq!(segment.claims(1).len(), if moves { 2 } else { 0 });
        assert!(segment.claims(1).values().all(|claim| claim.conceded));
    }
}

/// A node that is back may have been on the other side of a cut: everything is announced again.
#[test]
fn everything_is_announced_again_when_a_node_is_back() {
    let mut segment = Segment::new(2, &[&[]]);
    let nobody = BTreeSet::new();
    let follow = |segment: &mut Segment, live: &[usize]| {
        let now = segment.at();
        segment.nodes[0].follow(now, &rivals(0, &nobody, 2, live));
    };
    follow(&mut segment, &[0, 1, 2]);
    segment.want(0, 2);
    segment.pass(30_000 * MS);
    for (live, again) in [(&[0, 1][..], false), (&[0, 1], false), (&[0, 1, 2], true), (&[0, 2], false)] {
        let from = segment.now;
        follow(&mut segment, live);
        segment.pass(MS);
        for ip in [vip(0), vip(1)] {
            assert_eq!(!segment.announced(0, ip, from).is_empty(), again, "{live:?}");
        }
        segment.pass(14_000 * MS);
    }
}

/// An address that moves to a node that is alive: conceded at the first word of it, and that is no conflict.
#[test]
fn a_planned_move_is_no_conflict() {
    let mut segment = Segment::new(2, &[&[], &[0]]);
    let (now, owners) = (segment.at(), [name(0)].into());
    segment.nodes[1].follow(now, &rivals(1, &owners, 2, &[0, 1]));
    segment.want(1, 2);
    segment.pass(20_000 * MS);
    let from = segment.now;
    segment.want(0, 2);
    segment.pass(100 * MS);
    assert_eq!((segment.answer(vip(0)), segment.answer(vip(1))), (vec![0], vec![0]));
    assert!(segment.claims(1).values().all(|claim| claim.conceded), "it shows all the same");
    assert!(segment.announced(1, vip(0), from).is_empty());
    // where it was not said to all, the other is asked whether it is there, and not told anything else
    let (mut responder, now) = (Responder::default(), segment.at());
    std::mem::swap(&mut responder, &mut segment.nodes[1]);
    responder.set(now, &BTreeMap::new(), &Links::new());
    segment.nodes[1] = responder;
    segment.want(1, 2);
    assert_eq!(segment.nodes[1].contest(now, ETH0, vip(0), mac(0), false), Outcome::HandOver);
    let asked = segment.nodes[1].questions(now + 300 * MS);
    let provokes = |frame: &Frame| match wire::parse(&frame.bytes).unwrap().message {
        Message::Arp(arp) => !arp.sender_ip.is_unspecified(),
        _ => false,
    };
    assert!(!asked.is_empty() && !asked.iter().any(provokes), "{asked:?}");
}

/// One that was given up, and knows that this may be: what others have taken it leaves to them, and keeps all else; once
/// it counts again it has its own back.
#[test]
fn one_that_may_have_been_given_up_leaves_what_is_taken() {
    let mut segment = Segment::new(4, &[&[], &[]]);
    let nobody = BTreeSet::new();
    let lapse = |segment: &mut Segment, lapsed| {
        let now = segment.at();
        let rivals = Rivals { lapsed, ..Rivals::clone(&rivals(1, &nobody, 4, &[0, 1, 2])) };
        segment.nodes[1].follow(now, &Arc::new(rivals));
    };
    lapse(&mut segment, true);
    segment.want(1, 4);
    segment.pass(30_000 * MS);
    assert_eq!(segment.answer(vip(0)), [1], "nobody has claimed it");
    segment.strange(vip(1));
    assert_eq!(segment.answer(vip(1)), [1], "nor may a stranger");
    let from = segment.now;
    segment.want(0, 2);
    segment.pass(MS);
    for n in 0..4 {
        assert_eq!(segment.answer(vip(n)), if n < 2 { [0] } else { [1] }, "address {n}");
    }
    segment.pass(60_000 * MS);
    assert_eq!(segment.answer(vip(0)), [0]);
    assert!(segment.announced(1, vip(0), from).is_empty());
    lapse(&mut segment, false);
    segment.want(0, 0);
    segment.pass(MS);
    assert_eq!(segment.answer(vip(0)), [1]);
}

/// The other did not hear that it has the address alone, and says so to nobody: it is reminded until it does.
#[test]
fn one_that_does_not_say_it_to_all_is_reminded() {
    let mut segment = Segment::new(1, &[&[], &[0]]);
    segment.cut = true;
    segment.want(0, 1);
    segment.want(1, 1);
    segment.pass(30_000 * MS);
    let now = segment.at();
    assert_eq!(segment.nodes[1].contest(now, ETH0, vip(0), mac(0), false), Outcome::Concede);
    segment.pass(400 * MS);
    segment.cut = false;
    let healed = segment.now;
    segment.pass(250 * MS);
    assert_eq!(segment.announced(0, vip(0), healed).len(), 1);
    assert_eq!(segment.answer(vip(0)), [0]);
}

/// An address on two interfaces, conceded on one: it is answered for on the other still.
#[test]
fn conceding_is_by_interface() {
    let (now, eth1) = (origin(), IfIndex(3));
    let mut responder = Responder::default();
    let owners = [name(0)].into();
    responder.follow(now, &rivals(1, &owners, 1, &[]));
    let link = |name: &str, last| Link {
        name: name.into(),
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        up: true,
        enslaved: false,
        broadcast: true,
        carrier_changes: 0,
    };
    let links: Links = [(ETH0, link("eth0", 1)), (eth1, link("eth1", 2))].into();
    responder.set(now, &[(vip(0), Interfaces::All)].into(), &links);
    assert_eq!(responder.contest(now, ETH0, vip(0), mac(0), true), Outcome::Concede);
    assert!(!responder.claims()[&vip(0)].conceded, "not everywhere");
    assert_eq!(responder.contest(now, eth1, vip(0), mac(0), true), Outcome::Concede);
    assert!(responder.claims()[&vip(0)].conceded);
    assert_eq!(responder.contest(now, IfIndex(9), vip(0), mac(0), true), Outcome::Known, "not ours there");
    // an interface that flaps begins anew
    let flapped: Links =
        [(ETH0, Link { carrier_changes: 2, ..link("eth0", 1) }), (eth1, link("eth1", 2))].into();
    responder.set(now, &[(vip(0), Interfaces::All)].into(), &flapped);
    assert!(!responder.claims()[&vip(0)].conceded);
}
