//! The manifest directory, as a real directory with the kernel's notices of it. Every wait is for a change.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use ferrolb::{
    config::{Kind, ObjectRef, Problems},
    io::{
        files,
        observe::{Change, Observed, Role},
        write::{Refused, Status, Wrote},
    },
    names::ServiceKey,
};
use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
    time::timeout,
};

/// Far more than any wait here takes.
const LONG: Duration = Duration::from_secs(30);

struct Box {
    dir: TempDir,
    observed: Observed,
    changes: Receiver<Change>,
    statuses: Sender<Status>,
    wrote: Receiver<Wrote>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Box {
    fn start(dir: TempDir, role: Role) -> Self {
        let (to, changes) = channel(16);
        let (statuses, from) = channel(16);
        let (told, wrote) = channel(16);
        let path = dir.path().to_owned();
        let task =
            tokio::spawn(
                async move { files::run(&path, "metallb-system", role, to, Some((from, told))).await },
            );
        Self { dir, observed: Observed::new(role), changes, statuses, wrote, task }
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes changes in until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&Observed) -> bool) {
        while !done(&self.observed) {
            let change = timeout(LONG, self.changes.recv()).await;
            let Ok(Some(change)) = change else { panic!("{what} never came: {:?}", self.observed) };
            self.observed.apply(change);
        }
    }

    async fn status(&mut self, name: &str, version: &str, ips: &[&str]) -> Wrote {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let pool = (!ips.is_empty()).then(|| "p".into());
        let status = Status { key: ServiceKey::new("default", name), version: version.into(), ips, pool };
        self.statuses.send(status).await.unwrap();
        timeout(LONG, async {
            loop {
                tokio::select! {
                    wrote = self.wrote.recv() => break wrote.unwrap(),
                    Some(change) = self.changes.recv() => { self.observed.apply(change); }
                }
            }
        })
        .await
        .unwrap()
    }

    fn service(&self, name: &str) -> Option<&ferrolb::world::Service> {
        self.observed.world.services.get(&ServiceKey::new("default", name)).map(|service| &**service)
    }
}

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer}}\n---\n")
}

fn pool(name: &str, addresses: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: {addresses}}}\n"
    )
}

fn file(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::File, name: name.into() }
}

/// Input: a directory that is edited in place, by rename and by removal. Output: the same as from a watch.
#[tokio::test]
async fn edits_are_seen() {
    let mut it = Box::start(TempDir::new().unwrap(), Role::Controller);
    it.until("the empty directory", Observed::synced).await;
    it.put("pools.yaml", &pool("a", "[10.0.0.0/24]"));
    it.until("a new file", |o| o.input.pools.contains_key("a")).await;
    it.put("pools.yaml", &pool("a", "[10.0.1.0/24]"));
    it.until("an edit of the same length", |o| o.input.pools["a"].spec.addresses == ["10.0.1.0/24"]).await;
    it.put(".pools.tmp", &pool("b", "[10.0.2.0/24]"));
    fs::rename(it.path(".pools.tmp"), it.path("pools.yaml")).unwrap();
    it.until("a file renamed over", |o| o.input.pools.keys().eq(["b"])).await;
    it.put("svc.yml", &(service("x") + &service("y")));
    it.until("services", |o| o.world.services.len() == 2).await;
    assert_eq!(it.service("x").unwrap().families.len(), 1, "defaults of a directory");
    fs::remove_file(it.path("svc.yml")).unwrap();
    it.until("a removed file", |o| o.world.services.is_empty()).await;
    assert!(it.observed.input.unreadable.is_empty());
}

