//! What FRR says of its sessions, under the names of MetalLB's exporter, and under those of frr-k8s.
//!
//! MetalLB names a peer by address and port, frr-k8s by address alone; BFD has no port in either. The port is the one
//! that is dialled, also while the session is down, so that a series does not change its name with the session.

use super::{State, family, lock};
use crate::{
    frr::show::{Bfd, Details, Packets, Peering, Summary},
    io::frr::Seen,
};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::MetricType::{self, Counter, Gauge},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

/// What there is to show.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What was seen of FRR.
    pub seen: Arc<Seen>,
    /// The ports that are dialled, where they are not 179.
    pub ports: BTreeMap<Peering, u16>,
}

/// Reads what there is to show now.
pub type Frr = Box<dyn Fn() -> Shown + Send>;

/// BGP's own port.
const PORT: u16 = 179;

/// The two namings: the prefix of the names, and whether a BGP peer has its port.
const NAMINGS: [(&str, bool); 2] = [("metallb", true), ("frrk8s", false)];

#[derive(Debug)]
pub(super) struct Sessions(pub(super) Arc<Mutex<State>>);

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shown = lock(&self.0).frr.as_ref().map(|read| read());
        let Some(shown) = shown else { return Ok(()) };
        for (prefix, with_port) in NAMINGS {
            let mut out = Out { encoder: &mut encoder, prefix, shown: &shown, with_port };
            out.bgp()?;
            out.bfd()?;
        }
        Ok(())
    }
}

struct Out<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    prefix: &'static str,
    shown: &'a Shown,
    with_port: bool,
}

impl Out<'_, '_> {
    fn bgp(&mut self) -> fmt::Result {
        let sessions = &self.shown.seen.sessions;
        let up = |session: &Summary| u64::from(session.up());
        let told = |session: &Summary| session.sent.values().copied().fold(0, u64::saturating_add);
        self.one("bgp_session_up", "1 while a BGP session is established", Gauge, sessions, up)?;
        let help = "Prefixes that a BGP peer was told";
        self.one("bgp_announced_prefixes_total", help, Gauge, sessions, told)?;
        let details = &self.shown.seen.details;
        if !self.with_port {
            let help = "Prefixes that were taken from a BGP peer";
            self.one("bgp_received_prefixes_total", help, Gauge, details, |d| d.accepted)?;
        }
        type Read = fn(&Details) -> u64;
        let counters: [(&str, &str, Read); 10] = [
            ("updates_total", "BGP UPDATE messages sent", |d| d.messages.updates_sent),
            ("updates_total_received", "BGP UPDATE messages received", |d| d.messages.updates_received),
            ("opens_sent", "BGP OPEN messages sent", |d| d.messages.opens_sent),
            ("opens_received", "BGP OPEN messages received", |d| d.messages.opens_received),
            ("notifications_sent", "BGP NOTIFICATION messages sent", |d| d.messages.notifications_sent),
            ("keepalives_sent", "BGP KEEPALIVE messages sent", |d| d.messages.keepalives_sent),
            ("keepalives_received", "BGP KEEPALIVE messages received", |d| d.messages.keepalives_received),
            ("route_refresh_sent", "BGP ROUTE-REFRESH messages sent", |d| d.messages.refreshes_sent),
            ("total_sent", "BGP messages sent", |d| d.messages.sent),
            ("total_received", "BGP messages received", |d| d.messages.received),
        ];
        for (name, help, read) in counters {
            self.one(&format!("bgp_{name}"), help, Counter, details, read)?;
        }
        Ok(())
    }

    fn bfd(&mut self) -> fmt::Result {
        self.with_port = false;
        let up = |session: &Bfd| u64::from(session.state == "up");
        self.one("bfd_session_up", "1 while a BFD session is up", Gauge, &self.shown.seen.bfd, up)?;
        type Read = fn(&Packets) -> u64;
        let counters: [(&str, &str, Read); 7] = [
            ("control_packet_input", "BFD control packets received", |p| p.control_in),
            ("control_packet_output", "BFD control packets sent", |p| p.control_out),
            ("echo_packet_input", "BFD echo packets received", |p| p.echo_in),
            ("echo_packet_output", "BFD echo packets sent", |p| p.echo_out),
            ("session_up_events", "Times that a BFD session came up", |p| p.ups),
            ("session_down_events", "Times that a BFD session went down", |p| p.downs),
            ("zebra_notifications", "Messages about a BFD session to zebra", |p| p.notifications),
        ];
        for (name, help, read) in counters {
            self.one(&format!("bfd_{name}"), help, Counter, &self.shown.seen.packets, read)?;
        }
        Ok(())
    }

