//! Which addresses this node answers for, where, and what it sends.
//!
//! A state that follows two inputs, the wanted addresses and the interfaces; an interface that appears later, comes
//! back or gets another hardware address changes the state, not the shape of anything. Answering is a lookup.
//! Nothing here decides which node an address belongs to; that is `plan`. What other stations say of it is `rivalry`.

mod rivalry;
mod yielding;

use super::{
    Frame, Reason, Verdict,
    fence::Fence,
    schedule::{Place, Schedule},
    watch::Watch,
    wire::{self, Advertisement, Arp, Message, Operation, Solicitation},
};
use crate::net::{IfIndex, Interfaces, Link, Links, Mac};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};
use yielding::Yielding;

/// Answers for the wanted addresses and announces them.
#[derive(Clone, Default, Debug)]
pub struct Responder {
    wanted: BTreeMap<IpAddr, Interfaces>,
    /// The interfaces that can announce.
    ports: BTreeMap<IfIndex, Port>,
    /// Hardware addresses of all interfaces, those that cannot announce too.
    own: BTreeSet<Mac>,
    /// Every address on every interface that it is answered on, and when it is announced next.
    schedule: Schedule,
    /// Who else claims them; what is conceded is not in the schedule.
    fence: Fence,
    /// Whether those are back whose addresses these are.
    watch: Watch,
    /// What is left to those that are back, and in the schedule still.
    yielding: Yielding,
    /// No question before this moment.
    quiet: Option<Instant>,
    /// How many addresses need a group on an interface.
    groups: BTreeMap<(IfIndex, Ipv6Addr), u32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Port {
    name: Arc<str>,
    mac: Mac,
    carrier_changes: u32,
}

/// Announcements that one call of [`Responder::due`] makes: an answer must not wait for more.
const PORTION: usize = 64;

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Responder {
    /// Follows the wanted addresses and the interfaces. An address on an interface that it was not on before is
    /// announced at once; what stays as it was stays on its timetable.
    pub fn set(&mut self, now: Instant, wanted: &BTreeMap<IpAddr, Interfaces>, links: &Links) {
        self.concede_all(now);
        let ports: BTreeMap<IfIndex, Port> = links.iter().filter_map(|(i, l)| Some((*i, port(l)?))).collect();
        self.own = links.values().filter_map(|link| link.mac).collect();
        if ports != self.ports {
            self.replace_ports(now, ports);
        }
        for (ip, interfaces) in changes(&self.wanted, wanted) {
            self.place(now, ip, interfaces.as_ref());
            match interfaces {
                Some(interfaces) => self.wanted.insert(ip, interfaces),
                None => self.wanted.remove(&ip),
            };
        }
        // what is conceded on one interface may be answered for on others
        self.fence.revision += 1;
        self.watch.follow(now, self.schedule.places(), &self.fence.rivals);
    }

    /// What the frame `bytes`, received on `link`, comes to.
    #[must_use]
    pub fn heard(&self, link: IfIndex, bytes: &[u8]) -> Verdict {
        let answer = wire::parse(bytes).map_err(Reason::Malformed).and_then(|frame| match frame.message {
            Message::Arp(arp) => self.heard_arp(link, &frame, &arp),
            Message::Solicitation(solicitation) => self.heard_solicitation(link, &frame, &solicitation),
            Message::Advertisement(advertisement) => {
                Err(self.heard_advertisement(link, &frame, &advertisement))
            }
        });
        answer.map_or_else(Verdict::Drop, Verdict::Reply)
    }

    /// Announcements whose turn has come; some tens at most, the others when [`Self::next_deadline`] says.
    pub fn due(&mut self, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < PORTION
            && let Some((ip, link)) = self.schedule.take(now, |(ip, _)| if ip.is_ipv4() { 2 } else { 1 })
        {
            if let Some(port) = self.ports.get(&link).filter(|_| !self.yielding.has((ip, link))) {
                announce(ip, link, port.mac, None, &mut frames);
            }
        }
        frames
    }

    /// When [`Self::due`] or [`Self::questions`] will next have something to send, or [`Self::claims`] another answer.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.schedule.next().into_iter().chain(self.next_question()).min()
    }

    /// The multicast groups that solicitations for the wanted addresses come to, in order.
    pub fn groups(&self) -> impl Iterator<Item = (IfIndex, Ipv6Addr)> {
        self.groups.keys().copied()
    }

