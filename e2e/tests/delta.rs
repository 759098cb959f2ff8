//! A delta makes of an FRR with the one model an FRR with the other: real daemons, the real driver.

#![allow(
    clippy::expect_used,
    reason = "functions of a test may fail it; clippy only knows those that are tests themselves"
)]

use anyhow::{Context as _, Result};
use ferrolb::{
    api::FRRConfiguration,
    config::{Community, Neighbor, RemoteAs},
    frr::{self, ClassId, Daemon, Entry, GracefulRestart, Model, Policy, Router, Session, Subject},
    io::frr::{Paths, Report, Vty, drive},
    names::{Asn, Word},
    net::Family,
    plan::Attributes,
};
use ferrolb_e2e::{
    frr::{Frr, Listens, Setup, Version},
    models,
    netns::Net,
    recorder::Recorder,
    updates::Update,
    wait,
    warden::Warden,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

const CASES: usize = 40;
const DEADLINE: Duration = Duration::from_secs(30);

/// As the machine has it.
const OWN: Setup<'_> = Setup { version: Version::Own, listens: Listens::No, vrfs: &[] };
/// FRR 10.
const TEN: Setup<'_> = Setup { version: Version::Ten, ..OWN };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_deltas_or_from_the_file_is_the_same() -> Result<()> {
    by_deltas_or_from_the_file(&OWN, CASES).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_deltas_or_from_the_file_is_the_same_in_frr_10() -> Result<()> {
    by_deltas_or_from_the_file(&TEN, CASES).await
}

/// One FRR goes from model to model by deltas. After each, what its daemons run is what those of an FRR run that was
/// started with the model's file; and both are read back as that model. No line is refused, or answered with a
/// warning.
async fn by_deltas_or_from_the_file(setup: &Setup<'_>, cases: usize) -> Result<()> {
    let warden = Warden::start()?;
    let (one, two) = (Net::create(&warden, "driven")?, Net::create(&warden, "started")?);
    let driven = Frr::start_as(setup, &warden, &one, &frr::render(&Model::default())?)?;
    let mut driver = Driver::start(&driven, &Model::default()).await?;
    let mut runner = TestRunner::deterministic();
    let mut before = Model::default();
    let mut all = models::golden()?;
    all.extend((0..cases).map(|_| models::model().new_tree(&mut runner).expect("a model").current()));
    for (case, model) in all.into_iter().enumerate() {
        let text = frr::render(&model)?;
        let what = || format!("case {case}, from\n{}to\n{text}", frr::render(&before).unwrap_or_default());
        driver.go(&before, &model).await.with_context(what)?;
        let started = Frr::start_as(setup, &warden, &two, &text)?;
        for daemon in ["bgpd", "bfdd"] {
            let driven = running_config(driven.vty_dir(), daemon).await?;
            let mut started = running_config(started.vty_dir(), daemon).await?;
            if daemon == "bfdd" {
                // vtysh reads prefix-lists to every daemon; bgpd alone has a use for them
                started =
                    started.lines().filter(|l| !l.contains(" prefix-list ")).collect::<Vec<_>>().join("\n");
            }
            assert_same(&driven, &started, || format!("{daemon}, {}", what()));
        }
        for (way, frr) in [("driven", &driven), ("started", &started)] {
            let mut all = running_config(frr.vty_dir(), "bgpd").await?;
            all.push_str(&running_config(frr.vty_dir(), "bfdd").await?);
            let found = frr::read(&all);
            assert!(found.foreign.is_empty(), "{way}: {:?}, {}", found.foreign, what());
            assert!(found.model == model, "{way}: {:#?}\n{model:#?}\n{}\n{all}", found.model, what());
        }
        // zebra is not driven: what it is to log is in the file only
        let shown = |frr: &Frr| -> Result<String> {
            let all = frr.vtysh("show running-config")?;
            Ok(all.lines().filter(|l| !l.starts_with("debug zebra ")).collect::<Vec<_>>().join("\n"))
        };
        assert_same(&shown(&driven)?, &shown(&started)?, || format!("vtysh, {}", what()));
        wait::until_true(DEADLINE, "frr.conf of the model", || {
            Ok(std::fs::read_to_string(driven.conf())? == text)
        })?;
        started.stop()?;
        before = model;
    }
    driver.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_users_objects_are_fix_points() -> Result<()> {
    fix_points(&OWN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_users_objects_are_fix_points_in_frr_10() -> Result<()> {
    fix_points(&TEN).await
}

/// An FRR that has loaded the frr.conf of a golden case with users' objects says of itself what the file says: nothing is
/// missing, nothing more is there, and the delta between the two is empty. Raw lines, of which EVPN's are some, are there
/// word for word, each under the lines that it belongs under.
async fn fix_points(setup: &Setup<'_>) -> Result<()> {
    let warden = Warden::start()?;
    let net = Net::create(&warden, "fixed")?;
    let dir = ferrolb_e2e::bins::checkout()?.join("tests/golden/frr-merge");
    let mut cases = 0;
    for case in std::fs::read_dir(dir)? {
        let case = case?.path();
        let text = std::fs::read_to_string(case.join("frr.conf"))?;
        let frr = Frr::start_as(setup, &warden, &net, &text)?;
        let mut all = running_config(frr.vty_dir(), "bgpd").await?;
        all.push_str(&running_config(frr.vty_dir(), "bfdd").await?);
        let (running, file) = (frr::read(&all).model, frr::read(&text).model);
        let steps = frr::delta(&running, &file);
        assert!(steps.is_empty(), "{}: {steps:#?}\n{all}", case.display());
        assert!(running == file, "{}: {running:#?}\n{file:#?}\n{all}", case.display());
        let shown = blocks(&frr.vtysh("show running-config")?);
        let raw = frr::written(&text).into_iter().map(|line| [line.path, vec![line.text]].concat());
        let lost: Vec<_> = raw.filter(|line| !shown.contains(line)).collect();
        assert!(lost.is_empty(), "{}: {lost:#?}", case.display());
        frr.stop()?;
        cases += 1;
    }
    anyhow::ensure!(cases >= 13, "{cases} cases");
    Ok(())
}

const NODE: &str = "10.7.0.1";
const EXTERNAL: &str = "10.7.0.2";
const INTERNAL: &str = "10.7.0.3";

/// What one class is in [`wired`]: its number, the place of its entries, a community, whether the external neighbour
/// gets it, and its prefixes.
type Kind<'a> = (u64, u16, u16, bool, &'a [&'a str]);

/// A model with both neighbours and these classes.
fn wired(kinds: &[Kind<'_>]) -> Model {
    let asn = |number| Asn::new(number).expect("not 0");
    let session = |remote: u32| Session {
        remote_as: RemoteAs::Number(asn(remote)),
        local_as: None,
        bfd: None,
        password: None,
        port: Some(1179),
        multihop: false,
        skip_connected_check: false,
        source: None,
        timers: None,
        connect_time: Some(1),
        graceful_restart: GracefulRestart::Off,
        ttl_security: None,
        families: [Family::V4].into(),
    };
    let neighbor = |address: &str| Neighbor::Address(address.parse().expect("an address"));
    let mut router = Router {
        asn: asn(64512),
        id: NODE.parse().ok(),
        prepared: true,
        sessions: [(neighbor(EXTERNAL), session(65001)), (neighbor(INTERNAL), session(64512))].into(),
        networks: BTreeMap::new(),
        imports: BTreeSet::new(),
    };
    let mut model = Model::default();
    for name in [EXTERNAL, INTERNAL] {
        let policy = Policy { inbound: true, ..Policy::default() };
        model.policies.insert(Word::new(name).expect("a word"), policy);
    }
    for (class, place, community, external, prefixes) in kinds {
        let class = ClassId(*class);
        model.classes.insert(class);
        for (name, policy) in &mut model.policies {
            if *external || name.as_str() == INTERNAL {
                let communities = [Community::Standard(64512, *community)].into();
                let attributes = Attributes {
                    local_pref: Some(u32::from(*community)),
                    communities,
                    ..Attributes::default()
                };
                policy.entries.insert(*place, Entry { class: Some(class), attributes, own_as: None });
            }
        }
        let prefixes = prefixes.iter().map(|prefix| (prefix.parse().expect("a prefix"), class));
        router.networks.extend(prefixes);
    }
    model.routers.insert(None, router);
    model
}

/// On the wire, while the neighbours keep asking for everything again: a prefix is announced at once, also in a new
/// class; one that changes its class is announced with the new attributes and never withdrawn; no other prefix is
/// withdrawn, no session ends, our tag never leaves, nor a prefix to whom it is not for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_moves_on_the_wire() -> Result<()> {
    const STAY: [&str; 3] = ["198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32"];
    const MOVES: &str = "198.51.100.7/32";
    const SECRET: &str = "198.51.100.66/32";
    let warden = Warden::start()?;
    let (node, outside) = (Net::create(&warden, "node")?, Net::create(&warden, "outside")?);
    node.cable("up", &["10.7.0.1/24"], &outside, "down", &["10.7.0.2/24", "10.7.0.3/24"])?;
    let listen =
        |address: &str, asn| Recorder::listen(&outside, SocketAddrV4::new(address.parse()?, 1179), asn);
    let (external, internal) = (listen(EXTERNAL, 65001)?, listen(INTERNAL, 64512)?);
    let frr = Frr::start(&warden, &node, Listens::No, &frr::render(&Model::default())?)?;
    let mut driver = Driver::start(&frr, &Model::default()).await?;

    let base: Kind<'_> = (1, 2, 100, true, &STAY);
    let secret: Kind<'_> = (3, 4, 300, false, &[SECRET]);
    let mut model = wired(&[base, secret]);
    driver.go(&Model::default(), &model).await?;
    for (recorder, count) in [(&external, 3), (&internal, 4)] {
        wait::until_true(DEADLINE, "the first prefixes", || {
            let told: BTreeSet<_> = recorder.told()?.into_iter().flat_map(|told| told.announced).collect();
            Ok(told.len() == count)
        })?;
    }
    external.take()?;
    internal.take()?;
    let storm = AtomicBool::new(true);
    let (mut seen, mut took) = ([Vec::new(), Vec::new()], [const { Vec::new() }; 3]);
    let result: Result<()> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while storm.load(Ordering::Relaxed) {
                if external.refresh().is_err() || internal.refresh().is_err() {
                    break;
                }
                std::thread::yield_now();
            }
        });
        let moved = tokio::task::block_in_place(|| {
            for round in 0..60u16 {
                // a class of its own each time; sometimes in the place that another one has to leave
                let (number, community) = (1000 + u64::from(round), 1000 + round);
                let moving: Kind<'_> = match round % 3 {
                    0 => (number, 1000 + round, community, true, &[MOVES]),
                    1 => (number, 2, community, true, &[MOVES]),
                    _ => (number, 500, community, true, &[MOVES]),
                };
                let base: Kind<'_> = if round % 3 == 1 { (1, 3, 100, true, &STAY) } else { base };
                let next = wired(&[moving, base, secret]);
                let start = wait::since_epoch()?;
                tokio::runtime::Handle::current().block_on(driver.go(&model, &next))?;
                model = next;
                let community = format!("64512:{community}");
                let mut slower = Duration::ZERO;
                for (recorder, seen) in [&external, &internal].into_iter().zip(&mut seen) {
                    let mut at = None;
                    wait::until_true(DEADLINE, "the prefix in its new class", || {
                        seen.extend(recorder.take()?);
                        let new = seen.iter().find(|told: &&Update| {
                            told.announced.contains(MOVES) && told.communities.contains(&community)
                        });
                        at = new.map(|told| told.at);
                        Ok(at.is_some())
                    })?;
                    slower = slower.max(at.unwrap_or_default().saturating_sub(start));
                }
                took[usize::from(round % 3)].push(slower);
            }
            Ok(())
        });
        storm.store(false, Ordering::Relaxed);
        moved
    });
    result?;
    for (kind, took) in took.iter().enumerate() {
        let (median, slowest) = (wait::median(took), took.iter().max());
        println!(
            "{} moves of kind {kind}, at both neighbours after {median:?}, the slowest {slowest:?}",
            took.len()
        );
        // five seconds, and of every move of its kind
        assert!(median < Duration::from_secs(2), "{median:?}: FRR's route-map delay?");
    }
    let [at_external, at_internal] = &seen;
    println!("{} and {} UPDATEs", at_external.len(), at_internal.len());
    for told in at_external.iter().chain(at_internal) {
        assert!(told.withdrawn.is_empty(), "{told:?}");
        assert!(!told.communities.iter().any(|c| c.starts_with("4294967295:")), "{told:?}");
        assert!(told.announced.is_empty() || told.communities.len() == 1, "{told:?}");
        for prefix in &told.announced {
            let right = match told.communities.first().map(String::as_str) {
                Some("64512:100") => STAY.contains(&prefix.as_str()),
                Some("64512:300") => prefix == SECRET,
                _ => prefix == MOVES,
            };
            assert!(right, "{told:?}");
        }
    }
    assert!(at_external.iter().all(|told| !told.announced.contains(SECRET)));
    assert!(at_internal.iter().any(|told| told.announced.contains(SECRET)), "the storm had no effect");

    // gone, and only that
    let last = wired(&[base, secret]);
    driver.go(&model, &last).await?;
    for recorder in [&external, &internal] {
        wait::until_true(DEADLINE, "the withdrawal", || {
            Ok(recorder.told()?.iter().any(|told| told.withdrawn.contains(MOVES)))
        })?;
        assert!(recorder.take()?.iter().all(|told| told.withdrawn.iter().all(|p| p == MOVES)));
        assert_eq!(recorder.sessions(), 1);
    }
    driver.stop().await;
    Ok(())
}

