//! What the speakers' knowledge of each other needs of a real API server: the Secret that their gossip is sealed with,
//! and, with `--members=lease`, the Leases that take the gossip's place.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    capture::Capture,
    cluster::{Cluster, Extent, Identity, SYSTEM, kustomize},
    election,
    fabric::{Fabric, LAN, Segment},
    neighbour::{self, Claim, claims},
    netns::Net,
    objects,
    process::Running,
    wait,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// Who is looked for is found before the minute is over after which everybody looks again.
const FOUND: Duration = Duration::from_secs(45);

/// Three seconds in life. Whose own renewals come back late gives everybody a whole term more, and again: the log says
/// for what an address was taken, and this only that somebody took it.
const MISSED: Duration = Duration::from_secs(30);

/// The term of a Lease.
const TERM: Duration = Duration::from_secs(3);

/// Twice that, and more.
const AWAY: Duration = Duration::from_secs(8);

/// The API server's host number.
const API: u8 = 2;

fn secret(cluster: &Cluster) -> Result<Value> {
    cluster.kubectl().get(&["-n", SYSTEM, "secret", "memberlist"])
}

fn secret_but(cluster: &Cluster, former: &Value) -> Result<Value> {
    wait::until(DEADLINE, "a Secret", || {
        // there is none for a while
        let found = secret(cluster).ok();
        Ok(found.filter(|found| found.pointer("/metadata/uid") != former.pointer("/metadata/uid")))
    })
}

#[test]
fn a_key_is_made_once_and_stays() -> Result<()> {
    let cluster = Cluster::start(Fabric::create(1)?, Extent::Whole)?;
    cluster.install()?;
    let controller = cluster.start_controller()?;
    let first = secret_but(&cluster, &Value::Null)?;
    // 32 bytes
    assert_eq!(first["data"]["secretkey"].as_str().context("no key")?.len(), 44);
    let owner = &first["metadata"]["ownerReferences"];
    let deployment = cluster.kubectl().get(&["-n", SYSTEM, "deployment", "controller"])?;
    assert_eq!(owner[0]["kind"], "Deployment");
    assert_eq!(owner[0]["uid"], deployment["metadata"]["uid"], "{owner}");

    // a restart
    controller.stop()?;
    let controller = another_controller(&cluster, &controller)?;
    assert_eq!(secret(&cluster)?, first);

    // it goes with its Deployment, of which there is another one by then
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", SYSTEM, "delete", "deployment", "controller"])?;
    cluster.install()?;
    let second = secret_but(&cluster, &first)?;
    assert_ne!(second["data"], first["data"], "another key");
    let deployment = cluster.kubectl().get(&["-n", SYSTEM, "deployment", "controller"])?;
    assert_eq!(second["metadata"]["ownerReferences"][0]["uid"], deployment["metadata"]["uid"], "{second}");
    controller.stop()?;

    // somebody else's, such as MetalLB's, is as good
    kubectl.run(&["-n", SYSTEM, "delete", "secret", "memberlist"])?;
    kubectl.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "memberlist", "namespace": SYSTEM},
        "stringData": {"secretkey": "c29tZWJvZHkgZWxzZSdz"},
    }))?;
    let theirs = secret(&cluster)?;
    let controller = another_controller(&cluster, &controller)?;
    assert_eq!(secret(&cluster)?, theirs);
    controller.stop()?;
    cluster.no_right_missing()
}

/// Starts a controller where another one has ended, and waits until it has seen the Secret that is there. It writes on
/// in the log of the one before.
fn another_controller(cluster: &Cluster, former: &Running) -> Result<Running> {
    let said = |it: &Running| it.log_text().matches("the speakers' gossip has a key already").count();
    let before = said(former);
    let controller = cluster.start_controller()?;
    controller.wait_for(DEADLINE, "the controller to look at the key", || {
        Ok((said(&controller) > before).then_some(()))
    })?;
    Ok(controller)
}

