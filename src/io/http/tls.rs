//! The certificate of `/metrics`: of a directory that somebody renews, else self-signed for the life of the process.

use crate::io::settings::TlsVersion;
use anyhow::Context;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_rustls::rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

/// A certificate with its key, and the TLS to speak with it.
pub struct Certificate {
    versions: &'static [&'static SupportedProtocolVersion],
    dir: Option<PathBuf>,
    /// The files of the directory as they were read last, and what they make.
    current: Mutex<(Files, Arc<ServerConfig>)>,
}

static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

/// `tls.crt` and `tls.key`.
type Files = (Vec<u8>, Vec<u8>);

impl Certificate {
    /// That of `dir` (`tls.crt`, `tls.key`), else a self-signed one.
    ///
    /// # Errors
    /// When the directory holds no certificate with its key.
    pub fn new(dir: Option<&Path>, oldest: TlsVersion) -> anyhow::Result<Self> {
        let versions = match oldest {
            TlsVersion::Tls12 => BOTH,
            TlsVersion::Tls13 => NEWEST,
        };
        let current = match dir {
            Some(dir) => {
                let files = read(dir)?;
                let config = parse(&files, versions)
                    .with_context(|| format!("use the certificate of {}", dir.display()))?;
                (files, config)
            }
            None => (Files::default(), self_signed(versions)?),
        };
        Ok(Self { versions, dir: dir.map(Path::to_path_buf), current: Mutex::new(current) })
    }

    /// The one of now: the directory is looked at again, and a bad renewal leaves the last good one.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &self.dir
            && let Ok(files) = read(dir)
            && files != current.0
        {
            match parse(&files, self.versions) {
                Ok(config) => current.1 = config,
                Err(fault) => {
                    tracing::error!(dir = %dir.display(), %fault, "the renewed certificate is no good; the last one stands");
                }
            }
            current.0 = files;
        }
        Arc::clone(&current.1)
    }
}

fn read(dir: &Path) -> anyhow::Result<Files> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    Ok((read("tls.crt")?, read("tls.key")?))
}

fn parse(files: &Files, versions: &[&'static SupportedProtocolVersion]) -> anyhow::Result<Arc<ServerConfig>> {
    let chain =
        CertificateDer::pem_slice_iter(&files.0).collect::<Result<Vec<_>, _>>().context("read tls.crt")?;
    let key = PrivateKeyDer::from_pem_slice(&files.1).context("read tls.key")?;
    config(chain, key, versions)
}

fn self_signed(versions: &[&'static SupportedProtocolVersion]) -> anyhow::Result<Arc<ServerConfig>> {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).context("make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    config(vec![made.cert.der().clone()], key, versions)
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
