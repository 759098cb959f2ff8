//! BGP instances: settings, sessions, networks.

use super::{Daemon, Line, Step, Subject};
use crate::{
    config::Neighbor,
    frr::{
        Model, Router, Session,
        line::{self, Setting},
        policy_name,
    },
    names::Word,
    net::Family,
};
use ipnet::IpNet;
use std::collections::BTreeMap;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

pub(super) fn routers(from: &Model, to: &Model, steps: &mut Vec<Step>) {
    // an instance cannot change its AS
    let stays = |vrf: &Option<Word>, router: &Router| {
        to.routers.get(vrf).is_some_and(|wanted| wanted.asn == router.asn)
    };
    // first, since FRR keeps an instance that another one imports
    for (vrf, router) in &from.routers {
        let wanted = to.routers.get(vrf).filter(|_| stays(vrf, router));
        let gone = router.imports.iter().filter(|vrf| wanted.is_none_or(|w| !w.imports.contains(*vrf)));
        let gone: Vec<_> = gone.map(|vrf| format!("no {}", line::import(vrf.as_ref()))).collect();
        At { vrf, head: line::router(router, vrf.as_ref()) }.imports(&gone, steps);
    }
    for (vrf, router) in from.routers.iter().filter(|(vrf, router)| !stays(vrf, router)) {
        let at = At { vrf, head: line::router(router, vrf.as_ref()) };
        at.sessions_end(router, steps);
        steps.push(Step::plain(vec![format!("no {}", at.head)], &at.subject()));
    }
    for (vrf, wanted) in &to.routers {
        let had = from.routers.get(vrf).filter(|had| had.asn == wanted.asn);
        let at = At { vrf, head: line::router(wanted, vrf.as_ref()) };
        let late = at.settings(had, wanted, steps);
        for family in FAMILIES {
            at.activation(had, wanted, family, steps);
        }
        if !late.is_empty() {
            at.push(None, late, steps);
        }
        for family in FAMILIES {
            at.networks(had, wanted, family, steps);
        }
    }
    for (vrf, wanted) in &to.routers {
        let had = from.routers.get(vrf).filter(|had| had.asn == wanted.asn);
        let new = wanted.imports.iter().filter(|vrf| had.is_none_or(|had| !had.imports.contains(*vrf)));
        let new: Vec<_> = new.map(|vrf| line::import(vrf.as_ref())).collect();
        At { vrf, head: line::router(wanted, vrf.as_ref()) }.imports(&new, steps);
    }
}

/// One instance.
struct At<'a> {
    vrf: &'a Option<Word>,
    head: String,
}

