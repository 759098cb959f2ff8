//! Every metric: its exact name, labels and type.
//!
//! MetalLB's names, so that its dashboards and alerts go on working; ours begin with `ferrolb_`. What has labels is a
//! snapshot or is read when somebody scrapes, so a series goes with the thing that it is about. The text is the
//! classic one (version 0.0.4): MetalLB has counters without `_total`, which OpenMetrics cannot say.

mod frr;

pub use frr::{Frr, Shown};

use crate::{
    config::{Kind, Problems},
    frr::Daemon,
    io::members::Counts,
    names::{NodeName, PoolName, ServiceKey},
    net::Capacity,
    plan::Protocol,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode_registry},
    metrics::{MetricType, counter::Counter, gauge::Gauge},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The type of what [`Metrics::text`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a program. Clones are handles to the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Changes that were worked on.
    pub updates: Counter,
    /// Those that failed.
    pub update_errors: Counter,
    /// Events that were dropped.
    pub events_dropped: Counter,
    /// The speakers' gossip.
    pub members: Counts,
    /// Lines that FRR took.
    pub frr_lines_applied: Counter,
    /// Lines that FRR refused.
    pub frr_lines_refused: Counter,
    /// How often FRR was found changed by somebody else.
    pub frr_drift: Counter,
    config_loaded: Gauge,
    config_stale: Gauge,
    state: Arc<Mutex<State>>,
    registry: Arc<Registry>,
}

/// Addresses of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// All that can be handed out.
    pub capacity: Capacity,
    /// Distinct ones in use.
    pub in_use: Capacity,
}

/// An announced address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// Whose it is.
    pub service: ServiceKey,
    /// How.
    pub protocol: Protocol,
    /// The address.
    pub ip: IpAddr,
}

/// What happened on the wire for one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer2Counts {
    /// ARP requests and neighbour solicitations heard.
    pub requests: u64,
    /// Answers sent.
    pub responses: u64,
    /// Gratuitous ARP and unsolicited neighbour advertisements sent.
    pub gratuitous: u64,
}

/// What happened on the wire so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer2Totals {
    /// For each address.
    pub by_ip: BTreeMap<IpAddr, Layer2Counts>,
    /// Claims of other nodes to addresses of this one.
    pub claims_of_nodes: u64,
    /// Claims of strangers.
    pub claims_of_strangers: u64,
}

/// Reads the counts of now.
pub type Layer2 = Box<dyn Fn() -> Layer2Totals + Send>;

