//! FRR's configuration as data: plan → FRRConfiguration → [`Model`] → text, and [`Model`] × [`Model`] → delta.
//!
//! Every prefix is one `network` line that names its policy class: a route-map that tags it with a large community
//! of ours. Each neighbour's out-map has one entry for each class it may have, which matches the tag, sets the
//! attributes and strips the tag. So a Service that comes or goes is one line, whatever the number of neighbours,
//! and no prefix-list changes, which would start FRR's route-map delay.
//!
//! Nothing here touches the world. Every text that reaches FRR is a number, an address or a [`Word`].

mod build;
mod class;
mod delta;
mod extras;
mod identity;
mod line;
mod merge;
mod range;
mod raw;
mod read;
mod refusal;
mod render;
pub mod show;

pub use build::{Built, Elsewhere, Home, build};
pub use class::{Class, ClassId};
pub use delta::{Daemon, Line, Step, Subject, delta, wake};
pub use extras::{EXTRAS, blame_extras, or_extras};
pub use merge::{Merged, Sources, Standing, merge};
pub use range::{Bounds, NotARange, Range};
pub use raw::{RawLine, written};
pub use read::{Found, read};
pub use refusal::field;
pub use render::render;

use crate::{
    config::{Neighbor, RemoteAs, Timers},
    names::{Asn, Password, Word},
    net::Family,
    plan::Attributes,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// Everything that is wanted of FRR on this node, or that was found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// How much the daemons log to their standard output; `None` leaves them alone.
    pub log: Option<LogLevel>,
    /// `bgp graceful-shutdown`: every route of every instance is marked as going (RFC 8326).
    pub leaving: bool,
    /// BFD profiles by name.
    pub bfd: BTreeMap<Word, BfdProfile>,
    /// Policy classes: each a community list and a route-map, both determined by the id.
    pub classes: BTreeSet<ClassId>,
    /// Inbound and outbound route-maps, by what precedes `-in` and `-out` in their names.
    pub policies: BTreeMap<Word, Policy>,
    /// Prefix-lists of the inbound route-maps.
    pub lists: BTreeMap<ListName, BTreeMap<u32, Range>>,
    /// Whether there is the list of all our tags, which inbound route-maps take off.
    pub guard: bool,
    /// BGP instances by VRF; `None` is the default one.
    pub routers: BTreeMap<Option<Word>, Router>,
    /// Lines of users that there is no room for above; never in a model that was read back.
    pub raw: Vec<RawLine>,
}

/// `log stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `debugging`.
    Debugging,
    /// `informational`.
    Informational,
    /// `notifications`.
    Notifications,
    /// `warnings`.
    Warnings,
    /// `errors`.
    Errors,
    /// `critical`.
    Critical,
    /// `alerts`.
    Alerts,
    /// `emergencies`: nothing, in practice.
    Emergencies,
}

impl LogLevel {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Debugging,
        Self::Informational,
        Self::Notifications,
        Self::Warnings,
        Self::Errors,
        Self::Critical,
        Self::Alerts,
        Self::Emergencies,
    ];

    /// The level that FRR, or MetalLB, calls so.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "error" => Some(Self::Errors),
            word => Self::ALL.into_iter().find(|level| level.to_string() == word),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debugging => "debugging",
            Self::Informational => "informational",
            Self::Notifications => "notifications",
            Self::Warnings => "warnings",
            Self::Errors => "errors",
            Self::Critical => "critical",
            Self::Alerts => "alerts",
            Self::Emergencies => "emergencies",
        })
    }
}

/// A BFD profile; `None` is FRR's default, and a value equal to that default is `None`. Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BfdProfile {
    /// `detect-multiplier`.
    pub detect_multiplier: Option<u32>,
    /// `transmit-interval`.
    pub transmit_interval: Option<u32>,
    /// `receive-interval`.
    pub receive_interval: Option<u32>,
    /// `minimum-ttl`.
    pub minimum_ttl: Option<u32>,
    /// `passive-mode`.
    pub passive_mode: bool,
    /// `echo-mode`.
    pub echo_mode: bool,
    /// `echo transmit-interval`.
    pub echo_transmit_interval: Option<u32>,
    /// `echo receive-interval`.
    pub echo_receive_interval: Option<u32>,
}

/// `router bgp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Our AS.
    pub asn: Asn,
    /// `bgp router-id`; `None` lets FRR choose.
    pub id: Option<Ipv4Addr>,
    /// Whether it has the lines that each of our instances begins with; always set in a wanted model.
    pub prepared: bool,
    /// Sessions.
    pub sessions: BTreeMap<Neighbor, Session>,
    /// `network` lines, and the class of each.
    pub networks: BTreeMap<IpNet, ClassId>,
    /// VRFs whose routes come into this one.
    pub imports: BTreeSet<Option<Word>>,
}

