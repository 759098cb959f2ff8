//! The directory as a whole: every file, what it said last, and the [`Change`]s that its state means.

use super::{
    blame,
    manifest::{Document, Object, documents},
    status::{self, Entry},
};
use crate::{
    config::{Kind, ObjectRef, Unreadable},
    io::{
        observe::{self, Change, Role, decode},
        write::{Refused, Status},
    },
    names::ServiceKey,
    world::Origin,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The directory.
pub(super) struct Directory {
    dir: PathBuf,
    namespace: String,
    role: Role,
    files: BTreeMap<Arc<str>, File>,
    /// The file that each object was taken from last.
    served: BTreeMap<Name, Arc<str>>,
    statuses: BTreeMap<ServiceKey, Entry>,
    services: BTreeMap<ServiceKey, Known>,
    /// Services that are gone, but whose status could not be removed, which has been told.
    unswept: BTreeSet<ServiceKey>,
    /// Whether everything parsed.
    whole: bool,
    /// Counts up with every change of a Service: the resource version of a directory.
    version: u64,
}

/// What an object is called, by kind and as an [`ObjectRef`] has it.
type Name = (Kind, String);

/// An object in its place.
struct Found<'a> {
    file: &'a Arc<str>,
    /// The file, and which of its documents.
    place: String,
    /// Whether its document does not parse now, and this is what it said last.
    kept: bool,
    object: &'a Object,
}

/// A file as it was read last.
#[derive(Default)]
struct File {
    /// Of its text.
    hash: u64,
    documents: Vec<Document>,
    /// The last objects of each document that parsed.
    kept: BTreeMap<usize, Vec<Object>>,
    /// Fields that nothing reads, by document.
    unknown: BTreeMap<usize, Vec<Unreadable>>,
    /// Why the file as a whole cannot be read now.
    fault: Option<String>,
}

/// A Service that was told.
struct Known {
    manifest: Arc<Value>,
    hash: u64,
    version: u64,
}

impl File {
    /// What the document `at` of it is called.
    fn place(&self, name: &str, at: usize) -> String {
        match self.documents.len() {
            1 => name.to_owned(),
            _ => format!("{name}, document {}", at.saturating_add(1)),
        }
    }
}

impl Directory {
    /// `dir`, with the configuration objects of `namespace`.
    pub(super) fn new(dir: &Path, namespace: &str, role: Role) -> Self {
        Self {
            dir: dir.into(),
            namespace: namespace.into(),
            role,
            files: BTreeMap::new(),
            served: BTreeMap::new(),
            statuses: BTreeMap::new(),
            services: BTreeMap::new(),
            unswept: BTreeSet::new(),
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
        let mut problems = BTreeMap::new();
        let objects = self.objects(&mut problems);
        let mut gone: BTreeSet<ServiceKey> = self.services.keys().cloned().collect();
        for object in objects {
            if object.kind == Kind::Service {
                let key = ServiceKey::new(object.namespace.as_deref().unwrap_or("default"), &object.name);
                gone.remove(&key);
                changes.push(self.service(&key, object.value));
            } else {
                let reference = ObjectRef { kind: object.kind, name: full_name(&object) };
                let mut value = Value::clone(&object.value);
                if object.namespace.is_none()
                    && is_ours(object.kind)
                    && let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut)
                {
                    // An object that says nothing is in the one namespace that is read.
                    meta.insert("namespace".into(), self.namespace.as_str().into());
                }
                changes.extend(
                    decode(object.kind, value, Origin::Manifests)
                        .unwrap_or_else(|why| Some(Change::Unreadable(reference, vec![why]))),
                );
            }
        }
        for key in gone {
            self.services.remove(&key);
        }
        self.whole = problems.is_empty();
        for (file, content) in &self.files {
            for (at, fields) in &content.unknown {
                problems.entry(content.place(file, *at)).or_default().extend(fields.iter().cloned());
            }
        }
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
    pub(super) fn sweep(&mut self) {
        for key in self.statuses.keys().filter(|key| self.whole && !self.services.contains_key(key)) {
            match status::remove(&self.dir, key) {
                Err(fault) if self.unswept.insert(key.clone()) => {
                    tracing::error!(service = %key, %fault, "cannot remove the status of a Service that is gone");
                }
                Err(_) => {}
                Ok(()) if self.unswept.remove(key) => {
                    tracing::info!(service = %key, "the status of a Service that is gone was removed");
                }
                Ok(()) => {}
            }
        }
        self.unswept.retain(|key| self.statuses.contains_key(key));
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
                .map_err(|fault| Refused::Failed(fault.to_string()))?;
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
            Err(why) => {
                Change::Unreadable(ObjectRef { kind: Kind::Service, name: key.to_string() }, vec![why])
            }
        }
    }

