//! Speakers by the dozen in one process, under a clock and on a network of the test's own: what the gossip promises is
//! checked against loss, death and partition here, with figures. The chances are fixed by a seed.

use super::{
    fact::{Fact, Stage},
    gossip::{Gossip, View},
    identity::Identity,
    pace::Pace,
};
use crate::{names::NodeName, world::Member};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n / 200) as u8, (n % 200) as u8 + 1], 7946))
}

/// Whose address it is.
fn number(addr: SocketAddr) -> usize {
    match addr.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[2]) * 200 + usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => unreachable!("all are IPv4"),
    }
}

fn name(n: usize) -> NodeName {
    format!("n{n}").as_str().into()
}

enum Event {
    Pass(usize, u64),
    Deliver(SocketAddr, usize, Vec<u8>),
}

/// All speakers and the network between them.
struct Net {
    now: Instant,
    random: SmallRng,
    loss: f64,
    speakers: BTreeMap<usize, Gossip>,
    /// Which side of a partition each is on.
    sides: BTreeMap<usize, u8>,
    /// Pairs that hear nothing of each other.
    deaf: BTreeSet<(usize, usize)>,
    /// How often a speaker's machine has no time for it, at an event, and for how many milliseconds at most.
    stalls: (f64, u64),
    /// Until when it has none.
    stalled: BTreeMap<usize, Instant>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    number: u64,
    /// Which wake-up of each counts.
    wakes: BTreeMap<usize, (Instant, u64)>,
    lives: u64,
    ready: BTreeSet<usize>,
    views: BTreeMap<usize, Arc<View>>,
    /// How often a view changed.
    changes: usize,
    sent: u64,
    bytes: u64,
}

impl Net {
    #[expect(clippy::disallowed_methods, reason = "a point in time can be had in no other way")]
    fn new(seed: u64, loss: f64) -> Self {
        Self {
            now: Instant::now(),
            random: SmallRng::seed_from_u64(seed),
            loss,
            speakers: BTreeMap::new(),
            sides: BTreeMap::new(),
            deaf: BTreeSet::new(),
            stalls: (0.0, 0),
            stalled: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            number: 0,
            wakes: BTreeMap::new(),
            lives: 1_800_000_000_000,
            ready: BTreeSet::new(),
            views: BTreeMap::new(),
            changes: 0,
            sent: 0,
            bytes: 0,
        }
    }

    /// `count` speakers that know each other's addresses, ready.
    fn of(count: usize, seed: u64, loss: f64) -> Self {
        let mut net = Self::new(seed, loss);
        for n in 0..count {
            net.start(n, 0..count);
        }
        net
    }

    fn start(&mut self, n: usize, peers: impl IntoIterator<Item = usize>) {
        self.lives += 1000;
        let mut gossip = Gossip::new(
            Identity::new(&name(n), addr(n), self.lives),
            Pace::Local,
            self.random.random(),
            self.now,
        );
        gossip.expect(self.now, peers.into_iter().map(addr).collect());
        self.speakers.insert(n, gossip);
        self.touch(n);
    }

    fn say(&mut self, n: usize, stage: Stage) {
        let now = self.now;
        self.speakers.get_mut(&n).unwrap().say(now, &Fact { stage, ..Fact::default() });
        self.touch(n);
    }

    fn put(&mut self, at: Instant, event: Event) -> u64 {
        self.number += 1;
        self.queue.push(Reverse((at, self.number)));
        self.events.insert(self.number, event);
        self.number
    }

    /// Sends what `n` has to send, and sees to its next wake-up.
    fn touch(&mut self, n: usize) {
        let Some(speaker) = self.speakers.get_mut(&n) else { return };
        let (sends, next) = (speaker.sends(), speaker.next());
        for (to, bytes) in sends {
            self.sent += 1;
            self.bytes += bytes.len() as u64;
            let side = |n: &usize| self.sides.get(n).copied().unwrap_or_default();
            let target = number(to);
            if !self.speakers.contains_key(&target) {
                continue;
            }
            let deaf = self.deaf.contains(&(n.min(target), n.max(target)));
            if deaf || side(&n) != side(&target) || self.random.random_bool(self.loss) {
                continue;
            }
            let delay = Duration::from_micros(self.random.random_range(100..3000));
            self.put(self.now + delay, Event::Deliver(addr(n), target, bytes));
        }
        if self.wakes.get(&n).is_none_or(|(at, _)| *at != next) {
            let number = self.number + 1;
            self.put(next, Event::Pass(n, number));
            self.wakes.insert(n, (next, number));
        }
    }

