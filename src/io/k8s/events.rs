//! The recorder of events: core/v1 Events on Services, as `kubectl describe` shows them.
//!
//! The same event on the same object is counted, not repeated. One request at a time and a fixed rate, in a task of its
//! own: events never hold up a status. What cannot be written is dropped; an event is a courtesy, not state.

use super::brief;
use crate::io::write::{Event, Level};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc::Receiver,
    time::{MissedTickBehavior, interval, timeout},
};

/// Time between two requests.
const PACE: Duration = Duration::from_millis(50);

/// The most that one request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Events that are remembered, for counting.
const MEMORY: usize = 1024;

/// Writes events as those of `component`, until no more can come.
pub async fn run(client: Client, component: &'static str, host: Option<String>, mut from: Receiver<Event>) {
    let mut ledger = Ledger { component, host: host.unwrap_or_default(), ..Ledger::default() };
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = false;
    while let Some(event) = from.recv().await {
        pace.tick().await;
        #[expect(clippy::disallowed_methods, reason = "events carry the time")]
        let now = Timestamp::now();
        let api = Api::<core::Event>::namespaced(client.clone(), event.key.namespace.as_str());
        match timeout(DEADLINE, write(&api, &mut ledger, &event, now)).await {
            Ok(Ok(())) => refused = false,
            Ok(Err(error)) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!(service = %event.key, error = brief(&error), "cannot write events: our ServiceAccount needs create and patch on events");
                }
            }
            Err(_) => tracing::debug!(service = %event.key, "no answer to an event"),
        }
    }
}

async fn write(
    api: &Api<core::Event>,
    ledger: &mut Ledger,
    event: &Event,
    now: Timestamp,
) -> kube::Result<()> {
    if let Some((name, patch)) = ledger.again(event, now) {
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            // The API server forgets events after an hour: it is a first one again.
            Err(kube::Error::Api(status)) if status.is_not_found() => ledger.forget(event),
            result => return result.map(drop),
        }
    }
    let Ok(first) = serde_json::from_value(ledger.first(event, now)) else { return Ok(()) };
    api.create(&PostParams::default(), &first).await.map(drop)
}

type Identity = (Arc<str>, Level, &'static str, String);

/// The events that were written: their names and counts.
#[derive(Default)]
struct Ledger {
    component: &'static str,
    host: String,
    known: BTreeMap<Identity, (String, u32)>,
    order: VecDeque<Identity>,
}

impl Ledger {
    /// The patch that counts `event` once more, and the name of the one that it repeats.
    fn again(&mut self, event: &Event, now: Timestamp) -> Option<(String, Value)> {
        let (name, count) = self.known.get_mut(&identity(event))?;
        *count = count.saturating_add(1);
        Some((name.clone(), json!({"count": *count, "lastTimestamp": seconds(now)})))
    }

    /// The body of a new event; from now on, others like it are counted.
    fn first(&mut self, event: &Event, now: Timestamp) -> Value {
        let name = format!("{}.{:x}", event.key.name, now.as_nanosecond());
        let identity = identity(event);
        if self.known.insert(identity.clone(), (name.clone(), 1)).is_none() {
            self.order.push_back(identity);
        }
        if self.order.len() > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let namespace = event.key.namespace.as_str();
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": namespace,
                "name": &*event.key.name, "uid": &*event.uid},
            "type": event.level.as_str(), "reason": event.reason, "message": event.message,
            "source": {"component": self.component, "host": self.host},
            "reportingComponent": self.component, "reportingInstance": self.host,
            "count": 1, "firstTimestamp": seconds(now), "lastTimestamp": seconds(now),
        })
    }

    fn forget(&mut self, event: &Event) {
        let identity = identity(event);
        self.known.remove(&identity);
        self.order.retain(|other| *other != identity);
    }
}

fn identity(event: &Event) -> Identity {
    (event.uid.clone(), event.level, event.reason, event.message.clone())
}

/// metav1.Time has whole seconds.
fn seconds(now: Timestamp) -> String {
    format!("{now:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ServiceKey;

    fn event(message: &str) -> Event {
        Event {
            key: ServiceKey::new("n", "a"),
            uid: "u".into(),
            level: Level::Normal,
            reason: "IPAllocated",
            message: message.into(),
        }
    }

    fn ledger() -> Ledger {
        Ledger { component: "metallb-controller", ..Ledger::default() }
    }

    #[test]
    fn the_same_event_is_counted() {
        let (mut ledger, now) = (ledger(), Timestamp::from_second(1_700_000_000).unwrap());
        assert_eq!(ledger.again(&event("x"), now), None);
        let first: core::Event = serde_json::from_value(ledger.first(&event("x"), now)).unwrap();
        assert_eq!(first.involved_object.name.as_deref(), Some("a"));
        assert_eq!(first.source.unwrap().component.as_deref(), Some("metallb-controller"));
        let (name, patch) = ledger.again(&event("x"), now).unwrap();
        assert_eq!(Some(name), first.metadata.name);
        assert_eq!(patch, json!({"count": 2, "lastTimestamp": "2023-11-14T22:13:20Z"}));
        assert_eq!(ledger.again(&event("y"), now), None, "another message");
        ledger.forget(&event("x"));
        assert_eq!(ledger.again(&event("x"), now), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut ledger, now) = (ledger(), Timestamp::from_second(1_700_000_000).unwrap());
        for i in 0..=MEMORY {
            ledger.first(&event(&i.to_string()), now);
        }
        assert_eq!((ledger.known.len(), ledger.order.len()), (MEMORY, MEMORY));
        assert_eq!(ledger.again(&event("0"), now), None, "the oldest went");
    }
}
