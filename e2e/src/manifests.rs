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
