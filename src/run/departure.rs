//! How a node that is drained leaves the routers, in time: first its routes are marked as going, later they go.
//!
//! The clock of a drain is here; what each step means is `plan`'s.

use crate::plan::Leave;
use std::{pin::Pin, time::Duration};
use tokio::time::{Sleep, sleep};

/// The speaker's own departure.
pub(super) struct Departure {
    /// How long routers have to move to other nodes.
    time: Duration,
    /// Nothing is known of the node yet.
    fresh: bool,
    state: State,
}

enum State {
    Staying,
    Leaving(Pin<Box<Sleep>>),
    Left,
}

impl Departure {
    pub(super) const fn new(time: Duration) -> Self {
        Self { time, fresh: true, state: State::Staying }
    }

    /// How far the node has left, now that it is to be drained or not.
    pub(super) fn follow(&mut self, drains: bool) -> Leave {
        let fresh = std::mem::take(&mut self.fresh);
        self.state = match (std::mem::replace(&mut self.state, State::Staying), drains) {
            (State::Staying, false) => State::Staying,
            // a speaker that starts on such a node brings nothing back
            (State::Staying, true) if fresh => State::Left,
            (State::Staying, true) => {
                let seconds = self.time.as_secs();
                tracing::info!(seconds, "the node is drained: routers are asked to prefer others");
                State::Leaving(Box::pin(sleep(self.time)))
            }
            (State::Leaving(end), true) if end.is_elapsed() => {
                tracing::info!("the node is drained: its routes are withdrawn, its sessions stay");
                State::Left
            }
            (State::Leaving(_) | State::Left, false) => {
                tracing::info!("the node is no longer drained: its routes are back");
                State::Staying
            }
            (state, true) => state,
        };
        match self.state {
            State::Staying => Leave::Staying,
            State::Leaving(_) => Leave::Leaving,
            State::Left => Leave::Left,
        }
    }

    /// Waits until [`Departure::follow`] has another answer by itself.
    ///
    /// Cancel-safe.
    pub(super) async fn due(&mut self) {
        match &mut self.state {
            State::Leaving(end) => end.await,
            State::Staying | State::Left => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_leaves_in_two_steps_and_comes_back_in_one() {
        let mut departure = Departure::new(Duration::from_millis(10));
        let mut steps = Vec::new();
        for drains in [false, true, true] {
            steps.push(departure.follow(drains));
        }
        departure.due().await;
        for drains in [true, true, false, true, false] {
            steps.push(departure.follow(drains));
        }
        use Leave::{Leaving, Left, Staying};
        assert_eq!(steps, [Staying, Leaving, Leaving, Left, Left, Staying, Leaving, Staying]);
    }

    #[tokio::test]
    async fn a_speaker_that_starts_brings_nothing_back() {
        assert_eq!(Departure::new(Duration::from_secs(30)).follow(true), Leave::Left);
    }
}
