//! Who may talk to the API server, and how they know that it is the one: certificates, keys, tokens, kubeconfigs.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

/// The users that the cluster itself needs: file name, user, group. Their tokens are their file names.
const USERS: [(&str, &str, &str); 4] = [
    (super::ADMIN_TOKEN, "admin", "system:masters"),
    ("controllers", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("proxy", "system:kube-proxy", ""),
];

/// The files below the cluster's directory.
#[derive(Debug)]
pub(crate) struct Credentials {
    dir: PathBuf,
    server: IpAddr,
}

impl Credentials {
    /// Makes a certificate authority, the server's certificate, the key of service account tokens, the tokens of the
    /// users and of the kubelets of these nodes, and a kubeconfig for each. `cluster_ips` is where Pods find the
    /// server.
    pub(super) fn make(dir: &Path, server: IpAddr, cluster_ips: &[IpAddr], nodes: &[&str]) -> Result<Self> {
        let made = Self { dir: dir.to_owned(), server };
        let key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority of the test cluster");
        made.write("ca.crt", &authority.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(authority, key);

        let key = KeyPair::generate()?;
        let mut names = vec!["kubernetes.default.svc".to_owned(), server.to_string()];
        names.extend(cluster_ips.iter().map(IpAddr::to_string));
        let mut certificate = CertificateParams::new(names)?;
        certificate.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        made.write("server.crt", &certificate.signed_by(&key, &issuer)?.pem())?;
        made.write("server.key", &key.serialize_pem())?;
        let key = KeyPair::generate()?;
        made.write("accounts.key", &key.serialize_pem())?;
        made.write("accounts.pub", &key.public_key_pem())?;

        let mut tokens = String::new();
        for (name, user, group) in USERS {
            tokens.push_str(&format!("{name},{user},{name},{group}\n"));
            made.kubeconfig(name, name)?;
        }
        for node in nodes {
            let name = kubelet(node);
            tokens.push_str(&format!("{name},system:node:{node},{name},system:nodes\n"));
            made.kubeconfig(&name, &name)?;
        }
        made.write("tokens.csv", &tokens)?;
        Ok(made)
    }

    /// A kubeconfig for the bearer of a token.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}:6443", self.server),
                "certificate-authority": self.path("ca.crt"),
            }}],
        });
        self.write(&format!("{name}.kubeconfig"), &text.to_string())
    }

    /// The file of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file of this name.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The token and the file name of the kubelet of a node.
pub(crate) fn kubelet(node: &str) -> String {
    format!("kubelet-{node}")
}
