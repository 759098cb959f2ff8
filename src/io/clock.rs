//! The clock of the shell: the moment, and waiting for one that may not come.

use std::{
    future,
    time::{Duration, Instant},
};
use tokio::time::{Instant as Deadline, sleep_until};

/// The moment, for those who decide without a clock of their own.
#[expect(clippy::disallowed_methods, reason = "the shell is where time is read")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The moment that comes after `pause`, as the runtime's timers have it.
pub(crate) fn after(pause: Duration) -> Deadline {
    #[expect(clippy::disallowed_methods, reason = "the shell is where time is read")]
    let now = Deadline::now();
    now + pause
}

/// Waits until `deadline`; for ever where there is none.
pub(crate) async fn until(deadline: Option<impl Into<Deadline>>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}
