//! The flags as they are typed; what they mean is decided one level up.

use clap::{ArgAction, Parser};
use ipnet::IpNet;
use std::{path::PathBuf, str::FromStr};

/// Flags of both programs.
#[derive(clap::Args, Debug)]
pub(super) struct CommonFlags {
    /// Port of /metrics, HTTPS and plain HTTP on the same; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 7472)]
    pub(super) port: u16,
    /// Port of /healthz and /readyz; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 17472)]
    pub(super) health_probe_port: u16,
    /// Ask the one that runs on this host for its /healthz, and exit with 0 when it answers well: for exec probes
    #[arg(long)]
    pub(super) health_check: bool,
    /// Namespace of the configuration objects [env: METALLB_NAMESPACE] [default: the Pod's]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// Name of our Pod [env: METALLB_POD_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) pod_name: Option<String>,
    /// Least level of log lines: all, debug, info, warn, error or none
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: LogLevel,
    /// Serve only Services of this load balancer class [default: those without one]
    #[arg(long, value_name = "CLASS")]
    pub(super) lb_class: Option<String>,
    /// Read the objects of this directory instead of a Kubernetes API
    #[arg(long, value_name = "DIR")]
    pub(super) manifests: Option<PathBuf>,
    /// Reach the Kubernetes API as this file says [env: KUBECONFIG] [default: the cluster that we run in]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Serve /metrics without TLS and without a token, too
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub(super) metrics_plain: bool,
    /// Directory with tls.crt and tls.key for /metrics [default: self-signed]
    #[arg(long, value_name = "DIR", value_parser = possibly_empty)]
    pub(super) metrics_cert_dir: Option<PathBuf>,
    /// Oldest TLS to speak: VersionTLS12 or VersionTLS13
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS13")]
    pub(super) tls_min_version: TlsVersion,
    /// Cipher suites of TLS 1.2, comma separated
    #[arg(long, value_name = "NAMES")]
    tls_cipher_suites: Option<String>,
    /// Curves of TLS, as comma separated numbers
    #[arg(long, value_name = "NUMBERS", value_parser = curves)]
    tls_curve_preferences: Option<String>,
    /// Address to serve profiles on
    #[arg(long, value_name = "ADDRESS")]
    pprof_bind_address: Option<String>,
}

/// Gives addresses to Services of type LoadBalancer.
#[derive(Parser, Debug)]
#[command(name = "controller", version = super::version(), args_override_self = true)]
pub(super) struct ControllerFlags {
    #[command(flatten)]
    pub(super) common: CommonFlags,
    /// Name of the Secret that the speakers' gossip is sealed with, made where there is none [env:
    /// METALLB_ML_SECRET_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) ml_secret_name: Option<String>,
    /// Name of our Deployment, which that Secret goes with [env: METALLB_DEPLOYMENT]
    #[arg(long, value_name = "NAME")]
    pub(super) deployment: Option<String>,
    /// Whether to serve webhooks: enabled, disabled or onlywebhook
    #[arg(long, value_name = "MODE", default_value = "enabled")]
    webhook_mode: WebhookMode,
    /// Name of the Secret that holds the webhooks' certificate
    #[arg(long, value_name = "NAME", default_value = "metallb-webhook-cert")]
    webhook_secret: String,
    /// Name of the webhooks' Service
    #[arg(long, value_name = "NAME", default_value = "metallb-webhook-service")]
    cert_service_name: String,
    /// Directory of the webhooks' certificate
    #[arg(long, value_name = "DIR", default_value = "/tmp/k8s-webhook-server/serving-certs")]
    cert_dir: PathBuf,
    /// Leave the webhooks' certificate to somebody else
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    disable_cert_rotation: bool,
    /// Serve webhooks over HTTP/2, too
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    webhook_http2: bool,
}

/// Announces the addresses of Services from one node.
#[derive(Parser, Debug)]
#[command(name = "speaker", version = super::version(), args_override_self = true)]
pub(super) struct SpeakerFlags {
    #[command(flatten)]
    pub(super) common: CommonFlags,
    /// Name of the node that this runs on [env: METALLB_NODE_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) node_name: Option<String>,
    /// Announce from nodes labelled exclude-from-external-load-balancers, too
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub(super) ignore_exclude_lb: bool,
    /// What drains a node beside its annotation ferrolb.io/drain: cordon or never
    #[arg(long, value_name = "WHAT", default_value = "never")]
    pub(super) drain_on: DrainOn,
    /// Seconds that routers have to prefer other nodes before a drained one withdraws its routes
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) drain_time: u64,
    /// Directory of the vty sockets of FRR's daemons; empty where there is no FRR
    #[arg(long, value_name = "DIR", default_value = "/var/run/frr", value_parser = possibly_empty)]
    pub(super) frr_vty_dir: PathBuf,
    /// The frr.conf to write [env: FRR_CONFIG_FILE] [default: /etc/frr/frr.conf]
    #[arg(long, value_name = "FILE")]
    pub(super) frr_conf: Option<PathBuf>,
    /// File with the names of interfaces that ARP and NDP leave alone
    #[arg(long, value_name = "FILE", default_value = "/etc/metallb/excludel2.yaml")]
    pub(super) excludel2_config: PathBuf,
    /// Prefixes that no BGP neighbor may tell us, nor what is in them, comma separated
    #[arg(long, value_name = "CIDRS", value_parser = prefixes)]
    pub(super) always_block: Option<Prefixes>,
    /// Ignored
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    #[command(flatten)]
    pub(super) gossip: GossipFlags,
    /// Milliseconds to gather changes for; changes are applied at once here [env: METALLB_BGP_DEBOUNCE_TIMEOUT]
    #[arg(long, value_name = "MS")]
    bgp_debounce_timeout: Option<u64>,
    /// Write an FRRConfiguration for a separate frr-k8s instead of driving FRR [env: METALLB_BGP_TYPE=frr-k8s]
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub(super) frrk8s_external: bool,
    /// Namespace of frr-k8s [env: FRRK8S_NAMESPACE] [default: ours]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) frrk8s_namespace: Option<String>,
    /// Leave the Secrets of passwords to frr-k8s: they are in its namespace, not in ours
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub(super) frrk8s_secret_passthrough: bool,
}

