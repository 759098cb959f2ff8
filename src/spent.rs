//! Tests only: how much of the processor's time a piece of work takes, whatever else the machine does meanwhile. A
//! bound that is so wide that only another order of growth breaks it is one of this time, and not of the clock's.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What `work` gives, and what the calling thread has spent on it.
pub(crate) fn spent<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread();
    let done = work();
    (done, thread() - before)
}

fn thread() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