/// The first speakers of a cluster: there is no key yet, and then nobody whose Pod has an address.
#[test]
fn a_speaker_may_be_earlier_than_the_key_and_than_the_others() -> Result<()> {
    let cluster = Cluster::start(Fabric::create(2)?, Extent::ApiOnly)?;
    cluster.install()?;
    let fabric = cluster.fabric();
    // as the kubelet mounts a Secret that is not there
    let empty = fabric.warden.make_dir("no-key")?.display().to_string();
    let speakers = fabric.nodes.iter().map(|node| {
        let bind = Segment::Lan.v4(node.host()).to_string();
        let labels = "app=metallb,component=speaker";
        let gossip = ["--frr-vty-dir", "", "--ml-bindaddr", &bind, "--ml-labels", labels];
        let key = ["--ml-secret-key-path", &empty, "--ml-secret-name", "memberlist"];
        let identity = Identity { account: "speaker", class: "", port: 7472 };
        cluster.launch_frr_k8s_speaker(&identity, &node.net, node.name(), &[&gossip[..], &key].concat())
    });
    let speakers: Vec<Running> = speakers.collect::<Result<_>>()?;
    let each = || speakers.iter().zip(&fabric.nodes);
    for (speaker, node) in each() {
        speaker.wait_for_log(DEADLINE, "waiting for the key of the speakers' gossip")?;
        answers(
            speaker,
            &node.net,
            "17472/readyz",
            "not ready, waiting for: the other speakers\n",
            DEADLINE,
        )?;
    }
    let _controller = cluster.start_controller()?;
    for (speaker, node) in each() {
        answers(speaker, &node.net, "17472/readyz", "ok\n", DEADLINE)?;
    }
    for node in &fabric.nodes {
        let (ip, name) = (Segment::Lan.v4(node.host()), node.name());
        cluster.kubectl().apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": SYSTEM, "labels": {"app": "metallb", "component": "speaker"},
            },
            "spec": {"serviceAccountName": "speaker", "containers": [{"name": "none", "image": "none"}]},
        }))?;
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        cluster.kubectl().patch_status(&["-n", SYSTEM, "pod", name], &status)?;
    }
    for (speaker, node) in each() {
        answers(speaker, &node.net, "7472/metrics", "ferrolb_members_others 1\n", FOUND)?;
    }
    Ok(())
}

/// Waits until a speaker says this, among other things.
fn answers(speaker: &Running, net: &Net, from: &str, text: &str, patience: Duration) -> Result<()> {
    speaker.wait_for(patience, &format!("{text:?} of {from}"), || {
        let url = format!("http://127.0.0.1:{from}");
        let said = net.command("curl").args(["-s", "-m", "2", &url]).output()?;
        Ok(String::from_utf8_lossy(&said.stdout).contains(text).then_some(()))
    })
}

/// What a speaker logs of one that says nothing any more.
const GIVEN_UP: &str = "a speaker is there no more";

/// Whether a line of a log has this field.
fn says(line: &Value, field: &str, text: &str) -> bool {
    line.get(field).and_then(Value::as_str) == Some(text)
}

/// Three nodes of a flat network, whose speakers renew Leases, as the overlay has it.
struct Three {
    cluster: Cluster,
    _controller: Running,
    speakers: BTreeMap<String, Running>,
    args: Vec<String>,
    ip: IpAddr,
}

