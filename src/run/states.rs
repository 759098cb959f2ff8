//! What the speaker says about itself, from what it meant and what was seen of FRR: a task of its own, so that nothing
//! that is told holds up what is done.

use crate::{
    api::IPAddressPoolStatus,
    config::Problems,
    frr::show::{Peering, Summary},
    io::{
        clock, files,
        frr::{self, Meant, Seen, Told},
        k8s::states::{self as objects, Writer},
        metrics::{Announced, Metrics, PoolUse, Shown},
        settings::{Common, Source, Speaker},
        states::{Configuration, Layer2, NodeState, Services, SessionState, Sessions, States},
    },
    names::{PeerName, PoolName},
    net::{Family, prefix_of},
    plan::{Plan, Protocol, Routes},
};
use kube::Client;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

/// Between two rounds: what comes meanwhile is taken together.
const PACE: Duration = Duration::from_millis(100);

/// Between two looks at the exact state of sessions that are not established.
const EXACT_PACE: Duration = Duration::from_secs(60);

/// Between two statuses of pools.
const POOL_PACE: Duration = Duration::from_secs(1);

/// Between two looks at FRR's running configuration, which is long.
const CONFIG_PACE: Duration = Duration::from_secs(30);

/// The longest running configuration that is shown. The API server would take ten times as much; but each change of it
/// is written to every copy of etcd, from every node.
const CONFIG_MAX: usize = 128 * 1024;

/// What the loop of the speaker tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Meaning {
    /// What this node announces.
    pub(super) plan: Arc<Plan>,
    /// Where it answers on its links.
    pub(super) layer2: Arc<Layer2>,
    /// The addresses, by Service.
    pub(super) announced: Arc<[Announced]>,
    /// How often FRR has taken lines.
    pub(super) applied: u64,
    /// What is wrong with the objects; empty for nothing.
    pub(super) conversion: String,
    /// What FRR did not take; empty for nothing.
    pub(super) reload: String,
}

impl PartialEq for Meaning {
    /// Not route by route: a pass that changed nothing makes no new plan.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
            && Arc::ptr_eq(&self.announced, &other.announced)
            && Arc::ptr_eq(&self.layer2, &other.layer2)
            && self.applied == other.applied
            && (&self.conversion, &self.reload) == (&other.conversion, &other.reload)
    }
}

/// Everything that is said, where it goes in.
struct Saying {
    services: watch::Sender<Option<Arc<Services>>>,
    layer2: watch::Sender<Option<Arc<Layer2>>>,
    sessions: watch::Sender<Option<Arc<Sessions>>>,
    frr: watch::Sender<Option<Arc<NodeState>>>,
}

