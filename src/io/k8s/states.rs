//! The writer of states: objects that only we write, and the status of users' pools, one for each thing that is said, until they are as they should be.
//!
//! One task per kind compares what is wanted with what a watch shows and brings the one to the other: made, patched,
//! deleted, and made again when somebody else deletes them. Only what differs is written, newest first: a state that
//! changes ten times while the API server is slow is written once. A kind whose CRD is missing is said once, and looked
//! for again: what is said appears when the CRD does.

mod home;
mod kinds;
mod trouble;

pub use kinds::{BgpSession, Configured, Frr, PoolInUse, ServiceBgp, ServiceL2};

use super::{brief, raw::Raw};
use crate::{
    io::clock::{after, until},
    names::NodeName,
};
use futures_util::StreamExt;
use home::Home;
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use trouble::Trouble;

/// Requests of one kind in flight: few, since what is said must not hold up what is done.
const CONCURRENCY: usize = 2;

/// Objects per page of a list, which is the only time that whole ones are in memory.
const PAGE: u32 = 100;

/// The most that one request may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The shortest and the longest pause after a failure; each is twice the one before. For a kind without a CRD, which is
/// no fault, the longest is what a node asks for ever: as often, for three kinds, as its kubelet renews its lease.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Two that write the same object, each what it thinks right, must not do so as fast as they can.
const CONTEST: Duration = Duration::from_secs(1);

/// Who we are: part of every object that we write.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The node, of a speaker.
    pub node: NodeName,
    /// Our namespace.
    pub namespace: String,
    /// Our Pod, with which the objects of its namespace go; `None` where it is not known.
    pub owner: Option<Value>,
    /// Our Node, with which the others go; `None` for a controller.
    home: Option<Arc<Home>>,
}

impl Writer {
    /// With the Pod of this name and uid as the owner. Where only the name is known, as in MetalLB's manifests, the API
    /// server is asked.
    pub async fn of(
        client: &Client,
        namespace: &str,
        node: NodeName,
        pod: (Option<&str>, Option<&str>),
    ) -> Self {
        let home = (!node.as_str().is_empty()).then(|| Arc::new(Home::new(client.clone(), node.clone())));
        let mut writer = Self { node, namespace: namespace.to_owned(), owner: None, home };
        let owner = |name: &str, uid: &str| {
            Some(json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}))
        };
        let pod = match pod {
            (Some(name), Some(uid)) => {
                writer.owner = owner(name, uid);
                return writer;
            }
            (Some(name), None) => name,
            (None, _) => return writer,
        };
        match timeout(DEADLINE, Api::<core::Pod>::namespaced(client.clone(), namespace).get(pod)).await {
            Ok(Ok(found)) => {
                let uid = found.metadata.uid.unwrap_or_default();
                writer.owner = owner(pod, &uid);
            }
            Ok(Err(fault)) => {
                let fault = brief(&fault);
                tracing::warn!(
                    pod,
                    fault,
                    "states do not go with our Pod: METALLB_POD_UID is not set, and our ServiceAccount may not get pods"
                );
            }
            Err(_) => tracing::warn!(pod, "states do not go with our Pod: no answer to who it is"),
        }
        writer
    }
}

/// A kind of object that says something, each about one key.
pub trait Kind: Send + Sync + 'static {
    /// What one is about; its labels say so too.
    type Key: Ord + Clone + Send + Sync + std::fmt::Debug + 'static;
    /// What is said.
    type Body: PartialEq + Clone + Send + Sync + 'static;

    /// The API's name for it.
    fn resource() -> ApiResource;
    /// Whether it is in our namespace.
    const NAMESPACED: bool = true;
    /// Whether they are ours to make and to delete, or somebody else's, on which we only say something.
    const OURS: bool = true;
    /// Who applies the status on the server's side; without, it is patched.
    fn manager(_: &Writer) -> Option<&'static str> {
        None
    }
    /// Those that are ours to write.
    fn selection(writer: &Writer) -> watcher::Config;
    /// Name or generateName, and labels.
    fn metadata(writer: &Writer, key: &Self::Key) -> Value;
    /// `status`.
    fn status(writer: &Writer, key: &Self::Key, body: &Self::Body) -> Value;
    /// Whether it is this writer's word, among those of [`Self::selection`]. Whoever has something to say about a key
    /// deletes what others said.
    fn is_mine(_: &Writer, _: &Value) -> bool {
        true
    }
    /// What an object is about, and what it says.
    fn read(object: &Value) -> Option<(Self::Key, Option<Self::Body>)>;
}

