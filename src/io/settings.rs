//! Flags and environment: what the user typed becomes [`Controller`] or [`Speaker`], checked once, here.
//!
//! The names are MetalLB's, so that its manifests go on working with our images. Flags may start with one dash or
//! two, an empty variable counts as unset, the last of a repeated flag wins. A flag that does nothing yet is accepted
//! and listed in [`Common::ineffective`]. The only place that reads the environment.

mod flags;
mod gossip;

use super::files::naming;
use crate::{config::Kind, frr, names::NodeName};
use clap::{CommandFactory, FromArgMatches, parser::ValueSource};
use flags::{BgpType, CommonFlags, ControllerFlags, DrainOn, SpeakerFlags};
use ipnet::IpNet;
use std::{ffi::OsString, fmt, path::PathBuf, sync::LazyLock, time::Duration};

pub use flags::{LogLevel, Prefixes, TlsVersion, prefixes};
pub use gossip::{Gossip, Others};

/// Where a Pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace of a manifest directory.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// The controller's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// What both have.
    pub common: Common,
    /// The Secret that the speakers' gossip is sealed with; `None` where somebody else makes it.
    pub gossip_key: Option<GossipKey>,
}

/// The Secret that the speakers' gossip is sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKey {
    /// Its name.
    pub secret: String,
    /// The Deployment that it goes with.
    pub deployment: Option<String>,
}

/// The speaker's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// What both have.
    pub common: Common,
    /// The node that it runs on.
    pub node: NodeName,
    /// `--ignore-exclude-lb`: announce from nodes that are labelled to be left out, too.
    pub ignore_exclude_lb: bool,
    /// `--drain-on=cordon`: a cordoned node is drained, too.
    pub drain_on_cordon: bool,
    /// How long routers have to prefer other nodes before a drained one withdraws its routes.
    pub drain_time: Duration,
    /// Where FRR's daemons have their vty sockets; `None` where there is no FRR.
    pub frr_vty_dir: Option<PathBuf>,
    /// The `frr.conf` to write.
    pub frr_conf: PathBuf,
    /// How much FRR logs.
    pub frr_log: frr::LogLevel,
    /// The frr-k8s that drives FRR in our place; `None` where we drive it.
    pub frr_k8s: Option<FrrK8s>,
    /// What no BGP neighbour may tell us.
    pub always_block: Vec<IpNet>,
    /// How the speakers know who of them is alive; `None` where every Node is taken for alive.
    pub gossip: Option<Gossip>,
    /// The file that says which interfaces layer 2 leaves alone.
    pub excludel2: PathBuf,
}

/// A separate frr-k8s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrrK8s {
    /// Its namespace.
    pub namespace: String,
    /// Whether it looks up the Secrets of passwords, unseen by us.
    pub passthrough: bool,
}

/// What both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Where the objects come from.
    pub source: Source,
    /// The namespace of the configuration objects.
    pub namespace: String,
    /// Our Pod.
    pub pod_name: Option<String>,
    /// Its uid, where somebody says so.
    pub pod_uid: Option<String>,
    /// The port of `/metrics`; `None` for no metrics.
    pub port: Option<u16>,
    /// The port of `/healthz` and `/readyz`; `None` for neither.
    pub health_port: Option<u16>,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// The only `spec.loadBalancerClass` that is served; `None` serves Services without a class.
    pub lb_class: Option<String>,
    /// Whether `/metrics` is also served without TLS.
    pub metrics_plain: bool,
    /// A directory with `tls.crt` and `tls.key` for `/metrics`; `None` for a self-signed certificate.
    pub metrics_cert_dir: Option<PathBuf>,
    /// The oldest TLS that `/metrics` speaks.
    pub tls_min_version: TlsVersion,
    /// What was set and does nothing (yet); to be logged once.
    pub ineffective: Vec<Ineffective>,
}

/// Where the objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Kubernetes API: of this kubeconfig, else of `KUBECONFIG`, else the cluster that we run in.
    Api(Option<PathBuf>),
    /// A manifest directory.
    Manifests(PathBuf),
}