/// Input: documents that break. Output: the problem names file, document and reason; what was read last stays.
#[tokio::test]
async fn a_broken_document_keeps_its_objects_and_is_named() {
    let mut it = Box::start(TempDir::new().unwrap(), Role::Controller);
    it.put("a.yaml", &(pool("a", "[10.0.0.0/24]") + "---\n" + &pool("b", "[10.0.1.0/24]")));
    it.until("two pools", |o| o.input.pools.len() == 2 && o.synced()).await;
    it.put("a.yaml", &(pool("a", "[10.0.0.0/24") + "---\n" + &pool("b", "[10.0.2.0/24]")));
    let broken = file("a.yaml, document 1");
    it.until("the fault", |o| o.input.unreadable.contains_key(&broken)).await;
    assert_eq!(it.observed.input.pools["a"].spec.addresses, ["10.0.0.0/24"]);
    assert_eq!(it.observed.input.pools["b"].spec.addresses, ["10.0.2.0/24"], "the other document counts");
    let faults = &it.observed.input.unreadable[&broken];
    assert!(faults[0].what.contains("line"), "{faults:?}");
    // It parses, but does not decode: then it is the object that is named, with its field.
    it.put("a.yaml", &(pool("a", "[{}]") + "---\n" + &pool("b", "[10.0.2.0/24]")));
    let object = ObjectRef { kind: Kind::IPAddressPool, name: "a".into() };
    it.until("the object's fault", |o| {
        o.input.unreadable.contains_key(&object) && !o.input.unreadable.contains_key(&broken)
    })
    .await;
    assert_eq!(it.observed.input.unreadable[&object][0].field, "spec.addresses[0]");
    assert_eq!(it.observed.input.pools["a"].spec.addresses, ["10.0.0.0/24"]);
    it.put("a.yaml", &pool("a", "[10.0.3.0/24]"));
    it.until("the end of all faults", |o| o.input.unreadable.is_empty()).await;
    it.until("one pool", |o| o.input.pools.len() == 1).await;
    assert_eq!(it.observed.input.pools["a"].spec.addresses, ["10.0.3.0/24"]);
}

/// Input: a file that is emptied, while another one changes. Output: it is named, what it held stays, also in a second
/// reading; its content clears it, and so does its removal. A file that never held anything may be empty.
#[tokio::test]
async fn an_emptied_file_keeps_its_objects() {
    let mut it = Box::start(TempDir::new().unwrap(), Role::Controller);
    it.put("svc.yaml", &service("x"));
    it.put("nothing.yaml", "");
    it.until("the service", |o| o.world.services.len() == 1 && o.synced()).await;
    for (text, other) in [("", "a"), (" \n\n", "b")] {
        it.put("svc.yaml", text);
        it.put("other.yaml", &pool(other, "[10.0.0.0/24]"));
        it.until("the other file", |o| o.input.pools.contains_key(other)).await;
        it.until("the fault", |o| o.input.unreadable.contains_key(&file("svc.yaml"))).await;
        assert!(it.service("x").is_some());
        assert_eq!(it.observed.input.unreadable.len(), 1, "{:?}", it.observed.input.unreadable);
        assert!(
            it.observed.input.unreadable[&file("svc.yaml")][0].what.starts_with("is empty: what it held")
        );
    }
    it.put("svc.yaml", &service("x"));
    it.until("the same content", |o| o.input.unreadable.is_empty()).await;
    it.put("svc.yaml", "");
    it.until("the fault again", |o| !o.input.unreadable.is_empty()).await;
    it.put("svc.yaml", &service("y"));
    it.until("other content", |o| o.input.unreadable.is_empty() && o.world.services.len() == 1).await;
    assert!(it.service("y").is_some());
    it.put("svc.yaml", "");
    it.until("the fault once more", |o| !o.input.unreadable.is_empty()).await;
    fs::remove_file(it.path("svc.yaml")).unwrap();
    it.until("its removal", |o| o.world.services.is_empty() && o.input.unreadable.is_empty()).await;
}