#[derive(Default)]
struct State {
    pools: BTreeMap<PoolName, PoolUse>,
    node: Option<NodeName>,
    announced: Arc<[Announced]>,
    frr_up: BTreeMap<Daemon, bool>,
    problems: BTreeMap<Kind, i64>,
    layer2: Option<Layer2>,
    frr: Option<Frr>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Which program has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// The controller.
    Controller,
    /// The speaker of this node.
    Speaker(NodeName),
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new(of: Of) -> Self {
        let mut registry = Registry::default();
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, Verbatim(counter.clone()));
            counter
        };
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let r = &mut registry;
        let updates =
            counter(r, "metallb_k8s_client_updates_total", "Changes of objects that were worked on");
        let update_errors =
            counter(r, "metallb_k8s_client_update_errors_total", "Changes of objects whose handling failed");
        let config_loaded =
            gauge(r, "metallb_k8s_client_config_loaded_bool", "1 once a configuration was read");
        let config_stale = gauge(
            r,
            "metallb_k8s_client_config_stale_bool",
            "1 while an object counts as an older version than what is there, or as absent",
        );
        let events_dropped = counter(r, "ferrolb_events_dropped_total", "Events that were not written");
        let state = Arc::new(Mutex::new(State::default()));
        let (mut frr_lines_applied, mut frr_lines_refused) = (Counter::default(), Counter::default());
        let mut frr_drift = Counter::default();
        let mut members = Counts::default();
        match of {
            Of::Controller => r.register_collector(Box::new(Pools(Arc::clone(&state)))),
            Of::Speaker(node) => {
                frr_lines_applied =
                    counter(r, "ferrolb_frr_lines_applied_total", "Lines of configuration that FRR took");
                frr_lines_refused =
                    counter(r, "ferrolb_frr_lines_refused_total", "Lines of configuration that FRR refused");
                frr_drift = counter(
                    r,
                    "ferrolb_frr_drift_total",
                    "Times that FRR was found changed by somebody else, and put right",
                );
                members = Counts {
                    others: gauge(r, "ferrolb_members_others", "Other speakers that are alive"),
                    refused: counter(
                        r,
                        "ferrolb_members_refused_total",
                        "Datagrams to the gossip's port that were not sealed with our key",
                    ),
                    misunderstood: counter(
                        r,
                        "ferrolb_members_misunderstood_total",
                        "Datagrams of the gossip that made no sense",
                    ),
                };
                lock(&state).node = Some(node);
                r.register_collector(Box::new(Announcements(Arc::clone(&state))));
                r.register_collector(Box::new(frr::Sessions(Arc::clone(&state))));
            }
        }
        r.register_collector(Box::new(Faults(Arc::clone(&state))));
        Self {
            updates,
            update_errors,
            events_dropped,
            members,
            frr_lines_applied,
            frr_lines_refused,
            frr_drift,
            config_loaded,
            config_stale,
            state,
            registry: Arc::new(registry),
        }
    }

    /// A configuration was read, with these problems.
    pub fn config(&self, problems: &Problems) {
        self.config_loaded.set(1);
        self.config_stale.set(i64::from(!problems.is_empty()));
        let mut by_kind = BTreeMap::new();
        for problem in problems.iter() {
            let count: &mut i64 = by_kind.entry(problem.object.kind).or_default();
            *count = count.saturating_add(1);
        }
        lock(&self.state).problems = by_kind;
    }

    /// The pools as they are now; the series of others go.
    pub fn pools(&self, pools: BTreeMap<PoolName, PoolUse>) {
        lock(&self.state).pools = pools;
    }

    /// What this node announces now, in order; the series of others go.
    pub fn announced(&self, mut announced: Vec<Announced>) -> Arc<[Announced]> {
        // A status may name an address twice; a series may be there only once.
        announced.sort_unstable();
        announced.dedup();
        let announced: Arc<[Announced]> = announced.into();
        lock(&self.state).announced = Arc::clone(&announced);
        announced
    }

    /// Whether a daemon of FRR is there, from the first time that this is known.
    pub fn frr_up(&self, daemon: Daemon, up: bool) {
        lock(&self.state).frr_up.insert(daemon, up);
    }

    /// Where the counts of the wire are.
    pub fn layer2(&self, read: Layer2) {
        lock(&self.state).layer2 = Some(read);
    }

    /// Where what FRR says of its sessions is.
    pub fn frr(&self, read: Frr) {
        lock(&self.state).frr = Some(read);
    }

    /// Everything, for a scrape.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail, and an encoder that did would leave what came before it.
        let _ = encode_registry(&mut text, &self.registry);
        text
    }
}

/// A lock that outlives a panic: numbers cannot be half written.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counter under exactly its name: the library would append `_total`.
#[derive(Debug)]
struct Verbatim(Counter);

