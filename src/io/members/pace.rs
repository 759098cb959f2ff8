//! How fast the gossip is: what a node's death costs until all know it, against how much loss it stands.
//!
//! A member is asked after every [`Pace::period`] by somebody, over others too when it does not answer; who hears of
//! his own death denies it, and has [`Pace::doubt`] for that. At 20 % loss a denial gets through within three rounds
//! of gossip nearly always; the doubt is a dozen of them. `simulation.rs` has the figures.

use std::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

/// A factor for all times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// For nodes that are milliseconds apart.
    #[default]
    Local,
    /// For nodes that are far apart (`--ml-wan-config`).
    Wide,
}

/// Bytes of a datagram before it is sealed.
pub(super) const PACKET: usize = 1372;

/// How often who is not there is asked to come, in [`Pace::tick`]s: a partition that heals shows at once.
pub(super) const RETURN: u32 = 1;

/// The same after [`PATIENCE`].
pub(super) const RARE_RETURN: u32 = 50;

/// How long somebody may be away until he is looked for rarely only.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// How many that are away are asked at a time.
pub(super) const ASKED: usize = 4;

impl Pace {
    const fn times(self, base: Duration) -> Duration {
        match self {
            Self::Local => base,
            Self::Wide => base.saturating_mul(6),
        }
    }

    /// How often each member asks after another one.
    const fn period(self) -> Duration {
        self.times(Duration::from_millis(50))
    }

    /// The pause between two rounds of gossip, and before anything is said again.
    pub(super) const fn tick(self) -> Duration {
        self.times(Duration::from_millis(20))
    }

    /// How long it takes until one is not heard by chance: whom it has asked and who has asked it, and that it dies.
    pub(super) fn silence(self, members: usize) -> Duration {
        let round = self.period().saturating_mul(u32::try_from(members).unwrap_or(u32::MAX));
        self.doubt(members).saturating_add(round.saturating_mul(6))
    }

    /// How long a member may deny its death.
    pub(super) fn doubt(self, members: usize) -> Duration {
        let more = u32::try_from(members.saturating_sub(10).min(90)).unwrap_or(90);
        self.times(Duration::from_millis(250).saturating_add(Duration::from_millis(6).saturating_mul(more)))
    }

    /// How long one counts as alive who was heard, whatever others say: less than it takes to give up one that is dead.
    pub(super) const fn lately(self) -> Duration {
        self.times(Duration::from_millis(120))
    }

    /// How long a speaker that starts waits for the others, at most.
    pub(super) const fn grace(self) -> Duration {
        self.times(Duration::from_secs(1))
    }

    /// How often a Lease is renewed, and how long one counts that is not.
    pub(super) const fn lease(self) -> (Duration, Duration) {
        (self.times(Duration::from_secs(1)), self.times(Duration::from_secs(3)))
    }

    /// The settings of the protocol for `members`.
    pub(super) fn config(self, members: usize) -> foca::Config {
        let rounds = members.saturating_add(1).ilog2().saturating_add(1).saturating_mul(6);
        foca::Config {
            probe_period: self.period(),
            probe_rtt: self.tick(),
            num_indirect_probes: NonZeroUsize::MIN.saturating_add(4),
            max_transmissions: u8::try_from(rounds).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX),
            suspect_to_down_after: self.doubt(members),
            remove_down_after: Some(Duration::from_mins(1)),
            max_packet_size: NonZeroUsize::MIN.saturating_add(PACKET - 1),
            notify_down_members: true,
            periodic_announce: Some(foca::PeriodicParams {
                frequency: self.times(Duration::from_secs(5)),
                num_members: NonZeroUsize::MIN,
            }),
            // who is away is asked by ourselves: this would cease when everybody is
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.tick(),
                num_members: NonZeroUsize::MIN.saturating_add(2),
            }),
        }
    }
}
