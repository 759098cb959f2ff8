use super::*;

fn from<'a>(args: &[&str], env: &'a dyn Fn(&str) -> Option<String>) -> Surroundings<'a> {
    let args = ["program"].iter().chain(args).map(Into::into).collect();
    Surroundings { args, env, namespace: &|| Some("from-file\n".into()) }
}

fn speaker(args: &[&str], env: &[(&str, &str)]) -> Result<Speaker, Stop> {
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    Speaker::read(&from(args, &env))
}

fn controller(args: &[&str]) -> Result<Controller, Stop> {
    Controller::read(&from(args, &|_| None))
}

fn said(stop: Stop) -> (String, u8) {
    match stop {
        Stop::Print { text, code } => (text, code),
        Stop::HealthCheck(port) => panic!("asks for the health of {port:?}"),
    }
}

#[test]
fn defaults() {
    let all = speaker(&["--node-name=n"], &[]).unwrap();
    assert_eq!(all.frr_conf, PathBuf::from("/etc/frr/frr.conf"));
    assert_eq!(all.frr_vty_dir, Some(PathBuf::from("/var/run/frr")));
    assert_eq!(speaker(&["--node-name=n", "--frr-vty-dir="], &[]).unwrap().frr_vty_dir, None);
    assert_eq!(all.excludel2, PathBuf::from("/etc/metallb/excludel2.yaml"));
    let elsewhere = speaker(&["--node-name=n", "--excludel2-config=/x.yaml"], &[]).unwrap();
    assert_eq!(elsewhere.excludel2, PathBuf::from("/x.yaml"));
    assert_eq!(all.common.namespace, "from-file");
    assert_eq!((all.common.port, all.common.health_port), (Some(7472), Some(17472)));
    assert_eq!(all.common.log_level, LogLevel::Info);
    assert_eq!(all.common.source, Source::Api(None));
    assert_eq!(all.common.lb_class, None);
    assert!(all.common.metrics_plain && !all.ignore_exclude_lb);
    assert_eq!(all.common.ineffective, []);
}

/// The command lines of MetalLB's manifests.
#[test]
fn metallbs_command_lines() {
    let all = controller(&["--port=7472", "--log-level=info", "--tls-min-version=VersionTLS12"]).unwrap();
    assert_eq!(all.common.tls_min_version, TlsVersion::Tls12);
    assert_eq!(controller(&["--metrics-cert-dir", ""]).unwrap().common.metrics_cert_dir, None);
    let all = controller(&["-port=9120", "-webhook-mode=disabled", "--disable-cert-rotation"]).unwrap();
    assert_eq!(all.common.port, Some(9120));
    let named: Vec<_> = all.common.ineffective.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(named, ["--webhook-mode", "--disable-cert-rotation"]);
    let env = [
        ("METALLB_NODE_NAME", "n1"),
        ("METALLB_HOST", "10.0.0.1"),
        ("METALLB_ML_BIND_ADDR", "10.0.0.1"),
        ("METALLB_ML_LABELS", "app=metallb,component=speaker"),
        ("METALLB_NAMESPACE", "elsewhere"),
        ("METALLB_BGP_TYPE", "frr"),
        ("FRR_CONFIG_FILE", "/etc/frr_reloader/frr.conf"),
    ];
    let all =
        speaker(&["--port", "7472", "-ml-bindport", "7946", "--ignore-exclude-lb=false"], &env).unwrap();
    assert_eq!(all.node.as_str(), "n1");
    assert_eq!(all.common.namespace, "elsewhere");
    assert_eq!(all.frr_conf, PathBuf::from("/etc/frr_reloader/frr.conf"));
    assert_eq!(all.common.ineffective, []);
    let gossip = all.gossip.unwrap();
    assert_eq!((gossip.bind, gossip.port), (Some([10, 0, 0, 1].into()), 7946));
    assert_eq!(gossip.others, Others::Pods("app=metallb,component=speaker".into()));
    assert_eq!(gossip.key_dir, Some("/etc/ml_secret_key".into()));
}

