//! Every right that the manifest grants, and what is gone without it.
//!
//! `list` and `watch` of the same objects are two rights, and two behaviours: without `list` nothing is known at the
//! start and nothing is decided; without `watch` what is there at the start works, and what comes later does not.

use ferrolb_e2e::cluster::Right;

use Outcome::{
    Acquainted, Address, Event, Keyed, Password, Reply, Reported, Route, Said, Scrape, Unsaid, Used, Warned,
};
use Part::{
    Addresses, Advertisement, Alias, Extras, FrrConfiguration, L2Advertisement, NamespaceLabel, NodeLabel,
    Peer, Pool, Profile, Secret, Service, Slice,
};
use Program::{Controller, Speaker};
use Trigger::{Again, Arrives, Asked, Deleted, Goes, Start};

/// Whose right it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Controller,
    Speaker,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        }
    }
}

/// Something that the outcome needs. All of it is there before the program starts, but for what [`Arrives`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Service,
    /// The address in the Service's status: for speakers, whom no controller helps.
    Addresses,
    Slice,
    Pool,
    /// The label that the pool wants of the Service's namespace.
    NamespaceLabel,
    Advertisement,
    L2Advertisement,
    Peer,
    /// The BFDProfile that the peer names.
    Profile,
    /// The Community whose alias the advertisement uses.
    Alias,
    /// The label that the advertisement wants of the node.
    NodeLabel,
    FrrConfiguration,
    /// The Secret with the peer's password.
    Secret,
    /// The ConfigMap with text for FRR.
    Extras,
}

/// What the program meets the missing right with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// It starts.
    Start,
    /// This comes when it is ready.
    Arrives(Part),
    /// The Service gets its address so many times.
    Again(u8),
    /// Somebody asks for the outcome.
    Asked,
    /// Somebody else deletes what was said.
    Deleted,
    /// What was said something about goes: the Service's address, or the peer.
    Goes,
}

/// What is looked for, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The Service has an address, says the API server.
    Address,
    /// The router's kernel has a route to it.
    Route,
    /// A client's ARP request for it is answered.
    Reply,
    /// The API server has so many of the event that tells of it.
    Event(u64),
    /// `/metrics` serves the bearer of a good token.
    Scrape,
    /// `/metrics` counts the fault of an FRRConfiguration.
    Reported,
    /// The node's FRR has the password of the row's peer.
    Password,
    /// The program's log tells of the text for FRR.
    Warned,
    /// The object of the right's kind is there, with a status: of the Service, of the node, or of the program.
    Said,
    /// It is not there any more.
    Unsaid,
    /// The status of the row's pool says that its address is in use.
    Used,
    /// The Secret of the gossip is there, and belongs to the Deployment.
    Keyed,
    /// The speaker knows of another one, which waits to be found.
    Acquainted,
}

/// One right, and what depends on it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) program: Program,
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static str,
    group: &'static str,
    pub(crate) trigger: Trigger,
    pub(crate) outcome: Outcome,
    /// In words, for whoever reads the table or a failure.
    pub(crate) gone: &'static str,
}

impl Row {
    /// As the manifest grants it.
    pub(crate) fn right(&self) -> Right {
        Right::new(self.program.name(), self.group, self.resource, self.verb)
    }

    /// As the API server speaks of the resource: `bgppeers.metallb.io`.
    pub(crate) fn qualified(&self) -> String {
        format!("{}.{}", self.resource, self.group).trim_end_matches('.').to_owned()
    }

    /// Whether the outcome needs an IPv6 session: a peer that comes or goes must not be the one of all other rows.
    pub(crate) fn is_v6(&self) -> bool {
        matches!(self.trigger, Arrives(Peer | Profile)) || self.takes_the_peer()
    }

    /// Whether it is a peer that goes.
    pub(crate) fn takes_the_peer(&self) -> bool {
        self.trigger == Goes && self.resource == "bgpsessionstates"
    }

    /// Whether another controller would do it: there is one object for all of them.
    pub(crate) fn is_alone(&self) -> bool {
        let keyed = self.outcome == Keyed;
        self.program == Controller && (keyed || self.resource.starts_with("configurationstates"))
    }

    /// The kind of objects that it is about, without their status.
    pub(crate) fn kind(&self) -> String {
        format!("{}.{}", self.resource.trim_end_matches("/status"), self.group)
    }
}

