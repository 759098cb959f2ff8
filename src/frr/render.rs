//! Model → `frr.conf`, what FRR starts from.
//!
//! The templates loop and test; every line that FRR could spell in another way comes from the same place as the
//! lines of a delta.

use super::{ClassId, LogLevel, Model, Policy, line, policy_name, raw};
use crate::{names::Word, net::Family};
use serde::Serialize;
use std::fmt::Write;
use tera::{Context, Tera};

const TEMPLATES: [(&str, &str); 5] = [
    ("frr.conf.tera", include_str!("../../templates/frr.conf.tera")),
    ("classes.tera", include_str!("../../templates/classes.tera")),
    ("policies.tera", include_str!("../../templates/policies.tera")),
    ("routers.tera", include_str!("../../templates/routers.tera")),
    ("bfd.tera", include_str!("../../templates/bfd.tera")),
];

/// The text of `frr.conf`.
///
/// # Errors
/// Never for a reason that is in the model: an error is a fault of the templates.
pub fn render(model: &Model) -> Result<String, tera::Error> {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&'static str>::new());
    tera.add_raw_templates(TEMPLATES)?;
    let mut text = tera.render("frr.conf.tera", &Context::from_serialize(&Page::of(model))?)?;
    text.push_str(&raw::print(&model.raw));
    Ok(text)
}

#[derive(Serialize)]
struct Page {
    log: String,
    leaving: Option<&'static str>,
    debug: Vec<&'static str>,
    lists: Vec<String>,
    classes: Vec<ClassBlock>,
    policies: Vec<PolicyBlock>,
    routers: Vec<RouterBlock>,
    bfd: Vec<NamedLines>,
}

#[derive(Serialize)]
struct ClassBlock {
    list: String,
    head: String,
    tag: String,
}

#[derive(Serialize)]
struct PolicyBlock {
    name: String,
    plain: String,
    gates: Vec<NamedLines>,
    inbound: u16,
    entries: Vec<EntryBlock>,
    last: u16,
}

#[derive(Serialize)]
struct EntryBlock {
    place: u16,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct RouterBlock {
    head: String,
    lines: Vec<String>,
    families: Vec<FamilyBlock>,
    /// What makes FRR dial: only when the neighbour has its families, or the first attempt is lost.
    last: Vec<String>,
}

#[derive(Serialize)]
struct FamilyBlock {
    name: String,
    /// The lines of all networks in one text: ten thousand values would be most of what the template engine does.
    networks: String,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct NamedLines {
    name: String,
    lines: Vec<String>,
}

/// The entries of an in-map before its `deny`.
fn gates(name: &Word, policy: &Policy) -> Vec<NamedLines> {
    let first = policy.plain.then(|| {
        let (head, line) = line::first(name);
        NamedLines { name: head, lines: vec![line.to_owned()] }
    });
    let gates = policy.gates.iter().map(|(place, gate)| NamedLines {
        name: line::gate_head(name, *place, gate),
        lines: line::gate(gate),
    });
    first.into_iter().chain(gates).collect()
}

impl Page {
    fn of(model: &Model) -> Self {
        let policies = model.policies.iter().map(|(name, policy)| PolicyBlock {
            name: name.to_string(),
            plain: if policy.plain { line::plain(name) } else { String::new() },
            gates: gates(name, policy),
            inbound: Policy::INBOUND,
            entries: policy
                .entries
                .iter()
                .map(|(place, entry)| EntryBlock { place: *place, lines: line::entry(entry) })
                .collect(),
            last: Policy::LAST,
        });
        let bfd = model.bfd.iter().map(|(name, profile)| NamedLines {
            name: name.to_string(),
            lines: line::profile(profile).into_values().collect(),
        });
        let ranges = model.lists.iter().flat_map(|(list, ranges)| ranges.iter().map(move |r| (list, r)));
        let ranges = ranges.map(|(list, (place, range))| line::range(list, *place, range));
        Self {
            lists: ranges.chain(model.guard.then(|| line::GUARD.to_owned())).collect(),
            log: model.log.map(|level| level.to_string()).unwrap_or_default(),
            leaving: model.leaving.then_some(line::LEAVING),
            debug: match model.log {
                Some(LogLevel::Debugging) => {
                    [&line::DEBUG_ZEBRA[..], &line::DEBUG_BGP[..], &line::DEBUG_BFD[..]].concat()
                }
                _ => Vec::new(),
            },
            classes: model.classes.iter().map(|class| ClassBlock::of(*class)).collect(),
            policies: policies.collect(),
            routers: routers(model),
            bfd: bfd.collect(),
        }
    }
}

impl ClassBlock {
    fn of(class: ClassId) -> Self {
        let (list, [head, tag]) = line::class(class);
        Self { list, head, tag }
    }
}

fn routers(model: &Model) -> Vec<RouterBlock> {
    let block = |(vrf, router): (&Option<_>, &super::Router)| {
        let mut lines: Vec<String> = line::ROUTER.iter().map(ToString::to_string).collect();
        let mut last = Vec::new();
        lines.extend(router.id.map(|id| format!("bgp router-id {id}")));
        for (neighbor, session) in &router.sessions {
            lines.push(line::remote_as(neighbor, session.remote_as));
            let mut options = line::options(neighbor, session);
            last.extend(options.remove(&line::Setting::ConnectTime));
            lines.extend(options.into_values());
        }
        let families = [Family::V4, Family::V6].map(|family| {
            let mut networks = String::new();
            for (prefix, class) in router.networks.iter().filter(|(p, _)| Family::of_net(**p) == family) {
                // writing to a String does not fail
                let _ = writeln!(networks, "  network {prefix} route-map {class}");
            }
            let mut lines = Vec::new();
            for (neighbor, _) in router.sessions.iter().filter(|(_, s)| s.families.contains(&family)) {
                if let Some(policy) = policy_name(neighbor, vrf.as_ref()) {
                    lines.extend(line::activation(neighbor, &policy));
                }
            }
            FamilyBlock { name: line::family(family), networks, lines }
        });
        let families =
            families.into_iter().filter(|f| !f.lines.is_empty() || !f.networks.is_empty()).collect();
        RouterBlock { head: line::router(router, vrf.as_ref()), lines, families, last }
    };
    let mut blocks: Vec<_> = model.routers.iter().map(block).collect();
    // an instance is there before another one imports it
    for (vrf, router) in model.routers.iter().filter(|(_, router)| !router.imports.is_empty()) {
        let lines: Vec<_> = router.imports.iter().map(|vrf| line::import(vrf.as_ref())).collect();
        let families = [Family::V4, Family::V6].map(|family| FamilyBlock {
            name: line::family(family),
            networks: String::new(),
            lines: lines.clone(),
        });
        blocks.push(RouterBlock {
            head: line::router(router, vrf.as_ref()),
            lines: Vec::new(),
            families: families.into(),
            last: Vec::new(),
        });
    }
    blocks
}