/// Input: what is called a manifest but is no file. Output: each is named, none is waited for, the files count.
#[tokio::test]
async fn what_is_no_file_is_named_and_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    nix::unistd::mkfifo(&at("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(at("fifo.yaml"), at("to-fifo.yaml")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("device.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).unwrap();
    fs::create_dir(at("dir.yaml")).unwrap();
    fs::write(at("pool.yaml"), pool("a", "[10.0.0.0/24]")).unwrap();
    let mut it = Box::start(dir, Role::Controller);
    it.until("everything", |o| o.synced() && o.input.unreadable.len() == 6).await;
    assert!(it.observed.input.pools.contains_key("a"));
    for (name, what) in [
        ("fifo.yaml", "is a FIFO: only files are read"),
        ("to-fifo.yaml", "is a FIFO: only files are read"),
        ("dangling.yaml", "is a link to nothing"),
        ("device.yaml", "is a device: only files are read"),
        ("socket.yaml", "is a socket: only files are read"),
        ("dir.yaml", "is a directory: only files are read"),
    ] {
        assert_eq!(it.observed.input.unreadable[&file(name)][0].what, what);
    }
}

/// Input: fields that no kind has. Output: each is named with its object, which counts; a Service that goes takes its
/// status with it all the same.
#[tokio::test]
async fn unknown_fields_are_named_and_their_objects_count() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("status/services")).unwrap();
    fs::write(dir.path().join("status/services/default.gone.yaml"), "{}").unwrap();
    let bad = pool("a", "[10.0.0.0/24]").replace("addresses", "autoAsign: false, addresses");
    let worse = service("x").replace("spec: {", "spec: {sesionAffinity: None, ");
    fs::write(dir.path().join("a.yaml"), bad + "---\n" + &worse).unwrap();
    let mut it = Box::start(dir, Role::Controller);
    it.until("everything", |o| o.synced() && o.input.unreadable.len() == 2).await;
    assert!(it.observed.input.pools.contains_key("a") && it.service("x").is_some());
    for (at, field, what) in [
        ("a.yaml, document 1", "spec.autoAsign", "IPAddressPool a: unknown field: it has no effect"),
        ("a.yaml, document 2", "spec.sesionAffinity", "Service default/x: unknown field: it has no effect"),
    ] {
        let faults = &it.observed.input.unreadable[&file(at)];
        assert_eq!((&*faults[0].field, &*faults[0].what, faults.len()), (field, what, 1));
    }
    assert!(!it.path("status/services/default.gone.yaml").exists());
    it.put("a.yaml", &pool("a", "[10.0.0.0/24]"));
    it.until("the end of the problems", |o| o.input.unreadable.is_empty()).await;
}

/// Input: the same object twice, a kind and a namespace that are not ours. Output: the first counts, each is named.
#[tokio::test]
async fn what_is_left_out_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("1.yaml"), pool("a", "[10.0.0.0/24]")).unwrap();
    fs::write(dir.path().join("2.yaml"), pool("a", "[10.0.1.0/24]")).unwrap();
    fs::write(dir.path().join("3.yaml"), "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n")
        .unwrap();
    fs::write(dir.path().join("4.yaml"), pool("b", "[10.0.2.0/24]").replace("metallb-system", "other"))
        .unwrap();
    fs::write(dir.path().join("not.txt"), "nothing").unwrap();
    let mut it = Box::start(dir, Role::Controller);
    it.until("everything", |o| o.synced() && o.input.unreadable.len() == 3).await;
    assert_eq!(it.observed.input.pools["a"].spec.addresses, ["10.0.0.0/24"]);
    assert_eq!(it.observed.input.pools.len(), 1);
    for (name, part) in [
        ("2.yaml", "IPAddressPool a is in 1.yaml already"),
        ("3.yaml", "Deployment d"),
        ("4.yaml", "only those in metallb-system are read"),
    ] {
        let faults = &it.observed.input.unreadable[&file(name)];
        assert!(faults.len() == 1 && faults[0].what.contains(part), "{name}: {faults:?}");
    }
}