/// Everything of a kind that must be there.
pub type Wanted<K> = watch::Receiver<Option<Arc<BTreeMap<<K as Kind>::Key, <K as Kind>::Body>>>>;

/// Keeps the objects of kind `K` as `wanted` says until its sender is gone.
///
/// # Errors
/// When the watch of them ended by itself or a request panicked, which is a bug.
pub async fn run<K: Kind>(client: Client, writer: Writer, mut wanted: Wanted<K>) -> anyhow::Result<()> {
    let resource = K::resource();
    let api: Api<Raw> = match K::NAMESPACED {
        true => Api::namespaced_with(client, &writer.namespace, &resource),
        false => Api::all_with(client, &resource),
    };
    let mut events = pin!(watcher(api.clone(), K::selection(&writer).page_size(PAGE)));
    let mut keeper = Keeper::<K> {
        writer: writer.clone(),
        there: BTreeMap::new(),
        seen: BTreeSet::new(),
        listed: false,
        dirty: BTreeSet::new(),
        contested: BTreeSet::new(),
        busy: BTreeSet::new(),
        trouble: Trouble::default(),
    };
    let mut requests = JoinSet::new();
    let mut target: Option<Arc<BTreeMap<K::Key, K::Body>>> = None;
    // the watch is left alone until then
    let mut deaf: Option<Instant> = None;
    // the requests are
    let mut rest: Option<Instant> = None;
    let mut contest: Option<Instant> = None;
    loop {
        if keeper.listed && rest.is_none() {
            while requests.len() < CONCURRENCY
                && let Some(target) = &target
                && let Some((key, act)) = keeper.next(target)
            {
                let (api, request) = (api.clone(), request::<K>(&writer, &resource, &key, &act));
                requests.spawn(async move {
                    let result = carry_out(&api, request).await;
                    (key, act, result)
                });
            }
        }
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let new = wanted.borrow_and_update().clone();
                keeper.compare(target.as_deref(), new.as_deref());
                target = new;
            }
            event = events.next(), if deaf.is_none() => match event {
                None => anyhow::bail!("the watch of {} ended", resource.kind),
                Some(Ok(event)) => {
                    keeper.note(event, target.as_deref());
                    if contest.is_none() && !keeper.contested.is_empty() {
                        contest = Some(after(CONTEST));
                    }
                }
                Some(Err(error)) => deaf = Some(after(keeper.trouble.watch(&resource, &error))),
            },
            Some(done) = requests.join_next() => {
                let (key, act, result) = done?;
                if let Some(pause) = keeper.done(&resource, key, act, result, target.as_deref()) {
                    rest = Some(after(pause));
                }
            }
            () = until(deaf) => deaf = None,
            () = until(rest) => rest = None,
            () = until(contest) => {
                contest = None;
                keeper.dirty.append(&mut keeper.contested);
            }
        }
    }
}

/// An object of ours that is there.
struct There<B> {
    name: Box<str>,
    version: u64,
    mine: bool,
    body: Option<B>,
}

/// What is to be done about a key.
enum Act<B> {
    Make,
    Say(String, B),
    Delete(String),
}

struct Keeper<K: Kind> {
    writer: Writer,
    /// One for each key, as a rule, and thousands of keys.
    there: BTreeMap<K::Key, Vec<There<K::Body>>>,
    /// What a listing has shown so far.
    seen: BTreeSet<String>,
    listed: bool,
    /// Keys to look at.
    dirty: BTreeSet<K::Key>,
    /// Keys that somebody else changed, or that were listed: looked at only after [`CONTEST`].
    contested: BTreeSet<K::Key>,
    /// Keys of requests in flight.
    busy: BTreeSet<K::Key>,
    trouble: Trouble,
}

impl<K: Kind> Keeper<K> {
    fn compare(&mut self, old: Option<&BTreeMap<K::Key, K::Body>>, new: Option<&BTreeMap<K::Key, K::Body>>) {
        let Some(new) = new else { return };
        match old {
            // what an earlier run has left
            None => {
                self.share(new);
                self.dirty.extend(self.there.keys().chain(new.keys()).cloned());
            }
            Some(old) => {
                let changed = new.iter().filter(|(key, body)| old.get(key) != Some(body));
                let gone = old.keys().filter(|key| !new.contains_key(key));
                self.dirty.extend(changed.map(|(key, _)| key).chain(gone).cloned());
            }
        }
    }

