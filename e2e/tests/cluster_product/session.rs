//! What a session needs from elsewhere: its password from a Secret, and an FRR that frr-k8s drives.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{Identity, SYSTEM, kustomize},
    fabric::{BIRD_ASN, NODE_ASN, Segment},
    process::{Running, Spawn},
    wait,
};
use serde_json::{Value, json};

use crate::world::{DEADLINE, World, n2, world};

/// A router that takes n1 only with the right password.
struct Guarded {
    process: Running,
    conf: PathBuf,
    socket: PathBuf,
}

impl Guarded {
    fn start(world: &World, password: &str) -> Result<Self> {
        let fabric = world.cluster.fabric();
        let dir = fabric.warden.make_dir("guarded")?;
        let (conf, socket) = (dir.join("bird.conf"), dir.join("bird.ctl"));
        fs::write(&conf, Self::text(password))?;
        let bird = fabric.bird.command(&bins::tool("bird")?.to_string_lossy()).arg("-f").arg("-c").arg(&conf);
        let process = bird.arg("-s").arg(&socket).log(dir.join("bird.log")).start(&fabric.warden)?;
        let router = Self { process, conf, socket };
        router.process.wait_for(DEADLINE, "BIRD to answer", || {
            Ok(router.birdc("show status")?.contains("Daemon is up and running").then_some(()))
        })?;
        Ok(router)
    }

    fn text(password: &str) -> String {
        format!(
            "router id {own};\nprotocol device {{}}\nprotocol bgp n1 {{\n  local {own} as {BIRD_ASN};\n  \
             neighbor {node} as {NODE_ASN};\n  passive on;\n  password \"{password}\";\n  \
             ipv4 {{ import all; export none; }};\n}}\n",
            own = Segment::Bird.v4(1),
            node = Segment::Bird.v4(11),
        )
    }

    fn birdc(&self, command: &str) -> Result<String> {
        Spawn::new(bins::tool("birdc")?).arg("-s").arg(&self.socket).args(command.split(' ')).text()
    }

    /// Takes another password from now on, and no longer the one before.
    fn change(&self, password: &str) -> Result<()> {
        fs::write(&self.conf, Self::text(password))?;
        self.birdc("configure").map(drop)
    }

    /// The session's line, with the time since when it is as it is.
    fn line(&self) -> Result<String> {
        let text = self.birdc("show protocols n1")?;
        text.lines().find(|line| line.starts_with("n1 ")).map(str::to_owned).context("no session n1")
    }

    fn wait(&self, established: bool) -> Result<()> {
        wait::until_true(DEADLINE, &format!("the session with a password: {established}"), || {
            Ok(self.birdc("show protocols n1")?.contains("Established") == established)
        })
    }
}

fn secret(world: &World, kind: &str, password: &str) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "guarded", "namespace": SYSTEM},
        "type": kind, "stringData": {"username": "", "password": password}});
    world.kubectl().apply(&object).map(drop)
}

/// The password of a Secret opens the session, a changed one is taken over, and no other session notices.
#[test]
fn a_password_comes_from_a_secret() -> Result<()> {
    let world = world()?;
    let router = Guarded::start(world, "first")?;
    let peer = json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": {"name": "guarded", "namespace": SYSTEM},
        "spec": {"myASN": NODE_ASN, "peerASN": BIRD_ASN, "peerAddress": Segment::Bird.v4(1), "connectTime": "1s",
            "passwordSecret": {"name": "guarded"},
            "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n1"}}]}});
    world.kubectl().apply(&peer)?;
    let log = |text: &str| world.speaker_log_has("n1", text);
    log(
        r#"parsing peer guarded secret ref not found for peer config \"metallb-system\"/\"guarded\"\nfailed to parse peer guarded password secret"#,
    )?;
    secret(world, "kubernetes.io/basic-auth", "first")?;
    router.wait(true)?;

    let others: Vec<IpAddr> = vec![Segment::Tor.v4(11).into(), Segment::Tor.v6(11).into()];
    let sessions = || others.iter().map(|ip| world.tor.session(*ip)).collect::<Result<Vec<_>>>();
    wait::until_true(DEADLINE, "the other sessions", || {
        Ok(sessions()?.iter().all(|session| session.is_some_and(|session| session.established)))
    })?;
    let before = sessions()?;
    router.change("second")?;
    router.wait(false)?;
    secret(world, "kubernetes.io/basic-auth", "second")?;
    router.wait(true)?;
    let line = router.line()?;
    // what worked stays when the Secret goes bad, and the words are MetalLB's
    world.kubectl().run(&["-n", SYSTEM, "delete", "secret", "guarded"])?;
    secret(world, "Opaque", "third")?;
    log(
        r#"parsing peer guarded secret type mismatch on \"metallb-system\"/\"guarded\", type \"kubernetes.io/basic-auth\" is expected \nfailed to parse peer guarded password secret"#,
    )?;
    assert_eq!(router.line()?, line, "BIRD had it down meanwhile");
    for (before, now) in before.iter().zip(sessions()?) {
        let (before, now) = (before.context("no session")?, now.context("no session")?);
        ensure!((before.came_up, before.dropped) == (now.came_up, now.dropped), "{before:?}, then {now:?}");
    }
    let log = world.speaker_log("n1")?;
    ensure!(!["first", "second", "third"].iter().any(|word| log.contains(word)), "a password is in the log");
    world.kubectl().run(&["-n", SYSTEM, "delete", "bgppeer/guarded", "secret/guarded"])?;
    world.cluster.no_right_missing()
}