/// Input: an object in a second file, whose name comes before the first one's. Output: the first file's stays, also
/// while that file is broken, and until it goes; a start, where nobody was first, goes by the file names.
#[tokio::test]
async fn a_newcomer_takes_nobodys_place() {
    let mut it = Box::start(TempDir::new().unwrap(), Role::Controller);
    let addresses = |o: &Observed| o.input.pools["a"].spec.addresses.concat();
    it.put("m.yaml", &pool("a", "[10.0.0.0/24]"));
    it.until("the first", |o| o.input.pools.contains_key("a")).await;
    it.put("b.yaml", &(pool("a", "[10.0.1.0/24]") + "---\n" + &pool("b", "[10.0.9.0/24]")));
    it.until("the newcomer's problem", |o| o.input.unreadable.contains_key(&file("b.yaml, document 1")))
        .await;
    let faults = &it.observed.input.unreadable;
    assert_eq!(faults.keys().collect::<Vec<_>>(), [&file("b.yaml, document 1")]);
    let what = &faults[&file("b.yaml, document 1")][0].what;
    assert_eq!(what, "IPAddressPool a is in m.yaml already: the one here is left out");
    assert_eq!(addresses(&it.observed), "10.0.0.0/24");
    it.put("m.yaml", &pool("a", "[10.0.2.0/24]"));
    it.until("an edit of the first", |o| addresses(o) == "10.0.2.0/24").await;
    it.put("m.yaml", &pool("a", "[10.0.3.0/24"));
    it.until("a broken first", |o| o.input.unreadable.contains_key(&file("m.yaml"))).await;
    it.until("all of that reading", |o| o.input.unreadable.len() == 2).await;
    assert_eq!(addresses(&it.observed), "10.0.2.0/24");
    it.put("m.yaml", &pool("a", "[10.0.4.0/24]"));
    it.until("the first again", |o| addresses(o) == "10.0.4.0/24").await;
    let anew = files::read(it.dir.path(), "metallb-system", Role::Controller).unwrap();
    assert_eq!(addresses(&anew), "10.0.1.0/24");
    assert!(anew.input.unreadable.contains_key(&file("m.yaml")));
    fs::remove_file(it.path("m.yaml")).unwrap();
    it.until("the heir", |o| addresses(o) == "10.0.1.0/24" && o.input.unreadable.is_empty()).await;
}

/// Input: names that no API server accepts, one of which is a path. Output: each is told by its field and left out, no
/// status can be written for it, and everything else goes on.
#[tokio::test]
async fn what_has_no_proper_name_is_left_out() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("status/services")).unwrap();
    fs::write(dir.path().join("status/services/default.good.yaml"), b"\xff").unwrap();
    fs::create_dir(dir.path().join("status/services/default.odd.yaml")).unwrap();
    let long = "x".repeat(300);
    let bad = [
        ("metadata.namespace", "{name: a, namespace: a.b}"),
        ("metadata.namespace", "{name: a, namespace: ../x}"),
        ("metadata.name", "{name: sl/ash}"),
        ("metadata.name", "{name: ../../x}"),
        ("metadata.name", &format!("{{name: {long}}}")),
        ("metadata.name", "{name: ''}"),
        ("metadata.name", "{name: Upper}"),
        ("metadata.name", "{name: 5}"),
    ];
    for (at, (_, meta)) in bad.iter().enumerate() {
        let text = service("NAME").replace("{name: NAME}", meta);
        assert!(text.contains(meta));
        fs::write(dir.path().join(format!("{at}.yaml")), text + &service(&format!("good-{at}"))).unwrap();
    }
    fs::write(dir.path().join("good.yaml"), service("good") + &pool("NO/POOL", "[10.0.0.0/24]")).unwrap();
    let mut it = Box::start(dir, Role::Controller);
    it.until("everything", |o| o.synced() && o.input.unreadable.len() == bad.len() + 1).await;
    for (at, (field, meta)) in bad.iter().enumerate() {
        let faults = &it.observed.input.unreadable[&file(&format!("{at}.yaml, document 1"))];
        assert_eq!(faults.iter().map(|f| f.field.as_str()).collect::<Vec<_>>(), [*field], "{meta}");
    }
    let faults = &it.observed.input.unreadable[&file("good.yaml, document 2")];
    assert_eq!(faults[0].field, "metadata.name");
    assert_eq!(it.observed.world.services.len(), bad.len() + 1);
    assert!(matches!(it.status("../../x", "1", &["10.0.0.1"]).await.result, Err(Refused::Gone)));
    let version = it.service("good").unwrap().version.clone();
    it.status("good", &version, &["10.0.0.1"]).await.result.unwrap();
    let written = fs::read_to_string(it.path("status/services/default.good.yaml")).unwrap();
    assert!(written.contains("10.0.0.1"), "{written}");
}

