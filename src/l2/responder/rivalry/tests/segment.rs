//! A segment with responders and a clock that jumps from deadline to deadline: what one says all others hear, as long as
//! the segment is whole.

use super::*;
use crate::{
    l2::{Reason, Verdict, origin},
    net::{Interfaces, Link, Links},
};
use std::collections::VecDeque;

pub(super) const ETH0: IfIndex = IfIndex(2);
pub(super) const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 0xc1]);
pub(super) const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 0xee]);

pub(super) fn mac(node: usize) -> Mac {
    Mac([2, 0, 0, 0, 1, u8::try_from(node).unwrap()])
}

pub(super) fn name(node: usize) -> NodeName {
    format!("n{node}").as_str().into()
}

pub(super) fn vip(n: usize) -> IpAddr {
    let n = u32::try_from(n).unwrap();
    match n % 2 {
        0 => IpAddr::from((0x0a00_0000 + n).to_be_bytes()),
        _ => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(n))),
    }
}

/// A frame on the wire: when, from which node (`usize::MAX`: from outside), and what it is.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Duration,
    pub(super) from: usize,
    pub(super) frame: wire::Frame,
}

/// Nodes on a segment, which may be cut in two.
pub(super) struct Segment {
    pub(super) start: Instant,
    pub(super) now: Duration,
    pub(super) nodes: Vec<Responder>,
    pub(super) cut: bool,
    pub(super) sent: Vec<Sent>,
}

impl Segment {
    /// `nodes` nodes that all want `vips`; `owners[i]` are the nodes that node i takes for the rightful ones.
    pub(super) fn new(vips: usize, owners: &[&[usize]]) -> Self {
        let start = origin();
        let mut nodes = Vec::new();
        for (node, owners) in owners.iter().enumerate() {
            let mut responder = Responder::default();
            let owners: BTreeSet<NodeName> = owners.iter().map(|owner| name(*owner)).collect();
            responder.follow(start, &rivals(node, &owners, vips, &[]));
            nodes.push(responder);
        }
        Self { start, now: Duration::ZERO, nodes, cut: false, sent: Vec::new() }
    }

    pub(super) fn at(&self) -> Instant {
        self.start + self.now
    }

    /// This node wants the first `vips` addresses from now on.
    pub(super) fn want(&mut self, node: usize, vips: usize) {
        let now = self.at();
        let link = Link {
            name: "eth0".into(),
            mac: Some(mac(node)),
            up: true,
            enslaved: false,
            broadcast: true,
            carrier_changes: 0,
        };
        let wanted = (0..vips).map(|n| (vip(n), Interfaces::All)).collect();
        self.nodes[node].set(now, &wanted, &Links::from([(ETH0, link)]));
    }

