//! The one cluster of these tests, and what they ask of it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use ferrolb_e2e::{
    cluster::{Cluster, Extent, Kubectl, Pod},
    fabric::Fabric,
    frr::{Frr, Listens},
    process::Running,
    tor::FrrTor,
    wait,
};
use serde_json::Value;

/// Long enough for anything that the product does at once, on a machine that does much else.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// Held by a test that lets n2 go or gives it a second speaker, which takes what n2's own says for its own, and by those
/// to whom it matters what n2 answers and says.
static N2: Mutex<()> = Mutex::new(());

pub(crate) fn n2() -> MutexGuard<'static, ()> {
    N2.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cluster with the product in it. It is never dropped, since statics are not: the warden ends it with the process.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) controller: Mutex<Option<Running>>,
    speakers: Vec<(String, Frr, Running)>,
    _pods: Vec<Pod>,
    pub(crate) tor: FrrTor,
}

/// The pools, the peers and the advertisements that all tests use; the pools give nothing to those that do not ask.
const CONFIGURATION: &str = include_str!("configuration.yaml");

/// The cluster, started by whoever asks first.
pub(crate) fn world() -> Result<&'static World> {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().map_err(|text| anyhow!("the cluster does not start: {text}"))
}

fn start() -> Result<World> {
    let fabric = Fabric::create(2)?;
    let tor = FrrTor::start(&fabric)?;
    let mut cluster = Cluster::start(fabric, Extent::Whole)?;
    cluster.install()?;
    cluster.kubectl().apply(&CONFIGURATION)?;
    let controller = cluster.start_controller()?;
    let mut speakers = Vec::new();
    for node in &cluster.fabric().nodes {
        let frr = Frr::start(&cluster.fabric().warden, &node.net, Listens::No, "")?;
        let speaker = cluster.start_speaker(node, &frr)?;
        speakers.push((node.name().to_owned(), frr, speaker));
    }
    let pods = ["n1", "n2"].iter().map(|node| cluster.pod(node, "web")).collect::<Result<_>>()?;
    Ok(World { cluster, controller: Mutex::new(Some(controller)), speakers, _pods: pods, tor })
}

impl World {
    pub(crate) fn kubectl(&self) -> Kubectl<'_> {
        self.cluster.kubectl()
    }

    /// The log of a node's speaker, so far.
    pub(crate) fn speaker_log(&self, node: &str) -> Result<String> {
        let speaker = self.speakers.iter().find(|(name, ..)| name == node);
        Ok(speaker.with_context(|| format!("no speaker on {node}"))?.2.log_text())
    }

    /// Waits until the log of a node's speaker has this text.
    pub(crate) fn speaker_log_has(&self, node: &str, text: &str) -> Result<()> {
        wait::until_true(DEADLINE, &format!("the log of {node}'s speaker to say {text:?}"), || {
            Ok(self.speaker_log(node)?.contains(text))
        })
    }

    /// Applies a Service of type LoadBalancer, both families, in front of the pods `app=web`, with these annotations
    /// (`key: value`).
    pub(crate) fn service(&self, name: &str, annotations: &[&str]) -> Result<()> {
        let annotations: String = annotations.iter().map(|line| format!("\n    {line}")).collect();
        let annotations = if annotations.is_empty() { " {}".to_owned() } else { annotations };
        self.kubectl().apply(&format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
  annotations:{annotations}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
"
        ))?;
        Ok(())
    }

    /// The addresses in the status of a Service, in order.
    pub(crate) fn addresses(&self, name: &str) -> Result<Vec<IpAddr>> {
        let service = self.kubectl().get(&["-n", "default", "service", name])?;
        let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        ingress
            .into_iter()
            .flatten()
            .map(|entry| {
                Ok(entry.get("ip").and_then(Value::as_str).context("an ingress without ip")?.parse()?)
            })
            .collect()
    }

    /// Waits until a Service has an address of each family.
    pub(crate) fn addressed(&self, name: &str) -> Result<Vec<IpAddr>> {
        wait::until(DEADLINE, &format!("two addresses of {name}"), || {
            Ok(Some(self.addresses(name)?).filter(|addresses| addresses.len() == 2))
        })
    }

    /// The messages of the events of this reason on a Service.
    pub(crate) fn events(&self, name: &str, reason: &str) -> Result<BTreeSet<String>> {
        let selector = format!("involvedObject.kind=Service,involvedObject.name={name},reason={reason}");
        let events = self.kubectl().get(&["-n", "default", "events", "--field-selector", &selector])?;
        let items = events.get("items").and_then(Value::as_array);
        let messages = items.into_iter().flatten().filter_map(|event| event.get("message")?.as_str());
        Ok(messages.map(str::to_owned).collect())
    }

    /// Waits for an event of this reason on a Service, and gives its message.
    pub(crate) fn event(&self, name: &str, reason: &str) -> Result<String> {
        wait::until(DEADLINE, &format!("an event {reason} on {name}"), || {
            Ok(self.events(name, reason)?.into_iter().next())
        })
    }

    /// Ends the controller without asking, does `meanwhile`, and starts it again.
    pub(crate) fn without_controller<T>(&self, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = controller.take() {
            running.kill()?;
        }
        let done = meanwhile();
        *controller = Some(self.cluster.start_controller()?);
        done
    }
}
