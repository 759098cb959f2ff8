//! Who is alive, by Leases (`--members=lease`): for networks that let no gossip through.
//!
//! Each speaker renews its own Lease in our namespace, with what it says of itself as an annotation, and watches those
//! of the others; `roll` judges them. This costs the API server a write per node and second and takes seconds where the
//! gossip takes a fraction of one, and a node that is cut off from the API server alone is taken for dead while it
//! answers on: the claim of its successor on the wire is what silences it, as it knows that it did not renew.

use super::{
    Counts,
    fact::Fact,
    gossip::View,
    pace::Pace,
    roll::{Roll, Sign},
};
use crate::{
    io::clock::{now, until},
    names::NodeName,
};
use anyhow::Context;
use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::coordination::v1::Lease};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::sync::watch;

/// What our Leases are known by.
const LABEL: &str = "ferrolb.io/speaker";

/// Where a speaker says what it is.
const FACT: &str = "ferrolb.io/fact";

/// Who writes.
const WRITER: &str = "ferrolb-speaker";

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// How to take part.
pub struct Setup {
    /// The API.
    pub client: Client,
    /// Where the Leases are.
    pub namespace: String,
    /// This node.
    pub node: NodeName,
    /// The name and the uid of our Pod, with which the Lease goes.
    pub pod: Option<(String, String)>,
    /// How fast it goes.
    pub pace: Pace,
    /// Numbers for `/metrics`.
    pub counts: Counts,
}

/// Takes part: who is there, and the task behind it, which ends only with a fault, or when nobody says anything any more.
/// On ending it takes the Lease back.
pub fn join(
    setup: Setup,
    say: watch::Receiver<Fact>,
) -> (watch::Receiver<Arc<View>>, impl Future<Output = anyhow::Result<()>> + Send + 'static) {
    let (tell, view) = watch::channel(Arc::default());
    let leases: Api<Lease> = Api::namespaced(setup.client.clone(), &setup.namespace);
    let task = async move {
        let (every, term) = setup.pace.lease();
        tracing::info!(?every, ?term, "taking part among the speakers by Leases");
        let renewing = renew(&setup, leases.clone(), say.clone());
        tokio::select! {
            ended = renewing => ended,
            ended = follow(&setup, leases, say.clone(), tell) => ended,
        }
    };
    (view, task)
}

/// Renews our Lease, at once whenever there is something to say.
async fn renew(setup: &Setup, leases: Api<Lease>, mut say: watch::Receiver<Fact>) -> anyhow::Result<()> {
    let (every, term) = setup.pace.lease();
    let mut failing = false;
    loop {
        let due = tokio::time::sleep(every);
        let fact = say.borrow_and_update().clone();
        let written = tokio::time::timeout(every * 2, setup.write(&leases, Some(&fact), term)).await;
        let fault = match written {
            Ok(Ok(_)) => None,
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Some(format!(
                "our ServiceAccount needs create, patch, list and watch on leases here: {}",
                status.message
            )),
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(_) => Some("no answer".to_owned()),
        };
        match &fault {
            Some(fault) if !failing => tracing::warn!(fault, "cannot renew our Lease; trying again"),
            None if failing => tracing::info!("our Lease is renewed again"),
            _ => {}
        }
        failing = fault.is_some();
        if failing {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        tokio::select! {
            () = due => {}
            changed = say.changed() => if changed.is_err() {
                let _ = setup.write(&leases, None, term).await;
                return Ok(());
            },
        }
    }
}

/// Follows everybody's.
async fn follow(
    setup: &Setup,
    leases: Api<Lease>,
    mut say: watch::Receiver<Fact>,
    tell: watch::Sender<Arc<View>>,
) -> anyhow::Result<()> {
    let (every, term) = setup.pace.lease();
    let mut roll = Roll::new(setup.node.clone(), term, every * 2);
    let mut events = pin!(watcher(leases, watcher::Config::default().labels(LABEL)));
    let mut failing = false;
    loop {
        roll.say(&say.borrow_and_update().clone());
        publish(&roll, &setup.counts, &tell);
        let lapse = roll.next();
        let event = tokio::select! {
            () = until(lapse) => {
                roll.pass(now());
                tracing::warn!("our Lease was not renewed of late: what others announce is left to them");
                continue;
            }
            // who says nothing any more ends with `renew`, which takes the Lease back
            Ok(()) = say.changed() => continue,
            event = events.next() => event.context("the watch of the speakers' Leases ended")?,
        };
        match event {
            Ok(Event::Init) => roll.list(),
            Ok(Event::InitDone) => {
                failing = false;
                roll.listed();
            }
            Ok(Event::InitApply(lease) | Event::Apply(lease)) => match sign(&lease) {
                Some(sign) => roll.saw(now(), sign),
                None => of(&lease).iter().for_each(|node| roll.gone(node)),
            },
            Ok(Event::Delete(lease)) => of(&lease).iter().for_each(|node| roll.gone(node)),
            Err(fault) => {
                let fault = fault.to_string();
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(fault, "cannot follow the speakers' Leases; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn publish(roll: &Roll, counts: &Counts, tell: &watch::Sender<Arc<View>>) {
    counts.others.set(i64::try_from(roll.others()).unwrap_or(i64::MAX));
    super::publish(tell, roll.view());
}

impl Setup {
    /// Writes our Lease: with what we say, or that it is nobody's any more.
    async fn write(&self, leases: &Api<Lease>, fact: Option<&Fact>, term: Duration) -> kube::Result<Lease> {
        let name = format!("speaker-{}", self.node);
        #[expect(clippy::disallowed_methods, reason = "a Lease carries the time")]
        let now = Timestamp::now();
        let said = fact.map(|fact| ByteString(fact.encode()));
        let owner = self
            .pod
            .as_ref()
            .map(|(name, uid)| json!([{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]));
        let body: Value = json!({
            "apiVersion": Lease::api_version(&()), "kind": Lease::kind(&()),
            "metadata": {
                "name": name, "labels": {LABEL: ""}, "annotations": {FACT: said}, "ownerReferences": owner,
            },
            "spec": {
                "holderIdentity": fact.map(|_| self.node.as_str()),
                "leaseDurationSeconds": term.as_secs(),
                "renewTime": format!("{now:.6}"),
            },
        });
        leases.patch(&name, &PatchParams::apply(WRITER).force(), &Patch::Apply(body)).await
    }
}

/// Whose Lease it is or was, by its name.
fn of(lease: &Lease) -> Option<NodeName> {
    lease.metadata.name.as_deref()?.strip_prefix("speaker-").map(Into::into)
}

/// What a Lease says; `None` where nobody holds it.
fn sign(lease: &Lease) -> Option<Sign> {
    let (node, spec) = (of(lease)?, lease.spec.as_ref()?);
    spec.holder_identity.as_deref().filter(|holder| *holder == node.as_str())?;
    let renewal = serde_json::to_string(&spec.renew_time).ok()?;
    let said = lease.metadata.annotations.as_ref().and_then(|all| all.get(FACT));
    let said = said.and_then(|text| serde_json::from_value::<ByteString>(text.as_str().into()).ok());
    Some(Sign { node, renewal, fact: said.and_then(|ByteString(bytes)| Fact::decode(&bytes)) })
}
