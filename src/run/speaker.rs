//! The speaker: what this node announces, over BGP through FRR and on its links by ARP and NDP.

use super::{
    Stop,
    announcer::{Announcer, Desired},
    departure::Departure,
    gossip::{self, Gossip},
    handover::Handover,
    report::{self, Told},
    serve::{self, send_if_new},
    source::{self, Attached},
    states::{self, Meaning},
};
use crate::{
    api::FRRConfiguration,
    frr::{Elsewhere, Model},
    io::{
        clock,
        excluded::Excluded,
        frr::{self, Report},
        k8s,
        l2::{self, Claims, Counters, Duty, Sockets},
        link,
        metrics::{Announced, Layer2Counts, Layer2Totals, Metrics, Of},
        observe::{Change, Observed, Role},
        settings,
        states::Configuration,
    },
    names::ServiceKey,
    net::Links,
    plan::{Leave, Protocol, Viewpoint},
    world::Class,
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Reports of FRR's driver under way.
const REPORTS: usize = 256;

/// How long the gossip has to say goodbye.
const GOODBYE: Duration = Duration::from_millis(100);

/// Everything that can happen to the speaker.
enum Event {
    Changed(Change),
    Frr(Report),
    Links,
    Members,
    Claims,
    /// A drain has come to its next step.
    Drained,
    /// What was handed over has waited for long enough.
    HandedOver,
    Ended(anyhow::Error),
    Stopped,
}

/// Runs until told to stop. Nothing is withdrawn then: FRR outlives us.
///
/// # Errors
/// When a root task ended: nothing goes on half.
pub async fn run(settings: settings::Speaker, sockets: anyhow::Result<Sockets>) -> anyhow::Result<()> {
    let common = &settings.common;
    super::say_ineffective(&common.ineffective);
    let mut stop = Stop::new()?;
    let mut tasks = JoinSet::new();
    let metrics = Metrics::new(Of::Speaker(settings.node.clone()));
    let dropped = metrics.events_dropped.clone();
    let Attached { mut changes, events, client, .. } =
        source::attach(common, Role::Speaker, Some(&settings.node), dropped, &mut tasks).await?;
    let write_object = start_frr_k8s(&settings, client.as_ref(), &mut tasks);
    let missing = serve::start(common, Role::Speaker, client.clone(), &metrics, &mut tasks).await?;
    let client_of_gossip = client.clone();
    let (mean, configured) = states::start(&settings, client, &metrics, &mut tasks);
    let mut means = Meaning::default();
    let counters = Arc::new(Counters::default());
    metrics.layer2(Box::new(read(counters.clone())));
    let excluded = Excluded::read(&settings.excludel2)?;
    let Layer2 { on_duty, mut links, mut claims } =
        start_l2(sockets, excluded, counters.clone(), &mut tasks).await?;
    let (run_frr, mut reports) = start_frr(&settings, &mut tasks);
    let me = Viewpoint {
        node: settings.node.clone(),
        class: Class::new(common.lb_class.as_deref().unwrap_or_default()),
        frr: settings.frr_vty_dir.is_some() || settings.frr_k8s.is_some(),
        ignore_exclude_label: settings.ignore_exclude_lb,
        drain_on_cordon: settings.drain_on_cordon,
        leave: Leave::Staying,
    };
    let (log, block) = (settings.frr_log, settings.always_block.clone());
    let mut announcer = Announcer::new(me, log, block, Observed::new(Role::Speaker));
    if let Some(frr_k8s) = &settings.frr_k8s {
        // A Secret can be named where it is: in our namespace too only if that is frr-k8s' own.
        let by_reference = frr_k8s.passthrough || frr_k8s.namespace == common.namespace;
        let elsewhere = Elsewhere { secrets: common.namespace.clone(), by_reference };
        announcer = announcer.with_frr_k8s(elsewhere, frr_k8s.passthrough);
    }
    announcer.links(&links.borrow_and_update());
    let Gossip { say, mut view } = gossip::start(&settings, client_of_gossip, &metrics, &mut tasks).await?;
    if let Some(view) = &mut view {
        announcer.members(Arc::clone(&view.borrow_and_update()));
    }
    let mut departure = Departure::new(settings.drain_time);
    let mut handover = Handover::default();
    let mut leaving = false;
    // Daemons of FRR that cannot be reached, and why.
    let mut away = BTreeMap::new();
    let mut told = Told::new(&common.source, format!("speaker-{}", settings.node));
    loop {
        let event = tokio::select! {
            Some(change) = changes.recv() => Event::Changed(change),
            Some(report) = reports.recv() => Event::Frr(report),
            Ok(()) = links.changed() => Event::Links,
            Some(()) = gossip::changed(&mut view) => Event::Members,
            Ok(()) = claims.changed() => Event::Claims,
            () = departure.due() => Event::Drained,
            () = handover.due() => Event::HandedOver,
            fault = super::ended(&mut tasks) => Event::Ended(fault),
            () = stop.asked() => Event::Stopped,
        };
        metrics.updates.inc();
        match event {
            Event::Changed(change) => announcer.observe(change),
            Event::Frr(report) => {
                report::tell_frr(&report);
                match &report {
                    Report::Refused { line, answer, subject } => {
                        metrics.frr_lines_refused.inc();
                        announcer.refused(subject, report::mask(line), report::mask(answer));
                    }
                    Report::Applied { lines, .. } => {
                        metrics.frr_lines_applied.inc_by(lines.len() as u64);
                        means.applied = means.applied.saturating_add(1);
                        announcer.applied();
                    }
                    Report::Connected { daemon, .. } => {
                        away.remove(daemon);
                        metrics.frr_up(*daemon, true);
                    }
                    Report::Unreachable { daemon, error, .. } => {
                        away.insert(*daemon, format!("{error:#}"));
                        metrics.frr_up(*daemon, false);
                    }
                    Report::Drift { .. } => {
                        metrics.frr_drift.inc();
                    }
                    Report::Remarked { .. } | Report::Unwritten { .. } | Report::Unrepaired { .. } => {
                        metrics.update_errors.inc();
                    }
                    Report::Woken { .. } => {}
                }
            }
            Event::Links => announcer.links(&links.borrow_and_update()),
            Event::Members => {
                if let Some(view) = &mut view {
                    announcer.members(Arc::clone(&view.borrow_and_update()));
                }
            }
            Event::Claims => {
                let claimed = claims.borrow_and_update().clone();
                handover.heard(&claimed);
                send_if_new(&on_duty, handover.desired());
                announcer.claimed(claimed).into_iter().for_each(|event| events.publish(event));
                means.announced = metrics.announced(announcer.announced().map(announced).collect());
                means.layer2 = Arc::new(announcer.layer2());
            }
            Event::Drained => {}
            Event::HandedOver => {
                handover.pass(clock::after(Duration::ZERO));
                send_if_new(&on_duty, handover.desired());
            }
            Event::Ended(fault) => return Err(fault),
            // whoever insists need not wait
            Event::Stopped if leaving || !announcer.go() => return Ok(()),
            Event::Stopped => {
                tracing::info!("told to stop: leaving what is answered for here to other nodes");
                leaving = true;
            }
        }
        // What has arrived in the meantime is taken together.
        while let Ok(change) = changes.try_recv() {
            announcer.observe(change);
        }
        if announcer.observed.synced() {
            let leave = departure.follow(announcer.drains());
            announcer.leave(leave);
        }
        let start = clock::after(Duration::ZERO);
        if let Some(Desired { l2, rivals, frr, object }) = announcer.decide() {
            tracing::debug!(us = start.elapsed().as_micros(), "decided");
            handover.follow(start, l2, rivals, |lost| announcer.moved(lost));
            send_if_new(&on_duty, handover.desired());
            send_if_new(&run_frr, frr);
            send_if_new(&write_object, object);
            // Only now, so that nothing that is told delays what is done.
            tokio::task::yield_now().await;
            announcer.news().into_iter().for_each(|event| events.publish(event));
            means.announced = metrics.announced(announcer.announced().map(announced).collect());
            means.layer2 = Arc::new(announcer.layer2());
            means.plan = announcer.plan();
        }
        // Only after what was decided is on its way: who says that he is ready answers.
        send_if_new(&say, announcer.fact());
        if leaving && handover.is_done() {
            drop(say);
            // the gossip's task says goodbye and ends; no other one does
            let _ = tokio::time::timeout(GOODBYE, tasks.join_next()).await;
            return Ok(());
        }
        let mut waiting = serve::waiting_for(&announcer.observed);
        waiting.extend(view.as_ref().and_then(|view| serve::waiting_for_members(&view.borrow())));
        if let Some(model) = run_frr.borrow().as_deref() {
            waiting.extend(serve::waiting_for_frr(&away, model));
        }
        send_if_new(&missing, waiting);
        if announcer.observed.synced() {
            let problems = announcer.problems();
            told.tell(&problems);
            metrics.config(&problems);
            send_if_new(&configured, Some(Configuration::of(&problems)));
            let (refused, other) = announcer.refusals();
            means.reload = states::in_words(refused);
            means.conversion = states::in_words(&other);
            if announcer.decided() {
                send_if_new(&mean, Some(means.clone()));
            }
        }
    }
}

fn announced((service, protocol, ip): (&ServiceKey, Protocol, IpAddr)) -> Announced {
    Announced { service: service.clone(), protocol, ip }
}

/// The counters of layer 2 as metrics show them.
fn read(counters: Arc<Counters>) -> impl Fn() -> Layer2Totals {
    move || {
        let totals = counters.totals();
        let counts = |(ip, counts): (IpAddr, l2::Counts)| {
            let (requests, responses) = (counts.requests_received, counts.responses_sent);
            (ip, Layer2Counts { requests, responses, gratuitous: counts.gratuitous_sent })
        };
        Layer2Totals {
            by_ip: totals.by_ip.into_iter().map(counts).collect(),
            claims_of_nodes: totals.claims_of_nodes,
            claims_of_strangers: totals.claims_of_strangers,
        }
    }
}

/// Layer 2, from the loop's side.
struct Layer2 {
    on_duty: watch::Sender<Duty>,
    links: watch::Receiver<Links>,
    claims: watch::Receiver<Claims>,
}

/// Layer 2 among `tasks`. Without sockets it has no interface, and the node can still speak BGP.
async fn start_l2(
    sockets: anyhow::Result<Sockets>,
    excluded: Excluded,
    counters: Arc<Counters>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Layer2> {
    let (on_duty, duty) = watch::channel(Duty::default());
    let (claim, claims) = watch::channel(Claims::default());
    let links = match sockets {
        Ok(sockets) => {
            let (links, follow) = link::observe_but(excluded).await?;
            tasks.spawn(follow);
            tasks.spawn(l2::drive_apart(sockets, duty, links.clone(), counters, claim));
            links
        }
        Err(fault) => {
            tracing::error!(fault = format!("{fault:#}"), "no ARP or NDP from this node, BGP only");
            watch::channel(Links::new()).1
        }
    };
    Ok(Layer2 { on_duty, links, claims })
}

/// The driver of FRR among `tasks`, where there is an FRR.
fn start_frr(
    settings: &settings::Speaker,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> (watch::Sender<Option<Arc<Model>>>, mpsc::Receiver<Report>) {
    let (run_frr, desired) = watch::channel(None);
    let (report, reports) = mpsc::channel(REPORTS);
    if let Some(vty_dir) = settings.frr_vty_dir.clone() {
        let paths = frr::Paths { vty_dir, conf: settings.frr_conf.clone() };
        tasks.spawn(async move {
            frr::drive(paths, desired, report).await;
            Ok(())
        });
    }
    (run_frr, reports)
}

/// The writer of our FRRConfiguration among `tasks`, where frr-k8s drives FRR.
fn start_frr_k8s(
    settings: &settings::Speaker,
    client: Option<&kube::Client>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> watch::Sender<Option<Arc<FRRConfiguration>>> {
    let (write_object, wanted) = watch::channel(None);
    if let (Some(frr_k8s), Some(client)) = (settings.frr_k8s.clone(), client.cloned()) {
        let name = format!("metallb-{}", settings.node);
        tasks.spawn(async move { k8s::frrk8s::run(client, &frr_k8s.namespace, &name, wanted).await });
    }
    write_object
}
