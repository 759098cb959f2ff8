//! `ferrolb render`: the frr.conf that a node would run, from a manifest directory alone.
//!
//! Runs both programs' deciding halves once, on what the directory says now; writes nothing.

use super::{
    allocator::Allocator,
    announcer::{Announcer, Desired},
};
use crate::{
    config::Problems,
    frr,
    io::{files, observe::Role},
    names::NodeName,
    plan::{Leave, Viewpoint},
    world::{Class, Ingress},
};
use anyhow::Context;
use ipnet::IpNet;
use std::path::Path;

/// The frr.conf of `node`, whose neighbours may tell it nothing of `block`, and what is wrong with the objects.
///
/// # Errors
/// A directory that cannot be read.
pub fn render(
    dir: &Path,
    namespace: &str,
    node: &str,
    block: Vec<IpNet>,
) -> anyhow::Result<(String, Problems)> {
    let read = |role| files::read(dir, namespace, role);
    let mut allocator = Allocator::new(Class::default(), read(Role::Controller)?);
    allocator.refresh();
    let mut observed = read(Role::Speaker)?;
    for status in allocator.decide().context("the directory was not read whole")?.statuses {
        if let Some(service) = observed.world.services.get_mut(&status.key) {
            service.ingress = status.ips.iter().map(|ip| Ingress::Ip((*ip).into())).collect();
        }
    }
    let me = Viewpoint {
        node: NodeName::from(node),
        class: Class::default(),
        frr: true,
        ignore_exclude_label: false,
        drain_on_cordon: false,
        leave: Leave::Staying,
    };
    let mut announcer = Announcer::new(me, frr::LogLevel::Informational, block, observed);
    announcer.refresh();
    let Desired { frr: model, .. } = announcer.decide().context("the directory was not read whole")?;
    let model = model.context("nothing was built")?;
    Ok((frr::render(&model).context("render frr.conf")?, announcer.problems()))
}
