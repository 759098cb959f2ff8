//! Routers of four makes that a test configures as it likes, and one view of what each of them sees.
//!
//! A session option is proven by what the other end says of it, so all makes answer the same questions: whether the
//! session is up and what was negotiated ([`Seen`]), and what the neighbours announce, with every attribute ([`Path`]).
//! All of them wait for calls, as the product's nodes never do.

mod bird;
mod frr;
mod gobgp;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Result;
use serde_json::Value;

use crate::{
    frr::{Frr, Version},
    netns::Net,
    process::Running,
    tor::Family,
    warden::Warden,
};

/// What a router runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Make {
    /// FRR, of one of the two versions.
    Frr(Version),
    /// BIRD 2.
    Bird,
    /// GoBGP.
    GoBgp,
}

/// Where a neighbour is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// At an address.
    Address(IpAddr),
    /// On the other end of this interface, whatever its address; FRR only.
    Interface(&'static str),
}

impl From<IpAddr> for At {
    fn from(ip: IpAddr) -> Self {
        Self::Address(ip)
    }
}

/// One neighbour as a router expects it.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// Where it is.
    pub at: At,
    /// Its AS.
    pub asn: u32,
    /// The families that may be spoken.
    pub families: Vec<Family>,
    /// TCP MD5.
    pub password: Option<&'static str>,
    /// Whether it may be more than a hop away.
    pub multihop: bool,
    /// From how many hops away it is heard, when that is looked at; what is told it can be recognised so, too (RFC 5082).
    pub hops: Option<u8>,
    /// Whether BFD watches it.
    pub bfd: bool,
}

impl Neighbour {
    /// One at this address and of this AS, with the family of its address.
    #[must_use]
    pub fn new(ip: IpAddr, asn: u32) -> Self {
        let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        Self {
            at: ip.into(),
            asn,
            families: vec![family],
            password: None,
            multihop: false,
            hops: None,
            bfd: false,
        }
    }

    /// The same with both families.
    #[must_use]
    pub fn dual(self) -> Self {
        Self { families: Family::ALL.to_vec(), ..self }
    }
}

/// A router's own settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its AS.
    pub asn: u32,
    /// Its router id.
    pub id: Ipv4Addr,
    /// The address that it is called at, for makes that want to know; both families are served where it is none.
    pub local: Option<IpAddr>,
    /// The port that it is called at.
    pub port: u16,
    /// Its neighbours.
    pub neighbours: Vec<Neighbour>,
}

/// A running router.
#[derive(Debug)]
pub struct Peer {
    make: Make,
    daemon: Daemon,
    // the daemons end before their namespace does
    net: Net,
}

#[derive(Debug)]
enum Daemon {
    Frr(Frr),
    Bird(bird::Bird),
    GoBgp(Running),
}

/// A session, as the router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether routes can flow.
    pub established: bool,
    /// The neighbour's AS.
    pub asn: u32,
    /// Its router id.
    pub id: Option<Ipv4Addr>,
    /// The negotiated hold time, seconds.
    pub hold: u64,
    /// The families that both ends speak.
    pub families: BTreeSet<Family>,
    /// What the neighbour's capability says of graceful restart.
    pub restart: Restart,
    /// Changes whenever the session comes up anew, and at no other time.
    pub life: String,
    /// Why it was lost last, in the router's words; empty where it says nothing.
    pub lost: String,
}

/// What a neighbour says of graceful restart (RFC 4724).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// Nothing.
    Unsaid,
    /// That it understands it when others restart.
    Aware,
    /// That its routes of these families are to be kept when it restarts.
    Keeps(BTreeSet<Family>),
}

/// One way to a prefix, as announced by a neighbour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Path {
    /// Whose announcement it is, as the router calls it.
    pub from: String,
    /// Where packets would go: the global address where there are two.
    pub next_hop: Option<IpAddr>,
    /// The AS path.
    pub as_path: Vec<u32>,
    /// Local preference, where it was announced or is shown.
    pub local_pref: Option<u32>,
    /// Communities, as `A:B` and `A:B:C`.
    pub communities: BTreeSet<String>,
    /// MED.
    pub med: Option<u32>,
    /// Kept for a neighbour that went away.
    pub stale: bool,
}

/// Everything that a router was told: prefix (`10.99.0.1/32`) to paths, sorted.
pub type Table = BTreeMap<String, Vec<Path>>;

impl Peer {
    /// Starts a router in this namespace.
    ///
    /// # Errors
    /// When it is not installed, or does not come up.
    pub fn start(warden: &Warden, net: Net, make: Make, settings: &Settings) -> Result<Self> {
        let daemon = match make {
            Make::Frr(version) => Daemon::Frr(frr::start(warden, &net, version, settings)?),
            Make::Bird => Daemon::Bird(bird::Bird::start(warden, &net, settings)?),
            Make::GoBgp => Daemon::GoBgp(gobgp::start(warden, &net, settings)?),
        };
        Ok(Self { make, daemon, net })
    }

    /// Its make.
    #[must_use]
    pub fn make(&self) -> Make {
        self.make
    }

    /// Its namespace.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The process that ends when it does.
    #[must_use]
    pub fn process(&self) -> &Running {
        match &self.daemon {
            Daemon::Frr(frr) => frr.process(),
            Daemon::Bird(bird) => bird.process(),
            Daemon::GoBgp(process) => process,
        }
    }

    /// The last lines that it wrote, for messages about what did not happen.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = self.process().log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
    }

    /// Its FRR, when it runs one: for what only FRR tells.
    #[must_use]
    pub fn frr(&self) -> Option<&Frr> {
        match &self.daemon {
            Daemon::Frr(frr) => Some(frr),
            Daemon::Bird(_) | Daemon::GoBgp(_) => None,
        }
    }

    /// The session with a neighbour.
    ///
    /// # Errors
    /// When the router does not answer, or not in the form that is known here.
    pub fn seen(&self, at: &At) -> Result<Seen> {
        match &self.daemon {
            Daemon::Frr(frr) => frr::seen(frr, at),
            Daemon::Bird(bird) => bird.seen(at),
            Daemon::GoBgp(_) => gobgp::seen(&self.net, at),
        }
    }

    /// The [`Seen::life`] of every session, by the neighbour's name: one question to the router.
    ///
    /// # Errors
    /// As [`Peer::seen`].
    pub fn lives(&self) -> Result<BTreeMap<String, String>> {
        match &self.daemon {
            Daemon::Frr(frr) => frr::lives(frr),
            Daemon::Bird(bird) => Ok(bird.lives()),
            Daemon::GoBgp(_) => gobgp::lives(&self.net),
        }
    }

    /// What it was told over both families.
    ///
    /// # Errors
    /// As [`Peer::seen`].
    pub fn table(&self) -> Result<Table> {
        let mut table = match &self.daemon {
            Daemon::Frr(frr) => frr::table(frr)?,
            Daemon::Bird(bird) => bird.table()?,
            Daemon::GoBgp(_) => gobgp::table(&self.net)?,
        };
        table.values_mut().for_each(|paths| paths.sort());
        Ok(table)
    }
}

/// A neighbour's name in answers and in configurations, and in [`Path::from`].
#[must_use]
pub fn name(at: &At) -> String {
    match at {
        At::Address(ip) => ip.to_string(),
        At::Interface(name) => (*name).to_owned(),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_u64()
}

fn small(value: &Value, pointer: &str) -> Option<u32> {
    number(value, pointer)?.try_into().ok()
}