impl EncodeMetric for Verbatim {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// One metric with labels, its series in order.
fn family<V: prometheus_client::encoding::EncodeGaugeValue, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    series: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
) -> fmt::Result {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Pools(Arc<Mutex<State>>);

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&PoolUse) -> i64;
        let metrics: [(&str, &str, Read); 6] = [
            ("addresses_total", "Usable addresses of a pool", |u| u.capacity.total()),
            ("addresses_in_use_total", "Addresses of a pool that are in use", |u| u.in_use.total()),
            ("ipv4_addresses_total", "Usable IPv4 addresses of a pool", |u| u.capacity.v4),
            ("ipv4_addresses_in_use_total", "IPv4 addresses of a pool that are in use", |u| u.in_use.v4),
            ("ipv6_addresses_total", "Usable IPv6 addresses of a pool", |u| u.capacity.v6),
            ("ipv6_addresses_in_use_total", "IPv6 addresses of a pool that are in use", |u| u.in_use.v6),
        ];
        let pools = lock(&self.0).pools.clone();
        for (name, help, read) in metrics {
            let name = format!("metallb_allocator_{name}");
            let series = pools.iter().map(|(pool, used)| ([("pool", pool.to_string())], read(used)));
            family(&mut encoder, &name, help, MetricType::Gauge, series)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Announcements(Arc<Mutex<State>>);

impl Collector for Announcements {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = lock(&self.0);
        let node = state.node.as_ref().map_or("", NodeName::as_str);
        let series = state.announced.iter().map(|announced| {
            let protocol = match announced.protocol {
                Protocol::Bgp => "bgp",
                Protocol::Layer2 => "layer2",
            };
            let labels = [
                ("service", announced.service.to_string()),
                ("protocol", protocol.to_owned()),
                ("node", node.to_owned()),
                ("ip", announced.ip.to_string()),
            ];
            (labels, 1_i64)
        });
        let help = "Addresses that this node announces";
        family(&mut encoder, "metallb_speaker_announced", help, MetricType::Gauge, series)?;
        let series =
            state.frr_up.iter().map(|(daemon, up)| ([("daemon", daemon.to_string())], i64::from(*up)));
        family(&mut encoder, "ferrolb_frr_up", "1 while a daemon of FRR answers", MetricType::Gauge, series)?;
        let Some(read) = &state.layer2 else { return Ok(()) };
        let totals = read();
        let claims = [("node", totals.claims_of_nodes), ("stranger", totals.claims_of_strangers)];
        let series = claims.map(|(by, count)| ([("by", by.to_owned())], count));
        let (name, help) =
            ("ferrolb_l2_conflicts_total", "Claims of other stations to addresses of this node");
        family(&mut encoder, name, help, MetricType::Counter, series)?;
        type Read = fn(&Layer2Counts) -> u64;
        let metrics: [(&str, &str, Read); 3] = [
            ("requests_received", "ARP requests and neighbour solicitations for an address", |c| c.requests),
            ("responses_sent", "ARP replies and neighbour advertisements for an address", |c| c.responses),
            ("gratuitous_sent", "Unasked announcements of an address", |c| c.gratuitous),
        ];
        for (name, help, read) in metrics {
            let name = format!("metallb_layer2_{name}");
            let series = totals.by_ip.iter().map(|(ip, counts)| ([("ip", ip.to_string())], read(counts)));
            family(&mut encoder, &name, help, MetricType::Counter, series)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Faults(Arc<Mutex<State>>);

impl Collector for Faults {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let problems = lock(&self.0).problems.clone();
        let series = problems.into_iter().map(|(kind, count)| ([("kind", kind.to_string())], count));
        family(&mut encoder, "ferrolb_problems", "Problems of objects, by kind", MetricType::Gauge, series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ObjectRef;
    use expect_test::expect;

    #[test]
    fn the_controllers_text() {
        let metrics = Metrics::new(Of::Controller);
        metrics.updates.inc_by(3);
        let mut problems = Problems::default();
        problems.add(ObjectRef { kind: Kind::IPAddressPool, name: "q".into() }, "spec.addresses", "empty");
        metrics.config(&problems);
        let capacity = |v4, v6| Capacity { v4, v6 };
        metrics.pools(
            [("p".into(), PoolUse { capacity: capacity(256, i64::MAX), in_use: capacity(2, 1) })].into(),
        );
        expect![[r#"
            # HELP metallb_k8s_client_updates_total Changes of objects that were worked on.
            # TYPE metallb_k8s_client_updates_total counter
            metallb_k8s_client_updates_total 3
            # HELP metallb_k8s_client_update_errors_total Changes of objects whose handling failed.
            # TYPE metallb_k8s_client_update_errors_total counter
            metallb_k8s_client_update_errors_total 0
            # HELP metallb_k8s_client_config_loaded_bool 1 once a configuration was read.
            # TYPE metallb_k8s_client_config_loaded_bool gauge
            metallb_k8s_client_config_loaded_bool 1
            # HELP metallb_k8s_client_config_stale_bool 1 while an object counts as an older version than what is there, or as absent.
            # TYPE metallb_k8s_client_config_stale_bool gauge
            metallb_k8s_client_config_stale_bool 1
            # HELP ferrolb_events_dropped_total Events that were not written.
            # TYPE ferrolb_events_dropped_total counter
            ferrolb_events_dropped_total 0
        "#]]
        .assert_eq(metrics.text().split_inclusive('\n').take(15).collect::<String>().as_str());
        let text = metrics.text();
        for line in [
            "# TYPE metallb_allocator_addresses_total gauge",
            "metallb_allocator_addresses_total{pool=\"p\"} 9223372036854775807",
            "metallb_allocator_addresses_in_use_total{pool=\"p\"} 3",
            "metallb_allocator_ipv4_addresses_total{pool=\"p\"} 256",
            "metallb_allocator_ipv6_addresses_in_use_total{pool=\"p\"} 1",
            "ferrolb_problems{kind=\"IPAddressPool\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        metrics.pools(BTreeMap::new());
        metrics.config(&Problems::default());
        let text = metrics.text();
        assert!(
            !text.contains("metallb_allocator") && !text.contains("ferrolb_problems"),
            "series go: {text}"
        );
        assert!(text.contains("config_stale_bool 0"));
    }

    #[test]
    fn the_speakers_text() {
        let metrics = Metrics::new(Of::Speaker("n1".into()));
        let one = |protocol, ip: &str| Announced {
            service: ServiceKey::new("a", "b"),
            protocol,
            ip: ip.parse().unwrap(),
        };
        let v6 = one(Protocol::Layer2, "fd00::1");
        metrics.announced(vec![v6.clone(), one(Protocol::Bgp, "10.0.0.1"), v6]);
        let counts = Layer2Counts { requests: 5, responses: 4, gratuitous: 3 };
        metrics.layer2(Box::new(move || Layer2Totals {
            by_ip: [("fd00::1".parse().unwrap(), counts)].into(),
            claims_of_nodes: 2,
            claims_of_strangers: 0,
        }));
        metrics.frr_lines_applied.inc();
        metrics.members.others.set(2);
        metrics.members.refused.inc();
        metrics.frr_up(Daemon::Bgp, true);
        metrics.frr_up(Daemon::Bfd, false);
        let text = metrics.text();
        for line in [
            "metallb_speaker_announced{service=\"a/b\",protocol=\"bgp\",node=\"n1\",ip=\"10.0.0.1\"} 1",
            "metallb_speaker_announced{service=\"a/b\",protocol=\"layer2\",node=\"n1\",ip=\"fd00::1\"} 1",
            "# TYPE metallb_layer2_requests_received counter",
            "metallb_layer2_requests_received{ip=\"fd00::1\"} 5",
            "metallb_layer2_responses_sent{ip=\"fd00::1\"} 4",
            "metallb_layer2_gratuitous_sent{ip=\"fd00::1\"} 3",
            "# TYPE ferrolb_l2_conflicts_total counter",
            "ferrolb_l2_conflicts_total{by=\"node\"} 2",
            "ferrolb_l2_conflicts_total{by=\"stranger\"} 0",
            "ferrolb_frr_lines_applied_total 1",
            "ferrolb_frr_lines_refused_total 0",
            "ferrolb_frr_drift_total 0",
            "ferrolb_members_others 2",
            "ferrolb_members_refused_total 1",
            "ferrolb_members_misunderstood_total 0",
            "ferrolb_frr_up{daemon=\"bgpd\"} 1",
            "ferrolb_frr_up{daemon=\"bfdd\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().filter(|l| l.starts_with("metallb_speaker_announced{")).count(), 2, "{text}");
        metrics.announced(Vec::new());
        assert!(!metrics.text().contains("metallb_speaker_announced"));
    }
}
