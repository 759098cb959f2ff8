//! Network namespaces, and the cables between them.
//!
//! A [`Net`] is named `<lab>-<role>`; labs have different names, so any number of them run side by side. Cables are
//! made with both ends inside their namespaces already, so that nothing shows outside.

use std::{fs::File, path::PathBuf, sync::Arc, thread::JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::{process::Spawn, warden::Warden};

/// One network namespace; dropped, it is deleted.
#[derive(Debug)]
pub struct Net {
    name: String,
    role: String,
    // keeps the warden waiting until the last namespace of the lab is gone
    _warden: Arc<Warden>,
}

impl Net {
    /// Makes the namespace of this role in the lab, loopback up, no duplicate address detection (addresses serve at
    /// once), no reverse path filter (nodes have three ways out).
    ///
    /// # Errors
    /// When the kernel refuses, as it does without root.
    pub fn create(warden: &Arc<Warden>, role: &str) -> Result<Self> {
        let name = format!("{}-{role}", warden.id());
        warden.note_net(&name)?;
        Spawn::new("ip")
            .args(["netns", "add", &name])
            .text()
            .context("make a network namespace (root is needed)")?;
        let net = Self { name, role: role.to_owned(), _warden: Arc::clone(warden) };
        net.ip("link set dev lo up")?;
        net.sysctl(&[
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.default.accept_ra=0",
            // a pulled cable does not make a machine forget its addresses
            "net.ipv6.conf.all.keep_addr_on_down=1",
            "net.ipv6.conf.default.keep_addr_on_down=1",
        ])?;
        Ok(net)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it stands for in its lab: `n1`, `tor`, `client`.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A program to be run inside.
    pub fn command(&self, program: &str) -> Spawn {
        Spawn::new(program).in_net(self.path())
    }

    /// `ip <words>` on it.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, words: &str) -> Result<String> {
        Spawn::new("ip").args(["-n", &self.name]).args(words.split_whitespace()).text()
    }

    /// Sets kernel parameters, each `name=value`.
    ///
    /// # Errors
    /// When the kernel has no such parameter.
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        self.command("sysctl").arg("-qw").args(settings).text().map(drop)
    }

    /// Lets it forward packets, both families.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forward(&self) -> Result<()> {
        self.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    }

    /// Makes a bridge, up.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn bridge(&self, name: &str) -> Result<()> {
        self.ip(&format!("link add name {name} type bridge mcast_snooping 0"))?;
        self.ip(&format!("link set dev {name} up"))?;
        Ok(())
    }

    /// A cable from a new interface `here`, with these addresses (`192.0.2.1/24`), to a port of a bridge of `switch`.
    /// The port is named after this namespace and the bridge.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn plug(&self, here: &str, addresses: &[&str], switch: &Self, bridge: &str) -> Result<()> {
        let port = port(&self.role, bridge);
        self.ip(&format!("link add name {here} type veth peer name {port} netns {}", switch.name))?;
        switch.ip(&format!("link set dev {port} master {bridge} up"))?;
        self.addresses(here, addresses)?;
        self.ip(&format!("link set dev {here} up"))?;
        Ok(())
    }

    /// A cable between two namespaces.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn cable(
        &self,
        here: &str,
        addresses: &[&str],
        other: &Self,
        there: &str,
        theirs: &[&str],
    ) -> Result<()> {
        self.ip(&format!("link add name {here} type veth peer name {there} netns {}", other.name))?;
        self.addresses(here, addresses)?;
        other.addresses(there, theirs)?;
        self.ip(&format!("link set dev {here} up"))?;
        other.ip(&format!("link set dev {there} up"))?;
        Ok(())
    }

    /// Gives an interface more addresses, each with its length.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn addresses(&self, interface: &str, addresses: &[&str]) -> Result<()> {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {interface}{nodad}"))?;
        }
        Ok(())
    }

    /// The hardware address of an interface, as `02:00:00:00:00:01`.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let links: serde_json::Value =
            serde_json::from_str(&self.ip(&format!("-j link show dev {interface}"))?)?;
        let mac = links.pointer("/0/address").and_then(serde_json::Value::as_str);
        mac.map(str::to_owned)
            .with_context(|| format!("{} has no hardware address on {interface}", self.name))
    }

    /// Runs `work` on a thread that is inside the namespace, for sockets of our own.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` fails.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(self.path()).with_context(|| format!("open the namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", self.name))?;
                work()
            });
            inside.join().map_err(|_| anyhow!("the thread inside {} panicked", self.name))?
        })
    }
}

impl Net {
    /// Runs `work` on a thread of its own that is inside the namespace, and does not wait for it.
    ///
    /// # Errors
    /// When the namespace cannot be opened.
    pub fn background(&self, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<JoinHandle<()>> {
        let file = File::open(self.path()).with_context(|| format!("open the namespace {}", self.name))?;
        let name = self.name.clone();
        Ok(std::thread::spawn(move || {
            let done = setns(file, CloneFlags::CLONE_NEWNET).context("enter it").and_then(|()| work());
            if let Err(error) = done {
                eprintln!("a thread inside {name}: {error:#}");
            }
        }))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // what is left over is the warden's
        Spawn::new("ip").args(["netns", "delete", &self.name]).text().ok();
    }
}

/// The name of the switch port that the namespace of this role has on a bridge.
#[must_use]
pub fn port(role: &str, bridge: &str) -> String {
    format!("{role}.{bridge}")
}
