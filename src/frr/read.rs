//! `show running-config` → Model: what FRR has, so that a speaker that starts goes on from there and resets nothing.
//!
//! Reads what bgpd and bfdd of FRR 8 to 10 print, in any order. What we would not have written is not in the model:
//! it is handed back as text, and stays as it is.

mod maps;

use super::{BfdProfile, ClassId, GracefulRestart, LogLevel, Model, Router, Session, line, policy_name};
use crate::{
    config::{Neighbor, RemoteAs, Timers},
    names::{Asn, Password, Word},
    net::Family,
};
use maps::Maps;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// What an FRR was found to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ours, or as if.
    pub model: Model,
    /// Lines that are not.
    pub foreign: Vec<String>,
}

/// Reads the running configuration of bgpd, of bfdd, or of both one after the other.
#[must_use]
pub fn read(running_config: &str) -> Found {
    let mut reader = Reader::default();
    for line in running_config.lines() {
        reader.line(line);
    }
    reader.maps.settle(&mut reader.found);
    for (vrf, block) in reader.routers {
        if let Some(router) = block.finish(vrf.as_ref(), &mut reader.found.foreign) {
            reader.found.model.routers.insert(vrf, router);
        }
    }
    reader.found
}

/// Where the line that comes next belongs.
#[derive(Default)]
enum Place {
    #[default]
    Top,
    Map(String),
    Router(Option<Word>),
    Family(Option<Word>, Option<Family>),
    Bfd,
    Profile(Word),
    Elsewhere,
}

#[derive(Default)]
struct Reader {
    place: Place,
    found: Found,
    maps: Maps,
    routers: BTreeMap<Option<Word>, Block>,
}

/// What every running configuration has, or what only the file is for.
const COMMON: [&str; 12] = [
    "frr version ",
    "frr defaults ",
    "hostname ",
    "log timestamp precision ",
    "ip nht resolve-via-default",
    "ipv6 nht resolve-via-default",
    "service integrated-vtysh-config",
    "bgp no-rib",
    // of a log level, or somebody's who looks for something
    "debug bgp ",
    "debug bfd ",
    "debug zebra ",
    "end",
];

impl Reader {
    fn line(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() || text.starts_with('!') {
            return;
        }
        let top = !line.starts_with(' ') && text != "exit";
        if top {
            self.place = Place::Top;
        }
        let known = match &mut self.place {
            _ if matches!(text, "exit" | "exit-address-family") => {
                self.place = match std::mem::take(&mut self.place) {
                    Place::Family(vrf, _) => Place::Router(vrf),
                    Place::Profile(_) => Place::Bfd,
                    _ => Place::Top,
                };
                true
            }
            _ if matches!(text, "exit-vni" | "exit-vrf") => true,
            Place::Top => self.top(text),
            Place::Map(head) => self.maps.entry_line(head, text),
            Place::Router(vrf) => match text.strip_prefix("address-family ") {
                Some(family) => {
                    let family = match family {
                        "ipv4 unicast" => Some(Family::V4),
                        "ipv6 unicast" => Some(Family::V6),
                        _ => None,
                    };
                    self.place = Place::Family(vrf.take(), family);
                    family.is_some()
                }
                None => self.routers.get_mut(vrf).is_some_and(|block| block.line(text)),
            },
            Place::Family(_, None) | Place::Elsewhere => false,
            Place::Family(vrf, Some(family)) => {
                self.routers.get_mut(vrf).is_some_and(|block| block.family_line(*family, text))
            }
            Place::Bfd => match text.strip_prefix("profile ").map(Word::new) {
                Some(Ok(name)) => {
                    self.found.model.bfd.entry(name.clone()).or_default();
                    self.place = Place::Profile(name);
                    true
                }
                _ => false,
            },
            Place::Profile(name) => {
                self.found.model.bfd.get_mut(name).is_some_and(|profile| option(profile, text))
            }
        };
        if !known {
            self.found.foreign.push(line.trim_end().to_owned());
        }
    }

