//! What stands for a pod: a small HTTP server on a node, and the way to it from the Services' addresses.
//!
//! The way is nftables DNAT, as kube-proxy makes it: to the pod of this node where there is one, else to another's,
//! behind this node's own address so that answers come back.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    bins,
    fabric::{Fabric, Node},
    netns::Net,
    process::{Running, Spawn},
    wait,
    warden::Warden,
};

/// Where the server listens.
pub const PORT: u16 = 8080;

/// Starts a node's pod on both of its addresses, and waits until it serves.
///
/// # Errors
/// When it does not come up.
pub fn start(warden: &Warden, node: &Node) -> Result<Running> {
    let dir = warden.make_dir(node.name())?;
    let pod = node.net.command(&bins::own("lab")?.to_string_lossy());
    let listen = [SocketAddr::from((node.pod_v4(), PORT)), (node.pod_v6(), PORT).into()];
    let process = pod
        .args(["pod", node.name()])
        .args(listen.map(|a| a.to_string()))
        .log(dir.join("pod.log"))
        .start(warden)?;
    process.wait_for_log(wait::START, "serving")?;
    Ok(process)
}

/// The pod's whole life: one line to everyone who asks, with its name and the asker's address.
///
/// # Errors
/// When it cannot listen.
pub fn serve(name: &str, listen: &[SocketAddr]) -> Result<()> {
    let listeners: Vec<TcpListener> = listen
        .iter()
        .map(|address| TcpListener::bind(address).with_context(|| format!("listen on {address}")))
        .collect::<Result<_>>()?;
    eprintln!("{name} is serving");
    std::thread::scope(|scope| {
        for listener in listeners {
            scope.spawn(move || {
                for stream in listener.incoming().flatten() {
                    // a client that says nothing, since its packets go elsewhere now, keeps nobody waiting
                    scope.spawn(move || answer(name, stream).ok());
                }
            });
        }
    });
    Ok(())
}

fn answer(name: &str, mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let asker = stream.peer_addr()?.ip();
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = format!("{name} {asker}\n");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}

/// Where a Service's port leads: nodes whose pods serve it, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// The Service's addresses.
    pub addresses: Vec<IpAddr>,
    /// Its port.
    pub port: u16,
    /// The nodes whose pods serve it.
    pub endpoints: Vec<String>,
}

/// Lays the ways of these Services, by name, on every node; ways laid before are gone.
///
/// # Errors
/// When nftables refuses.
pub fn lay(fabric: &Fabric, ways: &BTreeMap<String, Way>) -> Result<()> {
    for node in &fabric.nodes {
        let file = fabric.warden.make_dir(node.name())?.join("ways.nft");
        std::fs::write(&file, rules(fabric, node, ways)?)?;
        node.net.command("nft").arg("-f").arg(&file).text()?;
    }
    Ok(())
}

fn rules(fabric: &Fabric, here: &Node, ways: &BTreeMap<String, Way>) -> Result<String> {
    // a table is replaced as a whole by naming it, deleting it and making it, in one transaction
    let mut text = "table inet lab {}\ndelete table inet lab\ntable inet lab {\n  chain in {\n    \
                    type nat hook prerouting priority dstnat\n"
        .to_owned();
    for way in ways.values() {
        let serving =
            way.endpoints.iter().find(|name| *name == here.name()).or_else(|| way.endpoints.first());
        let Some(serving) = serving else { continue };
        let pod = fabric.node(serving)?;
        for address in &way.addresses {
            let rule = match address {
                IpAddr::V4(ip) => {
                    format!("ip daddr {ip} tcp dport {} dnat ip to {}:{PORT}", way.port, pod.pod_v4())
                }
                IpAddr::V6(ip) => {
                    format!("ip6 daddr {ip} tcp dport {} dnat ip6 to [{}]:{PORT}", way.port, pod.pod_v6())
                }
            };
            text += &format!("    {rule}\n");
        }
    }
    text += "  }\n  chain out {\n    type nat hook postrouting priority srcnat\n    ct status dnat masquerade\n  }\n}\n";
    Ok(text)
}

/// Fetches a Service's page from a namespace, as a user does with curl; gives the name of the pod that answered and
/// the address that it saw.
///
/// # Errors
/// When curl is missing, or, with an [`Unanswered`], when nobody answers within two seconds.
pub fn fetch(from: &Net, ip: IpAddr, port: u16) -> Result<(String, IpAddr)> {
    fetch_within(Duration::from_secs(2), from, ip, port)
}

/// The same with another limit.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_within(limit: Duration, from: &Net, ip: IpAddr, port: u16) -> Result<(String, IpAddr)> {
    let limit = limit.as_secs_f64().to_string();
    let url = format!("http://{}/", SocketAddr::from((ip, port)));
    let output = Spawn::new("curl")
        .in_net(from.path())
        .args(["--silent", "--show-error", "--max-time", &limit, "--noproxy", "*", &url])
        .output()?;
    if !output.status.success() {
        let said = format!("{url}: {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(Unanswered { code: output.status.code(), said }.into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (name, asker) = text.trim().split_once(' ').with_context(|| format!("{url} answered {text:?}"))?;
    Ok((name.to_owned(), asker.parse()?))
}

/// Why a page did not come.
#[derive(Debug)]
pub struct Unanswered {
    /// curl's status.
    pub code: Option<i32>,
    said: String,
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "curl ended with {:?} for {}", self.code, self.said)
    }
}

impl std::error::Error for Unanswered {}
