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
    io::{
        files,
        observe::{Observed, Role},
    },
    names::NodeName,
    plan::Viewpoint,
    world::{Class, Ingress},
};
use anyhow::Context;
use std::path::Path;
use tokio::{runtime::Builder, sync::mpsc};

/// The frr.conf of `node`, and what is wrong with the objects.
///
/// # Errors
/// A directory that cannot be read.
pub fn render(dir: &Path, namespace: &str, node: &str) -> anyhow::Result<(String, Problems)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let read = |role| runtime.block_on(observe(dir, namespace, role));
    let mut allocator = Allocator::new(Class::default(), read(Role::Controller)?);
    allocator.refresh();
    let mut observed = read(Role::Speaker)?;
    for status in allocator.decide().context("the directory was not read whole")?.statuses {
        if let Some(service) = observed.world.services.get_mut(&status.key) {
            service.ingress = status.ips.iter().map(|ip| Ingress::Ip((*ip).into())).collect();
        }
    }
    let me = Viewpoint { node: NodeName::from(node), class: Class::default(), ignore_exclude_label: false };
    let mut announcer = Announcer::new(me, observed);
    announcer.refresh();
    let Desired { frr: model, .. } = announcer.decide().context("the directory was not read whole")?;
    Ok((frr::render(&model).context("render frr.conf")?, announcer.problems()))
}

/// Everything that the directory says now.
async fn observe(dir: &Path, namespace: &str, role: Role) -> anyhow::Result<Observed> {
    let (to, mut changes) = mpsc::channel(64);
    let mut observed = Observed::new(role);
    let mut reading = Box::pin(files::run(dir, namespace, role, to, None));
    while !observed.synced() {
        tokio::select! {
            Some(change) = changes.recv() => drop(observed.apply(change)),
            ended = &mut reading => ended?,
        }
    }
    Ok(observed)
}