const fn row(
    program: Program,
    (verb, resource, group): (&'static str, &'static str, &'static str),
    trigger: Trigger,
    outcome: Outcome,
    gone: &'static str,
) -> Row {
    Row { program, verb, resource, group, trigger, outcome, gone }
}

const METALLB: &str = "metallb.io";
const FRRK8S: &str = "frrk8s.metallb.io";
const REVIEWS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// The table. The rows of one program are begun in this order, so that those that wait longest come first.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(Controller, ("watch", "services", ""), Arrives(Service), Address, "a new Service gets no address"),
    row(Controller, ("watch", "namespaces", ""), Arrives(NamespaceLabel), Address, "a label put on a namespace opens no pool to it"),
    row(Controller, ("watch", "ipaddresspools", METALLB), Arrives(Pool), Address, "a new pool gives no address"),
    row(Controller, ("list", "services", ""), Start, Address, "no Service gets an address"),
    row(Controller, ("list", "namespaces", ""), Start, Address, "no Service gets an address"),
    row(Controller, ("list", "ipaddresspools", METALLB), Start, Address, "no Service gets an address"),
    row(Controller, ("patch", "services/status", ""), Start, Address, "no Service gets an address"),
    row(Controller, ("create", "events", ""), Again(1), Event(1), "no event tells of an address"),
    row(Controller, ("patch", "events", ""), Again(2), Event(2), "an event that comes again is not counted"),
    row(Controller, ("patch", "ipaddresspools/status", METALLB), Start, Used, "nobody learns how full a pool is"),
    row(Controller, ("list", "configurationstates", METALLB), Start, Said, "nobody learns whether the pools are taken"),
    row(Controller, ("watch", "configurationstates", METALLB), Deleted, Said, "a deleted ConfigurationState does not come back"),
    row(Controller, ("create", "configurationstates", METALLB), Start, Said, "nobody learns whether the pools are taken"),
    row(Controller, ("patch", "configurationstates/status", METALLB), Start, Said, "nobody learns whether the pools are taken"),
    row(Controller, ("list", "secrets", ""), Start, Keyed, "the gossip gets no key"),
    row(Controller, ("watch", "secrets", ""), Deleted, Keyed, "a key that goes is not made again"),
    row(Controller, ("create", "secrets", ""), Start, Keyed, "the gossip gets no key"),
    row(Controller, ("get", "deployments", "apps"), Start, Keyed, "the gossip gets no key"),
    row(Controller, ("create", "tokenreviews", REVIEWS[0]), Asked, Scrape, "nobody may scrape"),
    row(Controller, ("create", "subjectaccessreviews", REVIEWS[1]), Asked, Scrape, "nobody may scrape"),

    row(Speaker, ("watch", "services", ""), Arrives(Addresses), Route, "a new address gets no route"),
    row(Speaker, ("watch", "endpointslices", "discovery.k8s.io"), Arrives(Slice), Route, "new endpoints bring no route"),
    row(Speaker, ("watch", "nodes", ""), Arrives(NodeLabel), Route, "a label put on the node does not make it announce"),
    row(Speaker, ("watch", "ipaddresspools", METALLB), Arrives(Pool), Route, "addresses of a new pool get no route"),
    row(Speaker, ("watch", "bgpadvertisements", METALLB), Arrives(Advertisement), Route, "a new advertisement brings no route"),
    row(Speaker, ("watch", "bgppeers", METALLB), Arrives(Peer), Route, "a new peer is told nothing"),
    row(Speaker, ("watch", "bfdprofiles", METALLB), Arrives(Profile), Route, "a peer whose BFD profile comes later is told nothing"),
    row(Speaker, ("watch", "communities", METALLB), Arrives(Alias), Route, "an advertisement whose alias comes later brings no route"),
    row(Speaker, ("watch", "l2advertisements", METALLB), Arrives(L2Advertisement), Reply, "a new L2 advertisement answers no ARP request"),
    row(Speaker, ("watch", "frrconfigurations", "frrk8s.metallb.io"), Arrives(FrrConfiguration), Reported, "an FRRConfiguration has no effect"),
    row(Speaker, ("watch", "secrets", ""), Arrives(Secret), Password, "a peer whose password comes later has no session"),
    row(Speaker, ("watch", "configmaps", ""), Arrives(Extras), Warned, "new text for FRR's configuration is not seen"),
    row(Speaker, ("list", "pods", ""), Start, Acquainted, "the other speakers are not found"),
    row(Speaker, ("list", "secrets", ""), Start, Route, "no route"),
    row(Speaker, ("list", "configmaps", ""), Start, Route, "no route"),
    row(Speaker, ("list", "services", ""), Start, Route, "no route"),
    row(Speaker, ("list", "endpointslices", "discovery.k8s.io"), Start, Route, "no route"),
    row(Speaker, ("list", "nodes", ""), Start, Route, "no route"),
    row(Speaker, ("list", "ipaddresspools", METALLB), Start, Route, "no route"),
    row(Speaker, ("list", "bgpadvertisements", METALLB), Start, Route, "no route"),
    row(Speaker, ("list", "bgppeers", METALLB), Start, Route, "no route"),
    row(Speaker, ("list", "bfdprofiles", METALLB), Start, Route, "no route"),
    row(Speaker, ("list", "communities", METALLB), Start, Route, "no route"),
    row(Speaker, ("list", "l2advertisements", METALLB), Start, Reply, "no answer to an ARP request"),
    row(Speaker, ("list", "frrconfigurations", "frrk8s.metallb.io"), Start, Route, "no route"),
    row(Speaker, ("create", "events", ""), Again(1), Event(1), "no event tells who announces"),
    row(Speaker, ("patch", "events", ""), Again(2), Event(2), "an event that comes again is not counted"),
    row(Speaker, ("watch", "servicebgpstatuses", METALLB), Deleted, Said, "a deleted ServiceBGPStatus does not come back"),
    row(Speaker, ("list", "servicebgpstatuses", METALLB), Start, Said, "nobody learns who was told of a Service"),
    row(Speaker, ("create", "servicebgpstatuses", METALLB), Start, Said, "nobody learns who was told of a Service"),
    row(Speaker, ("patch", "servicebgpstatuses/status", METALLB), Start, Said, "nobody learns who was told of a Service"),
    row(Speaker, ("delete", "servicebgpstatuses", METALLB), Goes, Unsaid, "a Service without an address is still said to be told"),
    row(Speaker, ("watch", "servicel2statuses", METALLB), Deleted, Said, "a deleted ServiceL2Status does not come back"),
    row(Speaker, ("list", "servicel2statuses", METALLB), Start, Said, "nobody learns who answers for a Service"),
    row(Speaker, ("create", "servicel2statuses", METALLB), Start, Said, "nobody learns who answers for a Service"),
    row(Speaker, ("patch", "servicel2statuses/status", METALLB), Start, Said, "nobody learns who answers for a Service"),
    row(Speaker, ("delete", "servicel2statuses", METALLB), Goes, Unsaid, "a Service without an address is still said to be answered for"),
    row(Speaker, ("watch", "bgpsessionstates", FRRK8S), Deleted, Said, "a deleted BGPSessionState does not come back"),
    row(Speaker, ("list", "bgpsessionstates", FRRK8S), Start, Said, "nobody learns how a session is"),
    row(Speaker, ("create", "bgpsessionstates", FRRK8S), Start, Said, "nobody learns how a session is"),
    row(Speaker, ("patch", "bgpsessionstates/status", FRRK8S), Start, Said, "nobody learns how a session is"),
    row(Speaker, ("delete", "bgpsessionstates", FRRK8S), Goes, Unsaid, "a session without a peer still has a state"),
    row(Speaker, ("watch", "frrnodestates", FRRK8S), Deleted, Said, "a deleted FRRNodeState does not come back"),
    row(Speaker, ("list", "frrnodestates", FRRK8S), Start, Said, "nobody learns what FRR runs"),
    row(Speaker, ("create", "frrnodestates", FRRK8S), Start, Said, "nobody learns what FRR runs"),
    row(Speaker, ("patch", "frrnodestates/status", FRRK8S), Start, Said, "nobody learns what FRR runs"),
    row(Speaker, ("watch", "configurationstates", METALLB), Deleted, Said, "a deleted ConfigurationState does not come back"),
    row(Speaker, ("list", "configurationstates", METALLB), Start, Said, "nobody learns whether the configuration is taken"),
    row(Speaker, ("create", "configurationstates", METALLB), Start, Said, "nobody learns whether the configuration is taken"),
    row(Speaker, ("patch", "configurationstates/status", METALLB), Start, Said, "nobody learns whether the configuration is taken"),
    row(Speaker, ("create", "tokenreviews", REVIEWS[0]), Asked, Scrape, "nobody may scrape"),
    row(Speaker, ("create", "subjectaccessreviews", REVIEWS[1]), Asked, Scrape, "nobody may scrape"),
];
