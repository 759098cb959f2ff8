//! The one cluster of these tests, and what is installed on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use ferrolb_e2e::{
    install::Installation,
    tor::{BirdTor, FrrTor},
    wait,
};

/// Every node has the product of this manifest, or none has any.
pub(crate) type Installed = Option<&'static str>;

/// The cluster, with Pods `app=web` on every node, and the routers. It is never dropped, since statics are not: the
/// warden ends it with the process.
pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) tor: FrrTor,
    pub(crate) bird: BirdTor,
    installed: Installed,
}

/// One test's turn.
pub(crate) struct Turn(MutexGuard<'static, Option<World>>);

/// Waits for a turn; whoever comes first starts the cluster.
pub(crate) fn turn() -> Result<Turn> {
    static WORLD: Mutex<Option<World>> = Mutex::new(None);
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    if world.is_none() {
        *world = Some(World::start()?);
    }
    Ok(Turn(world))
}

impl Turn {
    pub(crate) fn world(&mut self) -> Result<&mut World> {
        self.0.as_mut().context("there is no cluster")
    }
}

impl World {
    fn start() -> Result<Self> {
        let started = wait::now();
        let installation = Installation::start(3)?;
        eprintln!("nodes Ready after {:?}", started.elapsed());
        let fabric = installation.cluster.fabric();
        let (tor, bird) = (FrrTor::start(fabric)?, BirdTor::start(fabric)?);
        installation.serve("web")?;
        eprintln!("Pods Ready after {:?}", started.elapsed());
        Ok(Self { installation, tor, bird, installed: None })
    }

    /// Removes what is installed, with the Services, when that is something else than wanted. True when the caller has
    /// to install.
    pub(crate) fn shall_be(&mut self, wanted: Installed) -> Result<bool> {
        if self.installed == wanted {
            return Ok(false);
        }
        if let Some(file) = self.installed {
            let services = ["-n", "default", "delete", "service", "routed", "flat", "--ignore-not-found"];
            self.installation.cluster.kubectl().run(&services)?;
            self.installation.uninstall(file, None)?;
        }
        // whoever installs and fails leaves it to the next one to clear up
        self.installed = wanted;
        Ok(wanted.is_some())
    }
}

pub(crate) const FRR: &str = "ferrolb.yaml";
pub(crate) const L2: &str = "ferrolb-l2.yaml";