/// A setting that does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ineffective {
    /// `--flag`, or the variable.
    pub name: String,
    /// Why it does nothing.
    pub why: &'static str,
}

/// Why there are no settings to run with.
#[derive(Debug)]
pub enum Stop {
    /// There is something to print.
    Print {
        /// The text; goes to stdout when `code` is 0 (`--help`), else to stderr.
        text: String,
        /// 0 or 2.
        code: u8,
    },
    /// `--health-check`: whoever serves this port is to be asked; `None` where it serves none.
    HealthCheck(Option<u16>),
}

impl Stop {
    fn new(fault: impl fmt::Display) -> Self {
        Self::Print { text: format!("error: {fault}"), code: 2 }
    }
}

/// This version, and the commit that it was built from where the build says so (`FERROLB_COMMIT`).
#[must_use]
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("FERROLB_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        _ => env!("CARGO_PKG_VERSION").to_owned(),
    });
    &VERSION
}

impl From<clap::Error> for Stop {
    fn from(fault: clap::Error) -> Self {
        let code = if fault.use_stderr() { 2 } else { 0 };
        Self::Print { text: fault.render().to_string(), code }
    }
}

/// The world as far as settings see it; a value, so that tests bring their own.
pub struct Surroundings<'a> {
    /// The arguments, the program's name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The service account's namespace.
    pub namespace: &'a dyn Fn() -> Option<String>,
}

impl Surroundings<'static> {
    /// This process's.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            args: std::env::args_os().collect(),
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
            env: &|name| std::env::var(name).ok(),
            namespace: &|| std::fs::read_to_string(NAMESPACE_FILE).ok(),
        }
    }
}

impl Controller {
    /// Reads and checks them.
    ///
    /// # Errors
    /// The text to print and the exit code, also for `--help` and `--version`.
    pub fn read(from: &Surroundings<'_>) -> Result<Self, Stop> {
        let (flags, set) = parse::<ControllerFlags>(from)?;
        health_check(&flags.common)?;
        let ineffective = ineffective(&set, LATER, "is not implemented yet");
        let secret = text(flags.ml_secret_name).or_else(|| env(from, "METALLB_ML_SECRET_NAME"));
        let deployment = text(flags.deployment).or_else(|| env(from, "METALLB_DEPLOYMENT"));
        let common = common(flags.common, &set, from, ineffective)?;
        let gossip_key = secret.map(|secret| GossipKey { secret, deployment });
        Ok(Self { common, gossip_key })
    }
}