    fn top(&mut self, text: &str) -> bool {
        if COMMON.iter().any(|common| text.starts_with(common)) {
            return true;
        }
        if let Some(level) = text.strip_prefix("log stdout") {
            // FRR leaves its default level out
            let level = match level.trim() {
                "" => Some(LogLevel::Debugging),
                level => LogLevel::ALL.into_iter().find(|l| l.to_string() == level),
            };
            self.found.model.log = level;
            return level.is_some();
        }
        if text == line::LEAVING {
            self.found.model.leaving = true;
            return true;
        }
        if text == "bfd" {
            self.place = Place::Bfd;
            return true;
        }
        if text.starts_with("route-map ") {
            self.place = Place::Map(text.to_owned());
            self.maps.entry(text);
            return true;
        }
        if let Some(map) =
            text.strip_prefix("no route-map ").and_then(|text| text.strip_suffix(" optimization"))
        {
            self.maps.plain(map);
            return true;
        }
        if text.starts_with("bgp large-community-list ") {
            self.maps.list(text);
            return true;
        }
        if text.starts_with("ip prefix-list ") || text.starts_with("ipv6 prefix-list ") {
            return self.maps.range(text);
        }
        if let Some((vrf, asn)) = text.strip_prefix("router bgp ").and_then(instance) {
            // our file comes back to an instance
            self.routers.entry(vrf.clone()).or_default().asn = Some(asn);
            self.place = Place::Router(vrf);
            return true;
        }
        self.place = Place::Elsewhere;
        false
    }
}

/// `ASN`, or `ASN vrf NAME`.
fn instance(text: &str) -> Option<(Option<Word>, Asn)> {
    match text.split_once(" vrf ") {
        None => Some((None, text.parse().ok()?)),
        Some((asn, vrf)) => Some((Some(Word::new(vrf).ok()?), asn.parse().ok()?)),
    }
}

fn option(profile: &mut BfdProfile, text: &str) -> bool {
    let (name, value) = text.rsplit_once(' ').unwrap_or((text, ""));
    let value: Option<u32> = value.parse().ok();
    match name {
        "detect-multiplier" => profile.detect_multiplier = value,
        "transmit-interval" => profile.transmit_interval = value,
        "receive-interval" => profile.receive_interval = value,
        "minimum-ttl" => profile.minimum_ttl = value,
        "echo transmit-interval" => profile.echo_transmit_interval = value,
        "echo receive-interval" => profile.echo_receive_interval = value,
        "passive-mode" => profile.passive_mode = true,
        "echo-mode" => profile.echo_mode = true,
        _ => return false,
    }
    true
}

/// A `router bgp` block.
#[derive(Default)]
struct Block {
    asn: Option<Asn>,
    id: Option<std::net::Ipv4Addr>,
    prepared: BTreeSet<&'static str>,
    sessions: BTreeMap<Neighbor, Session>,
    active: BTreeMap<(Neighbor, Family), BTreeSet<String>>,
    networks: BTreeMap<ipnet::IpNet, ClassId>,
    bare_bfd: BTreeSet<Neighbor>,
    /// Of each family; the two are one setting of ours.
    imports: BTreeMap<Family, BTreeSet<Option<Word>>>,
}

impl Block {
    fn line(&mut self, text: &str) -> bool {
        if let Some(line) = line::ROUTER.iter().find(|line| **line == text) {
            return self.prepared.insert(line);
        }
        if let Some(id) = text.strip_prefix("bgp router-id ") {
            self.id = id.parse().ok();
            return self.id.is_some();
        }
        let Some((name, rest)) = text.strip_prefix("neighbor ").and_then(|text| text.split_once(' ')) else {
            return false;
        };
        let Some(neighbor) = neighbor(name) else { return false };
        let remote_as = match neighbor {
            Neighbor::Address(_) => rest.strip_prefix("remote-as "),
            Neighbor::Interface(_) => rest.strip_prefix("interface remote-as "),
        };
        if let Some(remote_as) = remote_as {
            let remote_as = match remote_as {
                "internal" => Some(RemoteAs::Internal),
                "external" => Some(RemoteAs::External),
                number => number.parse().ok().map(RemoteAs::Number),
            };
            let Some(remote_as) = remote_as else { return false };
            self.sessions.insert(neighbor, Session::new(remote_as));
            return true;
        }
        if rest == "bfd" && self.sessions.contains_key(&neighbor) {
            self.bare_bfd.insert(neighbor);
            return true;
        }
        if rest.starts_with("bfd profile ") {
            self.bare_bfd.remove(&neighbor);
        }
        self.sessions.get_mut(&neighbor).is_some_and(|session| setting(session, rest).is_some())
    }