#[test]
fn the_secret_of_the_gossip() {
    let read = |args: &[&str], env: &[(&str, &str)]| {
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Controller::read(&from(args, &env)).unwrap()
    };
    assert_eq!(read(&["--deployment=controller"], &[]).gossip_key, None);
    assert_eq!(read(&["--ml-secret-name="], &[]).gossip_key, None);
    let env = [("METALLB_ML_SECRET_NAME", "memberlist"), ("METALLB_DEPLOYMENT", "controller")];
    let all = read(&[], &env);
    assert_eq!(all.common.ineffective, []);
    let key = GossipKey { secret: "memberlist".into(), deployment: Some("controller".into()) };
    assert_eq!(all.gossip_key, Some(key));
    let all = read(&["--ml-secret-name=other"], &env[..1]);
    assert_eq!(all.gossip_key, Some(GossipKey { secret: "other".into(), deployment: None }));

    let gossip = |args: &[&str]| {
        let env = [("METALLB_ML_BIND_ADDR", "10.0.0.1"), ("METALLB_ML_LABELS", "a=b"), env[0]];
        speaker(&[&["--node-name=n"], args].concat(), &env).unwrap().gossip.unwrap()
    };
    assert_eq!(gossip(&[]).secret, Some("memberlist".into()));
    assert_eq!(gossip(&["--ml-secret-name=x", "--ml-secret-key-path="]).secret, Some("x".into()));
    assert_eq!(
        gossip(&["--manifests=/x", "--members=a"]).secret,
        None,
        "a directory has no Secrets to ask for"
    );
}

#[test]
fn the_speakers_gossip() {
    let gossip = |args: &[&str], env: &[(&str, &str)]| {
        speaker(&[&["--node-name=n"], args].concat(), env).map(|all| all.gossip)
    };
    let bind = ("METALLB_ML_BIND_ADDR", "10.0.0.1");
    let labels = ("METALLB_ML_LABELS", "app=metallb");
    assert_eq!(gossip(&[], &[]).unwrap(), None, "every Node counts");
    assert_eq!(gossip(&[], &[bind]).unwrap(), None, "both are needed, as with MetalLB");
    assert_eq!(gossip(&[], &[labels]).unwrap(), None);
    assert_eq!(gossip(&["--manifests=/x"], &[bind, labels]).unwrap(), None, "a directory has no Pods");
    let named = gossip(&["--manifests=/x", "--members=a, b:9000,", "--ml-wan-config"], &[]).unwrap().unwrap();
    assert_eq!(named.others, Others::Named(vec!["a".into(), "b:9000".into()]));
    assert_eq!((named.bind, named.port, named.key_dir), (None, 7946, None));
    assert_eq!(named.pace, crate::io::members::Pace::Wide);
    assert_eq!(gossip(&["--members="], &[bind, labels]).unwrap(), None, "switched off");
    let leases = gossip(&["--members=lease"], &[bind, labels]).unwrap().unwrap();
    assert_eq!(leases.others, Others::Leases);
    let env = [bind, labels, ("METALLB_ML_BIND_PORT", "9000"), ("METALLB_ML_SECRET_KEY_PATH", "/k")];
    let all = gossip(&[], &env).unwrap().unwrap();
    assert_eq!((all.port, all.key_dir), (9000, Some("/k".into())));
    assert_eq!(gossip(&["--ml-bindport=9001"], &env).unwrap().unwrap().port, 9001, "the flag wins");
    for (args, env, what) in [
        (&["--members=a", "--ml-bindaddr=0.0.0.0"][..], &[][..], "--ml-bindaddr"),
        (&["--members=a", "--ml-bindaddr=eth0"], &[], "--ml-bindaddr"),
        (&["--members=a", "--ml-bindport=0"], &[], "--ml-bindport"),
        (&["--members=lease", "--manifests=/x"], &[], "--members=lease"),
        (&["--members=a"], &[("METALLB_ML_BIND_PORT", "x")], "METALLB_ML_BIND_PORT"),
    ] {
        let (text, code) = said(gossip(args, env).unwrap_err());
        assert!(text.contains(what) && code == 2, "{text}");
    }
}