    fn one<T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        all: &BTreeMap<Peering, T>,
        read: impl Fn(&T) -> u64,
    ) -> fmt::Result {
        let name = format!("{}_{name}", self.prefix);
        let labels = |peering: &Peering| {
            let peer = match self.with_port {
                true => format!("{peering}:{}", self.shown.ports.get(peering).unwrap_or(&PORT)),
                false => peering.to_string(),
            };
            [("peer", peer), ("vrf", peering.vrf_name().to_owned())]
        };
        let series = all.iter().map(|(peering, value)| (labels(peering), read(value)));
        family(self.encoder, &name, help, kind, series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frr::show,
        io::metrics::{Metrics, Of},
    };

    #[test]
    fn the_names_and_labels_that_dashboards_know() {
        let sessions = show::summaries(include_str!("../../../tests/frr-show/8.4.4/summary.json")).unwrap();
        let details = show::details(include_str!("../../../tests/frr-show/8.4.4/neighbors.json")).unwrap();
        let bfd = show::bfd(include_str!("../../../tests/frr-show/8.4.4/bfd.json")).unwrap();
        let packets = show::packets(include_str!("../../../tests/frr-show/8.4.4/counters.json")).unwrap();
        let ported = sessions.keys().find(|peering| peering.to_string() == "fd20::2").unwrap().clone();
        let seen = Arc::new(Seen { sessions, details, bfd, packets, ..Seen::default() });
        let metrics = Metrics::new(Of::Speaker("n1".into()));
        assert!(!metrics.text().contains("_bgp_"), "nothing without FRR");
        metrics.frr(Box::new(move || Shown { seen: seen.clone(), ports: [(ported.clone(), 1179)].into() }));
        let text = metrics.text();
        for line in [
            "# TYPE metallb_bgp_session_up gauge",
            "metallb_bgp_session_up{peer=\"172.20.0.2:179\",vrf=\"default\"} 1",
            "metallb_bgp_session_up{peer=\"172.20.0.2:179\",vrf=\"red\"} 0",
            "metallb_bgp_session_up{peer=\"va:179\",vrf=\"default\"} 1",
            "metallb_bgp_session_up{peer=\"fd20::2:1179\",vrf=\"default\"} 0",
            "metallb_bgp_announced_prefixes_total{peer=\"va:179\",vrf=\"default\"} 2",
            "# TYPE metallb_bgp_updates_total counter",
            "metallb_bgp_notifications_sent{peer=\"172.20.0.99:179\",vrf=\"default\"} 0",
            "metallb_bfd_session_up{peer=\"172.20.0.2\",vrf=\"default\"} 1",
            "metallb_bfd_session_up_events{peer=\"172.20.0.2\",vrf=\"default\"} 1",
            "frrk8s_bgp_session_up{peer=\"172.20.0.2\",vrf=\"default\"} 1",
            "frrk8s_bgp_received_prefixes_total{peer=\"va\",vrf=\"default\"} 0",
            "frrk8s_bfd_session_up{peer=\"172.20.0.2\",vrf=\"default\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        for name in [
            "updates_total_received",
            "opens_sent",
            "opens_received",
            "keepalives_sent",
            "keepalives_received",
            "route_refresh_sent",
            "total_sent",
            "total_received",
        ] {
            assert!(text.contains(&format!("\nmetallb_bgp_{name}{{")), "{name}");
        }
        for name in [
            "control_packet_input",
            "control_packet_output",
            "echo_packet_input",
            "echo_packet_output",
            "session_down_events",
            "zebra_notifications",
        ] {
            assert!(text.contains(&format!("\nmetallb_bfd_{name}{{")), "{name}");
        }
    }
}
