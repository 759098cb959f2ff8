//! The EVPN address family: merged here, and lines that the model knows nothing of from here on.
//!
//! What needs several objects to judge, as whether a router has an EVPN neighbour at all, is judged when all are in.

use super::{Faults, combine::Conflict};
use crate::{
    api,
    config::{Neighbor, Problems},
    frr::{Model, RawLine, line, name},
    names::{Asn, Word},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// EVPN of all routers.
#[derive(Clone, Debug, Default)]
pub(super) struct Evpn(BTreeMap<Option<Word>, Router>);

#[derive(Clone, Debug, Default)]
struct Router {
    /// Neighbours that carry it, and the object that said so first.
    neighbors: BTreeMap<Neighbor, String>,
    family: Option<AddressFamily>,
}

/// What one object says, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AddressFamily {
    /// The object, the first of several, and the field of its router.
    owner: (String, String),
    all_vnis: bool,
    svi: bool,
    l2: BTreeMap<i32, Vni>,
    l3: Option<(i32, Vni)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Vni {
    rd: Option<Word>,
    imports: BTreeSet<Word>,
    exports: BTreeSet<Word>,
}

impl Evpn {
    /// A neighbour carries it.
    pub(super) fn carry(&mut self, vrf: &Option<Word>, neighbor: &Neighbor, owner: &str) {
        let router = self.0.entry(vrf.clone()).or_default();
        router.neighbors.entry(neighbor.clone()).or_insert_with(|| owner.to_owned());
    }

    /// Adds what a router of an object says.
    pub(super) fn add(
        &mut self,
        vrf: &Option<Word>,
        from: &api::FRREvpn,
        owner: &str,
        at: &str,
        faults: &mut Faults,
    ) {
        let Some(new) = read(from, owner, at, faults) else { return };
        let router = self.0.entry(vrf.clone()).or_default();
        match &mut router.family {
            None => router.family = Some(new),
            Some(had) => match had.join(new) {
                Ok(both) => *had = both,
                Err((field, what)) => faults.add(format!("{at}.evpn.{field}"), what),
            },
        }
    }

    /// The lines, of routers that `model` has.
    pub(super) fn settle(self, model: &Model, problems: &mut Problems) -> Vec<RawLine> {
        let mut lines = Vec::new();
        let mut taken = BTreeSet::new();
        for (vrf, evpn) in self.0 {
            let Some(router) = model.routers.get(&vrf) else { continue };
            let path = [line::router(router, vrf.as_ref()), "address-family l2vpn evpn".to_owned()];
            for (neighbor, owner) in &evpn.neighbors {
                push(&mut lines, &path, format!("neighbor {} activate", name(neighbor)), owner);
            }
            let Some(family) = evpn.family else { continue };
            let (owner, at) = &family.owner;
            let mut fault = |field: &str, what: String| {
                problems.add(super::object(owner), format!("{at}.evpn{field}"), what);
            };
            let speaks = !evpn.neighbors.is_empty();
            if !speaks && (family.all_vnis || family.svi || !family.l2.is_empty()) {
                fault("", "needs a neighbor with the address family evpn".to_owned());
            } else {
                let flags = [(family.all_vnis, "advertise-all-vni"), (family.svi, "advertise-svi-ip")];
                for (_, text) in flags.iter().filter(|(set, _)| *set) {
                    push(&mut lines, &path, (*text).to_owned(), owner);
                }
                for (number, vni) in &family.l2 {
                    if !taken.insert(*number) {
                        fault(".l2vnis", format!("duplicate VNI {number}"));
                        continue;
                    }
                    let head = format!("vni {number}");
                    if *vni != Vni::default() {
                        push(&mut lines, &path, head.clone(), owner);
                        let own = automatic(router.asn, *number);
                        vni.lines(&[path.as_slice(), &[head]].concat(), &own, owner, &mut lines);
                    }
                }
            }
            let Some((number, vni)) = &family.l3 else { continue };
            if !router.sessions.is_empty() {
                fault(".l3vni", "cannot be on a router with neighbors".to_owned());
            } else if !taken.insert(*number) {
                fault(".l3vni", format!("duplicate VNI {number}"));
            } else {
                let vrf = vrf.iter().map(|vrf| format!("vrf {vrf}")).collect::<Vec<_>>();
                push(&mut lines, &vrf, format!("vni {number}"), owner);
                for family in ["ipv4", "ipv6"] {
                    push(&mut lines, &path, format!("advertise {family} unicast"), owner);
                }
                vni.lines(&path, &automatic(router.asn, *number), owner, &mut lines);
            }
        }
        lines
    }
}

/// The route target that FRR gives a VNI by itself: two octets of the AS, and the number.
fn automatic(asn: Asn, vni: i32) -> String {
    format!("{}:{vni}", asn.get() & 0xffff)
}

fn push(lines: &mut Vec<RawLine>, path: &[String], text: String, owner: &str) {
    lines.push(RawLine { path: path.to_vec(), text, owner: owner.to_owned() });
}

impl AddressFamily {
    fn join(&self, other: Self) -> Result<Self, Conflict> {
        if self.all_vnis != other.all_vnis {
            return Err(("advertiseVNIs", "different from that of an earlier object".to_owned()));
        }
        if self.svi != other.svi {
            return Err(("advertiseSVI", "different from that of an earlier object".to_owned()));
        }
        let mut both = self.clone();
        for (number, vni) in other.l2 {
            let joined = match both.l2.get(&number) {
                Some(had) => had.join(vni, "l2vnis", number)?,
                None => vni,
            };
            both.l2.insert(number, joined);
        }
        both.l3 = match (both.l3, other.l3) {
            (Some((a, _)), Some((b, _))) if a != b => {
                return Err(("l3vni", format!("VNI {b} is not {a} of an earlier object")));
            }
            (Some((number, a)), Some((_, b))) => Some((number, a.join(b, "l3vni", number)?)),
            (a, b) => a.or(b),
        };
        Ok(both)
    }
}

impl Vni {
    fn join(&self, other: Self, field: &'static str, number: i32) -> Result<Self, Conflict> {
        let rd = match (&self.rd, other.rd) {
            (Some(a), Some(b)) if *a != b => {
                return Err((field, format!("VNI {number} has the route distinguishers {a} and {b}")));
            }
            (a, b) => a.clone().or(b),
        };
        let targets = |a: &BTreeSet<Word>, b: BTreeSet<Word>| {
            if a.is_empty() == b.is_empty() {
                return Ok(a.union(&b).cloned().collect());
            }
            Err((
                field,
                format!("VNI {number} has route targets in one object, and the default ones in another"),
            ))
        };
        let imports = targets(&self.imports, other.imports)?;
        Ok(Self { rd, imports, exports: targets(&self.exports, other.exports)? })
    }

    /// The target that FRR would give it by itself comes last: said before another one, it counts for nothing.
    fn lines(&self, path: &[String], own: &str, owner: &str, lines: &mut Vec<RawLine>) {
        let in_order = |targets: &BTreeSet<Word>, verb: &str| {
            let (last, first): (Vec<&Word>, Vec<_>) =
                targets.iter().partition(|target| target.as_str() == own);
            let lines = first.into_iter().chain(last).map(|target| format!("route-target {verb} {target}"));
            lines.collect::<Vec<_>>()
        };
        let rd = self.rd.iter().map(|rd| format!("rd {rd}"));
        let (imports, exports) = (in_order(&self.imports, "import"), in_order(&self.exports, "export"));
        rd.chain(imports).chain(exports).for_each(|text| push(lines, path, text, owner));
    }
}

fn read(from: &api::FRREvpn, owner: &str, at: &str, faults: &mut Faults) -> Option<AddressFamily> {
    let mut clean = true;
    // FRR takes any AS's target for a VRF only
    let mut vni = |number: i32, marks: &api::FRRRouteMarks, any: bool, field: String| {
        let mut fault = |rest: &str, what: String| {
            faults.add(format!("{at}.evpn.{field}{rest}"), what);
            clean = false;
        };
        if !(1..=16_777_215).contains(&number) {
            fault(".vni", format!("{number} is not in 1..16777215"));
        }
        let mut vni = Vni::default();
        if !marks.rd.is_empty() {
            match target(&marks.rd, false) {
                Ok(rd) => vni.rd = Some(rd),
                Err(what) => fault(".rd", what),
            }
        }
        let lists = [
            (&marks.import_rts, "importRTs", any, &mut vni.imports),
            (&marks.export_rts, "exportRTs", false, &mut vni.exports),
        ];
        for (list, name, wildcard, targets) in lists {
            for (i, text) in list.iter().enumerate() {
                match target(text, wildcard) {
                    Ok(word) => drop(targets.insert(word)),
                    Err(what) => fault(&format!(".{name}[{i}]"), what),
                }
            }
        }
        vni
    };
    let mut l2 = BTreeMap::new();
    let mut twice = Vec::new();
    for (i, from) in from.l2vnis.iter().enumerate() {
        let vni = vni(from.vni, &from.marks, false, format!("l2vnis[{i}]"));
        if l2.insert(from.vni, vni).is_some() {
            twice.push((format!("{at}.evpn.l2vnis[{i}].vni"), format!("duplicate VNI {}", from.vni)));
        }
    }
    let l3 = from.l3vni.as_ref().map(|from| (from.vni, vni(from.vni, &from.marks, true, "l3vni".to_owned())));
    for (field, what) in twice {
        clean = false;
        faults.add(field, what);
    }
    clean.then(|| AddressFamily {
        owner: (owner.to_owned(), at.to_owned()),
        all_vnis: from.advertise_vnis == Some(api::FRRAdvertiseVnis::All),
        svi: from.advertise_svi.unwrap_or_default(),
        l2,
        l3,
    })
}

/// A route distinguisher or target (RFC 4364 §4.2, RFC 4360): an address or an AS, and a number, six octets together.
fn target(text: &str, wildcard: bool) -> Result<Word, String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let good = text.split_once(':').is_some_and(|(left, right)| {
        let Some(right) = number(right) else { return false };
        let small = u16::try_from(right).is_ok();
        match number(left) {
            Some(asn) => u16::try_from(asn).is_ok() || small,
            None => (wildcard && left == "*") || (left.parse::<Ipv4Addr>().is_ok() && small),
        }
    });
    match Word::new(text) {
        Ok(word) if good => Ok(word),
        _ => Err(format!("{text:?} is neither ADDRESS:NUMBER nor AS:NUMBER, six octets together")),
    }
}