    /// Lets what was listed before anything was wanted share names and texts with what is.
    fn share(&mut self, wanted: &BTreeMap<K::Key, K::Body>) {
        let shared = |(key, mut objects): (K::Key, Vec<There<K::Body>>)| {
            let Some((key, body)) = wanted.get_key_value(&key) else { return (key, objects) };
            for there in objects.iter_mut().filter(|there| there.body.as_ref() == Some(body)) {
                there.body = Some(body.clone());
            }
            (key.clone(), objects)
        };
        self.there = std::mem::take(&mut self.there).into_iter().map(shared).collect();
    }

    fn note(&mut self, event: Event<Raw>, wanted: Option<&BTreeMap<K::Key, K::Body>>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                self.seen.extend(object.metadata.name.clone());
                let key = self.saw(&object, wanted);
                self.dirty.extend(key);
            }
            Event::Apply(object) => {
                let key = self.saw(&object, wanted);
                self.contested.extend(key);
            }
            Event::Delete(object) => {
                if let (Some((key, _)), Some(name)) = (K::read(&object.object), &object.metadata.name) {
                    self.forget(&key, name);
                    self.contested.insert(key);
                }
            }
            Event::InitDone => {
                let Self { there, seen, dirty, .. } = self;
                there.retain(|key, objects| {
                    let before = objects.len();
                    objects.retain(|there| seen.contains(&*there.name));
                    if objects.len() != before {
                        dirty.insert(key.clone());
                    }
                    !objects.is_empty()
                });
                self.seen = BTreeSet::new();
                self.listed = true;
                self.trouble.over();
            }
        }
    }

    /// Takes in an object as the API server shows it, unless it is not newer than what is known of it; its key where
    /// it is. One that says what it should shares that with what is `wanted`: there are thousands of them.
    fn saw(&mut self, object: &Raw, wanted: Option<&BTreeMap<K::Key, K::Body>>) -> Option<K::Key> {
        let (key, body) = K::read(&object.object)?;
        let (key, body) = match wanted.and_then(|wanted| wanted.get_key_value(&key)) {
            Some((key, wanted)) if body.as_ref() == Some(wanted) => (key.clone(), Some(wanted.clone())),
            _ => (key, body),
        };
        let name = object.metadata.name.clone()?;
        let version = object.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0);
        let objects = self.there.entry(key.clone()).or_default();
        match objects.iter_mut().find(|there| *there.name == *name) {
            Some(known) if known.version >= version && version != 0 => return None,
            Some(known) => (known.version, known.body) = (version, body),
            None => {
                objects.reserve_exact(1);
                let mine = K::is_mine(&self.writer, &object.object);
                objects.push(There { name: name.into(), version, mine, body });
            }
        }
        Some(key)
    }

    fn forget(&mut self, key: &K::Key, name: &str) {
        if let Some(objects) = self.there.get_mut(key) {
            objects.retain(|there| *there.name != *name);
            if objects.is_empty() {
                self.there.remove(key);
            }
        }
    }

    /// The next key that is not as it should be, and what to do.
    fn next(&mut self, wanted: &BTreeMap<K::Key, K::Body>) -> Option<(K::Key, Act<K::Body>)> {
        while let Some(key) = self.dirty.iter().find(|key| !self.busy.contains(*key)).cloned() {
            self.dirty.remove(&key);
            if let Some(act) = self.act(&key, wanted.get(&key)) {
                self.busy.insert(key.clone());
                return Some((key, act));
            }
        }
        None
    }

    fn act(&self, key: &K::Key, wanted: Option<&K::Body>) -> Option<Act<K::Body>> {
        let all = || self.there.get(key).into_iter().flatten();
        let mut objects = all().filter(|there| there.mine);
        match (wanted, objects.next()) {
            (None, _) | (Some(_), None) if !K::OURS => None,
            (None, first) => first.map(|there| Act::Delete(there.name.to_string())),
            (Some(_), _) if let Some(other) = all().find(|there| !there.mine) => {
                Some(Act::Delete(other.name.to_string()))
            }
            (Some(_), None) => Some(Act::Make),
            (Some(body), Some(there)) => match objects.next() {
                Some(twin) if K::OURS => Some(Act::Delete(twin.name.to_string())),
                _ => (there.body.as_ref() != Some(body))
                    .then(|| Act::Say(there.name.to_string(), body.clone())),
            },
        }
    }

    /// Takes in what became of a request; the pause to make, when it failed.
    fn done(
        &mut self,
        resource: &ApiResource,
        key: K::Key,
        act: Act<K::Body>,
        result: Result<Option<Raw>, Fault>,
        wanted: Option<&BTreeMap<K::Key, K::Body>>,
    ) -> Option<Duration> {
        self.busy.remove(&key);
        self.dirty.insert(key.clone());
        match (result, act) {
            (Ok(Some(object)), act) => {
                self.saw(&object, wanted);
                // Said is said: an older CRD drops a field that it does not know.
                if let Act::Say(name, body) = act
                    && let Some(objects) = self.there.get_mut(&key)
                    && let Some(there) = objects.iter_mut().find(|there| *there.name == *name)
                {
                    there.body = Some(body);
                }
            }
            (Ok(None) | Err(Fault::Gone), Act::Delete(name)) => self.forget(&key, &name),
            // somebody deleted it in the meantime: it is made again
            (Err(Fault::Gone), Act::Say(name, _)) => self.forget(&key, &name),
            // made by somebody else in the meantime: the watch shows it in a moment
            (Err(Fault::There), _) => return Some(RETRY.0),
            (Ok(None), _) => {}
            (Err(fault), _) => return Some(self.trouble.request(resource, &fault)),
        }
        self.trouble.over();
        None
    }
}

