//! One row, proven: a program that has every right but one, what it cannot do, and that it can as soon as it has it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ferrolb_e2e::{
    bins,
    cluster::{ADMIN_TOKEN, Identity, KEEPS_THE_KEY, Kubectl, Right, SYSTEM},
    fabric::{LAN, Node, Segment},
    netns::Net,
    process::Running,
    tor, wait,
};
use serde_json::{Value, json};

use crate::{
    manifest, objects,
    table::{Outcome, Part, Program, Row, Trigger},
    world::{DEADLINE, Lane, World, scrape},
};

/// The Secret of the gossip.
const KEY: &str = "memberlist";

/// Where a row is played.
pub(crate) struct Stage<'a> {
    world: &'a World,
    lane: &'a Lane,
    node: &'a Node,
    row: &'a Row,
    number: u8,
    id: String,
    class: String,
    address: IpAddr,
    /// What is missing, as the audit log has it.
    lost: Right,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(world: &'a World, lane: &'a Lane, row: &'a Row, number: u8) -> Result<Self> {
        let (id, class, address) = (objects::id(row), objects::class(row), objects::address(row, number));
        let node = world.cluster.fabric().node(&lane.node)?;
        let lost = Right { account: id.clone(), ..row.right() };
        Ok(Self { world, lane, node, row, number, id, class, address, lost })
    }

    /// Fails unless the outcome is missing as long as the right is, our program says so, and the outcome comes with
    /// the right.
    pub(crate) fn prove(&self) -> Result<()> {
        self.set()?;
        self.unsay()?;
        let _company = self.company()?;
        let program = self.start()?;
        self.waits(&program)?;
        self.pull(&program)?;
        // what is tried again and again: the try that counts came when everything else was there
        let tries = match self.row.trigger {
            Trigger::Start | Trigger::Arrives(_) => self.refusals()?,
            Trigger::Again(_) | Trigger::Asked | Trigger::Deleted | Trigger::Goes => 0,
        };
        program.wait_for(DEADLINE, "the API server to refuse it", || {
            Ok((self.refusals()? > tries).then_some(()))
        })?;
        if self.row.trigger == Trigger::Deleted && self.has_outcome(&program)? {
            // twice a minute FRR's whole configuration is said anew, and finds its object gone by itself: not twice in a row
            self.unsay()?;
        }
        ensure!(!self.has_outcome(&program)?, "nothing is lost; the table says: {}", self.row.gone);
        self.is_told(&program)?;

        self.apply(manifest::role(&self.id, self.row.program.name(), None)?)?;
        if let Trigger::Again(_) = self.row.trigger {
            self.wait_for_right()?;
            self.give_address()?;
        }
        let gone = self.row.gone;
        program.wait_for(DEADLINE, &format!("the right to end this: {gone}"), || {
            Ok(self.has_outcome(&program)?.then_some(()))
        })?;
        program.kill()?;
        if self.row.is_v6() && !self.row.takes_the_peer() {
            // the next row of this node may be about the same router
            self.kubectl().run(&["-n", SYSTEM, "delete", "bgppeer", &self.id])?;
        }
        Ok(())
    }

    /// The account, its role, and the objects.
    fn set(&self) -> Result<()> {
        let mut all = manifest::account(&self.id);
        all.extend(manifest::role(&self.id, self.row.program.name(), Some(&self.row.right()))?);
        all.extend(objects::before(self.row, self.number, self.node.name()));
        self.apply(all)?;
        let late = matches!(self.row.trigger, Trigger::Arrives(Part::Addresses) | Trigger::Again(_));
        if self.row.program == Program::Speaker && !late { self.show(Some(self.address)) } else { Ok(()) }
    }

    fn start(&self) -> Result<Running> {
        let (cluster, identity) = (&self.world.cluster, self.identity());
        match (self.row.program, self.row.outcome) {
            (Program::Controller, Outcome::Keyed) => cluster.launch_controller(&identity, &KEEPS_THE_KEY),
            (Program::Controller, _) => cluster.launch_controller(&identity, &[]),
            (Program::Speaker, Outcome::Acquainted) => {
                let (bind, labels) = (Segment::Lan.v4(self.node.host()).to_string(), self.labels());
                let args = ["--ml-bindaddr", &bind, "--ml-labels", &labels, "--ml-secret-key-path", ""];
                cluster.launch_speaker(&identity, self.node, &self.lane.frr, &args)
            }
            (Program::Speaker, _) => cluster.launch_speaker(&identity, self.node, &self.lane.frr, &[]),
        }
    }

    /// Another speaker on the node, which looks for nobody, and a Pod that says where it is.
    fn company(&self) -> Result<Option<Running>> {
        if self.row.outcome != Outcome::Acquainted {
            return Ok(None);
        }
        let ip = Segment::Tor.v4(self.node.host()).to_string();
        self.apply(vec![json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.id, "namespace": SYSTEM, "labels": {"rights": self.id}},
            "spec": {"containers": [{"name": "none", "image": "none"}]},
        })])?;
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        self.kubectl().patch_status(&["-n", SYSTEM, "pod", &self.id], &status)?;
        let identity = Identity { account: "speaker", class: "rights.test/company", port: 7490 };
        let args = ["--frr-vty-dir", "", "--members", &ip, "--ml-bindaddr", &ip];
        let cluster = &self.world.cluster;
        cluster.launch_frr_k8s_speaker(&identity, &self.node.net, "company", &args).map(Some)
    }

    fn labels(&self) -> String {
        format!("rights={}", self.id)
    }

    /// Until everything is there but what is missing: `/readyz` says so.
    fn waits(&self, program: &Running) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.identity().health_port());
        let wanted = match self.row.verb {
            "list" if self.is_awaited() => {
                let kind = kind(self.row.resource)?;
                format!("not ready, waiting for: the list of {kind} objects\n")
            }
            _ => "ok\n".to_owned(),
        };
        program.wait_for(DEADLINE, &format!("/readyz to say {wanted:?}"), || {
            let answer = self.net().command("curl").args(["-s", "-m", "2", &url]).text()?;
            ensure!(answer == wanted, "it says {answer:?}");
            Ok(Some(()))
        })
    }

    /// Does what meets the missing right.
    fn pull(&self, program: &Running) -> Result<()> {
        match self.row.trigger {
            Trigger::Start => Ok(()),
            Trigger::Asked => self.has_outcome(program).map(drop),
            Trigger::Deleted => {
                wait::until_true(DEADLINE, "something said", || self.is_said())?;
                self.unsay()
            }
            Trigger::Goes => {
                wait::until_true(DEADLINE, "something said", || self.is_said())?;
                match self.row.takes_the_peer() {
                    true => self.kubectl().run(&["-n", SYSTEM, "delete", "bgppeer", &self.id]).map(drop),
                    false => self.show(None),
                }
            }
            Trigger::Again(times) => (0..times).try_for_each(|_| self.give_address()),
            Trigger::Arrives(Part::Addresses) => self.show(Some(self.address)),
            Trigger::Arrives(Part::NamespaceLabel) => self.label("namespace", "default", "rights=open"),
            Trigger::Arrives(Part::NodeLabel) => self.label("node", self.node.name(), "rights=announces"),
            Trigger::Arrives(part) => {
                let object = objects::object(self.row, self.number, self.node.name(), part);
                self.apply(vec![object.context("the part is no object")?])
            }
        }
    }

    /// The Service gets its address, also when it has it.
    fn give_address(&self) -> Result<()> {
        match self.row.program {
            Program::Controller => {
                wait::until_true(DEADLINE, "an address", || self.is_addressed())?;
                self.show(None)?;
                wait::until_true(DEADLINE, "the address again", || self.is_addressed())
            }
            Program::Speaker => {
                self.show(None)?;
                wait::until_true(DEADLINE, "the route to go", || Ok(!self.is_routed()?))?;
                self.show(Some(self.address))?;
                wait::until_true(DEADLINE, "the route", || self.is_routed())
            }
        }
    }

    fn has_outcome(&self, program: &Running) -> Result<bool> {
        match self.row.outcome {
            Outcome::Address => self.is_addressed(),
            Outcome::Route => self.is_routed(),
            Outcome::Reply => {
                let client = &self.world.cluster.fabric().client;
                let arping = client.command(&bins::tool("arping")?.to_string_lossy());
                let ip = self.address.to_string();
                let asked = arping.args(["-i", LAN, "-c", "1", "-C", "1", "-w", "1", &ip]).output()?;
                Ok(asked.status.success())
            }
            Outcome::Event(times) => {
                let name = format!("involvedObject.name={}", self.id);
                let events = self.kubectl().get(&["-n", "default", "events", "--field-selector", &name])?;
                let count = |event: &Value| event.get("count").and_then(Value::as_u64).unwrap_or_default();
                Ok(manifest::list(&events, "/items").any(|event| count(event) >= times))
            }
            Outcome::Said | Outcome::Keyed => self.is_said(),
            Outcome::Acquainted => self.measures("ferrolb_members_others 1\n"),
            Outcome::Unsaid => Ok(self.said()?.is_empty()),
            Outcome::Used => {
                let pool = self.kubectl().get(&["-n", SYSTEM, "ipaddresspool", &self.id])?;
                Ok(pool.pointer("/status/assignedIPv4").and_then(Value::as_u64) == Some(1))
            }
            Outcome::Scrape => Ok(scrape(self.net(), self.identity().port, ADMIN_TOKEN)? == "200"),
            Outcome::Password => {
                let config = self.lane.frr.vtysh("show running-config")?;
                Ok(config.contains(&format!(" neighbor {} password ", objects::nobody())))
            }
            Outcome::Warned => Ok(program.log_text().contains("ConfigMap bgpextras: its text is added")),
            Outcome::Reported => self.measures(r#"ferrolb_problems{kind="FRRConfiguration"} 1"#),
        }
    }

    fn measures(&self, line: &str) -> Result<bool> {
        let url = format!("http://127.0.0.1:{}/metrics", self.identity().port);
        Ok(self.net().command("curl").args(["-sf", "-m", "5", &url]).text()?.contains(line))
    }

    /// Whether the right is about what programs say about themselves.
    const fn says(&self) -> bool {
        matches!(self.row.outcome, Outcome::Said | Outcome::Unsaid)
    }

    /// Whether the program is not ready before it has seen what the right is about.
    const fn is_awaited(&self) -> bool {
        !self.says() && !matches!(self.row.outcome, Outcome::Keyed | Outcome::Acquainted)
    }

    fn is_said(&self) -> Result<bool> {
        if self.row.outcome == Outcome::Keyed {
            let key = self.kubectl().get(&["-n", SYSTEM, "secret", KEY, "--ignore-not-found"]);
            // there is no object in an empty answer
            let owner = key.ok().and_then(|key| key.pointer("/metadata/ownerReferences/0/kind").cloned());
            return Ok(owner == Some(json!("Deployment")));
        }
        let said = self.said()?;
        Ok(!said.is_empty() && said.iter().all(|object| object.get("status").is_some()))
    }

    /// What was said about the Service, about the sessions of the node (the peer's that goes), about its FRR, or by the
    /// program about itself.
    fn said(&self) -> Result<Vec<Value>> {
        let (kind, node) = (self.row.kind(), self.node.name());
        let name = match kind.split('.').next() {
            Some("frrnodestates") => Some(node.to_owned()),
            Some("configurationstates") => Some(match self.row.program {
                Program::Controller => "controller".to_owned(),
                Program::Speaker => format!("speaker-{node}"),
            }),
            _ => None,
        };
        let selector = match (name, kind.starts_with("service"), self.row.takes_the_peer()) {
            (Some(name), ..) => format!("--field-selector=metadata.name={name}"),
            (None, true, _) => format!("--selector=metallb.io/service-name={}", self.id),
            (None, false, goes) => {
                let ip = Segment::Tor.v6(1).segments().map(|part| format!("{part:04x}")).join("-");
                let peer = if goes { format!(",frrk8s.metallb.io/peer={ip}") } else { String::new() };
                format!("--selector=frrk8s.metallb.io/node={node}{peer}")
            }
        };
        let all = self.kubectl().get(&["-n", SYSTEM, &kind, &selector])?;
        Ok(manifest::list(&all, "/items").cloned().collect())
    }

    /// What is said is deleted, by somebody else.
    fn unsay(&self) -> Result<()> {
        if self.row.outcome == Outcome::Keyed {
            return self
                .kubectl()
                .run(&["-n", SYSTEM, "delete", "secret", KEY, "--ignore-not-found"])
                .map(drop);
        }
        if !self.says() {
            return Ok(());
        }
        for object in self.said()? {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
            self.kubectl().run(&["-n", SYSTEM, "delete", &self.row.kind(), name])?;
        }
        Ok(())
    }

    fn is_addressed(&self) -> Result<bool> {
        let service = self.kubectl().get(&["-n", "default", "service", &self.id]);
        Ok(service?.pointer("/status/loadBalancer/ingress/0/ip").is_some())
    }

    fn is_routed(&self) -> Result<bool> {
        tor::in_kernel(&self.world.cluster.fabric().tor, &self.address.to_string())
    }

    /// The log names the missing right, so that somebody can grant it.
    fn is_told(&self, program: &Running) -> Result<()> {
        let right = match self.row.verb {
            _ if self.row.outcome == Outcome::Acquainted => "needs list on pods".to_owned(),
            "create" | "get" if self.row.outcome == Outcome::Keyed => {
                format!("{} {}\"", self.row.verb, self.row.qualified())
            }
            "list" | "watch" => format!("list and watch {}\"", self.row.qualified()),
            _ if self.says() || self.row.outcome == Outcome::Used => {
                format!("needs create, delete and patch on {} and their status", self.row.kind())
            }
            _ => format!("needs {}", needs(self.row.resource)?),
        };
        program.wait_for(DEADLINE, &format!("the log to name the right: {right}"), || {
            let log = program.log_text();
            let told = |line: &str| line.contains("our ServiceAccount") && line.contains(&right);
            Ok(log.lines().any(told).then_some(()))
        })
    }

    /// The API server's own RBAC takes a moment to follow.
    fn wait_for_right(&self) -> Result<()> {
        let account = format!("--as=system:serviceaccount:{SYSTEM}:{}", self.id);
        let resource = self.row.qualified();
        wait::until_true(DEADLINE, "the API server to follow the role", || {
            // `can-i` ends with 1 for a no
            Ok(self.kubectl().run(&["auth", "can-i", self.row.verb, &resource, &account]).is_ok())
        })
    }

    fn refusals(&self) -> Result<usize> {
        self.world.cluster.refusals(&self.lost)
    }

    fn show(&self, address: Option<IpAddr>) -> Result<()> {
        let service = ["-n", "default", "service", &self.id];
        self.kubectl().patch_status(&service, &objects::status(address))
    }

    fn label(&self, kind: &str, name: &str, label: &str) -> Result<()> {
        self.kubectl().run(&["label", kind, name, label]).map(drop)
    }

    fn apply(&self, objects: Vec<Value>) -> Result<()> {
        self.kubectl().apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects})).map(drop)
    }

    fn kubectl(&self) -> Kubectl<'a> {
        self.world.cluster.kubectl()
    }

    fn identity(&self) -> Identity<'_> {
        // in one namespace there are several controllers
        Identity { account: &self.id, class: &self.class, port: 7500 + u16::from(self.number) }
    }

    /// Where the program is.
    fn net(&self) -> &'a Net {
        match self.row.program {
            Program::Controller => &self.world.cluster.fabric().control,
            Program::Speaker => &self.node.net,
        }
    }
}

/// The kind of a resource, as `/readyz` names it.
fn kind(resource: &str) -> Result<&'static str> {
    Ok(match resource {
        "services" => "Service",
        "namespaces" => "Namespace",
        "nodes" => "Node",
        "endpointslices" => "EndpointSlice",
        "ipaddresspools" => "IPAddressPool",
        "l2advertisements" => "L2Advertisement",
        "bgpadvertisements" => "BGPAdvertisement",
        "bgppeers" => "BGPPeer",
        "bfdprofiles" => "BFDProfile",
        "communities" => "Community",
        "secrets" => "Secret",
        "configmaps" => "ConfigMap",
        "frrconfigurations" => "FRRConfiguration",
        other => anyhow::bail!("which kind is {other}?"),
    })
}

/// What the log says that we need for requests that are no watches.
fn needs(resource: &str) -> Result<&'static str> {
    Ok(match resource {
        "services/status" => "patch on services/status",
        "events" => "create and patch on events",
        "tokenreviews" | "subjectaccessreviews" => "create on tokenreviews and subjectaccessreviews",
        other => anyhow::bail!("what does the log say about {other}?"),
    })
}
