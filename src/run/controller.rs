//! The controller: every Service of type LoadBalancer gets an address, or a reason why not.

use super::{
    Stop,
    allocator::{Allocator, Answered, Effects},
    report::Told,
    serve::{self, send_if_new},
    source::{self, Attached},
    states::{self, Controlled},
};
use crate::{
    io::{
        clock,
        k8s::secret::Place,
        metrics::{Metrics, Of},
        observe::{Change, Observed, Role},
        settings::{self, GossipKey},
        states::Configuration,
        write::{Refused, Wrote},
    },
    world::Class,
};
use anyhow::Context;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// The shortest and the longest pause before failed writes are tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The longest where nobody refused: an API server that was away is found again within seconds, and costs nothing
/// while it is.
const AWAY: Duration = Duration::from_secs(5);

/// Everything that can happen to the controller.
enum Event {
    Changed(Change),
    Wrote(Wrote),
    RetryDue,
    Ended(anyhow::Error),
    Stopped,
}

/// Runs until told to stop.
///
/// # Errors
/// When a root task ended: nothing goes on half.
pub async fn run(settings: settings::Controller) -> anyhow::Result<()> {
    let common = &settings.common;
    super::say_ineffective(&common.ineffective);
    let mut stop = Stop::new()?;
    let mut tasks = JoinSet::new();
    let metrics = Metrics::new(Of::Controller);
    let Attached { mut changes, writer, events, client } =
        source::attach(common, Role::Controller, None, metrics.events_dropped.clone(), &mut tasks).await?;
    let (statuses, mut wrote) = writer.context("the source takes no statuses")?;
    let missing = serve::start(common, Role::Controller, client.clone(), &metrics, &mut tasks).await?;
    if let (Some(client), Some(GossipKey { secret, deployment })) =
        (client.clone(), settings.gossip_key.clone())
    {
        let place = Place { client, namespace: common.namespace.clone(), name: secret };
        tasks.spawn(place.keep(deployment));
    }
    let Controlled { configured, pools } = states::controlled(client, common, &mut tasks);
    let class = Class::new(common.lb_class.as_deref().unwrap_or_default());
    let observed = Observed::new(Role::Controller);
    let mut allocator = Allocator::new(class, observed);
    let mut told = Told::new(&common.source, "controller".to_owned());
    let mut pause = RETRY.0;
    let mut retry: Option<Instant> = None;
    loop {
        let event = tokio::select! {
            Some(change) = changes.recv() => Event::Changed(change),
            Some(wrote) = wrote.recv() => Event::Wrote(wrote),
            () = clock::until(retry) => Event::RetryDue,
            fault = super::ended(&mut tasks) => Event::Ended(fault),
            () = stop.asked() => Event::Stopped,
        };
        metrics.updates.inc();
        match event {
            Event::Changed(change) => allocator.observe(change),
            Event::Wrote(answer) => {
                let away = matches!(answer.result, Err(Refused::Failed(_)));
                let failed = away || matches!(answer.result, Err(Refused::Forbidden(_)));
                metrics.update_errors.inc_by(u64::from(failed));
                let Answered { again, events: news } = allocator.wrote(answer);
                news.into_iter().for_each(|event| events.publish(event));
                if again {
                    let longest = if away { AWAY } else { RETRY.1 };
                    retry = retry.or_else(|| Some(clock::after(pause.min(longest))));
                } else {
                    pause = RETRY.0;
                }
            }
            Event::RetryDue => {
                (retry, pause) = (None, (pause * 2).min(RETRY.1));
                allocator.retry();
            }
            Event::Ended(fault) => return Err(fault),
            Event::Stopped => return Ok(()),
        }
        // What has arrived in the meantime is taken together.
        while let Ok(change) = changes.try_recv() {
            allocator.observe(change);
        }
        send_if_new(&missing, serve::waiting_for(&allocator.observed));
        let start = clock::after(Duration::ZERO);
        let Some(Effects { statuses: wanted, events: news }) = allocator.decide() else {
            told.again(&allocator.problems);
            continue;
        };
        tracing::debug!(statuses = wanted.len(), us = start.elapsed().as_micros(), "decided");
        for status in wanted {
            let key = status.key.clone();
            if statuses.try_send(status).is_err() {
                allocator.unsent(&key);
            }
        }
        news.into_iter().for_each(|event| events.publish(event));
        told.tell_with(&allocator.problems, || allocator.complaints());
        metrics.config(&allocator.problems);
        send_if_new(&configured, Some(Configuration::of(&allocator.problems)));
        let used = allocator.pools();
        let status = used.iter().map(|(name, pool)| (name.clone(), states::in_use(pool))).collect();
        send_if_new(&pools, Some(Arc::new(status)));
        metrics.pools(used);
    }
}