    /// The objects of our role, each once; with every fault by the place where it is.
    fn objects(&mut self, problems: &mut BTreeMap<String, Vec<Unreadable>>) -> Vec<Object> {
        let mut found: BTreeMap<Name, Vec<Found<'_>>> = BTreeMap::new();
        let mut fault = |place: String, why| problems.entry(place).or_default().push(why);
        for (file, content) in &self.files {
            if let Some(why) = &content.fault {
                fault(file.to_string(), Unreadable::new("", why));
            }
            for (at, document) in content.documents.iter().enumerate() {
                let place = content.place(file, at);
                document.refused.iter().for_each(|why| fault(place.clone(), why.clone()));
                let (objects, kept) = match &document.objects {
                    Ok(objects) => (objects, false),
                    Err(why) => {
                        fault(place.clone(), Unreadable::new("", why));
                        let Some(objects) = content.kept.get(&at) else { continue };
                        (objects, true)
                    }
                };
                for object in objects {
                    if let Err(why) = self.is_for_us(object) {
                        if !kept {
                            fault(place.clone(), why);
                        }
                        continue;
                    }
                    let place = place.clone();
                    let name = (object.kind, full_name(object));
                    found.entry(name).or_default().push(Found { file, place, kept, object });
                }
            }
        }
        let mut served = BTreeMap::new();
        let mut objects = Vec::new();
        for (name, all) in found {
            // What was there first stays, whatever a newcomer's file is called. Then what parses: an object that moved
            // from a document that broke is not there twice. Then the order of files.
            let was = self.served.get(&name);
            let Some(first) = all.iter().min_by_key(|it| (Some(it.file) != was, it.kept)) else { continue };
            for other in all.iter().filter(|it| !it.kept && !std::ptr::eq(*it, first)) {
                let (kind, name) = &name;
                let what = format!("{kind} {name} is in {} already: the one here is left out", first.place);
                fault(other.place.clone(), Unreadable::new("", what));
            }
            served.insert(name, first.file.clone());
            if self.role.kinds().contains(&first.object.kind) {
                objects.push(first.object.clone());
            }
        }
        self.served = served;
        objects
    }

    /// Whether `object` is in a namespace that is read.
    fn is_for_us(&self, object: &Object) -> Result<(), Unreadable> {
        let Object { kind, name, .. } = object;
        match &object.namespace {
            Some(other) if is_ours(*kind) && *other != self.namespace => {
                let ours = &self.namespace;
                let what = format!("{kind} {name} is in namespace {other}: only those in {ours} are read");
                Err(Unreadable::new("metadata.namespace", what))
            }
            _ => Ok(()),
        }
    }

    /// Reads the files that changed.
    fn load(&mut self) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(&self.dir).map_err(|fault| blame("read", &self.dir, &fault))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                continue;
            }
            let path = entry.path();
            // Removed since the name was read. A link to nothing is there: it is told like what cannot be read.
            if matches!(std::fs::symlink_metadata(&path), Err(fault) if fault.kind() == io::ErrorKind::NotFound)
            {
                continue;
            }
            let name: Arc<str> = name.into();
            let file = load(&path, self.files.remove(&name), |object| {
                self.role.kinds().contains(&object.kind) && self.is_for_us(object).is_ok()
            });
            there.insert(name.clone());
            self.files.insert(name, file);
        }
        self.files.retain(|name, _| there.contains(name));
        Ok(())
    }
}

/// Reads `path`, and parses it unless its text is what it was: a time stamp would miss a quick second change.
fn load(path: &Path, old: Option<File>, counts: impl Fn(&Object) -> bool) -> File {
    let old = old.unwrap_or_default();
    let text = match text_of(path) {
        Err(fault) => return File { fault: Some(fault), ..old },
        Ok(text) => text,
    };
    if text.trim().is_empty() && old.kept.values().any(|objects| !objects.is_empty()) {
        // Who writes a file anew empties it first, and may take a while.
        let why = "is empty: what it held counts until it has content again or is removed";
        return File { fault: Some(why.into()), ..old };
    }
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
    let mut unknown = BTreeMap::new();
    for (at, document) in documents.iter().enumerate() {
        let objects = document.objects.iter().flatten().filter(|object| counts(object));
        let fields: Vec<Unreadable> = objects.flat_map(unknown_of).collect();
        if !fields.is_empty() {
            unknown.insert(at, fields);
        }
    }
    File { hash, documents, kept, unknown, fault: None }
}

/// Of every field of `object` that nothing reads, that it is so.
fn unknown_of(object: &Object) -> impl Iterator<Item = Unreadable> {
    let what = format!("{} {}: unknown field: it has no effect", object.kind, full_name(object));
    observe::unknown(object.kind, &object.value).into_iter().map(move |field| Unreadable::new(field, &what))
}

/// The text of the file at `path`, through links: a mounted ConfigMap is made of them. What is no file is not waited for:
/// to open a FIFO would take until somebody writes into it.
fn text_of(path: &Path) -> Result<String, String> {
    let none = |meta: &std::fs::Metadata| {
        let what = meta.file_type();
        (!what.is_file()).then(|| {
            let kind = match () {
                () if what.is_dir() => "a directory",
                () if what.is_fifo() => "a FIFO",
                () if what.is_socket() => "a socket",
                () => "a device",
            };
            format!("is {kind}: only files are read")
        })
    };
    let read = || -> io::Result<Result<String, String>> {
        // Before it is opened, which for a device can mean anything; and after, since it may be another by then.
        if let Some(why) = none(&std::fs::metadata(path)?) {
            return Ok(Err(why));
        }
        let mut file = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if let Some(why) = none(&file.metadata()?) {
            return Ok(Err(why));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(Ok(text))
    };
    read().unwrap_or_else(|fault| match fault.kind() {
        io::ErrorKind::NotFound => Err("is a link to nothing".into()),
        _ => Err(fault.to_string()),
    })
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whether objects of `kind` count in our own namespace only.
const fn is_ours(kind: Kind) -> bool {
    !matches!(kind, Kind::Service | Kind::EndpointSlice | Kind::Node | Kind::Namespace)
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