    fn replace_ports(&mut self, now: Instant, ports: BTreeMap<IfIndex, Port>) {
        let changed: BTreeSet<IfIndex> = ports
            .keys()
            .chain(self.ports.keys())
            .filter(|index| ports.get(index) != self.ports.get(index))
            .copied()
            .collect();
        let places = self.schedule.places().chain(self.fence.places());
        let gone: Vec<Place> = places.filter(|(_, link)| changed.contains(link)).collect();
        for place in gone {
            self.leave(place);
        }
        self.ports = ports;
        let fresh: Vec<(IfIndex, Port)> =
            changed.iter().filter_map(|index| Some((*index, self.ports.get(index)?.clone()))).collect();
        let places: Vec<Place> = self
            .wanted
            .iter()
            .flat_map(|(ip, interfaces)| {
                let served = fresh.iter().filter(|(_, port)| interfaces.has(&port.name));
                served.map(|(index, _)| (*ip, *index))
            })
            .collect();
        for place in places {
            self.enter(now, place);
        }
    }

    /// Moves `ip` to `interfaces`, or away from all.
    fn place(&mut self, now: Instant, ip: IpAddr, interfaces: Option<&Interfaces>) {
        let served = |port: &Port| interfaces.is_some_and(|interfaces| interfaces.has(&port.name));
        let target: Vec<IfIndex> =
            self.ports.iter().filter(|(_, port)| served(port)).map(|(index, _)| *index).collect();
        let links = self.schedule.links(ip).chain(self.fence.links(ip));
        let gone: Vec<IfIndex> = links.filter(|link| !target.contains(link)).collect();
        for link in gone {
            self.leave((ip, link));
        }
        for link in target {
            self.enter(now, (ip, link));
        }
    }

    /// Whether this node is to answer at `place`, and does so unless it was conceded.
    fn holds(&self, place: Place) -> bool {
        self.schedule.has(place) || self.fence.has(place)
    }

    fn enter(&mut self, now: Instant, place: Place) {
        if self.holds(place) {
            return;
        }
        self.schedule.start(now, place);
        if let (IpAddr::V6(ip), link) = place {
            *self.groups.entry((link, wire::solicited_node(ip))).or_default() += 1;
        }
    }

    fn leave(&mut self, place: Place) {
        self.schedule.stop(place);
        self.fence.forget(place);
        if let (IpAddr::V6(ip), link) = place {
            let group = (link, wire::solicited_node(ip));
            match self.groups.get_mut(&group) {
                Some(users) if *users > 1 => *users -= 1,
                _ => drop(self.groups.remove(&group)),
            }
        }
    }

    fn heard_arp(&self, link: IfIndex, frame: &wire::Frame, arp: &Arp) -> Result<Frame, Reason> {
        if self.own.contains(&frame.source) || self.own.contains(&arp.sender_mac) {
            return Err(Reason::Own);
        }
        let claimed = IpAddr::V4(arp.sender_ip);
        if self.holds((claimed, link)) {
            return Err(Reason::ForeignClaim { ip: claimed, by: arp.sender_mac });
        }
        if arp.operation == Operation::Reply {
            return Err(Reason::ArpReply);
        }
        let ip = IpAddr::V4(arp.target_ip);
        let mac = self.answers(link, ip)?;
        if frame.destination != Mac::BROADCAST && frame.destination != mac {
            return Err(Reason::EthernetDestination);
        }
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: arp.target_ip,
            target_mac: arp.sender_mac,
            target_ip: arp.sender_ip,
        };
        Ok(make(link, ip, mac, arp.sender_mac, Message::Arp(reply)))
    }

    fn heard_solicitation(
        &self,
        link: IfIndex,
        frame: &wire::Frame,
        solicitation: &Solicitation,
    ) -> Result<Frame, Reason> {
        let by = solicitation.link_layer.unwrap_or(frame.source);
        if self.own.contains(&frame.source) || self.own.contains(&by) {
            return Err(Reason::Own);
        }
        // it asks from there: neighbours learn from a question as from an advertisement
        let claimed = IpAddr::V6(solicitation.source);
        if self.holds((claimed, link)) {
            return Err(Reason::ForeignClaim { ip: claimed, by });
        }
        let ip = IpAddr::V6(solicitation.target);
        let mac = self.answers(link, ip)?;
        if !wire::is_group(frame.destination) && frame.destination != mac {
            return Err(Reason::EthernetDestination);
        }
        // RFC 4861 §7.2.4: who has no address yet is answered through all nodes, without S. The answer to a probe
        // for reachability need not know the asker's address from the option: the frame came from somewhere.
        let probe = solicitation.source.is_unspecified();
        let (to, to_mac) =
            if probe { (ALL_NODES, wire::multicast_mac(ALL_NODES)) } else { (solicitation.source, by) };
        let answer = advertisement(solicitation.target, to, mac, !probe);
        Ok(make(link, ip, mac, to_mac, Message::Advertisement(answer)))
    }

    fn heard_advertisement(&self, link: IfIndex, frame: &wire::Frame, heard: &Advertisement) -> Reason {
        let by = heard.link_layer.unwrap_or(frame.source);
        if self.own.contains(&frame.source) || self.own.contains(&by) {
            return Reason::Own;
        }
        let ip = IpAddr::V6(heard.target);
        if self.holds((ip, link)) { Reason::ForeignClaim { ip, by } } else { Reason::MessageType }
    }

    /// The hardware address that `ip` is at on `link`.
    fn answers(&self, link: IfIndex, ip: IpAddr) -> Result<Mac, Reason> {
        let yields = self.yielding.has((ip, link));
        let port = self.ports.get(&link).filter(|_| self.schedule.has((ip, link)) && !yields);
        port.map(|port| port.mac).ok_or_else(|| match self.wanted.contains_key(&ip) {
            _ if yields || self.fence.has((ip, link)) => Reason::Conceded,
            true => Reason::NotMatchInterface,
            false => Reason::AnnounceIp,
        })
    }
}