impl Three {
    fn start() -> Result<Self> {
        let cluster = Cluster::start(Fabric::create(3)?, Extent::ApiOnly)?;
        let kubectl = cluster.kubectl();
        let overlay = kustomize(&bins::checkout()?.join("manifests/overlays/lease"))?;
        kubectl.apply(&overlay)?;
        cluster.wait_for_kinds()?;
        cluster.wait_for_accounts()?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&overlay).context("decode the overlay")?;
        let daemons = |object: &&Value| object.get("kind").and_then(Value::as_str) == Some("DaemonSet");
        let speaker = objects.iter().find(daemons).context("no DaemonSet")?;
        let args = speaker.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
        let args = args.into_iter().flatten().filter_map(Value::as_str);
        let mut args: Vec<String> =
            args.filter(|arg| arg.starts_with("--members")).map(str::to_owned).collect();
        ensure!(args.len() == 1, "{args:?}");
        args.push("--frr-vty-dir=".to_owned());
        let service = objects::Service::new("flat", "flat", cluster.fabric()).yaml(cluster.fabric());
        kubectl.apply(&[objects::pools(), objects::advertisements(), service].join("---\n"))?;
        let controller = cluster.start_controller()?;
        let ip = wait::until(DEADLINE, "an address", || {
            let service = kubectl.get(&["-n", "default", "service", "flat"])?;
            let ip = service.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str);
            Ok(ip.map(str::parse).transpose()?)
        })?;
        let mut three = Self { cluster, _controller: controller, speakers: BTreeMap::new(), args, ip };
        for name in three.names() {
            three.start_speaker(&name)?;
        }
        Ok(three)
    }

    fn names(&self) -> Vec<String> {
        self.cluster.fabric().nodes.iter().map(|node| node.name().to_owned()).collect()
    }

    fn start_speaker(&mut self, name: &str) -> Result<()> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let identity = Identity { account: "speaker", class: "", port: 7472 };
        let net = &self.cluster.fabric().node(name)?.net;
        let speaker = self.cluster.launch_frr_k8s_speaker(&identity, net, name, &args)?;
        self.speakers.insert(name.to_owned(), speaker);
        Ok(())
    }

    /// Waits until everybody knows everybody.
    fn see_each_other(&self) -> Result<()> {
        for (name, speaker) in &self.speakers {
            let net = &self.cluster.fabric().node(name)?.net;
            answers(speaker, net, "7472/metrics", "ferrolb_members_others 2\n", DEADLINE)?;
        }
        Ok(())
    }

    fn elected(&self, of: &[String]) -> Result<String> {
        let ip = self.ip.to_string();
        let winner = election::winner(of.iter().map(String::as_str), &ip).context("no candidate")?;
        Ok(winner.to_owned())
    }

    fn wire(&self) -> Result<Capture> {
        let fabric = self.cluster.fabric();
        Capture::start(&fabric.warden, &fabric.client, LAN, neighbour::FILTER)
    }

    /// What was announced of the address since then, by anybody or by one.
    fn announced(&self, wire: &Capture, by: Option<&str>, since: Duration) -> Result<Vec<Claim>> {
        let mac = by.map(|name| self.cluster.fabric().node(name)?.net.mac(LAN)).transpose()?;
        let mut claims = claims(&wire.frames()?);
        claims.retain(|claim| claim.ip == self.ip && !claim.answer && claim.at >= since);
        claims.retain(|claim| mac.as_ref().is_none_or(|mac| claim.mac == *mac));
        Ok(claims)
    }

    /// Waits until this node, and it alone, answers for the address.
    fn answered_by(&self, name: &str) -> Result<()> {
        let fabric = self.cluster.fabric();
        let mac = fabric.node(name)?.net.mac(LAN)?;
        wait::until_true(DEADLINE, &format!("an answer by {name} alone"), || {
            let how = neighbour::Ask::All;
            let macs =
                neighbour::ask(&fabric.warden, &fabric.client, self.ip, how, Duration::from_millis(200))?;
            Ok(!macs.is_empty() && macs.iter().all(|one| *one == mac))
        })
        .with_context(|| self.speakers.values().map(Running::log_text).collect::<String>())
    }

    fn speaker(&self, node: &str) -> Result<&Running> {
        self.speakers.get(node).with_context(|| format!("no speaker on {node}"))
    }

    /// Waits until a node takes the address, and fails unless its log, from byte `from` on, says before that why: this
    /// about `first`.
    fn taken_since(&self, by: &str, from: usize, why: &str, first: &str) -> Result<()> {
        let speaker = self.speaker(by)?;
        let said = speaker.wait_for(DEADLINE, &format!("{by} to take the address"), || {
            let log = speaker.log_text();
            let lines = log.get(from..).context("a log that shrinks")?.lines();
            let said: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
            let before: Vec<Value> =
                said.iter().take_while(|line| !says(line, "msg", "announcing")).cloned().collect();
            Ok((before.len() < said.len()).then_some(before))
        })?;
        let is_it = |line: &Value| says(line, "msg", why) && says(line, "node", first);
        ensure!(said.iter().any(is_it), "{by} takes it without {why:?} of {first}: {said:#?}");
        Ok(())
    }

    /// Lets nobody reach the API server for a while, and waits until everybody renews again. Gives whatever anybody but
    /// `first` announced since, and the longest time that the others had to wait for a renewal of `first` afterwards.
    fn outage(&mut self, first: &str) -> Result<(Vec<Claim>, Duration)> {
        let (wire, away) = (self.wire()?, wait::since_epoch()?);
        let back = self.cluster.without_api(|| {
            wait::pass(AWAY);
            wait::since_epoch()
        })?;
        let before = self.renewals()?;
        assert_eq!(before.len(), 3, "{before:?}");
        let mut seen = vec![before];
        for _ in 0..3 {
            let last = seen.last().cloned().context("none")?;
            wait::until_true(DEADLINE, "everybody to renew", || {
                let now = self.renewals()?;
                let all = last.iter().all(|(node, then)| now.get(node).is_some_and(|now| now != then));
                seen.push(now);
                Ok(all)
            })?;
        }
        // from when anybody could
        let could = seen.iter().flat_map(BTreeMap::values).copied().filter(|at| *at >= back).min();
        let firsts = seen.iter().filter_map(|all| all.get(first)).copied().filter(|at| *at >= back);
        let times: Vec<Duration> = could.into_iter().chain(firsts).collect();
        let longest =
            times.iter().zip(times.iter().skip(1)).map(|(one, next)| next.saturating_sub(*one)).max();
        let mut moved = Vec::new();
        for name in self.names().iter().filter(|name| *name != first) {
            moved.extend(self.announced(&wire, Some(name), away)?);
        }
        Ok((moved, longest.unwrap_or_default()))
    }

    /// When each speaker renewed its Lease last, since the epoch.
    fn renewals(&self) -> Result<BTreeMap<String, Duration>> {
        let leases = self.cluster.kubectl().get(&["-n", SYSTEM, "leases", "-l", "ferrolb.io/speaker"])?;
        let mut renewals = BTreeMap::new();
        for lease in leases.get("items").and_then(Value::as_array).into_iter().flatten() {
            let text = |path: &str| lease.pointer(path).and_then(Value::as_str);
            let (name, time) = (text("/metadata/name"), text("/spec/renewTime"));
            let node = name.and_then(|name| name.strip_prefix("speaker-")).context("whose Lease?")?;
            let time: jiff::Timestamp = time.context("never renewed")?.parse()?;
            renewals.insert(node.to_owned(), time.as_duration().unsigned_abs());
        }
        Ok(renewals)
    }

    /// How long after `since` a node announced the address.
    fn taken(&self, wire: &Capture, by: &str, since: Duration) -> Result<Duration> {
        wait::until(DEADLINE, &format!("an announcement by {by}"), || {
            let claims = self.announced(wire, Some(by), since)?;
            Ok(claims.first().map(|claim| claim.at.saturating_sub(since)))
        })
        .with_context(|| self.speakers.values().map(Running::log_text).collect::<String>())
    }
}

