//! The gossip of the speakers: whether there is one, and with whom.

use super::{Stop, Surroundings, env, flags::GossipFlags, text};
use crate::io::members::{PORT, Pace};
use std::{net::IpAddr, path::PathBuf};

/// Where MetalLB's manifests put the key.
const KEY_DIR: &str = "/etc/ml_secret_key";

/// How the speakers know who of them is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// The address to send from; `None` for the one that the others are reached from.
    pub bind: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Where the others are.
    pub others: Others,
    /// The directory of the key.
    pub key_dir: Option<PathBuf>,
    /// The Secret of the key, for as long as it is not in the directory. With neither there is no seal.
    pub secret: Option<String>,
    /// How fast it goes.
    pub pace: Pace,
}

/// Where the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// Where `--members` says.
    Named(Vec<String>),
    /// Where the Pods with these labels are.
    Pods(String),
    /// Nobody needs to know: they renew Leases.
    Leases,
}

/// `None` where neither `--members` nor both of MetalLB's settings are there: as there, every Node counts then.
pub(super) fn read(
    flags: GossipFlags,
    manifests: bool,
    from: &Surroundings<'_>,
) -> Result<Option<Gossip>, Stop> {
    let bind = text(flags.ml_bindaddr).or_else(|| env(from, "METALLB_ML_BIND_ADDR"));
    let labels = text(flags.ml_labels).or_else(|| env(from, "METALLB_ML_LABELS"));
    let key_dir =
        flags.ml_secret_key_path.or_else(|| env(from, "METALLB_ML_SECRET_KEY_PATH").map(PathBuf::from));
    let secret = text(flags.ml_secret_name).or_else(|| env(from, "METALLB_ML_SECRET_NAME"));
    let port = match (flags.ml_bindport, env(from, "METALLB_ML_BIND_PORT")) {
        (Some(port), _) => port,
        (None, Some(text)) => {
            text.parse().map_err(|fault| Stop::new(format!("METALLB_ML_BIND_PORT: {text:?}: {fault}")))?
        }
        (None, None) => PORT,
    };
    if port == 0 {
        return Err(Stop::new("--ml-bindport: the others must know the port, so it cannot be 0"));
    }
    let members = flags.members.as_deref().map(|members| {
        let hosts = members.split(',').map(str::trim).filter(|host| !host.is_empty());
        hosts.map(str::to_owned).collect::<Vec<_>>()
    });
    let (others, default_key) = match (members, labels) {
        (Some(hosts), _) if hosts.is_empty() => return Ok(None),
        (Some(hosts), _) if hosts == ["lease"] => match manifests {
            true => {
                return Err(Stop::new("--members=lease needs an API server, which --manifests does without"));
            }
            false => (Others::Leases, None),
        },
        (Some(hosts), _) => (Others::Named(hosts), None),
        (None, Some(labels)) if bind.is_some() && !manifests => {
            (Others::Pods(labels), Some(PathBuf::from(KEY_DIR)))
        }
        (None, _) => return Ok(None),
    };
    let bind = bind.map(|text| {
        let ip = text.trim_matches(['[', ']']).parse::<IpAddr>();
        let ip = ip.ok().filter(|ip| !ip.is_unspecified());
        ip.ok_or_else(|| Stop::new(format!("--ml-bindaddr: {text:?} is not the address of an interface")))
    });
    Ok(Some(Gossip {
        bind: bind.transpose()?,
        port,
        others,
        key_dir: key_dir.or(default_key).filter(|dir| !dir.as_os_str().is_empty()),
        secret: secret.filter(|_| !manifests),
        pace: if flags.ml_wan_config { Pace::Wide } else { Pace::Local },
    }))
}
