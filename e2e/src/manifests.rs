//! The manifest directory: what the user writes there, and what the product writes back.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A directory of manifests, as `--manifests` takes it.
#[derive(Debug, Clone)]
pub struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    /// In this directory, which exists.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes or replaces `<name>.yaml`, so that a reader sees the old text or the new one and never half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, name: &str, yaml: &str) -> Result<()> {
        let (half, whole) = (self.dir.join(format!("{name}.new")), self.file(name));
        fs::write(&half, yaml).with_context(|| format!("write {}", half.display()))?;
        fs::rename(&half, &whole).with_context(|| format!("rename to {}", whole.display()))
    }

    /// Gives a Service in the namespace `default` addresses of a pool, as a controller would; there must be none then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn allot(&self, service: &str, pool: &str, addresses: &[IpAddr]) -> Result<()> {
        let dir = self.dir.join("status/services");
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  namespace: default\n  name: {service}\n  annotations:\n    \
             metallb.io/ip-allocated-from-pool: {pool}\nstatus:\n  loadBalancer:\n    ingress:\n"
        );
        for address in addresses {
            text += &format!("    - ip: \"{address}\"\n");
        }
        let file = dir.join(format!("default.{service}.yaml"));
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }

    /// Removes `<name>.yaml`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let file = self.file(name);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// What the controller says of a Service in the namespace `default`; none while it says nothing.
    ///
    /// # Errors
    /// When the status is no YAML.
    pub fn status(&self, service: &str) -> Result<Option<Value>> {
        self.read(&format!("status/services/default.{service}.yaml"))
    }

    /// The addresses that a Service has been given; empty while it has none.
    ///
    /// # Errors
    /// As [`Manifests::status`], or when one is no address.
    pub fn addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        let status = self.status(service)?.unwrap_or_default();
        let ingress = status.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        ingress
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("ip").and_then(Value::as_str))
            .map(|ip| ip.parse().with_context(|| format!("{service} has the address {ip:?}")))
            .collect()
    }

    /// What a component (`controller`, `speaker`) reports about objects that it could not use, as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn problems(&self, component: &str) -> Result<String> {
        let file = self.dir.join(format!("status/problems.{component}.yaml"));
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    fn read(&self, path: &str) -> Result<Option<Value>> {
        let file = self.dir.join(path);
        match fs::read_to_string(&file) {
            Ok(text) => serde_saphyr::from_str(&text)
                .map(Some)
                .with_context(|| format!("{} holds no YAML", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }
}
