//! Milliseconds, judged while the machine runs: a witness beside the measurement, which has nothing to do with the
//! product.
//!
//! On each processor a thread sleeps for a millisecond, again and again, and notes how late it wakes. What took longer
//! than it may is the product's fault, unless the machine stood still meanwhile; then, and only then, it is measured
//! again. A fault of the product shows in every round that is calm.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::wait;

/// How often it is measured before the machine is given up.
const ROUNDS: usize = 5;

/// What a witness sleeps, and how late it wakes on a machine that is not busy.
const NAP: Duration = Duration::from_millis(1);
const USUAL: Duration = Duration::from_micros(500);

/// Measures until the machine is calm enough for a verdict: every span that [`Round::judge`] was told of is as short as
/// it may be, or one is too long while the machine ran.
///
/// # Errors
/// Those of `measure`, a span that is too long, and a machine that stood still in every round.
pub fn rounds(mut measure: impl FnMut(&mut Round) -> Result<()>) -> Result<()> {
    for number in 1..=ROUNDS {
        let mut round = Round { witness: Witness::start()?, spans: Vec::new() };
        measure(&mut round)?;
        let verdict = round.verdict();
        if verdict.faults.is_empty() && verdict.spoilt.is_empty() {
            return Ok(());
        }
        if !verdict.faults.is_empty() {
            bail!("{}", verdict.faults.join("\n"));
        }
        eprintln!("round {number} is not judged: {}", verdict.spoilt.join("; "));
    }
    bail!("no calm round in {ROUNDS}: the machine stood still in each")
}

/// Does something; gives the moments before and after, since the epoch. What it brings about is looked for from the
/// first one on and measured from the second: how long it takes to do it is no part of the answer.
///
/// # Errors
/// Its own.
pub fn act<T>(act: impl FnOnce() -> Result<T>) -> Result<(Range<Duration>, T)> {
    let before = wait::since_epoch()?;
    let done = act()?;
    Ok((before..wait::since_epoch()?, done))
}

/// One measurement.
#[derive(Debug)]
pub struct Round {
    witness: Witness,
    spans: Vec<Span>,
}

/// Something that took time, since the epoch, and how long it may take.
#[derive(Debug)]
struct Span {
    what: String,
    time: Range<Duration>,
    limit: Duration,
}

#[derive(Debug, Default)]
struct Verdict {
    faults: Vec<String>,
    spoilt: Vec<String>,
}

impl Round {
    /// What began and ended at these moments may have taken this long. The verdict is [`rounds`]'.
    pub fn judge(&mut self, what: &str, time: Range<Duration>, limit: Duration) {
        eprintln!("{what}: {:.1} ms", length(&time).as_secs_f64() * 1e3);
        self.spans.push(Span { what: what.to_owned(), time, limit });
    }

    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for span in &self.spans {
            let (took, limit) = (length(&span.time), span.limit);
            let Some(over) = took.checked_sub(limit).filter(|over| !over.is_zero()) else { continue };
            let (lost, longest) = self.witness.lost(&span.time);
            let text = format!(
                "{}: {took:?}, the limit is {limit:?}; the machine lost {lost:?} of it, {longest:?} at once",
                span.what
            );
            // without what the machine lost it would have been in time, or nobody can say
            let spoilt = lost >= over || longest > limit / 2;
            if spoilt { &mut verdict.spoilt } else { &mut verdict.faults }.push(text);
        }
        verdict
    }
}