fn port(link: &Link) -> Option<Port> {
    let mac = link.mac.filter(|_| link.can_announce())?;
    Some(Port { name: link.name.clone(), mac, carrier_changes: link.carrier_changes })
}

/// What differs between two maps, by one walk through both: the new value, `None` for a key that is gone.
fn changes(
    old: &BTreeMap<IpAddr, Interfaces>,
    new: &BTreeMap<IpAddr, Interfaces>,
) -> Vec<(IpAddr, Option<Interfaces>)> {
    let mut changes = Vec::new();
    let mut left = old.iter().peekable();
    for (ip, interfaces) in new {
        while let Some((gone, _)) = left.next_if(|(was, _)| *was < ip) {
            changes.push((*gone, None));
        }
        if left.next_if(|(was, _)| *was == ip).is_none_or(|(_, was)| was != interfaces) {
            changes.push((*ip, Some(interfaces.clone())));
        }
    }
    changes.extend(left.map(|(gone, _)| (*gone, None)));
    changes
}

/// Appends the frames that announce `ip` at `mac`, to all or to one station.
fn announce(ip: IpAddr, link: IfIndex, mac: Mac, to: Option<Mac>, frames: &mut Vec<Frame>) {
    match ip {
        IpAddr::V4(v4) => {
            // Both operations, as neighbours differ in which they heed. A request leaves the target's hardware
            // address empty (RFC 5227 §3); Linux takes a reply for an announcement when it is the sender's own.
            let both = [(Operation::Request, Mac::ZERO), (Operation::Reply, mac)];
            // one station is one of ours, which needs no choice
            for (operation, target_mac) in both.into_iter().take(if to.is_some() { 1 } else { 2 }) {
                let arp = Arp { operation, sender_mac: mac, sender_ip: v4, target_mac, target_ip: v4 };
                frames.push(make(link, ip, mac, to.unwrap_or(Mac::BROADCAST), Message::Arp(arp)));
            }
        }
        IpAddr::V6(v6) => {
            let message = Message::Advertisement(advertisement(v6, ALL_NODES, mac, false));
            frames.push(make(link, ip, mac, to.unwrap_or(wire::multicast_mac(ALL_NODES)), message));
        }
    }
}

const fn advertisement(target: Ipv6Addr, to: Ipv6Addr, mac: Mac, solicited: bool) -> Advertisement {
    Advertisement {
        source: target,
        destination: to,
        target,
        router: false,
        solicited,
        overrides: true,
        link_layer: Some(mac),
    }
}

fn make(link: IfIndex, ip: IpAddr, source: Mac, destination: Mac, message: Message) -> Frame {
    Frame { link, ip, bytes: wire::emit(&wire::Frame { destination, source, message }) }
}

#[cfg(test)]
mod tests;