/// How the speakers know who of them is alive.
#[derive(clap::Args, Debug)]
pub(super) struct GossipFlags {
    /// Where the other speakers are, HOST[:PORT] and comma separated, in place of asking the API for their Pods; or
    /// `lease`: no gossip, but a Lease that each speaker renews
    #[arg(long, value_name = "HOSTS")]
    pub(super) members: Option<String>,
    /// Address of the speakers' gossip [env: METALLB_ML_BIND_ADDR]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ml_bindaddr: Option<String>,
    /// Port of the speakers' gossip [env: METALLB_ML_BIND_PORT] [default: 7946]
    #[arg(long, value_name = "PORT")]
    pub(super) ml_bindport: Option<u16>,
    /// Labels that select the speakers' Pods [env: METALLB_ML_LABELS]
    #[arg(long, value_name = "LABELS")]
    pub(super) ml_labels: Option<String>,
    /// Directory of the key that the gossip is sealed with [env: METALLB_ML_SECRET_KEY_PATH] [default:
    /// /etc/ml_secret_key; none with --members]
    #[arg(long, value_name = "DIR", value_parser = possibly_empty)]
    pub(super) ml_secret_key_path: Option<PathBuf>,
    /// Name of the Secret to take that key from while it is not in the directory [env: METALLB_ML_SECRET_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) ml_secret_name: Option<String>,
    /// Time the gossip for a wide area network
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = boolean)]
    pub(super) ml_wan_config: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$variant_doc])* $variant),+ }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(
    /// The least level of log lines that are written.
    pub LogLevel {
        /// Everything.
        All = "all",
        /// And what helps to find a fault.
        Debug = "debug",
        /// And what happens.
        Info = "info",
        /// And what may be wrong.
        Warn = "warn",
        /// What is wrong.
        Error = "error",
        /// Nothing.
        None = "none",
    }
);
words!(
    /// What drains a node beside its annotation.
    pub(super) DrainOn {
        /// Being cordoned.
        Cordon = "cordon",
        /// Nothing.
        Never = "never",
    }
);
words!(
    /// The oldest TLS to speak.
    pub TlsVersion {
        /// TLS 1.2.
        Tls12 = "VersionTLS12",
        /// TLS 1.3.
        Tls13 = "VersionTLS13",
    }
);
words!(
    /// Whether to serve webhooks.
    pub(super) WebhookMode {
        /// Yes.
        Enabled = "enabled",
        /// No.
        Disabled = "disabled",
        /// And nothing else.
        Only = "onlywebhook",
    }
);
words!(
    /// MetalLB's choice of a BGP implementation; there is one here.
    pub(super) BgpType {
        /// MetalLB's own.
        Native = "native",
        /// FRR beside the speaker.
        Frr = "frr",
        /// FRR of frr-k8s.
        FrrK8s = "frr-k8s",
        /// The same, of an frr-k8s that MetalLB did not bring along.
        FrrK8sExternal = "frr-k8s-external",
    }
);

/// Manifests write an empty path for "none", which clap's own parser refuses.
fn possibly_empty(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// What a Go program takes for a boolean.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// Prefixes, in the order in which they were typed.
pub type Prefixes = Vec<IpNet>;

/// A comma separated list, which may be empty.
///
/// # Errors
/// The first word that is no prefix.
pub fn prefixes(text: &str) -> Result<Prefixes, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| format!("{word:?} is not a prefix"))).collect()
}

/// Numbers of curves: none twice.
fn curves(text: &str) -> Result<String, String> {
    let mut seen = std::collections::BTreeSet::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let number: u16 = word.parse().map_err(|fault| format!("{word:?}: {fault}"))?;
        if number == 0 || !seen.insert(number) {
            return Err(format!("{number} is not a curve, or is there twice"));
        }
    }
    Ok(text.to_owned())
}