impl At<'_> {
    fn subject(&self) -> Subject {
        Subject::Router(self.vrf.clone())
    }

    fn push(&self, family: Option<Family>, lines: Vec<Line>, steps: &mut Vec<Step>) {
        let mut context = vec![Line { text: self.head.clone(), subject: self.subject() }];
        if let Some(family) = family {
            context.push(Line { text: line::family(family), subject: self.subject() });
        }
        steps.push(Step { daemon: Daemon::Bgp, context, lines, undo: None });
    }

    /// The same lines for both families.
    fn imports(&self, lines: &[String], steps: &mut Vec<Step>) {
        for family in FAMILIES.into_iter().filter(|_| !lines.is_empty()) {
            let lines = lines.iter().map(|text| Line { text: text.clone(), subject: self.subject() });
            self.push(Some(family), lines.collect(), steps);
        }
    }

    /// What comes before the end of an instance. FRR closes the sessions of one that goes without a NOTIFICATION, and
    /// a router that takes that for a restart keeps every route. A neighbour that goes is sent one, after which no
    /// router keeps anything: no network needs to be withdrawn before.
    fn sessions_end(&self, had: &Router, steps: &mut Vec<Step>) {
        let mut lines: Vec<Line> =
            had.sessions.iter().map(|(neighbor, had)| self.end(neighbor, had)).collect();
        // FRR 10 hides a default instance that goes while there are others, and takes its id out again with a new one
        let id = had.id.map(|_| Line { text: "no bgp router-id".to_owned(), subject: self.subject() });
        lines.extend(id);
        if !lines.is_empty() {
            self.push(None, lines, steps);
        }
    }

    /// Everything outside an address family, but for the lines that it hands back: FRR calls a neighbour as soon as
    /// it is told how often to, and without a family yet the call would end in a NOTIFICATION.
    fn settings(&self, had: Option<&Router>, wanted: &Router, steps: &mut Vec<Step>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut late = Vec::new();
        let own = |text: String| Line { text, subject: self.subject() };
        if wanted.prepared && !had.is_some_and(|had| had.prepared) {
            lines.extend(line::ROUTER.map(|text| own(text.to_owned())));
        }
        match (had.and_then(|had| had.id), wanted.id) {
            (a, b) if a == b => {}
            (_, Some(id)) => lines.push(own(format!("bgp router-id {id}"))),
            (_, None) => lines.push(own("no bgp router-id".to_owned())),
        }
        let none = BTreeMap::new();
        let sessions = had.map_or(&none, |had| &had.sessions);
        for (neighbor, session) in sessions {
            if !stays(neighbor, session, &wanted.sessions) {
                lines.push(self.end(neighbor, session));
            }
        }
        for (neighbor, session) in &wanted.sessions {
            let had = sessions.get(neighbor).filter(|had| had.remote_as == session.remote_as);
            if had == Some(session) {
                continue;
            }
            if had.is_none() {
                lines.push(self.about(neighbor, line::remote_as(neighbor, session.remote_as)));
            }
            let had = had.map(|had| line::options(neighbor, had)).unwrap_or_default();
            let options = line::options(neighbor, session);
            let (lost, new) = differences(&had, &options);
            lines.extend(lost.into_iter().map(|text| self.about(neighbor, text)));
            for (setting, text) in new {
                let line = self.about(neighbor, text);
                match setting {
                    Setting::ConnectTime => late.push(line),
                    _ => lines.push(line),
                }
            }
        }
        if had.is_none() || !lines.is_empty() {
            self.push(None, lines, steps);
        }
        late
    }

    fn activation(&self, had: Option<&Router>, wanted: &Router, family: Family, steps: &mut Vec<Step>) {
        let active = |neighbor: &Neighbor, router: Option<&Router>| {
            let session = router.and_then(|router| router.sessions.get(neighbor));
            session.is_some_and(|session| session.families.contains(&family))
        };
        let mut lines = Vec::new();
        for (neighbor, session) in &wanted.sessions {
            let Some(policy) = policy_name(neighbor, self.vrf.as_ref()) else { continue };
            let before = had.filter(|had| {
                had.sessions.get(neighbor).is_some_and(|had| had.remote_as == session.remote_as)
            });
            let activation = line::activation(neighbor, &policy);
            match (active(neighbor, before), active(neighbor, Some(wanted))) {
                (false, true) => lines.extend(activation.map(|text| self.about(neighbor, text))),
                (true, false) => {
                    let off = activation.iter().rev().map(|text| format!("no {text}"));
                    lines.extend(off.map(|text| self.about(neighbor, text)));
                }
                _ => {}
            }
        }
        if !lines.is_empty() {
            self.push(Some(family), lines, steps);
        }
    }

    fn networks(&self, had: Option<&Router>, wanted: &Router, family: Family, steps: &mut Vec<Step>) {
        let none = BTreeMap::new();
        let had = had.map_or(&none, |had| &had.networks);
        let mine = |prefix: &IpNet| Family::of_net(*prefix) == family;
        let line =
            |prefix: IpNet, text: String| Line { text, subject: Subject::Prefix(self.vrf.clone(), prefix) };
        let mut lines = Vec::new();
        let mut rest = had.iter().filter(|(prefix, _)| mine(prefix)).peekable();
        let mut gone = Vec::new();
        for (prefix, class) in wanted.networks.iter().filter(|(prefix, _)| mine(prefix)) {
            while let Some((old, _)) = rest.next_if(|(old, _)| *old < prefix) {
                gone.push(*old);
            }
            let before = rest.next_if(|(old, _)| *old == prefix).map(|(_, class)| class);
            if before != Some(class) {
                lines.push(line(*prefix, format!("network {prefix} route-map {class}")));
            }
        }
        gone.extend(rest.map(|(old, _)| *old));
        lines.extend(gone.into_iter().map(|prefix| line(prefix, format!("no network {prefix}"))));
        if !lines.is_empty() {
            self.push(Some(family), lines, steps);
        }
    }

    fn end(&self, neighbor: &Neighbor, session: &Session) -> Line {
        self.about(neighbor, format!("no {}", line::remote_as(neighbor, session.remote_as)))
    }

    fn about(&self, neighbor: &Neighbor, text: String) -> Line {
        Line { text, subject: Subject::Neighbor(self.vrf.clone(), neighbor.clone()) }
    }
}

/// What takes the options away that are not wanted so any more, and the lines of the new ones.
///
/// FRR lets BFD go on where it looked first when a neighbour is to be found elsewhere: it begins anew then. And FRR 10
/// lets a session rest that BFD has ended, also when BFD is taken away from it; the line of the connect time, which
/// every session that is wanted has, wakes it.
fn differences(
    had: &BTreeMap<Setting, String>,
    wanted: &BTreeMap<Setting, String>,
) -> (Vec<String>, Vec<(Setting, String)>) {
    let elsewhere = [had, wanted].iter().all(|all| all.contains_key(&Setting::Bfd))
        && Setting::AIM.iter().any(|setting| had.get(setting) != wanted.get(setting));
    let anew = |setting: &Setting| elsewhere && matches!(setting, Setting::Bfd | Setting::BfdProfile);
    let gone = |setting: &Setting| !wanted.contains_key(setting) || anew(setting);
    let unwatched = had.contains_key(&Setting::Bfd) && gone(&Setting::Bfd);
    let set = |setting: &Setting, text| {
        had.get(setting) != Some(text) || anew(setting) || unwatched && *setting == Setting::ConnectTime
    };
    // the other way round: a BFD profile goes before BFD
    let lost = had.iter().rev().filter(|(setting, _)| gone(setting)).map(|(_, text)| format!("no {text}"));
    let new = wanted.iter().filter(|(setting, text)| set(setting, text));
    (lost.collect(), new.map(|(setting, text)| (*setting, text.clone())).collect())
}

/// Whether the session can become what is wanted of it; its remote AS cannot change.
fn stays(neighbor: &Neighbor, session: &Session, wanted: &BTreeMap<Neighbor, Session>) -> bool {
    wanted.get(neighbor).is_some_and(|wanted| wanted.remote_as == session.remote_as)
}
