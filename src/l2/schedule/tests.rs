//! The timetable, on a clock that jumps from deadline to deadline.

use super::*;
use crate::l2::origin;

fn place(last: u8) -> Place {
    (IpAddr::from([192, 0, 2, last]), IfIndex(2))
}

/// Works the timetable until `end`, waking only when it says so; what was taken, and when.
fn run(schedule: &mut Schedule, origin: Instant, from: Duration, end: Duration) -> Vec<(Duration, Place)> {
    let mut taken = Vec::new();
    let mut now = origin + from;
    while now <= origin + end {
        while let Some(place) = schedule.take(now, |_| 2) {
            taken.push((now - origin, place));
        }
        let Some(next) = schedule.next() else { break };
        assert!(next > now, "the next turn is later, or it would have been taken");
        now = next;
    }
    taken
}

#[test]
fn a_burst_tapers_off_into_a_refresh() {
    let (origin, mut schedule) = (origin(), Schedule::default());
    schedule.start(origin, place(1));
    let times: Vec<u128> = run(&mut schedule, origin, Duration::ZERO, Duration::from_secs(20))
        .iter()
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(times, [0, 1100, 2200, 4400, 8800, 17600]);
    let later = run(&mut schedule, origin, Duration::from_secs(20), Duration::from_secs(600));
    let gaps: Vec<Duration> = later.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let range = Duration::from_secs(48)..=Duration::from_secs(72);
    assert!(gaps.iter().all(|gap| range.contains(gap) && gap.abs_diff(gaps[0]) <= GRID), "{gaps:?}");
}

/// A fifth around a minute, all of it in use, and nowhere crowded.
#[test]
fn refreshes_are_spread_over_their_range() {
    let mut tenths = [0; 10];
    for n in 0..5000_u32 {
        let wait = refresh((IpAddr::from((0x0a00_0000 + n).to_be_bytes()), IfIndex(2)));
        let into = wait.checked_sub(Duration::from_secs(48)).expect("not before 48 s");
        assert!(into <= Duration::from_secs(24), "{wait:?}");
        tenths[usize::try_from(into.as_millis()).unwrap().min(23_999) / 2400] += 1;
    }
    assert!(tenths.iter().all(|count| (400..600).contains(count)), "{tenths:?}");
}

#[test]
fn once_more_is_once_and_insisting_is_thrice() {
    for (insistent, expected) in [(false, vec![30_000]), (true, vec![30_000, 34_400, 43_200])] {
        let (origin, mut schedule) = (origin(), Schedule::default());
        schedule.start(origin, place(1));
        run(&mut schedule, origin, Duration::ZERO, Duration::from_secs(29));
        schedule.again(origin + Duration::from_secs(30), place(1), insistent);
        schedule.again(origin, place(2), true);
        let taken = run(&mut schedule, origin, Duration::from_secs(30), Duration::from_secs(77));
        let times: Vec<u128> = taken.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, expected, "and nothing of what is not announced at all");
    }
}

#[test]
fn what_is_stopped_says_nothing_more() {
    let (origin, mut schedule) = (origin(), Schedule::default());
    schedule.start(origin, place(1));
    schedule.stop(place(1));
    assert_eq!((schedule.next(), schedule.take(origin, |_| 2)), (None, None));
    assert!(!schedule.has(place(1)));
}

#[test]
fn thousands_keep_a_pace_and_everyone_gets_a_first_turn_first() {
    let (origin, mut schedule) = (origin(), Schedule::default());
    let all: Vec<Place> =
        (0..5000_u32).map(|n| (IpAddr::from((0x0a00_0000 + n).to_be_bytes()), IfIndex(2))).collect();
    for place in &all {
        schedule.start(origin, *place);
    }
    let taken = run(&mut schedule, origin, Duration::ZERO, Duration::from_secs(400));
    let first: BTreeSet<Place> = taken[..5000].iter().map(|(_, place)| *place).collect();
    assert_eq!(first.len(), 5000);
    assert_eq!(taken[1023].0, Duration::ZERO, "a thousand wait for nothing");
    assert!(taken[4999].0 <= Duration::from_millis(2000), "all are out after {:?}", taken[4999].0);
    for (from, _) in taken.iter().step_by(97) {
        let second =
            taken.iter().filter(|(at, _)| at >= from && *at < *from + Duration::from_secs(1)).count();
        assert!(second * 2 <= 4000 + 2050, "{second} turns in the second after {from:?}");
    }
    // Once the burst is over, they are due together, a few times a second.
    let times: BTreeSet<Duration> =
        taken.iter().map(|(at, _)| *at).filter(|at| at.as_secs() >= 200).collect();
    assert!(times.len() <= 200 * 4 + 1, "{} wake-ups in 200 s", times.len());
    // Nobody is silent for as long as a switch remembers, and the load is spread.
    let mut last: BTreeMap<Place, Duration> = BTreeMap::new();
    for (at, place) in &taken {
        let gap = last.insert(*place, *at).map_or(Duration::ZERO, |before| *at - before);
        assert!(gap < Duration::from_secs(73), "{place:?} was silent for {gap:?}");
    }
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, _) in taken.iter().filter(|(at, _)| at.as_secs() >= 200) {
        *seconds.entry(at.as_secs()).or_default() += 1;
    }
    let busiest = seconds.values().max().unwrap();
    assert!(*busiest < 300, "{busiest} of 5000 addresses in one second");
}