/// The witness, until it is dropped: for each processor, when it was late.
#[derive(Debug)]
struct Witness {
    stop: Arc<AtomicBool>,
    late: Vec<Arc<Mutex<Vec<Range<Duration>>>>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Witness {
    fn start() -> Result<Self> {
        let mut witness = Self { stop: Arc::default(), late: Vec::new(), threads: Vec::new() };
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        for processor in 0..CpuSet::count() {
            if !allowed.is_set(processor)? {
                continue;
            }
            let (late, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::clone(&witness.stop));
            witness.late.push(Arc::clone(&late));
            witness.threads.push(std::thread::spawn(move || {
                let mut here = CpuSet::new();
                here.set(processor)?;
                sched_setaffinity(Pid::from_raw(0), &here)?;
                while !stop.load(Ordering::Relaxed) {
                    let due = wait::since_epoch()? + NAP;
                    wait::pass(NAP);
                    let woke = wait::since_epoch()?;
                    if woke.saturating_sub(due) > USUAL {
                        late.lock().unwrap_or_else(PoisonError::into_inner).push(due..woke);
                    }
                }
                Ok(())
            }));
        }
        Ok(witness)
    }

    /// How much of this time the processor that fared worst did not run who was due, and the longest time at once.
    fn lost(&self, time: &Range<Duration>) -> (Duration, Duration) {
        let (mut most, mut longest) = (Duration::ZERO, Duration::ZERO);
        for late in &self.late {
            let late = late.lock().unwrap_or_else(PoisonError::into_inner);
            let within = late.iter().filter(|late| late.end > time.start && late.start < time.end);
            let lost = |late: &Range<Duration>| length(&(late.start.max(time.start)..late.end.min(time.end)));
            most = most.max(within.clone().map(lost).sum());
            longest = within.map(length).fold(longest, Duration::max);
        }
        (most, longest)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("a witness of the machine: {error:#}");
            }
        }
    }
}

/// How long it is.
fn length(time: &Range<Duration>) -> Duration {
    time.end.saturating_sub(time.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMIT: Duration = Duration::from_millis(50);

    /// One processor's witness that was late from then to then, in milliseconds, and what took from 100 to `end`.
    fn verdict(late: &[(u32, u32)], end: u32) -> [usize; 2] {
        let late = late.iter().map(|(from, to)| MS * *from..MS * *to).collect();
        let witness =
            Witness { stop: Arc::default(), late: vec![Arc::new(Mutex::new(late))], threads: Vec::new() };
        let mut round = Round { witness, spans: Vec::new() };
        round.judge("it", MS * 100..MS * end, LIMIT);
        let verdict = round.verdict();
        [verdict.faults.len(), verdict.spoilt.len()]
    }

    #[test]
    fn what_took_too_long_is_a_fault_unless_the_machine_stood_still() {
        assert_eq!(verdict(&[(0, 1000)], 150), [0, 0], "in time, whatever the machine did");
        assert_eq!(verdict(&[], 151), [1, 0]);
        let six = [(100, 103), (110, 113), (90, 99), (300, 400)];
        assert_eq!(
            verdict(&six, 157),
            [1, 0],
            "six of the seven that it took too long, and others elsewhere"
        );
        assert_eq!(verdict(&[(100, 103), (110, 113), (150, 151)], 157), [0, 1], "all seven");
        assert_eq!(verdict(&[(95, 120)], 300), [1, 0], "not for half of what it may take");
        assert_eq!(verdict(&[(95, 121)], 300), [0, 1]);
    }

    #[test]
    fn rounds_end_with_a_verdict() {
        let mut measured = 0;
        let fault = rounds(|round| {
            measured += 1;
            // nobody can have been late then
            round.judge("it", MS..LIMIT + 2 * MS, LIMIT);
            Ok(())
        });
        assert!(fault.unwrap_err().to_string().contains("the limit is 50ms"));
        assert_eq!(measured, 1, "a fault is no reason to measure again");
        rounds(|round| {
            round.judge("it", MS..LIMIT + MS, LIMIT);
            Ok(())
        })
        .unwrap();
        let spoilt = rounds(|round| {
            measured += 1;
            round.witness.late[0].lock().unwrap().push(MS..LIMIT);
            round.judge("it", MS..LIMIT + 2 * MS, LIMIT);
            Ok(())
        });
        assert!(spoilt.unwrap_err().to_string().contains("no calm round"));
        assert_eq!(measured, 6);
    }

    #[test]
    fn there_is_a_witness_on_each_processor() {
        let witness = Witness::start().unwrap();
        assert_eq!(witness.late.len(), std::thread::available_parallelism().unwrap().get());
        drop(witness);
    }
}