    /// Delivers frames, and what they bring about, until nobody has anything to say.
    pub(super) fn deliver(&mut self, from: usize, frames: Vec<Frame>) {
        let mut queue: VecDeque<(usize, Frame)> = frames.into_iter().map(|frame| (from, frame)).collect();
        while let Some((from, frame)) = queue.pop_front() {
            let parsed = wire::parse(&frame.bytes).unwrap();
            self.sent.push(Sent { at: self.now, from, frame: parsed });
            // who is none of them is on either side
            if self.cut && from != usize::MAX {
                continue;
            }
            let now = self.at();
            for (node, responder) in self.nodes.iter_mut().enumerate().filter(|(node, _)| *node != from) {
                let to = parsed.destination;
                if !wire::is_group(to) && to != mac(node) {
                    continue;
                }
                match responder.heard(ETH0, &frame.bytes) {
                    Verdict::Reply(reply) => queue.push_back((node, reply)),
                    Verdict::Drop(Reason::ForeignClaim { ip, by }) => {
                        responder.contest(now, ETH0, ip, by, wire::is_group(to));
                    }
                    Verdict::Drop(_) => {}
                }
                responder.met(now, ETH0, &frame.bytes);
            }
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let now = self.at();
            for node in 0..self.nodes.len() {
                let questions = self.nodes[node].questions(now);
                self.deliver(node, questions);
                let due = self.nodes[node].due(now);
                self.deliver(node, due);
            }
            let next = self.nodes.iter().filter_map(Responder::next_deadline).min();
            match next.map(|next| next.saturating_duration_since(self.start)) {
                // what is left to do now is done in the next round, as in the driver's loop
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = end;
    }

    /// The nodes that would answer a client for `ip`, in order.
    pub(super) fn answer(&self, ip: IpAddr) -> Vec<usize> {
        let bytes = question_of_client(ip);
        let answers = |responder: &Responder| matches!(responder.heard(ETH0, &bytes), Verdict::Reply(_));
        self.nodes.iter().enumerate().filter(|(_, node)| answers(node)).map(|(node, _)| node).collect()
    }

    /// A client's question for `ip`, and what comes of it.
    pub(super) fn ask(&mut self, ip: IpAddr) {
        let bytes = question_of_client(ip);
        self.deliver(usize::MAX, vec![Frame { link: ETH0, ip, bytes }]);
    }

    /// A claim by a station that is none of the nodes.
    pub(super) fn strange(&mut self, ip: IpAddr) {
        let mut frames = Vec::new();
        announce(ip, ETH0, STRANGER, None, &mut frames);
        let frame = frames.remove(0);
        self.deliver(usize::MAX, vec![frame]);
    }

    /// When `node` announced `ip` to all, since `from`.
    pub(super) fn announced(&self, node: usize, ip: IpAddr, from: Duration) -> Vec<Duration> {
        let about = |frame: &wire::Frame| match (frame.message, ip) {
            (Message::Arp(arp), IpAddr::V4(v4)) => {
                arp.operation == Operation::Request
                    && arp.sender_ip == v4
                    && wire::is_group(frame.destination)
            }
            (Message::Advertisement(advertisement), IpAddr::V6(v6)) => {
                advertisement.target == v6 && !advertisement.solicited && wire::is_group(frame.destination)
            }
            _ => false,
        };
        let by = |sent: &&Sent| sent.from == node && sent.at >= from && about(&sent.frame);
        self.sent.iter().filter(by).map(|sent| sent.at).collect()
    }

    pub(super) fn claims(&self, node: usize) -> BTreeMap<IpAddr, Claim> {
        self.nodes[node].claims()
    }
}

/// A client's question for `ip`, to all.
pub(super) fn question_of_client(ip: IpAddr) -> wire::Bytes {
    let message = match ip {
        IpAddr::V4(target_ip) => Message::Arp(Arp {
            operation: Operation::Request,
            sender_mac: CLIENT,
            sender_ip: [10, 9, 9, 9].into(),
            target_mac: Mac::ZERO,
            target_ip,
        }),
        IpAddr::V6(target) => Message::Solicitation(Solicitation {
            source: "fe80::c1".parse().unwrap(),
            destination: wire::solicited_node(target),
            target,
            link_layer: Some(CLIENT),
        }),
    };
    let destination = match ip {
        IpAddr::V4(_) => Mac::BROADCAST,
        IpAddr::V6(target) => wire::multicast_mac(wire::solicited_node(target)),
    };
    wire::emit(&wire::Frame { destination, source: CLIENT, message })
}

/// What node `me` knows of the others: where they are, which are alive, and whose the addresses are.
pub(super) fn rivals(me: usize, owners: &BTreeSet<NodeName>, vips: usize, live: &[usize]) -> Arc<Rivals> {
    Arc::new(Rivals {
        me: Some(name(me)),
        stations: (0..4).filter(|node| *node != me).map(|node| (mac(node), name(node))).collect(),
        live: live.iter().map(|node| name(*node)).collect(),
        owners: match owners.is_empty() {
            true => BTreeMap::new(),
            false => (0..vips).map(|n| (vip(n), owners.clone())).collect(),
        },
        lapsed: false,
    })
}