    /// Lets time pass until `done`, at most for `span`; how long it took.
    fn until(&mut self, span: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let end = start + span;
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            let now = self.now;
            let event = self.events.remove(&number).unwrap();
            let (Event::Deliver(_, n, _) | Event::Pass(n, _)) = &event;
            if let Some(until) = self.stalled.get(n).copied().filter(|until| *until > now) {
                // what has come is read before anything is done about the time
                let later = matches!(event, Event::Pass(..));
                self.put(until + Duration::from_micros(u64::from(later)), event);
                continue;
            }
            if self.random.random_bool(self.stalls.0) {
                let stall = ms(self.random.random_range(0..=self.stalls.1));
                self.stalled.insert(*n, now + stall);
            }
            let n = match event {
                Event::Deliver(from, n, bytes) => {
                    let Some(speaker) = self.speakers.get_mut(&n) else { continue };
                    speaker.heard(now, from, &bytes);
                    n
                }
                Event::Pass(n, number) => {
                    if self.wakes.get(&n).is_none_or(|(_, counts)| *counts != number) {
                        continue;
                    }
                    self.wakes.remove(&n);
                    let Some(speaker) = self.speakers.get_mut(&n) else { continue };
                    speaker.pass(now);
                    n
                }
            };
            // it is ready as soon as it has looked around
            if self.speakers[&n].view().settled && self.ready.insert(n) {
                self.say(n, Stage::Ready);
            }
            self.touch(n);
            let view = self.speakers[&n].view();
            if !self.views.get(&n).is_some_and(|old| Arc::ptr_eq(old, view)) {
                self.views.insert(n, Arc::clone(view));
                self.changes += 1;
                if done(self) {
                    return Some(self.now - start);
                }
            }
        }
        self.now = end;
        None
    }

    fn kill(&mut self, n: usize) {
        self.speakers.remove(&n);
        self.wakes.remove(&n);
        self.ready.remove(&n);
        self.views.remove(&n);
    }

    /// Whether each of `by` sees all of them, and nobody else.
    fn see(&self, by: &[usize]) -> bool {
        let names: Vec<NodeName> =
            by.iter().copied().map(name).collect::<BTreeSet<_>>().into_iter().collect();
        by.iter().all(|n| self.speakers[n].view().members.keys().eq(&names))
    }

    fn everybody(&self) -> Vec<usize> {
        self.speakers.keys().copied().collect()
    }
}

/// Median, 99th percentile and maximum in milliseconds.
fn figures(mut times: Vec<Duration>) -> [u128; 3] {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_millis();
    [at(50), at(99), at(100)]
}

/// How long after each of `kills` deaths everybody knows, and that nobody else was given up; dead ones come back.
fn deaths(count: usize, kills: usize, seed: u64, loss: f64) -> [u128; 3] {
    let mut net = Net::of(count, seed, loss);
    assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some(), "they find each other");
    let mut times = Vec::new();
    for kill in 0..kills {
        let wait = net.random.random_range(0..200);
        let calm = net.changes;
        net.until(ms(1000 + wait), |_| false);
        assert_eq!(net.changes, calm, "kill {kill}: nobody is given up that lives");
        let victim = kill % count;
        net.kill(victim);
        times.push(net.until(ms(10_000), |net| net.see(&net.everybody())).expect("they notice"));
        net.start(victim, 0..count);
        assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some(), "it comes back");
    }
    figures(times)
}

#[test]
fn three_notice_a_death_in_under_700_ms() {
    let [p50, p99, max] = deaths(3, 150, 1, 0.0);
    println!("3 members: p50 {p50} ms, p99 {p99} ms, max {max} ms");
    assert!(max < 700, "{max}");
}

#[test]
fn ten_notice_a_death_in_under_700_ms() {
    let [p50, p99, max] = deaths(10, 60, 2, 0.0);
    println!("10 members: p50 {p50} ms, p99 {p99} ms, max {max} ms");
    assert!(max < 700, "{max}");
}

#[test]
fn a_hundred_notice_a_death_in_under_two_seconds() {
    let [p50, p99, max] = deaths(100, 3, 3, 0.0);
    println!("100 members: p50 {p50} ms, p99 {p99} ms, max {max} ms");
    assert!(max < 2000, "{max}");
}