/// Where frr-k8s drives FRR, the speaker keeps one object there: made, changed, put right, and made again.
#[test]
fn a_separate_frr_k8s_gets_its_object() -> Result<()> {
    const NAMESPACE: &str = "frr-k8s-system";
    let world = world()?;
    let _alone = n2();
    let kubectl = world.kubectl();
    kubectl.run(&["create", "namespace", NAMESPACE])?;
    let overlay = kustomize(&bins::checkout()?.join(Path::new("manifests/overlays/frrk8s")))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&overlay).context("decode the overlay")?;
    let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let there = |object: &&Value| text(object, "/metadata/namespace").as_deref() == Some(NAMESPACE);
    for object in objects.iter().filter(there) {
        kubectl.apply(object)?;
    }
    let speaker = objects.iter().find(|object| text(object, "/kind").as_deref() == Some("DaemonSet"));
    let args = speaker.and_then(|speaker| speaker.pointer("/spec/template/spec/containers/0/args"));
    let args = args.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let args: Vec<&str> = args.filter(|arg| arg.starts_with("--frrk8s")).collect();
    ensure!(!args.is_empty(), "the overlay says nothing of frr-k8s");

    let object = || kubectl.get(&["-n", NAMESPACE, "frrconfiguration", "metallb-n2"]);
    let neighbors = |object: &Value| {
        let list = object.pointer("/spec/bgp/routers/0/neighbors").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|n| text(n, "/address")).collect::<Vec<_>>()
    };
    let fabric = world.cluster.fabric();
    let identity = Identity { account: "speaker", class: "frrk8s.test/none", port: 7600 };
    let running = world.cluster.launch_frr_k8s_speaker(&identity, &fabric.control, "n2", &args)?;
    let found = running.wait_for(DEADLINE, "the object for frr-k8s", || Ok(object().ok()))?;
    let tor = |ip: IpAddr| ip.to_string();
    let expected = [tor(Segment::Tor.v4(1).into()), tor(Segment::Tor.v6(1).into())];
    ensure!(expected.iter().all(|peer| neighbors(&found).contains(peer)), "{found}");
    let selector = found.pointer("/spec/nodeSelector/matchLabels/kubernetes.io~1hostname");
    ensure!(selector.and_then(Value::as_str) == Some("n2"), "{found}");

    let patch = r#"[{"op": "remove", "path": "/spec/bgp"}]"#;
    kubectl.run(&["-n", NAMESPACE, "patch", "frrconfiguration", "metallb-n2", "--type=json", "-p", patch])?;
    running.wait_for(DEADLINE, "the object to be put right", || {
        Ok((neighbors(&object()?).len() >= 2).then_some(()))
    })?;
    kubectl.run(&["-n", NAMESPACE, "delete", "frrconfiguration", "metallb-n2"])?;
    running.wait_for(DEADLINE, "the object to be made again", || Ok(object().ok().map(drop)))?;

    // where nothing differs nothing is written: one that starts writes only when there is a new peer
    let written = |speaker: &Running| speaker.log_text().matches("FRRConfiguration written").count();
    let before = written(&running);
    running.kill()?;
    let again = world.cluster.launch_frr_k8s_speaker(&identity, &fabric.control, "n2", &args)?;
    let peer = json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": {"name": "frr-k8s", "namespace": SYSTEM},
        "spec": {"myASN": NODE_ASN, "peerASN": BIRD_ASN, "peerAddress": "192.0.2.1", "sourceAddress": "192.0.2.2",
            "localASN": 64999, "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n2"}}]}});
    let url = format!("http://127.0.0.1:{}/readyz", identity.health_port());
    again.wait_for(DEADLINE, "the speaker to be ready", || {
        let answer = fabric.control.command("curl").args(["-s", "-m", "2", &url]).output()?;
        Ok((answer.stdout
            == b"ok
")
        .then_some(()))
    })?;
    kubectl.apply(&peer)?;
    let with_peer = again.wait_for(DEADLINE, "the new peer in the object", || {
        Ok(Some(object()?).filter(|object| neighbors(object).contains(&"192.0.2.1".to_owned())))
    })?;
    let list = with_peer.pointer("/spec/bgp/routers/0/neighbors").and_then(Value::as_array);
    let ours = list.into_iter().flatten().find(|n| text(n, "/address").as_deref() == Some("192.0.2.1"));
    let ours = ours.context("no neighbor")?;
    ensure!(ours.get("sourceaddress") == Some(&json!("192.0.2.2")), "{ours}");
    ensure!(ours.get("localASN") == Some(&json!(64999)), "{ours}");
    ensure!(written(&again) == before + 1, "written without a difference: {}", again.log_text());
    kubectl.run(&["-n", SYSTEM, "delete", "bgppeer", "frr-k8s"])?;
    again.kill()?;
    world.cluster.no_right_missing()
}
