//! The directory as a whole: every file, what it said last, and the [`Change`]s that its state means.

use super::{
    manifest::{Document, Object, documents},
    status::{self, Entry},
};
use crate::{
    config::{Kind, ObjectRef},
    io::{
        observe::{Change, Role, decode},
        write::{Refused, Status},
    },
    names::ServiceKey,
    world::Origin,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The directory.
pub(super) struct Directory {
    dir: PathBuf,
    namespace: String,
    role: Role,
    files: BTreeMap<String, File>,
    statuses: BTreeMap<ServiceKey, Entry>,
    services: BTreeMap<ServiceKey, Known>,
    /// Whether everything parsed.
    whole: bool,
    /// Counts up with every change of a Service: the resource version of a directory.
    version: u64,
}

/// A file as it was read last.
struct File {
    /// Of its text.
    hash: u64,
    documents: Vec<Document>,
    /// The last objects of each document that parsed.
    kept: BTreeMap<usize, Vec<Object>>,
    /// Why the file as a whole cannot be read now.
    fault: Option<String>,
}

/// A Service that was told.
struct Known {
    manifest: Arc<Value>,
    hash: u64,
    version: u64,
}

impl Directory {
    /// `dir`, with the configuration objects of `namespace`.
    pub(super) fn new(dir: &Path, namespace: &str, role: Role) -> Self {
        Self {
            dir: dir.into(),
            namespace: namespace.into(),
            role,
            files: BTreeMap::new(),
            statuses: BTreeMap::new(),
            services: BTreeMap::new(),
            whole: false,
            version: 0,
        }
    }

    /// Everything as it is now, as one listing of every kind. What did not change is not parsed again.
    pub(super) fn read(&mut self) -> io::Result<Vec<Change>> {
        self.statuses = status::read(&self.dir)?;
        self.load()?;
        let kinds = || self.role.kinds().iter().copied().chain([Kind::File]);
        let mut changes: Vec<Change> = kinds().map(Change::Listing).collect();
        let end: Vec<Change> = kinds().map(Change::Synced).collect();
        let mut problems = Vec::new();
        let objects = self.objects(&mut problems);
        let mut gone: BTreeSet<ServiceKey> = self.services.keys().cloned().collect();
        for object in objects {
            if object.kind == Kind::Service {
                let key = ServiceKey::new(object.namespace.as_deref().unwrap_or("default"), &object.name);
                gone.remove(&key);
                changes.push(self.service(&key, object.value));
            } else {
                let reference = ObjectRef { kind: object.kind, name: full_name(&object) };
                changes.extend(
                    decode(object.kind, Value::clone(&object.value), Origin::Manifests)
                        .unwrap_or_else(|why| Some(Change::Unreadable(reference, why))),
                );
            }
        }
        for key in gone {
            self.services.remove(&key);
        }
        self.whole = problems.is_empty();
        changes.extend(
            problems
                .into_iter()
                .map(|(name, why)| Change::Unreadable(ObjectRef { kind: Kind::File, name }, why)),
        );
        changes.extend(end);
        Ok(changes)
    }

    /// Removes the statuses of Services that are gone. Not while something does not parse: a Service may be in it, and
    /// its address must still be there when it is mended.
    pub(super) fn sweep(&self) {
        for key in self.statuses.keys().filter(|key| self.whole && !self.services.contains_key(key)) {
            if let Err(fault) = status::remove(&self.dir, key) {
                tracing::warn!(service = %key, %fault, "cannot remove the status of a Service that is gone");
            }
        }
    }

    /// Carries out `wanted`.
    pub(super) fn write(&mut self, wanted: &Status) -> Result<Change, Refused> {
        let Some(known) = self.services.get(&wanted.key) else { return Err(Refused::Gone) };
        let manifest = Arc::clone(&known.manifest);
        if known.version.to_string() != *wanted.version {
            return Err(Refused::Conflict);
        }
        let entry = status::wanted(&wanted.ips, wanted.pool.as_ref().map(|pool| pool.as_str()));
        if self.statuses.get(&wanted.key).cloned().unwrap_or_default() != entry {
            status::write(&self.dir, &wanted.key, &entry)
                .map_err(|fault| Refused::Failed(format!("write into {}: {fault}", self.dir.display())))?;
            self.statuses.insert(wanted.key.clone(), entry);
        }
        Ok(match self.service(&wanted.key, manifest) {
            Change::Service(key, Some(facts)) => Change::Wrote(key, facts),
            other => other,
        })
    }

    /// The Service `key` with its status; a new version when it changed.
    fn service(&mut self, key: &ServiceKey, manifest: Arc<Value>) -> Change {
        let mut whole = Value::clone(&manifest);
        status::overlay(&mut whole, self.statuses.get(key));
        let hash = hash(&whole.to_string());
        let version = match self.services.get(key) {
            Some(known) if known.hash == hash => known.version,
            _ => {
                self.version = self.version.saturating_add(1);
                self.version
            }
        };
        self.services.insert(key.clone(), Known { manifest, hash, version });
        match decode(Kind::Service, whole, Origin::Manifests) {
            Ok(Some(Change::Service(key, Some(mut facts)))) => {
                facts.version = Arc::from(version.to_string());
                Change::Service(key, Some(facts))
            }
            Ok(_) => Change::Service(key.clone(), None),
            Err(why) => Change::Unreadable(ObjectRef { kind: Kind::Service, name: key.to_string() }, why),
        }
    }

    /// The objects of our role, each once; with every fault by the place where it is.
    fn objects(&self, problems: &mut Vec<(String, String)>) -> Vec<Object> {
        let mut seen: BTreeMap<(Kind, String), String> = BTreeMap::new();
        let mut objects = Vec::new();
        let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, file) in &self.files {
            if let Some(why) = &file.fault {
                faults.entry(name.clone()).or_default().push(why.clone());
            }
            for (at, document) in file.documents.iter().enumerate() {
                let place = match file.documents.len() {
                    1 => name.clone(),
                    _ => format!("{name}, document {}", at.saturating_add(1)),
                };
                let faults = faults.entry(place).or_default();
                faults.extend(document.refused.iter().cloned());
                match &document.objects {
                    Err(why) => faults.push(why.clone()),
                    Ok(all) => {
                        for object in all {
                            match self.take(object, name, &mut seen) {
                                Ok(taken) => objects.extend(taken),
                                Err(why) => faults.push(why),
                            }
                        }
                    }
                }
            }
        }
        // After all that parses: an object that moved from a document that broke is not there twice.
        for (name, file) in &self.files {
            let broken = |at: &usize| file.documents.get(*at).is_some_and(|d| d.objects.is_err());
            for (_, kept) in file.kept.iter().filter(|(at, _)| broken(at)) {
                for object in kept {
                    objects.extend(self.take(object, name, &mut seen).ok().flatten());
                }
            }
        }
        problems.extend(
            faults
                .into_iter()
                .filter(|(_, whys)| !whys.is_empty())
                .map(|(place, whys)| (place, whys.join("; "))),
        );
        objects
    }

    /// `object`, if it is for us and the first of its name.
    fn take(
        &self,
        object: &Object,
        file: &str,
        seen: &mut BTreeMap<(Kind, String), String>,
    ) -> Result<Option<Object>, String> {
        let name = full_name(object);
        if let Some(first) = seen.get(&(object.kind, name.clone())) {
            return Err(format!("{} {name} is in {first} already; this one is left out", object.kind));
        }
        let core = matches!(object.kind, Kind::Service | Kind::EndpointSlice | Kind::Node | Kind::Namespace);
        if !core && let Some(other) = object.namespace.as_ref().filter(|n| **n != self.namespace) {
            let (kind, ours) = (object.kind, &self.namespace);
            return Err(format!("{kind} {name} is in namespace {other}: only those in {ours} are read"));
        }
        seen.insert((object.kind, name), file.to_owned());
        Ok(self.role.kinds().contains(&object.kind).then(|| object.clone()))
    }

    /// Reads the files that changed.
    fn load(&mut self) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                continue;
            }
            let path = entry.path();
            // Follows links: a mounted ConfigMap is made of them.
            match std::fs::metadata(&path) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                Ok(meta) if !meta.is_file() => continue,
                _ => {}
            }
            let file = load(&path, self.files.remove(&name));
            there.insert(name.clone());
            self.files.insert(name, file);
        }
        self.files.retain(|name, _| there.contains(name));
        Ok(())
    }
}

/// Reads `path`, and parses it unless its text is what it was: a time stamp would miss a quick second change.
fn load(path: &Path, old: Option<File>) -> File {
    let old =
        old.unwrap_or_else(|| File { hash: 0, documents: Vec::new(), kept: BTreeMap::new(), fault: None });
    let text = match std::fs::read_to_string(path) {
        Err(fault) => return File { fault: Some(fault.to_string()), ..old },
        Ok(text) => text,
    };
    let hash = hash(&text);
    if hash == old.hash {
        return File { fault: None, ..old };
    }
    let documents = documents(&text);
    let mut kept = old.kept;
    kept.retain(|at, _| *at < documents.len());
    for (at, document) in documents.iter().enumerate() {
        if let Ok(objects) = &document.objects {
            kept.insert(at, objects.clone());
        }
    }
    File { hash, documents, kept, fault: None }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The name that an [`ObjectRef`] has.
fn full_name(object: &Object) -> String {
    match object.kind {
        Kind::Service | Kind::EndpointSlice => {
            format!("{}/{}", object.namespace.as_deref().unwrap_or("default"), object.name)
        }
        _ => object.name.clone(),
    }
}