    fn family_line(&mut self, family: Family, text: &str) -> bool {
        if let Some(network) = text.strip_prefix("network ") {
            let parsed = network
                .split_once(" route-map ")
                .and_then(|(prefix, class)| Some((prefix.parse().ok()?, class.parse().ok()?)));
            return parsed.is_some_and(|(prefix, class)| {
                self.networks.insert(prefix, class);
                true
            });
        }
        if let Some(vrf) = text.strip_prefix("import vrf ") {
            let vrf = if vrf == "default" { None } else { Word::new(vrf).ok() };
            // `import vrf route-map NAME` is something else
            return !vrf.as_ref().is_some_and(|vrf| vrf.as_str().contains(' '))
                && self.imports.entry(family).or_default().insert(vrf);
        }
        let name = text.strip_prefix("neighbor ").and_then(|text| text.split_once(' '));
        let Some((neighbor, rest)) = name.and_then(|(name, rest)| Some((neighbor(name)?, rest))) else {
            return false;
        };
        let ours = rest == "activate" || rest.starts_with("route-map ");
        if ours {
            self.active.entry((neighbor, family)).or_default().insert(text.to_owned());
        }
        ours
    }

    fn finish(mut self, vrf: Option<&Word>, foreign: &mut Vec<String>) -> Option<Router> {
        foreign.extend(self.bare_bfd.iter().map(|n| format!(" neighbor {} bfd", super::name(n))));
        for ((neighbor, family), lines) in self.active {
            let wanted = policy_name(&neighbor, vrf).map(|policy| line::activation(&neighbor, &policy));
            let whole = wanted.is_some_and(|wanted| wanted.iter().all(|line| lines.contains(line)));
            match self.sessions.get_mut(&neighbor).filter(|_| whole) {
                Some(session) => drop(session.families.insert(family)),
                None => foreign.extend(lines.into_iter().map(|line| format!("  {line}"))),
            }
        }
        let of = |family| self.imports.get(&family).cloned().unwrap_or_default();
        let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = (of(Family::V4), of(Family::V6));
        Some(Router {
            imports: v4.intersection(&v6).cloned().collect(),
            asn: self.asn?,
            id: self.id,
            prepared: self.prepared.len() == line::ROUTER.len(),
            sessions: self.sessions,
            networks: self.networks,
        })
    }
}

impl Session {
    /// A session with every setting at FRR's default, and no family.
    const fn new(remote_as: RemoteAs) -> Self {
        Self {
            remote_as,
            local_as: None,
            bfd: None,
            password: None,
            port: None,
            multihop: false,
            ttl_security: None,
            skip_connected_check: false,
            source: None,
            timers: None,
            connect_time: None,
            graceful_restart: GracefulRestart::Aware,
            families: BTreeSet::new(),
        }
    }
}

fn neighbor(name: &str) -> Option<Neighbor> {
    match name.parse() {
        Ok(ip) => Some(Neighbor::Address(ip)),
        Err(_) => Word::new(name).ok().map(Neighbor::Interface),
    }
}

fn setting(session: &mut Session, text: &str) -> Option<()> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "local-as" => session.local_as = Some(rest.strip_suffix(" no-prepend replace-as")?.parse().ok()?),
        "bfd" => session.bfd = Some(Word::new(rest.strip_prefix("profile ")?).ok()?),
        "password" => session.password = Some(Password::new(rest).ok()?),
        "port" => session.port = Some(rest.parse().ok()?),
        // FRR 8 adds the hops that it allows then
        "ebgp-multihop" if matches!(rest, "" | "255") => session.multihop = true,
        "ttl-security" => session.ttl_security = Some(rest.strip_prefix("hops ")?.parse().ok()?),
        "disable-connected-check" => session.skip_connected_check = true,
        "update-source" => session.source = Some(Word::new(rest).ok()?),
        "timers" => match rest.split_once(' ')? {
            ("connect", time) => session.connect_time = Some(time.parse().ok()?),
            (keepalive, hold) => {
                session.timers =
                    Some(Timers { keepalive: u16::from_str(keepalive).ok()?, hold: hold.parse().ok()? });
            }
        },
        "graceful-restart" => session.graceful_restart = GracefulRestart::On,
        "graceful-restart-disable" => session.graceful_restart = GracefulRestart::Off,
        _ => return None,
    }
    Some(())
}