/// Starts it all among `tasks`; nothing is said before the first [`Meaning`].
pub(super) fn start(
    settings: &Speaker,
    client: Option<Client>,
    metrics: &Metrics,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> (watch::Sender<Option<Meaning>>, watch::Sender<Option<Configuration>>) {
    let (mean, meaning) = watch::channel(None);
    let (configured, configuration) = watch::channel(None);
    let ((services, a), (sessions, b), (frr, c)) =
        (watch::channel(None), watch::channel(None), watch::channel(None));
    let (layer2, d) = watch::channel(None);
    let states = States { services: a, sessions: b, frr: c, layer2: d };
    let saying = Saying { services, layer2, sessions, frr };
    let (expect, meant) = watch::channel(Arc::new(Meant::default()));
    let (show, seen) = watch::channel(Arc::new(Seen::default()));
    if let Some(dir) = settings.frr_vty_dir.clone() {
        tasks.spawn(async move {
            frr::look(dir, meant, show).await;
            Ok(())
        });
        metrics.frr(Box::new(shown(seen.clone(), meaning.clone())));
    }
    let node = settings.node.clone();
    match (&settings.common.source, client) {
        (Source::Manifests(dir), _) => {
            let dir = dir.clone();
            tasks.spawn(async move { files::write_states(&dir, node, states).await });
        }
        (Source::Api(_), Some(client)) => {
            let namespace = settings.common.namespace.clone();
            let pod = (settings.common.pod_name.clone(), settings.common.pod_uid.clone());
            tasks.spawn(async move { write(client, &namespace, node, pod, states, configuration).await });
        }
        (Source::Api(_), None) => {}
    }
    tasks.spawn(say(settings.frr_vty_dir.clone(), meaning, seen, expect, saying));
    (mean, configured)
}

/// The writers of a speaker's objects.
async fn write(
    client: Client,
    namespace: &str,
    node: crate::names::NodeName,
    pod: (Option<String>, Option<String>),
    states: States,
    configuration: watch::Receiver<Option<Configuration>>,
) -> anyhow::Result<()> {
    let writer = Writer::of(&client, namespace, node, (pod.0.as_deref(), pod.1.as_deref())).await;
    let mut writers = JoinSet::new();
    let (frr, forward) = single(states.frr);
    writers.spawn(forward);
    let (configured, forward) = single(configuration);
    writers.spawn(forward);
    writers.spawn(objects::run::<objects::ServiceBgp>(client.clone(), writer.clone(), states.services));
    writers.spawn(objects::run::<objects::ServiceL2>(client.clone(), writer.clone(), states.layer2));
    writers.spawn(objects::run::<objects::BgpSession>(client.clone(), writer.clone(), states.sessions));
    writers.spawn(objects::run::<objects::Frr>(client.clone(), writer.clone(), frr));
    writers.spawn(objects::run::<objects::Configured>(client, writer, configured));
    Err(super::ended(&mut writers).await)
}

/// What a controller says.
pub(super) struct Controlled {
    /// Whether the configuration is taken.
    pub(super) configured: watch::Sender<Option<Configuration>>,
    /// How much of each pool is in use.
    pub(super) pools: watch::Sender<Option<Arc<BTreeMap<PoolName, IPAddressPoolStatus>>>>,
}

/// The writers of what a controller says among `tasks`, where there is an API server.
pub(super) fn controlled(
    client: Option<Client>,
    common: &Common,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> Controlled {
    let (configured, configuration) = watch::channel(None);
    let (pools, in_use) = watch::channel(None);
    let (namespace, pod, uid) = (common.namespace.clone(), common.pod_name.clone(), common.pod_uid.clone());
    if let Some(client) = client {
        tasks.spawn(async move {
            let pod = (pod.as_deref(), uid.as_deref());
            let writer = Writer::of(&client, &namespace, "".into(), pod).await;
            let (configured, forward) = single(configuration);
            let (in_use, slowly) = paced(in_use);
            let mut writers = JoinSet::new();
            writers.spawn(forward);
            writers.spawn(slowly);
            writers.spawn(objects::run::<objects::PoolInUse>(client.clone(), writer.clone(), in_use));
            writers.spawn(objects::run::<objects::Configured>(client, writer, configured));
            Err(super::ended(&mut writers).await)
        });
    }
    Controlled { configured, pools }
}

/// How full a pool is, as its status has it.
pub(super) fn in_use(pool: &PoolUse) -> IPAddressPoolStatus {
    let PoolUse { capacity, in_use } = pool;
    IPAddressPoolStatus {
        assigned_ipv4: in_use.v4,
        assigned_ipv6: in_use.v6,
        available_ipv4: capacity.v4.saturating_sub(in_use.v4).max(0),
        available_ipv6: capacity.v6.saturating_sub(in_use.v6).max(0),
    }
}

/// The same, at most once a second: every status of a pool comes back to the controller as a change of the pool.
fn paced<T: Clone + Send + Sync + 'static>(
    mut from: watch::Receiver<Option<T>>,
) -> (watch::Receiver<Option<T>>, impl Future<Output = anyhow::Result<()>>) {
    let (to, all) = watch::channel(None);
    let forward = async move {
        loop {
            let new = from.borrow_and_update().clone();
            if new.is_some() {
                to.send_replace(new);
                sleep(POOL_PACE).await;
            }
            if from.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    (all, forward)
}

type One<T> = watch::Receiver<Option<Arc<BTreeMap<(), T>>>>;

/// A single thing as a map of one.
fn single<T: Clone + Send + Sync + 'static>(
    mut from: watch::Receiver<Option<T>>,
) -> (One<T>, impl Future<Output = anyhow::Result<()>>) {
    let (to, all) = watch::channel(None);
    let forward = async move {
        loop {
            let new = from.borrow_and_update().clone();
            if let Some(value) = new {
                to.send_replace(Some(Arc::new([((), value)].into())));
            }
            if from.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    (all, forward)
}

/// What metrics show of FRR.
fn shown(seen: watch::Receiver<Arc<Seen>>, meaning: watch::Receiver<Option<Meaning>>) -> impl Fn() -> Shown {
    move || {
        let plan = meaning.borrow().as_ref().map(|meaning| meaning.plan.clone()).unwrap_or_default();
        let port = |session: &crate::plan::Session| (peering(session), session.peer.port);
        Shown { seen: seen.borrow().clone(), ports: plan.bgp.values().map(port).collect() }
    }
}

/// Problems on one line.
pub(super) fn in_words(problems: &Problems) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn peering(session: &crate::plan::Session) -> Peering {
    Peering { vrf: session.peer.vrf.clone(), neighbor: session.peer.neighbor.clone() }
}

/// The loop: from what is meant and what is seen to what is said.
async fn say(
    vty_dir: Option<PathBuf>,
    mut meaning: watch::Receiver<Option<Meaning>>,
    mut seen: watch::Receiver<Arc<Seen>>,
    expect: watch::Sender<Arc<Meant>>,
    saying: Saying,
) -> anyhow::Result<()> {
    let mut last = Arc::new(Seen::default());
    let mut planned = Arc::<Plan>::default();
    let mut number = 0u64;
    // whether what is said of Services may not be so any more
    let mut doubtful = true;
    let mut config = Running { of: None, due: clock::after(Duration::ZERO), text: "".into() };
    let frr = vty_dir.is_some();
    let mut exact = clock::after(Duration::ZERO);
    loop {
        let now = seen.borrow_and_update().clone();
        let means = meaning.borrow_and_update().clone();
        for line in news(&last, &now) {
            line.log();
        }
        doubtful |= last.told != now.told;
        last = now;
        if let Some(means) = means {
            super::serve::send_if_new(&saying.layer2, Some(Arc::clone(&means.layer2)));
            if !Arc::ptr_eq(&planned, &means.plan) {
                planned = means.plan.clone();
                number = number.wrapping_add(1);
                doubtful = true;
                expect.send_replace(Arc::new(meant(number, &planned)));
            }
            if last.looked || !frr {
                // what was told of an older plan says nothing about this one
                if doubtful
                    && (last.plan == number || !frr)
                    && let Some(services) = credited(&means, &last.told)
                {
                    doubtful = false;
                    super::serve::send_if_new(&saying.services, Some(Arc::new(services)));
                }
                let now = clock::after(Duration::ZERO);
                let exactly = now >= exact;
                if exactly {
                    exact = now + EXACT_PACE;
                }
                let said = saying.sessions.borrow().clone();
                let sessions = sessions(&last, said.as_deref(), exactly);
                super::serve::send_if_new(&saying.sessions, Some(Arc::new(sessions)));
            }
            if let Some(dir) = &vty_dir {
                config.refresh(dir, means.applied).await;
                let state = config.state(&means);
                super::serve::send_if_new(&saying.frr, Some(Arc::new(state)));
            }
        }
        tokio::select! {
            changed = meaning.changed() => if changed.is_err() { std::future::pending::<()>().await },
            changed = seen.changed(), if frr => if changed.is_err() { std::future::pending::<()>().await },
        }
        sleep(PACE).await;
    }
}

/// How many prefixes are meant for each neighbour.
fn meant(number: u64, plan: &Plan) -> Meant {
    let mut all = Meant { plan: number, prefixes: BTreeMap::new() };
    for session in plan.bgp.values() {
        // in order, those of IPv4 first
        let routes = &session.routes;
        let v4 = routes.iter().take_while(|(prefix, _)| Family::of_net(*prefix) == Family::V4).count();
        for (family, count) in [(Family::V4, v4), (Family::V6, routes.iter().len() - v4)] {
            if count > 0 {
                let told = all.prefixes.entry((peering(session), family)).or_default();
                *told = told.saturating_add(count as u64);
            }
        }
    }
    all
}

/// The peers that were told of each Service; `None` while that cannot be said of one of them.
fn credited(means: &Meaning, told: &BTreeMap<(Peering, Family), Told>) -> Option<Services> {
    struct Peer<'a> {
        name: &'a PeerName,
        routes: &'a Routes,
        lengths: BTreeSet<(Family, u8)>,
        told: [Option<&'a Told>; 2],
    }
    let mut peers = Vec::new();
    for (name, session) in &means.plan.bgp {
        let peering = peering(session);
        let told = [Family::V4, Family::V6].map(|family| told.get(&(peering.clone(), family)));
        if told.iter().flatten().any(|told| matches!(told, Told::Unknown)) {
            return None;
        }
        let lengths = session.routes.iter().map(|(p, _)| (Family::of_net(*p), p.prefix_len())).collect();
        peers.push(Peer { name, routes: &session.routes, lengths, told });
    }
    let mut sets: BTreeSet<Arc<[PeerName]>> = BTreeSet::new();
    let mut all = Vec::with_capacity(means.announced.len());
    for of_service in means.announced.chunk_by(|a, b| a.service == b.service) {
        let ips = || of_service.iter().filter(|one| one.protocol == Protocol::Bgp).map(|one| one.ip);
        let was_told = |peer: &&Peer<'_>| {
            ips().any(|ip| {
                let family = Family::of(ip);
                let [v4, v6] = peer.told;
                let told = match family {
                    Family::V4 => v4,
                    Family::V6 => v6,
                };
                let has = |told: &Told, length: u8| {
                    let prefix = prefix_of(ip, length);
                    peer.routes.has(&prefix) && told.has(&prefix)
                };
                let mut lengths = peer.lengths.iter().filter(|(of, _)| *of == family);
                told.is_some_and(|told| lengths.any(|(_, length)| has(told, *length)))
            })
        };
        let names: Arc<[PeerName]> = peers.iter().filter(was_told).map(|peer| peer.name.clone()).collect();
        if let (false, Some(first)) = (names.is_empty(), of_service.first()) {
            // most Services have the same peers
            let names = sets.get(&names).cloned().unwrap_or(names);
            sets.insert(names.clone());
            all.push((first.service.clone(), names));
        }
    }
    // at once, which packs the map's nodes
    Some(all.into_iter().collect())
}

/// How the sessions are. One that cannot come up goes to and fro between Connect and Active all the time: unless
/// `exactly`, it stays what it was said to be.
fn sessions(seen: &Seen, said: Option<&Sessions>, exactly: bool) -> Sessions {
    let state = |(peering, session): (&Peering, &Summary)| {
        let of_bgp = seen.details.get(peering).and_then(|details| details.bfd.clone());
        // bgpd hears of BFD later than bfdd, and keeps its last word
        let of_bfd = seen.bfd.get(peering).and_then(|bfd| match bfd.state.as_str() {
            "up" => Some("Up".to_owned()),
            "down" => Some("Down".to_owned()),
            _ => None,
        });
        let bfd = of_bgp.map(|word| of_bfd.unwrap_or(word)).unwrap_or_else(|| "N/A".to_owned());
        let said = said.filter(|_| !exactly && !session.up()).and_then(|said| said.get(peering));
        let bgp = said.map(|said| &said.bgp).filter(|bgp| *bgp != Summary::ESTABLISHED);
        (peering.clone(), SessionState { bgp: bgp.unwrap_or(&session.state).clone(), bfd })
    };
    seen.sessions.iter().map(state).collect()
}

/// Something that happened to a session.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Up(Peering),
    Down(Peering, String),
    Gone(Peering),
    BfdUp(Peering),
    BfdDown(Peering, String),
}

impl News {
    fn log(&self) {
        match self {
            Self::Up(peer) => {
                tracing::info!(%peer, vrf = peer.vrf_name(), "BGP session established");
            }
            Self::Down(peer, why) => {
                tracing::warn!(%peer, vrf = peer.vrf_name(), why, "BGP session down");
            }
            Self::Gone(peer) => {
                tracing::info!(%peer, vrf = peer.vrf_name(), "BGP session ended: no peer any more");
            }
            Self::BfdUp(peer) => tracing::info!(%peer, vrf = peer.vrf_name(), "BFD session up"),
            Self::BfdDown(peer, why) => {
                tracing::warn!(%peer, vrf = peer.vrf_name(), why, "BFD session down");
            }
        }
    }
}

/// What happened between two looks; also what was too short to be seen.
fn news(before: &Seen, now: &Seen) -> Vec<News> {
    let mut all = Vec::new();
    let why = |peering: &Peering| match now.answers {
        true => now.details.get(peering).map(|details| details.reason.clone()).unwrap_or_default(),
        false => "FRR does not answer".to_owned(),
    };
    for (peering, session) in &now.sessions {
        let was = before.sessions.get(peering);
        let was_up = was.is_some_and(Summary::up);
        let again = was.is_some_and(|was| was.ups != session.ups);
        if was_up && (!session.up() || again) {
            all.push(News::Down(peering.clone(), why(peering)));
        }
        if session.up() && (!was_up || again) {
            all.push(News::Up(peering.clone()));
        }
    }
    let ended =
        before.sessions.iter().filter(|(peering, was)| was.up() && !now.sessions.contains_key(peering));
    all.extend(ended.map(|(peering, _)| News::Gone(peering.clone())));
    for (peering, bfd) in &now.bfd {
        let was_up = before.bfd.get(peering).is_some_and(|was| was.state == "up");
        match (was_up, bfd.state == "up") {
            (false, true) => all.push(News::BfdUp(peering.clone())),
            (true, false) => all.push(News::BfdDown(peering.clone(), bfd.diagnostic.clone())),
            _ => {}
        }
    }
    all
}

/// FRR's running configuration, as it was a while ago.
struct Running {
    /// The [`Meaning::applied`] that it is of.
    of: Option<u64>,
    due: Instant,
    text: Arc<str>,
}

impl Running {
    async fn refresh(&mut self, dir: &Path, applied: u64) {
        let now = clock::after(Duration::ZERO);
        if self.of == Some(applied) || now < self.due {
            return;
        }
        self.due = now + CONFIG_PACE;
        match frr::running_config(dir).await {
            Ok(text) => (self.of, self.text) = (Some(applied), masked(&text).into()),
            Err(fault) => tracing::debug!(fault = format!("{fault:#}"), "FRR does not say what it runs"),
        }
    }

    fn state(&self, means: &Meaning) -> NodeState {
        let result = |wrong: &str| match wrong.is_empty() {
            true => "success".to_owned(),
            false => format!("failed: {wrong}"),
        };
        NodeState {
            running: self.text.clone(),
            conversion: result(&means.conversion),
            reload: result(&means.reload),
        }
    }
}

/// Without what follows `password`, and not too long for an API server.
fn masked(text: &str) -> String {
    let mut all = String::with_capacity(text.len().min(CONFIG_MAX));
    for line in text.lines() {
        if all.len() + line.len() > CONFIG_MAX {
            all.push_str("! and more\n");
            break;
        }
        match line.find("password ") {
            Some(at) => {
                all.push_str(line.get(..at).unwrap_or_default());
                all.push_str("password <retracted>");
            }
            None => all.push_str(line),
        }
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests;
