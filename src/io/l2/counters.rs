//! What layer 2 has done, for `/metrics`. A lock held for an addition; nothing here sends or decides.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Counts that the driver adds to and `/metrics` reads.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Totals>);

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By address; an address that is withdrawn loses its entry.
    pub by_ip: BTreeMap<IpAddr, Counts>,
    /// Frames without an answer, by [`crate::l2::Reason::name`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Claims of other nodes that were conceded or defended.
    pub claims_of_nodes: u64,
    /// Claims of strangers that were defended.
    pub claims_of_strangers: u64,
    /// Frames that an interface did not take.
    pub unsent: u64,
}

/// The counts of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `metallb_layer2_requests_received`.
    pub requests_received: u64,
    /// `metallb_layer2_responses_sent`.
    pub responses_sent: u64,
    /// `metallb_layer2_gratuitous_sent`.
    pub gratuitous_sent: u64,
    /// Frames by which another station claimed it.
    pub foreign_claims: u64,
}

impl Counters {
    /// The counts now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Totals> {
        // Counts are whole after every addition: a panic elsewhere spoils none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