impl Speaker {
    /// Reads and checks them.
    ///
    /// # Errors
    /// The text to print and the exit code, also for `--help` and `--version`.
    pub fn read(from: &Surroundings<'_>) -> Result<Self, Stop> {
        let (flags, set) = parse::<SpeakerFlags>(from)?;
        health_check(&flags.common)?;
        let mut ineffective = ineffective(&set, LATER, "is not implemented yet");
        for (flag, why) in NEVER {
            ineffective.extend(self::ineffective(&set, &[flag], why));
        }
        let kind = env(from, "METALLB_BGP_TYPE").map(|kind| kind.parse::<BgpType>());
        let kind = kind.transpose().map_err(|fault| Stop::new(format!("METALLB_BGP_TYPE: {fault}")))?;
        if let Some(text) = env(from, "METALLB_BGP_DEBOUNCE_TIMEOUT") {
            text.parse::<u64>()
                .map_err(|fault| Stop::new(format!("METALLB_BGP_DEBOUNCE_TIMEOUT: {text:?}: {fault}")))?;
        }
        for (variable, why) in UNUSED {
            if env(from, variable).is_some() {
                ineffective.push(Ineffective { name: variable.into(), why });
            }
        }
        if kind == Some(BgpType::Native) {
            let why = "BGP is spoken by FRR alone: by the one beside the speaker, as with `frr`";
            ineffective.push(Ineffective { name: "METALLB_BGP_TYPE=native".into(), why });
        }
        let node = flags.node_name.or_else(|| env(from, "METALLB_NODE_NAME")).ok_or_else(|| {
            Stop::new(
                "the node's name is needed: set --node-name or METALLB_NODE_NAME (spec.nodeName of the Pod)",
            )
        })?;
        naming::name(Kind::Node, &node).map_err(|fault| Stop::new(format!("the node's name: {fault}")))?;
        let frr_log = match env(from, "FRR_LOGGING_LEVEL") {
            None => frr_log(flags.common.log_level),
            Some(word) => frr::LogLevel::named(&word).ok_or_else(|| {
                let words = frr::LogLevel::ALL.map(|level| level.to_string()).join(", ");
                Stop::new(format!("FRR_LOGGING_LEVEL: {word:?} is none of {words}"))
            })?,
        };
        let gossip = gossip::read(flags.gossip, flags.common.manifests.is_some(), from)?;
        let external =
            flags.frrk8s_external || matches!(kind, Some(BgpType::FrrK8s | BgpType::FrrK8sExternal));
        let passthrough = flags.frrk8s_secret_passthrough;
        let frrk8s = text(flags.frrk8s_namespace).or_else(|| env(from, "FRRK8S_NAMESPACE"));
        if passthrough && !(external && frrk8s.is_some()) {
            return Err(Stop::new(
                "--frrk8s-secret-passthrough needs --frrk8s-external (or METALLB_BGP_TYPE=frr-k8s) and \
                 --frrk8s-namespace",
            ));
        }
        let common = common(flags.common, &set, from, ineffective)?;
        if external && matches!(common.source, Source::Manifests(_)) {
            return Err(Stop::new("frr-k8s needs an API server, which --manifests does without"));
        }
        let frr_k8s = external.then(|| frrk8s.unwrap_or_else(|| common.namespace.clone()));
        if let Some(namespace) = &frr_k8s {
            naming::namespace(namespace)
                .map_err(|fault| Stop::new(format!("the namespace of frr-k8s: {fault}")))?;
        }
        let frr_conf = flags.frr_conf.or_else(|| env(from, "FRR_CONFIG_FILE").map(PathBuf::from));
        Ok(Self {
            node: node.into(),
            ignore_exclude_lb: flags.ignore_exclude_lb,
            drain_on_cordon: flags.drain_on == DrainOn::Cordon,
            drain_time: Duration::from_secs(flags.drain_time),
            frr_vty_dir: Some(flags.frr_vty_dir)
                .filter(|dir| frr_k8s.is_none() && !dir.as_os_str().is_empty()),
            frr_conf: frr_conf.unwrap_or_else(|| "/etc/frr/frr.conf".into()),
            frr_log,
            frr_k8s: frr_k8s.map(|namespace| FrrK8s { namespace, passthrough }),
            always_block: flags.always_block.unwrap_or_default(),
            gossip,
            excludel2: flags.excludel2_config,
            common,
        })
    }
}

/// FRR logs as much as we do, unless told otherwise.
const fn frr_log(level: LogLevel) -> frr::LogLevel {
    match level {
        LogLevel::All | LogLevel::Debug => frr::LogLevel::Debugging,
        LogLevel::Info => frr::LogLevel::Informational,
        LogLevel::Warn => frr::LogLevel::Warnings,
        LogLevel::Error => frr::LogLevel::Errors,
        LogLevel::None => frr::LogLevel::Emergencies,
    }
}

/// Accepted, and without effect until the part exists.
const LATER: &[&str] = &[
    "webhook-mode",
    "webhook-secret",
    "cert-service-name",
    "cert-dir",
    "disable-cert-rotation",
    "webhook-http2",
    "pprof-bind-address",
    "tls-cipher-suites",
    "tls-curve-preferences",
];

/// Accepted, and without effect for good.
const NEVER: [(&str, &str); 2] =
    [("host", "nothing needs it, as in MetalLB"), ("bgp-debounce-timeout", AT_ONCE)];

/// The same, of the speaker's environment.
const UNUSED: [(&str, &str); 2] = [
    ("METALLB_BGP_DEBOUNCE_TIMEOUT", AT_ONCE),
    ("FRR_RELOADER_PID_FILE", "FRR is told by its vty, and nothing is reloaded"),
];