/// A speaker that restarts finds everything as it was, and says nothing. An FRR that restarts has the newest model
/// from its file, also one that came while it was away. Without bfdd, BGP goes on. A line that is refused is reported
/// with what it is about, everything else is done, and it is sent again with the next change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_and_refusals() -> Result<()> {
    let warden = Warden::start()?;
    let (node, outside) = (Net::create(&warden, "node")?, Net::create(&warden, "outside")?);
    node.cable("up", &["10.7.0.1/24"], &outside, "down", &["10.7.0.2/24", "10.7.0.3/24"])?;
    let router = Recorder::listen(&outside, SocketAddrV4::new(EXTERNAL.parse()?, 1179), 65001)?;
    let frr = Frr::start(&warden, &node, Listens::No, &frr::render(&Model::default())?)?;
    let first = wired(&[(1, 2, 100, true, &["198.51.100.1/32"])]);
    let announced = |prefix: &str| {
        wait::until_true(DEADLINE, prefix, || {
            Ok(router.any().iter().any(|told| told.announced.contains(prefix)))
        })
    };

    let mut driver = Driver::start(&frr, &Model::default()).await?;
    driver.go(&Model::default(), &first).await?;
    announced("198.51.100.1/32")?;
    driver.stop().await;
    let mut driver = Driver::start(&frr, &first).await?;
    let second = wired(&[(1, 2, 100, true, &["198.51.100.1/32", "198.51.100.2/32"])]);
    driver.desired.send_replace(Some(Arc::new(second.clone())));
    assert_eq!(driver.applied().await?.last().map(|l| l.contains("198.51.100.2/32")), Some(true));
    announced("198.51.100.2/32")?;
    assert_eq!(router.sessions(), 1);
    assert!(router.take()?.iter().all(|told| told.withdrawn.is_empty()));

    frr.stop()?;
    assert!(matches!(driver.report().await?, Report::Unreachable { daemon: Daemon::Bgp, .. }));
    let third = wired(&[(1, 2, 100, true, &["198.51.100.3/32"])]);
    driver.desired.send_replace(Some(Arc::new(third.clone())));
    wait::until_true(DEADLINE, "frr.conf of the newest model", || {
        Ok(std::fs::read_to_string(frr.conf())? == frr::render(&third)?)
    })?;
    let frr = Frr::resume(&warden, &node)?;
    announced("198.51.100.3/32")?;
    let found = frr::read(&running_config(frr.vty_dir(), "bgpd").await?);
    assert_eq!((found.model, found.foreign), (third.clone(), vec![]));
    driver.stop().await;

    let lone = warden.make_dir("lone")?;
    std::os::unix::fs::symlink(frr.vty_dir().join("bgpd.vty"), lone.join("bgpd.vty"))?;
    let mut driver = Driver::at(Paths { vty_dir: lone.clone(), conf: frr.conf().to_owned() });
    let mut fourth = wired(&[(1, 2, 100, true, &["198.51.100.3/32", "198.51.100.4/32"])]);
    fourth.policies.insert(Word::new("eth9")?, Policy { inbound: true, ..Policy::default() });
    fourth.bfd.insert(Word::new("fast")?, frr::BfdProfile::default());
    let bgp = fourth.routers.get_mut(&None).expect("a router");
    let interface = Neighbor::Interface(Word::new("eth9")?);
    let session = bgp.sessions.first_key_value().expect("a session").1.clone();
    bgp.sessions.insert(interface.clone(), Session { source: Word::new("lo").ok(), ..session });
    for _ in 0..2 {
        driver.desired.send_replace(Some(Arc::new(fourth.clone())));
        let mut refused = Vec::new();
        loop {
            match driver.report().await? {
                Report::Connected { daemon: Daemon::Bgp, .. } => {}
                Report::Unreachable { daemon: Daemon::Bfd, .. } => {}
                Report::Refused { line, subject, .. } => refused.push((line, subject)),
                Report::Applied { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        let subject = Subject::Neighbor(None, interface.clone());
        assert_eq!(refused, [("neighbor eth9 update-source lo".to_owned(), subject)]);
        announced("198.51.100.4/32")?;
        fourth.routers.get_mut(&None).expect("a router").networks.pop_first();
    }
    driver.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_lines_come_and_go() -> Result<()> {
    raw_lines(&OWN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_lines_come_and_go_in_frr_10() -> Result<()> {
    raw_lines(&TEN).await
}

/// Users' own lines: what a model has room for is in it, the others are sent, found again after a restart of either
/// side, and taken back. A line that no daemon knows is a refusal of its object, and everything else goes on.
async fn raw_lines(setup: &Setup<'_>) -> Result<()> {
    const RAW: &str = "route-map 10.7.0.2-in permit 20\nrouter bgp 64512\n neighbor 10.7.0.2 timers 3 9\n \
        address-family ipv4 unicast\n  neighbor 10.7.0.2 maximum-prefix 10\n exit-address-family\nexit\n\
        ip prefix-list EXTRA seq 5 permit 10.0.0.0/8\nroute-map EXTRA permit 5\n match ip address prefix-list \
        EXTRA\nexit\ninterface lo\n description raw\nexit\nfly to the moon\n";
    let object = |name: &str, raw: &str| -> Result<FRRConfiguration> {
        let neighbor = serde_json::json!({"address": EXTERNAL, "asn": 65001});
        let routers = serde_json::json!([{"asn": 64512, "id": NODE, "neighbors": [neighbor]}]);
        Ok(serde_json::from_value(serde_json::json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name},
            "spec": {"bgp": {"routers": routers}, "raw": {"rawConfig": raw}},
        }))?)
    };
    let model = |raw: &str| -> Result<Model> {
        let (ours, user) = (object("metallb-n1", "")?, object("extra", raw)?);
        let users = [("extra".to_owned(), user)].into();
        let merged = frr::merge(&frr::Sources { users: &users, ..frr::Sources::only(&ours) });
        anyhow::ensure!(merged.problems.is_empty(), "{:?}", merged.problems);
        Ok(merged.model)
    };
    let (plain, raw) = (model("")?, model(RAW)?);
    let warden = Warden::start()?;
    let node = Net::create(&warden, "node")?;
    let frr = Frr::start_as(setup, &warden, &node, &frr::render(&Model::default())?)?;
    let mut driver = Driver::start(&frr, &Model::default()).await?;
    driver.go(&Model::default(), &plain).await?;
    let show = "show running-config";
    let before = frr.vtysh(show)?;
    let wanted = [
        "route-map 10.7.0.2-in permit 20",
        "neighbor 10.7.0.2 timers 3 9",
        "neighbor 10.7.0.2 maximum-prefix 10",
        "ip prefix-list EXTRA seq 5 permit 10.0.0.0/8",
        "match ip address prefix-list EXTRA",
        "description raw",
    ];
    let has_all = |config: &str| wanted.iter().all(|line| config.lines().any(|l| l.trim() == *line));

    driver.desired.send_replace(Some(Arc::new(raw.clone())));
    driver.refuses_the_moon().await?;
    let with = frr.vtysh(show)?;
    assert!(has_all(&with), "{with}");
    wait::until_true(DEADLINE, "frr.conf with raw lines", || {
        Ok(std::fs::read_to_string(frr.conf())? == frr::render(&raw)?)
    })?;
    // another speaker finds everything, and changes nothing
    driver.stop().await;
    let mut driver = Driver::at(paths(&frr));
    driver.desired.send_replace(Some(Arc::new(raw.clone())));
    driver.refuses_the_moon().await?;
    assert_same(&with, &frr.vtysh(show)?, || "after a restart of the speaker".to_owned());
    // another FRR starts from the file
    driver.stop().await;
    frr.stop()?;
    let frr = Frr::resume_as(setup, &warden, &node)?;
    assert!(has_all(&frr.vtysh(show)?), "{}", frr.vtysh(show)?);
    let mut driver = Driver::at(paths(&frr));
    driver.desired.send_replace(Some(Arc::new(plain.clone())));
    loop {
        match driver.report().await? {
            Report::Connected { foreign, .. } if foreign.is_empty() => {}
            // the file had it, so it is taken back too
            Report::Remarked { line, .. } if line == "no fly to the moon" => {}
            Report::Applied { .. } => break,
            other => anyhow::bail!("{other:?}"),
        }
    }
    // one daemon may be telling another what it has from the file
    let same = || Ok(blocks(&before) == blocks(&frr.vtysh(show)?));
    wait::until_true(DEADLINE, "no raw lines", same).with_context(|| frr.vtysh(show).unwrap_or_default())?;
    // and may give it back after it was taken away
    let back = "ip prefix-list EXTRA seq 5 permit 10.0.0.0/8";
    frr.vtysh(&format!("configure terminal\n{back}"))?;
    let gone = || Ok(!frr.vtysh(show)?.contains(back));
    wait::until_true(2 * DEADLINE, "the line that came back is gone", gone)?;
    wait::until_true(DEADLINE, "nothing else changed", same)?;
    // what a line takes from us is back when the line goes, whatever stays
    let stays = "ip prefix-list EXTRA seq 5 permit 10.0.0.0/8\n";
    for (taken, line) in [
        ("no route-map 10.7.0.2-in\n", "route-map 10.7.0.2-in"),
        ("router bgp 64512\n no neighbor 10.7.0.2 remote-as 65001\nexit\n", " neighbor 10.7.0.2 remote-as"),
    ] {
        for rest in ["", stays] {
            let without = |line: &str| Ok(!frr.vtysh(show)?.lines().any(|other| other.starts_with(line)));
            driver.desired.send_replace(Some(Arc::new(model(&format!("{taken}{rest}"))?)));
            wait::until_true(DEADLINE, &format!("no {line}"), || without(line))?;
            driver.desired.send_replace(Some(Arc::new(model(rest)?)));
            let whole = || {
                let now = frr.vtysh(show)?;
                Ok(before.lines().filter(|line| !line.is_empty()).all(|line| now.lines().any(|l| l == line)))
            };
            wait::until_true(DEADLINE, &format!("what {taken:?} took"), whole)
                .with_context(|| frr.vtysh(show).unwrap_or_default())?;
        }
    }
    driver.stop().await;
    Ok(())
}

/// The driver, and what it reported.
struct Driver {
    desired: watch::Sender<Option<Arc<Model>>>,
    reports: mpsc::Receiver<Report>,
    task: tokio::task::JoinHandle<()>,
}

impl Driver {
    /// Of an FRR that has `from`, once both daemons were found so: nothing else is said.
    async fn start(frr: &Frr, from: &Model) -> Result<Self> {
        let mut driver = Self::at(paths(frr));
        driver.desired.send_replace(Some(Arc::new(from.clone())));
        let mut found = BTreeSet::new();
        while found.len() < 2 {
            match driver.report().await? {
                Report::Connected { daemon, foreign } if foreign.is_empty() => found.insert(daemon),
                other => anyhow::bail!("{other:?}"),
            };
        }
        Ok(driver)
    }

    fn at(paths: Paths) -> Self {
        let (desired, wanted) = watch::channel(None);
        let (sender, reports) = mpsc::channel(1000);
        Self { desired, reports, task: tokio::spawn(drive(paths, wanted, sender)) }
    }

    /// Sends `to`, and waits until it is applied.
    async fn go(&mut self, from: &Model, to: &Model) -> Result<()> {
        self.desired.send_replace(Some(Arc::new(to.clone())));
        let mut applied = frr::delta(from, to).is_empty();
        while !applied {
            match timeout(DEADLINE, self.reports.recv()).await.context("no report")?.context("ended")? {
                Report::Applied { .. } => applied = true,
                Report::Connected { foreign, .. } if foreign.is_empty() => {}
                Report::Unreachable { needed: false, .. } => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        Ok(())
    }

    /// The next report, but for those of a daemon that nothing needs.
    async fn report(&mut self) -> Result<Report> {
        loop {
            let next = timeout(DEADLINE, self.reports.recv()).await;
            match next.context("no report")?.context("ended")? {
                Report::Unreachable { needed: false, .. } => {}
                report => return Ok(report),
            }
        }
    }

    /// The lines that are applied next, after nothing but connections.
    async fn applied(&mut self) -> Result<Vec<String>> {
        loop {
            match self.report().await? {
                Report::Applied { lines, .. } => return Ok(lines),
                Report::Connected { foreign, .. } if foreign.is_empty() => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
    }

    /// Everything is applied but the one line.
    async fn refuses_the_moon(&mut self) -> Result<()> {
        let mut refused = Vec::new();
        loop {
            match self.report().await? {
                Report::Connected { foreign, .. } if foreign.is_empty() => {}
                Report::Refused { line, subject, .. } => refused.push((line, subject)),
                Report::Applied { .. } => break,
                other => anyhow::bail!("{other:?}"),
            }
        }
        assert_eq!(refused, [("fly to the moon".to_owned(), Subject::Raw("extra".to_owned()))]);
        Ok(())
    }

    async fn stop(self) {
        drop(self.desired);
        self.task.await.expect("no panic");
    }
}

fn paths(frr: &Frr) -> Paths {
    Paths { vty_dir: frr.vty_dir().to_owned(), conf: frr.conf().to_owned() }
}

async fn running_config(vty_dir: &Path, daemon: &str) -> Result<String> {
    let mut vty = Vty::open(&vty_dir.join(format!("{daemon}.vty"))).await?;
    let answers = vty.ask(&["show running-config"]).await?;
    Ok(answers.into_iter().next().context("no answer")?.text)
}

fn assert_same(driven: &str, started: &str, what: impl Fn() -> String) {
    let (driven, started) = (blocks(driven), blocks(started));
    let only = |a: &BTreeSet<Vec<String>>, b| a.difference(b).cloned().collect::<Vec<_>>();
    let (here, there) = (only(&driven, &started), only(&started, &driven));
    assert!(driven == started, "only driven: {here:#?}\nonly started: {there:#?}\n{}", what());
}

/// Every line with the lines that it stands under, as a set: daemons print the same things in different orders. The
/// head of an empty `bfd` block does not count: bfdd keeps it once it has had a profile, and `no bfd` would also take
/// away what others have in it.
fn blocks(config: &str) -> BTreeSet<Vec<String>> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut lines = BTreeSet::new();
    for line in config.lines() {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        let silent = ["!", "exit", "end", "Building ", "Current "];
        if text.is_empty() || silent.iter().any(|word| text.starts_with(word)) {
            continue;
        }
        path.retain(|(above, _)| *above < depth);
        path.push((depth, text.to_owned()));
        lines.insert(path.iter().map(|(_, text)| text.clone()).collect());
    }
    if !lines.iter().any(|line: &Vec<String>| line.len() > 1 && line.first().is_some_and(|l| l == "bfd")) {
        lines.remove(["bfd".to_owned()].as_slice());
    }
    lines
}
