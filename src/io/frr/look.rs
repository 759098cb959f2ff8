//! Looks at FRR: sessions, BFD and what each peer was told, over connections that the driver has no part in.
//!
//! Only asks, never configures. Twice a second costs bgpd 0.1 ms, whatever the number of routes: what a peer was told
//! is a number, and only where it is another than was meant the routes themselves are asked for, once they stand still.
//! What is seen travels as "latest wins".

use super::Vty;
use crate::{
    frr::show::{self, Bfd, Details, Packets, Peering, Summary},
    net::Family,
};
use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// From a change of what is meant until FRR has told it its peers: it holds its work back for 50 ms, twice.
const SETTLE: Duration = Duration::from_millis(200);

/// The counters, and the words for why a session went down, are read with every so manieth look.
const SLOW: u32 = 10;

/// A daemon that is silent for this long hangs.
const SILENCE: Duration = Duration::from_secs(2);

/// What a peer was told of one family; nothing, where there is none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something: it is changing still, and will be known in a moment.
    Unknown,
    /// As many prefixes as were meant for it.
    All,
    /// These, ours and others.
    These(Arc<BTreeSet<IpNet>>),
}

impl Told {
    /// Whether `prefix`, which was meant for it, is among them.
    #[must_use]
    pub fn has(&self, prefix: &IpNet) -> bool {
        match self {
            Self::All => true,
            Self::Unknown => false,
            Self::These(prefixes) => prefixes.contains(prefix),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The [`Meant::plan`] that `told` was compared with.
    pub plan: u64,
    /// Whether there was a look at all.
    pub looked: bool,
    /// Whether bgpd answers. While it does not, the sessions that it had are down.
    pub answers: bool,
    /// Sessions.
    pub sessions: BTreeMap<Peering, Summary>,
    /// The same at length, a few seconds older.
    pub details: BTreeMap<Peering, Details>,
    /// BFD sessions.
    pub bfd: BTreeMap<Peering, Bfd>,
    /// Their counters, a few seconds older.
    pub packets: BTreeMap<Peering, Packets>,
    /// What was told to whom.
    pub told: BTreeMap<(Peering, Family), Told>,
}

/// What is meant for the neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Another number for each plan.
    pub plan: u64,
    /// How many prefixes of a family each is to be told; none that is to be told nothing.
    pub prefixes: BTreeMap<(Peering, Family), u64>,
}

/// The state of a session that has no daemon.
const IDLE: &str = "Idle";

/// Looks at the FRR whose vty sockets are in `dir`, until nobody wants to know any more.
///
/// Cancelled at any time, nothing is left behind: it changes nothing.
pub async fn look(dir: PathBuf, mut meant: watch::Receiver<Arc<Meant>>, to: watch::Sender<Arc<Seen>>) {
    let mut watcher =
        Watcher { bgp: Line::new(&dir, "bgpd.vty"), bfd: Line::new(&dir, "bfdd.vty"), ..Watcher::default() };
    while !to.is_closed() {
        let wanted = meant.borrow_and_update().clone();
        watcher.look(&wanted).await;
        let seen = watcher.seen.clone();
        to.send_if_modified(|held| {
            let news = **held != seen;
            if news {
                *held = Arc::new(seen);
            }
            news
        });
        tokio::select! {
            () = sleep(PERIOD) => {}
            changed = meant.changed() => match changed {
                Ok(()) => sleep(SETTLE).await,
                Err(_) => return,
            },
        }
    }
}

#[derive(Default)]
struct Watcher {
    bgp: Line,
    bfd: Line,
    seen: Seen,
    looks: u32,
    /// For each family of a session, what the routes that were told hang on, as it was at the last look.
    marks: BTreeMap<(Peering, Family), Mark>,
    /// The mark under which the routes were asked for.
    asked: BTreeMap<(Peering, Family), Mark>,
}

/// While this is the same, so are the routes that a peer was told.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    sent: u64,
    version: u64,
    ups: u64,
}