const AT_ONCE: &str = "changes are applied at once";

/// Stops where only the health of another process is asked for: nothing else needs to be right then.
fn health_check(flags: &CommonFlags) -> Result<(), Stop> {
    let port = Some(flags.health_probe_port).filter(|port| *port != 0);
    if flags.health_check { Err(Stop::HealthCheck(port)) } else { Ok(()) }
}

fn common(
    flags: CommonFlags,
    set: &[String],
    from: &Surroundings<'_>,
    ineffective: Vec<Ineffective>,
) -> Result<Common, Stop> {
    if set.iter().any(|flag| flag == "tls-cipher-suites") && flags.tls_min_version != TlsVersion::Tls12 {
        return Err(Stop::new(
            "--tls-cipher-suites needs --tls-min-version=VersionTLS12: those of TLS 1.3 are fixed",
        ));
    }
    if flags.port != 0 && flags.port == flags.health_probe_port {
        return Err(Stop::new(format!("--port and --health-probe-port are both {}", flags.port)));
    }
    let source = match (flags.manifests, flags.kubeconfig) {
        (Some(_), Some(_)) => return Err(Stop::new("--manifests and --kubeconfig exclude each other")),
        (Some(dir), None) => Source::Manifests(dir),
        (None, kubeconfig) => Source::Api(kubeconfig),
    };
    let said = text(flags.namespace).or_else(|| env(from, "METALLB_NAMESPACE"));
    let namespace = match (&source, said) {
        (_, Some(said)) => said,
        (Source::Manifests(_), None) => DEFAULT_NAMESPACE.to_owned(),
        // outside a Pod, where nobody says
        (Source::Api(Some(_)), None) => {
            text((from.namespace)()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
        }
        (Source::Api(None), None) => text((from.namespace)()).ok_or_else(|| {
            Stop::new(format!(
                "the namespace is needed: set --namespace or METALLB_NAMESPACE ({NAMESPACE_FILE} is missing)"
            ))
        })?,
    };
    let namespace = namespace.trim().to_owned();
    naming::namespace(&namespace).map_err(|fault| Stop::new(format!("the namespace: {fault}")))?;
    Ok(Common {
        source,
        namespace,
        pod_name: text(flags.pod_name).or_else(|| env(from, "METALLB_POD_NAME")),
        pod_uid: env(from, "METALLB_POD_UID"),
        port: Some(flags.port).filter(|port| *port != 0),
        health_port: Some(flags.health_probe_port).filter(|port| *port != 0),
        log_level: flags.log_level,
        lb_class: text(flags.lb_class),
        metrics_plain: flags.metrics_plain,
        metrics_cert_dir: flags.metrics_cert_dir.filter(|dir| !dir.as_os_str().is_empty()),
        tls_min_version: flags.tls_min_version,
        ineffective,
    })
}

fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn env(from: &Surroundings<'_>, name: &str) -> Option<String> {
    text((from.env)(name))
}

/// The flags, and the long names of those that were typed.
fn parse<F: CommandFactory + FromArgMatches>(from: &Surroundings<'_>) -> Result<(F, Vec<String>), Stop> {
    let args = from.args.iter().map(two_dashes);
    let matches = F::command().try_get_matches_from(args)?;
    let set = F::command()
        .get_arguments()
        .filter(|arg| matches.try_contains_id(arg.get_id().as_str()).is_ok())
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    Ok((F::from_arg_matches(&matches)?, set))
}

/// `-port` is `--port`, as for every Go program; `-h` stays.
fn two_dashes(arg: &OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => {
            format!("-{text}").into()
        }
        _ => arg.clone(),
    }
}

fn ineffective(set: &[String], among: &[&str], why: &'static str) -> Vec<Ineffective> {
    set.iter()
        .filter(|flag| among.contains(&flag.as_str()))
        .map(|flag| Ineffective { name: format!("--{flag}"), why })
        .collect()
}

#[cfg(test)]
mod tests;
