//! Every right that the manifest grants, and what is gone without it.
//!
//! `list` and `watch` of the same objects are two rights, and two behaviours: without `list` nothing is known at the
//! start and nothing is decided; without `watch` what is there at the start works, and what comes later does not.

use ferrolb_e2e::cluster::Right;

use Outcome::{Address, Event, Password, Reply, Reported, Route, Scrape, Warned};
use Part::{
    Addresses, Advertisement, Alias, Extras, FrrConfiguration, L2Advertisement, NamespaceLabel, NodeLabel,
    Peer, Pool, Profile, Secret, Service, Slice,
};
use Program::{Controller, Speaker};
use Trigger::{Again, Arrives, Asked, Start};

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

    /// Whether the outcome needs an IPv6 session: a peer that comes late must not be the one of all other rows.
    pub(crate) fn is_v6(&self) -> bool {
        matches!(self.trigger, Arrives(Peer | Profile))
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
    row(Speaker, ("create", "tokenreviews", REVIEWS[0]), Asked, Scrape, "nobody may scrape"),
    row(Speaker, ("create", "subjectaccessreviews", REVIEWS[1]), Asked, Scrape, "nobody may scrape"),
];