/// Nobody who lives is given up in `span` with a fifth of all datagrams lost.
fn calm(count: usize, span: Duration, seed: u64) {
    let mut net = Net::of(count, seed, 0.2);
    assert!(net.until(ms(10_000), |net| net.see(&net.everybody())).is_some(), "they find each other");
    let (before, sent, bytes) = (net.changes, net.sent, net.bytes);
    net.until(span, |_| false);
    let each = |total: u64| total / count as u64 / span.as_secs().max(1);
    println!(
        "{count} members: {} datagrams/s, {} bytes/s each",
        each(net.sent - sent),
        each(net.bytes - bytes)
    );
    assert_eq!(net.changes, before, "nobody is given up");
}

#[test]
fn a_death_is_noticed_with_a_fifth_of_all_datagrams_lost_too() {
    let [p50, p99, max] = deaths(3, 100, 7, 0.2);
    println!("3 members, 20 % lost: p50 {p50} ms, p99 {p99} ms, max {max} ms");
    assert!(max < 1000, "{max}");
}

#[test]
fn a_partition_shows_on_both_sides_and_its_end_at_once() {
    let mut times = Vec::new();
    for seed in 0..20 {
        let mut net = Net::of(5, seed, 0.0);
        assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
        net.sides = [(0, 1), (1, 1)].into();
        let split = |net: &Net| net.see(&[0, 1]) && net.see(&[2, 3, 4]);
        assert!(net.until(ms(1000), split).is_some(), "each side sees itself");
        net.until(ms(3000 + seed * 7), |_| false);
        net.sides.clear();
        times.push(net.until(ms(5000), |net| net.see(&net.everybody())).expect("they find each other again"));
    }
    let [p50, _, max] = figures(times);
    println!("5 members, partition healed: p50 {p50} ms, max {max} ms");
    assert!(max < 50, "{max}");
}

/// One comes back and tells whom it had given up: those go on seeing each other.
#[test]
fn who_hears_each_other_does_after_a_heal_too() {
    for seed in 0..20 {
        let mut net = Net::of(3, 700 + seed, 0.0);
        assert!(net.until(ms(5000), |net| net.see(&[0, 1, 2])).is_some());
        net.sides.insert(2, 1);
        assert!(net.until(ms(5000), |net| net.see(&[0, 1]) && net.see(&[2])).is_some());
        net.until(ms(1000), |_| false);
        net.sides.clear();
        let lost = |net: &Net| {
            [(0, 1), (1, 0)]
                .into_iter()
                .any(|(by, of)| !net.speakers[&by].view().members.contains_key(&name(of)))
        };
        assert!(net.until(ms(1000), lost).is_none(), "seed {seed}: one that was there all the time is lost");
        assert!(net.see(&[0, 1, 2]));
        // and who dies now is missed as fast as ever
        net.kill(1);
        let took = net.until(ms(2000), |net| net.see(&[0, 2]));
        assert!(took.is_some_and(|took| took < ms(700)), "{took:?}");
    }
}

/// How often anybody is given up or is back, in twenty seconds ten times over, where machines have no time for up to so
/// long, now and then; with two of three that hear nothing of each other, or without.
fn unrest(stall: u64, deaf: bool) -> usize {
    let of = |seed: u64| {
        let mut net = Net::of(3, 900 + seed, 0.0);
        assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
        net.deaf.extend(deaf.then_some((0, 2)));
        net.stalls = (0.02, stall);
        let before = net.changes;
        net.until(ms(20_000), |_| false);
        net.changes - before
    };
    (0..10).map(of).sum()
}

/// Two of three hear nothing of each other, and the third hears both: nobody is given up. On machines so busy that some
/// are given up anyway, it is no more of them.
#[test]
fn two_that_do_not_hear_each_other_are_there_by_what_the_third_says() {
    assert_eq!(unrest(50, true), 0);
    let (whole, deaf) = (unrest(150, false), unrest(150, true));
    println!("stalls of up to 150 ms: {whole} changes, {deaf} where two do not hear each other");
    assert!(deaf <= whole, "{deaf} changes, {whole} where all hear each other");
}