/// Everything about a neighbour but what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its AS.
    pub remote_as: RemoteAs,
    /// The AS we show it, in place of ours.
    pub local_as: Option<Asn>,
    /// BFD, and the profile it runs with.
    pub bfd: Option<Word>,
    /// TCP-MD5 password.
    pub password: Option<Password>,
    /// The port to dial; `None` is 179.
    pub port: Option<u16>,
    /// Whether it may be more than one hop away; never set where FRR would ignore it.
    pub multihop: bool,
    /// How many hops away it may be: packets from further away are dropped (RFC 5082).
    pub ttl_security: Option<u8>,
    /// Skip the check that its address is on a connected network.
    pub skip_connected_check: bool,
    /// The address or the interface to come from.
    pub source: Option<Word>,
    /// Keepalive and hold.
    pub timers: Option<Timers>,
    /// Seconds between attempts to connect.
    pub connect_time: Option<u16>,
    /// Graceful restart.
    pub graceful_restart: GracefulRestart,
    /// Unicast families it carries.
    pub families: BTreeSet<Family>,
}

/// Graceful restart with a neighbour (RFC 4724). Where several ask, the greatest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GracefulRestart {
    /// Not spoken of: only by a user's raw line, or somebody's hand. BIRD drops the routes of an FRR that died at once
    /// then, instead of after two minutes, but refuses a node that comes back from a silence until its hold timer, and a
    /// minute more, are over.
    Off,
    /// FRR's own way: we keep the neighbour's routes while it restarts, and it may take a new session for the old one.
    #[default]
    Aware,
    /// The neighbour keeps ours, too.
    On,
}

impl Session {
    /// Seconds between attempts to connect, where nobody says otherwise. FRR's own two minutes are how long a node
    /// would stay away whose router still has the session from before, and refuses the first call.
    pub const CONNECT_TIME: u16 = 10;
}

/// The route-maps of one neighbour: `ID-in` lets in what its gates do, `ID-out` has an entry for each class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether `ID-in` has its `deny 20`. It always has where we made it; others may add entries before.
    pub inbound: bool,
    /// Whether FRR walks through `ID-in` entry by entry, from a first one that decides nothing. Where it has gates it
    /// must: the shortcut of FRR 8.4 through all prefix-lists of a map loses prefixes once a line of a list has gone.
    pub plain: bool,
    /// Entries of `ID-in` before that, by sequence number.
    pub gates: BTreeMap<u16, Gate>,
    /// Entries of `ID-out`, by sequence number. After them comes a `deny`, so that the map always exists.
    pub entries: BTreeMap<u16, Entry>,
}

impl Policy {
    /// The sequence number of the `deny` that ends `ID-out`.
    pub const LAST: u16 = u16::MAX;
    /// The sequence number of the entry in `ID-in` that decides nothing.
    pub const FIRST: u16 = 1;
    /// The sequence number of the `deny` in `ID-in`, as MetalLB has it.
    pub const INBOUND: u16 = 20;
}

/// An entry of an in-map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gate {
    /// Whether what matches comes in, our tags taken off.
    pub permit: bool,
    /// The list that it matches.
    pub list: ListName,
}

/// The name of a prefix-list; each family has its own names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListName {
    /// The family of its prefixes.
    pub family: Family,
    /// The name.
    pub name: Word,
}

/// A permit entry of an out-map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The class that it lets out; `None` for an entry that is not as we write them, never in a wanted model.
    pub class: Option<ClassId>,
    /// What the prefixes of that class carry.
    pub attributes: Attributes,
    /// The AS that the neighbour knows us by, where it is prepended.
    pub own_as: Option<Asn>,
}

/// What precedes `-in` and `-out` in the names of a neighbour's route-maps: MetalLB's naming, which users' own
/// additions to these maps rely on.
#[must_use]
pub fn policy_name(neighbor: &Neighbor, vrf: Option<&Word>) -> Option<Word> {
    match vrf {
        None => Word::new(&name(neighbor)).ok(),
        Some(vrf) => Word::new(&format!("{}-{vrf}", name(neighbor))).ok(),
    }
}

/// A neighbour as FRR's lines call it.
#[must_use]
pub fn name(neighbor: &Neighbor) -> String {
    match neighbor {
        Neighbor::Address(ip) => ip.to_string(),
        Neighbor::Interface(name) => name.to_string(),
    }
}

/// A family as `address-family` calls it.
pub(crate) const fn afi(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

#[cfg(test)]
mod tests;