/// What MetalLB's native and FRR modes set and nothing here reads is told of; the modes themselves are one.
#[test]
fn what_metallbs_modes_leave_without_effect() {
    let told = |args: &[&str], env: &[(&str, &str)]| -> Vec<String> {
        let all = speaker(&[&["--node-name=n"], args].concat(), env).unwrap();
        assert!(all.frr_k8s.is_none() && all.frr_vty_dir.is_some());
        all.common.ineffective.into_iter().map(|one| format!("{}: {}", one.name, one.why)).collect()
    };
    assert!(told(&[], &[("METALLB_BGP_TYPE", "frr")]).is_empty());
    let native =
        "METALLB_BGP_TYPE=native: BGP is spoken by FRR alone: by the one beside the speaker, as with `frr`";
    assert_eq!(told(&[], &[("METALLB_BGP_TYPE", "native")]), [native]);
    let env = [("METALLB_BGP_DEBOUNCE_TIMEOUT", "3000"), ("FRR_RELOADER_PID_FILE", "/etc/frr_reloader/pid")];
    assert_eq!(
        told(&["--host=10.0.0.1", "--bgp-debounce-timeout=3000"], &env),
        [
            "--host: nothing needs it, as in MetalLB",
            "--bgp-debounce-timeout: changes are applied at once",
            "METALLB_BGP_DEBOUNCE_TIMEOUT: changes are applied at once",
            "FRR_RELOADER_PID_FILE: FRR is told by its vty, and nothing is reloaded",
        ]
    );
}

/// As MetalLB's manifests of its default mode have it, and by a flag of ours.
#[test]
fn a_separate_frr_k8s() {
    let frr_k8s = |args: &[&str], env: &[(&str, &str)]| {
        speaker(&[&["--node-name=n"], args].concat(), env).unwrap().frr_k8s
    };
    let own = |passthrough| Some(FrrK8s { namespace: "from-file".into(), passthrough });
    let other = |passthrough| Some(FrrK8s { namespace: "frr".into(), passthrough });
    assert_eq!(frr_k8s(&[], &[]), None);
    assert_eq!(frr_k8s(&["--frrk8s-namespace=frr"], &[("METALLB_BGP_TYPE", "frr")]), None);
    assert_eq!(frr_k8s(&[], &[("METALLB_BGP_TYPE", "frr-k8s")]), own(false));
    assert_eq!(
        frr_k8s(&[], &[("METALLB_BGP_TYPE", "frr-k8s-external"), ("FRRK8S_NAMESPACE", "frr")]),
        other(false)
    );
    assert_eq!(frr_k8s(&["--frrk8s-external", "--frrk8s-namespace=frr"], &[]), other(false));
    let all = ["--frrk8s-external", "--frrk8s-namespace=frr", "--frrk8s-secret-passthrough"];
    assert_eq!(frr_k8s(&all, &[]), other(true));
}

#[test]
fn how_much_frr_logs() {
    let level = |args: &[&str], env: &[(&str, &str)]| {
        speaker(&[&["--node-name=n"], args].concat(), env).unwrap().frr_log
    };
    assert_eq!(level(&[], &[]), frr::LogLevel::Informational);
    assert_eq!(level(&["--log-level=debug"], &[]), frr::LogLevel::Debugging);
    assert_eq!(level(&["--log-level=debug"], &[("FRR_LOGGING_LEVEL", "alerts")]), frr::LogLevel::Alerts);
    assert_eq!(level(&[], &[("FRR_LOGGING_LEVEL", "error")]), frr::LogLevel::Errors);
}