/// Why a request failed.
enum Fault {
    Gone,
    There,
    Forbidden(String),
    Failed(String),
}

/// A request, ready to be sent.
enum Request {
    Create(Value, Option<Arc<Home>>),
    Patch(String, Value),
    Apply(String, &'static str, Value),
    Delete(String),
}

fn request<K: Kind>(writer: &Writer, resource: &ApiResource, key: &K::Key, act: &Act<K::Body>) -> Request {
    let typed = |mut object: Value| {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".into(), resource.api_version.as_str().into());
            fields.insert("kind".into(), resource.kind.as_str().into());
        }
        object
    };
    match act {
        Act::Make => {
            let mut metadata = K::metadata(writer, key);
            // an object without a namespace cannot go with one that has one
            let owner = writer.owner.as_ref().filter(|_| K::NAMESPACED);
            if let (Some(owner), Some(fields)) = (owner, metadata.as_object_mut()) {
                fields.insert("ownerReferences".into(), json!([owner]));
            }
            let home = writer.home.clone().filter(|_| owner.is_none());
            Request::Create(typed(json!({"metadata": metadata})), home)
        }
        Act::Say(name, body) => {
            let status = K::status(writer, key, body);
            match K::manager(writer) {
                Some(manager) => {
                    let object = json!({"metadata": {"name": name}, "status": status});
                    Request::Apply(name.clone(), manager, typed(object))
                }
                None => Request::Patch(name.clone(), json!({"status": status})),
            }
        }
        Act::Delete(name) => Request::Delete(name.clone()),
    }
}

/// Sends a request; the object as it is afterwards, if there is one.
async fn carry_out(api: &Api<Raw>, request: Request) -> Result<Option<Raw>, Fault> {
    let sent = async {
        Ok::<_, kube::Error>(Ok(match request {
            Request::Create(object, home) => {
                let object = match home {
                    Some(home) => match home.own(object).await {
                        Ok(object) => object,
                        Err(fault) => return Ok(Err(fault)),
                    },
                    None => object,
                };
                let object: Raw = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
                Some(api.create(&PostParams::default(), &object).await?)
            }
            Request::Patch(name, patch) => {
                Some(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await?)
            }
            Request::Apply(name, manager, object) => {
                let how = PatchParams::apply(manager).force();
                Some(api.patch_status(&name, &how, &Patch::Apply(object)).await?)
            }
            Request::Delete(name) => {
                api.delete(&name, &DeleteParams::default()).await?;
                None
            }
        }))
    };
    match timeout(DEADLINE, sent).await {
        Err(_) => Err(Fault::Failed(format!("no answer within {} s", DEADLINE.as_secs()))),
        Ok(Ok(result)) => result,
        // by the code too: of a group without kinds the API server knows no reason
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.code == 404 => Err(Fault::Gone),
        Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => Err(Fault::There),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(Fault::Forbidden(status.message.clone()))
        }
        Ok(Err(fault)) => Err(Fault::Failed(brief(&fault))),
    }
}

#[cfg(test)]
mod tests;
