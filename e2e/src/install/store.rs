//! What containerd keeps of the images: unpacked once into the cache, and given to every node as hard links.
//!
//! Unpacking a few hundred megabytes on each node would take longer than all the rest. Neither a layer nor an unpacked
//! file is ever written again, so that nodes can share them; the databases are copied.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sha2::{Digest as _, Sha256};

use super::{images::Images, machine::only_child};
use crate::{
    bins,
    cluster::PATIENCE,
    process::{Running, Spawn},
    wait,
    warden::Warden,
};

/// A directory of containerd's with these images unpacked, made when it is not in the cache.
pub(super) fn prepared(images: &Images, warden: &Warden) -> Result<PathBuf> {
    let names: Vec<String> = images.archives().map(|archive| archive.display().to_string()).collect();
    let digest: String =
        Sha256::digest(names.join(" ")).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let stores = images.cache()?.join("stores");
    let store = stores.join(digest);
    if store.exists() {
        return Ok(store);
    }
    fs::create_dir_all(&stores).with_context(|| format!("make {}", stores.display()))?;
    let unfinished = stores.join(format!("building-{}", warden.id()));
    unpack(images, warden, &unfinished)?;
    // where somebody else was faster, theirs is as good
    match fs::rename(&unfinished, &store) {
        Err(_) if store.exists() => fs::remove_dir_all(&unfinished)?,
        other => other.with_context(|| format!("rename to {}", store.display()))?,
    }
    Ok(store)
}

/// Gives a node the contents of a store.
pub(super) fn fill(root: &Path, store: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    let copy = |options: &str| {
        let from = store.join(".");
        Spawn::new("cp").arg(options).arg(from).arg(root).limit(Duration::from_mins(3)).text()
    };
    // across file systems there are no links
    copy("-al").or_else(|_| copy("-a"))?;
    for below in fs::read_dir(root)? {
        for file in fs::read_dir(below?.path())? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "db") {
                let own = file.with_extension("own");
                fs::copy(&file, &own)?;
                fs::rename(&own, &file)?;
            }
        }
    }
    Ok(())
}

/// Runs a containerd that does nothing else, with mounts of its own.
fn unpack(images: &Images, warden: &Warden, root: &Path) -> Result<()> {
    let dir = warden.make_dir("store")?;
    let (config, socket) = (dir.join("containerd.toml"), dir.join("containerd.sock"));
    let text = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
         \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = \"{}\"\n",
        root.display(),
        dir.join("state").display(),
        socket.display()
    );
    fs::write(&config, text)?;
    let containerd = Spawn::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(bins::tool("containerd")?)
        .arg("--config")
        .arg(&config)
        .log(dir.join("containerd.log"))
        .start(warden)?;
    containerd
        .wait_for(PATIENCE, "containerd to serve", || Ok(ctr(&socket, &["version"]).is_ok().then_some(())))?;
    for archive in images.archives() {
        let file = archive.display().to_string();
        ctr(&socket, &["images", "import", &file]).with_context(|| format!("import {file}"))?;
    }
    end(&containerd)
}

/// Lets it close its databases.
fn end(containerd: &Running) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(only_child(containerd.pid())?)?), Signal::SIGTERM)?;
    wait::until(PATIENCE, "containerd to end", || containerd.ended()).map(drop)
}

fn ctr(socket: &Path, args: &[&str]) -> Result<String> {
    Spawn::new(bins::tool("ctr")?)
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io"])
        .args(args)
        .limit(Duration::from_mins(3))
        .text()
}