impl Watcher {
    async fn look(&mut self, meant: &Meant) {
        let slow = self.looks.is_multiple_of(SLOW);
        self.looks = self.looks.wrapping_add(1);
        let answers = match self.look_at_bgp(meant, slow).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(fault = format!("{error:#}"), "bgpd does not say how its sessions are");
                self.bgp.hang_up();
                false
            }
        };
        if !answers {
            self.seen.told.clear();
            self.marks.clear();
            self.asked.clear();
            for session in self.seen.sessions.values_mut() {
                *session = Summary { state: IDLE.to_owned(), ups: session.ups, ..Summary::default() };
            }
        }
        self.seen.looked = true;
        self.seen.plan = meant.plan;
        self.seen.answers = answers;
        if let Err(error) = self.look_at_bfd(slow).await {
            tracing::debug!(fault = format!("{error:#}"), "bfdd does not say how its sessions are");
            self.bfd.hang_up();
            self.seen.bfd.clear();
            self.seen.packets.clear();
        }
    }

    async fn look_at_bgp(&mut self, meant: &Meant, slow: bool) -> Result<()> {
        let sessions = show::summaries(&self.bgp.ask("show bgp vrf all summary json").await?)?;
        let same = |(peering, session): (&Peering, &Summary)| {
            let before = self.seen.sessions.get(peering);
            // a session that cannot come up goes to and fro between states all the time
            before.is_some_and(|before| (before.up(), before.ups) == (session.up(), session.ups))
        };
        let news = !sessions.iter().all(same);
        if slow || news || !self.seen.answers {
            self.seen.details = show::details(&self.bgp.ask("show bgp vrf all neighbors json").await?)?;
        }
        self.seen.details.retain(|peering, _| sessions.contains_key(peering));
        let mut told = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for (peering, session) in sessions.iter().filter(|(_, session)| session.up()) {
            for (&family, &sent) in session.sent.iter().filter(|(_, sent)| **sent > 0) {
                let key = (peering.clone(), family);
                let version = session.versions.get(&family).copied().unwrap_or_default();
                let mark = Mark { sent, version, ups: session.ups };
                if meant.prefixes.get(&key) == Some(&sent) {
                    told.insert(key.clone(), Told::All);
                } else {
                    let routes = self.routes(&key, mark, slow).await?;
                    told.insert(key.clone(), routes);
                }
                marks.insert(key, mark);
            }
        }
        self.asked.retain(|key, _| matches!(told.get(key), Some(Told::These(_))));
        (self.marks, self.seen.told, self.seen.sessions) = (marks, told, sessions);
        Ok(())
    }

    /// The routes that a peer was told, asked for once they have not changed between two looks, or at last when they
    /// change all the time; until then what was known of them.
    async fn routes(&mut self, key: &(Peering, Family), mark: Mark, at_last: bool) -> Result<Told> {
        let stands = self.marks.get(key) == Some(&mark);
        match self.seen.told.get(key) {
            Some(known @ Told::These(_)) if self.asked.get(key) == Some(&mark) || !(stands || at_last) => {
                return Ok(known.clone());
            }
            _ if stands || at_last => {}
            _ => return Ok(Told::Unknown),
        }
        let (peering, family) = key;
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let vrf = peering.vrf_name();
        let question = format!("show bgp vrf {vrf} {family} unicast neighbors {peering} advertised-routes");
        let routes = show::advertised(&self.bgp.ask(&question).await?);
        self.asked.insert(key.clone(), mark);
        Ok(Told::These(Arc::new(routes)))
    }

    async fn look_at_bfd(&mut self, slow: bool) -> Result<()> {
        // Most nodes have no BFD session, and need not be asked all the time whether that is still so.
        let any =
            !self.seen.bfd.is_empty() || self.seen.details.values().any(|details| details.bfd.is_some());
        if any || slow {
            self.seen.bfd = show::bfd(&self.bfd.ask("show bfd peers json").await?)?;
        }
        if slow {
            self.seen.packets = show::packets(&self.bfd.ask("show bfd peers counters json").await?)?;
        }
        Ok(())
    }
}

/// What bgpd and bfdd run, one after the other.
///
/// # Errors
/// When bgpd does not answer.
pub async fn running_config(dir: &Path) -> Result<String> {
    let mut all = String::new();
    all += &Line::new(dir, "bgpd.vty").ask("show running-config").await?;
    // a node without BFD may do without bfdd
    all += &Line::new(dir, "bfdd.vty").ask("show running-config").await.unwrap_or_default();
    Ok(all)
}

/// A connection to one daemon, made when it is needed.
#[derive(Default)]
struct Line {
    path: PathBuf,
    vty: Option<Vty>,
}

impl Line {
    fn new(dir: &Path, socket: &str) -> Self {
        Self { path: dir.join(socket), vty: None }
    }

    fn hang_up(&mut self) {
        self.vty = None;
    }

    /// The answer to one question. After an error the connection is of no use any more.
    async fn ask(&mut self, question: &str) -> Result<String> {
        let Self { path, vty } = self;
        let answer = async {
            let vty = match vty {
                Some(vty) => vty,
                none => none
                    .insert(Vty::open(path).await.with_context(|| format!("connect to {}", path.display()))?),
            };
            vty.ask(&[question]).await?.pop().context("no answer")
        };
        let answer =
            timeout(SILENCE, answer).await.with_context(|| format!("no answer to `{question}`"))??;
        // 1 is a warning, such as that there is no such neighbour any more: nothing, said in words.
        match answer.code {
            0 | 1 => Ok(answer.text),
            code => bail!("`{question}`: {code} {}", answer.text.trim()),
        }
    }
}