#[test]
fn values() {
    let all = controller(&[
        "--manifests=/x",
        "--port=0",
        "--metrics-plain=F",
        "--lb-class=mine",
        "--port=1",
        "--port=0",
    ])
    .unwrap();
    assert_eq!(all.common.source, Source::Manifests("/x".into()));
    assert_eq!(all.common.namespace, "metallb-system");
    assert_eq!(all.common.port, None);
    assert!(!all.common.metrics_plain);
    assert_eq!(all.common.lb_class.as_deref(), Some("mine"));
    assert!(speaker(&["--ignore-exclude-lb"], &[("METALLB_NODE_NAME", "n")]).unwrap().ignore_exclude_lb);
    let all = speaker(&["--node-name=n", "--always-block= 10.0.0.0/8, fd00::/8 ,"], &[]).unwrap();
    assert_eq!(all.always_block, ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    let all = speaker(&["--node-name=n"], &[("METALLB_NAMESPACE", ""), ("METALLB_BGP_TYPE", "")]).unwrap();
    assert_eq!(all.always_block, []);
    assert_eq!(all.common.namespace, "from-file", "an empty variable is an unset one");
}

#[test]
fn faults_stop_with_code_2_and_name_the_flag() {
    for (args, env, part) in [
        (&["--port=70000", "--node-name=n"][..], &[][..], "--port"),
        (&["--log-level=loud", "--node-name=n"], &[], "all, debug, info, warn, error, none"),
        (&["--nope"], &[], "--nope"),
        (&[], &[], "METALLB_NODE_NAME"),
        (&["--node-name=n", "--manifests=a", "--kubeconfig=b"], &[], "exclude each other"),
        (&["--node-name=n"], &[("METALLB_BGP_TYPE", "bird")], "METALLB_BGP_TYPE"),
        (&["--node-name=n"], &[("FRR_LOGGING_LEVEL", "loud")], "FRR_LOGGING_LEVEL: \"loud\""),
        (&["--node-name=n", "--frrk8s-external", "--manifests=x"], &[], "API server"),
        (&["--node-name=n", "--frrk8s-secret-passthrough"], &[], "--frrk8s-external"),
        (&["--node-name=n", "--frrk8s-secret-passthrough", "--frrk8s-external"], &[], "--frrk8s-namespace"),
        (&["--node-name=n", "--frrk8s-external", "--frrk8s-namespace=A"], &[], "\"A\""),
        (&["--node-name=n"], &[("METALLB_BGP_DEBOUNCE_TIMEOUT", "soon")], "METALLB_BGP_DEBOUNCE_TIMEOUT"),
        (&["--node-name=a/b"], &[], "\"a/b\""),
        (&["--node-name=n1\nx"], &[], "\"n1\\nx\""),
        (&["--node-name=n", "--namespace=Bad"], &[], "\"Bad\""),
        (&["--node-name=n", "--port=9", "--health-probe-port=9"], &[], "are both 9"),
        (&["--node-name=n", "--tls-cipher-suites=X"], &[], "VersionTLS12"),
        (&["--node-name=n", "--tls-min-version=VersionTLS11"], &[], "VersionTLS12, VersionTLS13"),
        (&["--node-name=n", "--tls-curve-preferences=29,29"], &[], "twice"),
        (&["--node-name=n", "--ml-wan-config=maybe"], &[], "--ml-wan-config"),
        (&["--node-name=n", "--always-block=10.0.0.0/8,all"], &[], "\"all\" is not a prefix"),
    ] {
        let stop = speaker(args, env).unwrap_err();
        let (text, code) = said(stop);
        assert_eq!(code, 2, "{args:?}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
    assert_eq!(said(controller(&["--webhook-mode=maybe"]).unwrap_err()).1, 2);
    assert_eq!(said(controller(&["-h"]).unwrap_err()).1, 0);
    let none = Surroundings { args: vec!["c".into()], env: &|_| None, namespace: &|| None };
    assert!(said(Controller::read(&none).unwrap_err()).0.contains("METALLB_NAMESPACE"));
    let outside = Surroundings { args: vec!["c".into(), "--kubeconfig=f".into()], ..none };
    assert_eq!(Controller::read(&outside).unwrap().common.namespace, "metallb-system");
}

/// An exec probe has the arguments of nobody: no node, no namespace.
#[test]
fn a_health_check_needs_nothing_else() {
    let stop = |args: &[&str]| Speaker::read(&from(args, &|_| None)).unwrap_err();
    assert!(matches!(stop(&["--health-check"]), Stop::HealthCheck(Some(17472))));
    assert!(matches!(stop(&["--health-check", "--health-probe-port=9"]), Stop::HealthCheck(Some(9))));
    assert!(matches!(controller(&["--health-check", "--health-probe-port=0"]), Err(Stop::HealthCheck(None))));
}

#[test]
fn the_version_is_told() {
    let (text, code) = said(controller(&["--version"]).unwrap_err());
    assert_eq!((text.trim(), code), (format!("controller {}", version()).as_str(), 0));
    assert!(version().starts_with(env!("CARGO_PKG_VERSION")));
}