/// Input: statuses to write. Output: files beside the manifests, laid over them here and for a speaker.
#[tokio::test]
async fn statuses_are_written_and_read_back() {
    let mut it = Box::start(TempDir::new().unwrap(), Role::Controller);
    it.put("svc.yaml", &service("x"));
    it.until("the service", |o| o.world.services.len() == 1 && o.synced()).await;
    let version = it.service("x").unwrap().version.clone();
    assert!(matches!(it.status("x", "no", &["10.0.0.1"]).await.result, Err(Refused::Conflict)));
    assert!(matches!(it.status("nope", "1", &["10.0.0.1"]).await.result, Err(Refused::Gone)));
    let wrote = it.status("x", &version, &["10.0.0.1", "fd00::1"]).await;
    assert!(it.observed.apply(wrote.result.unwrap()).services);
    let at = it.path("status/services/default.x.yaml");
    assert!(fs::read_to_string(&at).unwrap().contains("fd00::1"));
    assert_eq!(it.service("x").unwrap().addresses().count(), 2);
    assert_eq!(it.service("x").unwrap().annotations.get("metallb.io/ip-allocated-from-pool"), Some("p"));
    // A speaker of the same directory sees it, and so does a controller that starts anew.
    for role in [Role::Speaker, Role::Controller] {
        let (to, mut changes) = channel(16);
        let path = it.dir.path().to_owned();
        let task = tokio::spawn(async move { files::run(&path, "metallb-system", role, to, None).await });
        let mut observed = Observed::new(role);
        while !observed.synced() {
            observed.apply(timeout(LONG, changes.recv()).await.unwrap().unwrap());
        }
        assert_eq!(
            observed.world.services[&ServiceKey::new("default", "x")].addresses().count(),
            2,
            "{role:?}"
        );
        drop(changes);
        timeout(LONG, task).await.unwrap().unwrap().unwrap();
    }
    // The same again is no write; none at all takes the file away.
    let (before, version) =
        (fs::metadata(&at).unwrap().modified().unwrap(), it.service("x").unwrap().version.clone());
    let wrote = it.status("x", &version, &["10.0.0.1", "fd00::1"]).await;
    assert!(!it.observed.apply(wrote.result.unwrap()).any());
    assert_eq!(fs::metadata(&at).unwrap().modified().unwrap(), before);
    let wrote = it.status("x", &version, &[]).await;
    assert!(it.observed.apply(wrote.result.unwrap()).services);
    assert!(!at.exists());
}

/// Input: a Service that goes, or is in a document that breaks. Output: its status goes with it, or stays.
#[tokio::test]
async fn a_status_goes_with_its_service_but_not_with_a_typing_error() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("status/services")).unwrap();
    fs::write(
        dir.path().join("status/services/default.x.yaml"),
        "status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}",
    )
    .unwrap();
    fs::write(dir.path().join("svc.yaml"), "kind: [\n").unwrap();
    let mut it = Box::start(dir, Role::Controller);
    it.until("the fault", |o| o.synced() && !o.input.unreadable.is_empty()).await;
    let at = it.path("status/services/default.x.yaml");
    assert!(
        !files::read(it.dir.path(), "metallb-system", Role::Controller).unwrap().input.unreadable.is_empty()
    );
    assert!(at.exists(), "the Service may be in the broken file");
    it.put("svc.yaml", &service("x"));
    it.until("the service with its address", |o| {
        o.world.services.values().any(|s| s.addresses().count() == 1)
    })
    .await;
    it.put("svc.yaml", &service("y"));
    it.until("another service", |o| o.world.services.contains_key(&ServiceKey::new("default", "y"))).await;
    assert!(!at.exists());
}