/// One node alone cannot reach the API server. The others give it up and take over, and it leaves to them what they have
/// taken, though it sees no reason for it; it has its own again when it can renew.
#[test]
fn one_that_is_cut_off_from_the_api_server_alone_is_replaced() -> Result<()> {
    let three = Three::start()?;
    three.see_each_other()?;
    let first = three.elected(&three.names())?;
    let others: Vec<String> = three.names().into_iter().filter(|name| *name != first).collect();
    let second = three.elected(&others)?;
    three.answered_by(&first)?;
    let net = &three.cluster.fabric().node(&first)?.net;
    let way = format!("blackhole {}/32", Segment::Lan.v4(API));
    let (wire, cut) = (three.wire()?, wait::since_epoch()?);
    let (alone, heir) = (three.speaker(&first)?, three.speaker(&second)?.log_text().len());
    net.ip(&format!("route add {way}"))?;
    let taken = three.taken(&wire, &second, cut)?;
    println!("cut off: {second} announced it after {} ms", taken.as_millis());
    assert!(taken < MISSED, "{taken:?}");
    three.taken_since(&second, heir, GIVEN_UP, &first)?;
    alone.wait_for_log(DEADLINE, "our Lease was not renewed of late")?;
    three.answered_by(&second)?;
    let left = wait::since_epoch()?;
    // for how long it leaves it to them is what this is about
    wait::pass(AWAY);
    three.answered_by(&second)?;
    let defended = three.announced(&wire, Some(&first), left)?;
    assert!(defended.is_empty(), "{first} does not leave it: {defended:?}");
    net.ip(&format!("route del {way}"))?;
    three.answered_by(&first)?;
    three.see_each_other()
}

