//! Control groups of a lab: one directory of the lab's name in every hierarchy, made for its kubelets and removed with
//! all that they and runc made below.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// Makes the group `path` (`fl1234/n1`) in every hierarchy. One caller at a time makes the first part of it.
///
/// # Errors
/// When the kernel refuses.
pub fn make(path: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut dir = hierarchy.clone();
        for part in path.split('/') {
            let parent = dir.clone();
            dir.push(part);
            if dir.exists() {
                continue;
            }
            fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
            // a cpuset starts out empty, and no process may enter an empty one
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read(parent.join(file)) {
                    fs::write(dir.join(file), value).with_context(|| format!("fill {file}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the group `name` and all below, from every hierarchy; nothing runs in them any more.
///
/// # Errors
/// When one stays.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        remove_tree(&hierarchy.join(name))?;
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir).with_context(|| format!("remove {}", dir.display()))
}

/// The one of version 2, or those of version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("read {ROOT}"))? {
        let entry = entry?;
        // links are other names of the same hierarchy
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