/// Input: a file that somebody may read from now on. Output: it is read again, though nobody wrote it.
#[tokio::test]
async fn a_change_of_rights_is_a_change() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("pools.yaml"), pool("a", "[10.0.0.0/24]")).unwrap();
    let mut it = Box::start(dir, Role::Controller);
    while !matches!(timeout(LONG, it.changes.recv()).await.unwrap().unwrap(), Change::Synced(Kind::File)) {}
    fs::set_permissions(it.path("pools.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    let again = timeout(LONG, it.changes.recv()).await.unwrap().unwrap();
    assert!(matches!(again, Change::Listing(_)), "{again:?}");
}

/// Input: a large directory and many statuses, on a runtime of one thread. Output: another task has its turns while
/// they are read and written; there is no telling how many, but they are not the few between two channels.
#[tokio::test(flavor = "current_thread")]
async fn others_go_on_while_a_large_directory_is_read() {
    const MANY: usize = 1000;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let dir = TempDir::new().unwrap();
    let names: Vec<String> = (0..MANY).map(|at| format!("s{at}")).collect();
    fs::write(dir.path().join("many.yaml"), names.iter().map(|name| service(name)).collect::<String>())
        .unwrap();
    let mut it = Box::start(dir, Role::Controller);
    let first = timeout(LONG, it.changes.recv()).await.unwrap().unwrap();
    let meanwhile = turns.load(Relaxed);
    assert!(meanwhile > 100, "{meanwhile} turns until the first change");
    it.observed.apply(first);
    it.until("all services", |o| o.synced() && o.world.services.len() == MANY).await;
    for name in names.iter().take(16) {
        let version = it.service(name).unwrap().version.clone();
        let status =
            Status { key: ServiceKey::new("default", name), version, ips: vec![], pool: Some("p".into()) };
        it.statuses.try_send(status).unwrap();
    }
    let before = turns.load(Relaxed);
    for _ in 0..16 {
        timeout(LONG, it.wrote.recv()).await.unwrap().unwrap().result.unwrap();
    }
    let meanwhile = turns.load(Relaxed) - before;
    assert!(meanwhile > 100, "{meanwhile} turns while statuses were written");
    other.abort();
}

/// Input: nobody listens any more. Output: the task ends by itself.
#[tokio::test]
async fn it_ends_with_its_listener() {
    let it = Box::start(TempDir::new().unwrap(), Role::Speaker);
    drop(it.changes);
    timeout(LONG, it.task).await.unwrap().unwrap().unwrap();
    let missing = files::run(&it.dir.path().join("no"), "n", Role::Speaker, channel(1).0, None).await;
    let why = format!("{:#}", missing.unwrap_err());
    assert!(
        why.starts_with("--manifests=") && why.contains(": watch ") && why.contains("/no: No such"),
        "{why}"
    );
}

/// Input: a file where the directory of the statuses must be, at the start and later. Output: it is named, not only the
/// directory or the file below it.
#[tokio::test]
async fn a_file_in_the_way_of_the_statuses_is_named() {
    let dir = TempDir::new().unwrap();
    let status = dir.path().join("status");
    let cure = format!("{} is there, but is no directory", status.display());
    fs::write(&status, "").unwrap();
    let fault = files::run(dir.path(), "n", Role::Controller, channel(1).0, None).await.unwrap_err();
    assert!(format!("{fault:#}").contains(&cure), "{fault:#}");
    let fault = files::read(dir.path(), "n", Role::Controller).unwrap_err();
    assert!(format!("{fault:#}").contains(&cure), "{fault:#}");
    let mut problems = Problems::default();
    problems.add(file("a.yaml"), "", "is wrong");
    let fault = files::write_problems(dir.path(), "controller", &problems).unwrap_err().to_string();
    assert!(
        fault.contains("/status/problems.controller.yaml: ")
            && fault.ends_with(&format!("{cure}, which it must be")),
        "{fault}"
    );
}