/// The Node object stays: only the Lease tells.
#[test]
fn a_speaker_that_renews_its_lease_no_more_is_replaced() -> Result<()> {
    let mut three = Three::start()?;
    three.see_each_other()?;
    let first = three.elected(&three.names())?;
    let others: Vec<String> = three.names().into_iter().filter(|name| *name != first).collect();
    let second = three.elected(&others)?;
    three.answered_by(&first)?;

    let (wire, killed) = (three.wire()?, wait::since_epoch()?);
    let heir = three.speaker(&second)?.log_text().len();
    three.speakers.remove(&first).context("no speaker")?.kill()?;
    let taken = three.taken(&wire, &second, killed)?;
    println!("killed: {second} announced it after {} ms", taken.as_millis());
    assert!(taken < MISSED, "{taken:?}");
    three.taken_since(&second, heir, GIVEN_UP, &first)?;

    let back = wait::since_epoch()?;
    three.start_speaker(&first)?;
    three.taken(&wire, &first, back)?;
    three.see_each_other()?;
    three.answered_by(&first)?;

    let (wire, told) = (three.wire()?, wait::since_epoch()?);
    let heir = three.speaker(&second)?.log_text().len();
    let speaker = three.speakers.remove(&first).context("no speaker")?;
    let status = speaker.stop()?;
    ensure!(status.success(), "{status}\n{}", speaker.log_text());
    let taken = three.taken(&wire, &second, told)?;
    println!("told to end: {second} announced it after {} ms", taken.as_millis());
    assert!(taken < MISSED, "{taken:?}");
    // who says that it goes need not be missed
    three.taken_since(&second, heir, "a speaker leaves", &first)?;
    three.start_speaker(&first)?;
    three.see_each_other()?;
    three.answered_by(&first)?;

    // nobody can renew, and nobody takes anybody for dead: neither then nor when the first gets through again
    let (mut moved, mut pause) = three.outage(&first)?;
    if pause >= TERM {
        // a machine on which the first itself renews too late shows nothing of the others
        eprintln!("{first} renewed after {pause:?}: once more");
        three.see_each_other()?;
        three.answered_by(&first)?;
        (moved, pause) = three.outage(&first)?;
    }
    assert!(moved.is_empty(), "{moved:?}, with {pause:?} from renewal to renewal");
    three.answered_by(&first)?;
    for speaker in three.speakers.values() {
        let log = speaker.log_text();
        ensure!(!log.contains("our ServiceAccount"), "the overlay grants too little:\n{log}");
    }
    Ok(())
}