/// With more of them, and a tenth of all datagrams lost.
#[test]
fn who_is_not_heard_by_one_of_many_is_given_up_by_nobody() {
    for count in [5, 10] {
        let mut net = Net::of(count, 900, 0.1);
        assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
        net.deaf.insert((0, count - 1));
        let before = net.changes;
        net.until(ms(20_000), |_| false);
        assert_eq!(net.changes, before, "of {count}");
        // and who dies now is missed by all, by those who never heard it too
        net.kill(count - 1);
        let took = net.until(ms(5000), |net| net.see(&net.everybody()));
        assert!(took.is_some_and(|took| took < ms(1000)), "{took:?}");
    }
}

#[test]
fn who_is_alone_after_a_partition_finds_the_others_again() {
    let mut net = Net::of(3, 8, 0.2);
    assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
    net.sides = [(0, 1), (1, 2), (2, 3)].into();
    assert!(net.until(ms(2000), |net| (0..3).all(|n| net.see(&[n]))).is_some(), "each is alone");
    net.sides.clear();
    assert!(net.until(ms(500), |net| net.see(&net.everybody())).is_some());
}

#[test]
fn a_speaker_that_starts_does_not_take_itself_for_alone() {
    for seed in 0..20 {
        let mut net = Net::of(5, seed, 0.2);
        assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
        let victim = 2;
        net.kill(victim);
        net.start(victim, 0..5);
        let mut first = None;
        net.until(ms(2000), |net| {
            let view = net.speakers[&victim].view();
            if view.settled && first.is_none() {
                first = Some((view.members.len(), net.now));
            }
            false
        });
        assert_eq!(
            first.map(|(seen, _)| seen),
            Some(5),
            "what it first acts on has all of them (seed {seed})"
        );
    }
    // nobody answers, though others are said to be there
    let mut net = Net::new(9, 0.0);
    net.start(0, 0..3);
    let waited = net.until(ms(3000), |net| net.speakers[&0].view().settled).unwrap();
    assert!(waited >= ms(1000) && waited < ms(1050), "{waited:?}");
    // nobody else is said to be there
    let mut net = Net::new(9, 0.0);
    net.start(0, [0]);
    assert!(net.until(ms(3000), |net| net.speakers[&0].view().settled).unwrap() < ms(150));
}

#[test]
fn who_starts_again_at_once_counts_as_new_at_once() {
    let mut net = Net::of(3, 10, 0.0);
    assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
    net.kill(1);
    net.start(1, 0..3);
    let gone = net.until(ms(1000), |net| !net.speakers[&0].view().members.contains_key(&name(1)));
    assert!(gone.unwrap() < ms(50), "its former life does not answer any more");
    assert!(net.until(ms(1000), |net| net.see(&net.everybody())).is_some());
}

#[test]
fn who_leaves_is_no_member_at_once() {
    let mut net = Net::of(10, 11, 0.2);
    assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
    net.say(4, Stage::Leaving);
    let others: Vec<usize> = (0..10).filter(|n| *n != 4).collect();
    let leaving = |net: &Net| others.iter().all(|n| net.speakers[n].view().members[&name(4)].leaving);
    let left = net.until(ms(1000), leaving).unwrap();
    assert!(left < ms(300), "{left:?}");
    net.until(ms(1000), |_| false);
    assert!(net.see(&net.everybody()), "and is not taken for dead as long as it is there");
}

#[test]
fn what_many_say_at_length_arrives() {
    let mut net = Net::of(5, 12, 0.2);
    assert!(net.until(ms(5000), |net| net.see(&net.everybody())).is_some());
    let now = net.now;
    for n in 0..5_u32 {
        let held = (0..3000).map(|ip| std::net::Ipv4Addr::from(n << 16 | ip).into()).collect();
        let member = Arc::new(Member { held, ..Member::default() });
        let speaker = net.speakers.get_mut(&(n as usize)).unwrap();
        speaker.say(now, &Fact { stage: Stage::Ready, member });
        net.touch(n as usize);
    }
    let whole = |net: &Net| {
        net.speakers.values().all(|s| s.view().members.values().all(|member| member.held.len() == 3000))
    };
    assert!(net.until(ms(1000), whole).is_some());
}

#[test]
fn loss_of_a_fifth_is_no_false_alarm() {
    calm(3, ms(120_000), 4);
    calm(10, ms(20_000), 5);
}

#[test]
fn loss_of_a_fifth_is_no_false_alarm_among_a_hundred() {
    calm(100, ms(2000), 6);
}
