//! What a program says about itself: which peers were told of a Service, how sessions are, what FRR runs, whether the
//! configuration is taken. The same values for an API server and for a directory.
//!
//! Each travels as "latest wins"; while one is `None` nothing is known yet, and nothing of an earlier run is touched.

use crate::{
    config::{Kind, Problem, Problems},
    frr::show::Peering,
    names::{PeerName, ServiceKey},
    net::Mac,
};
use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};
use tokio::sync::watch;

/// The peers that were told of each Service, in order; only Services that somebody was told of.
pub type Services = BTreeMap<ServiceKey, Arc<[PeerName]>>;

/// Where this node answers ARP and NDP for each Service; only Services that it answers for.
pub type Layer2 = BTreeMap<ServiceKey, Arc<Answering>>;

/// Where a node answers for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// The interfaces, in order; empty for all that there are.
    pub interfaces: Vec<Arc<str>>,
    /// Addresses that a station outside the cluster claims too, and where that is.
    pub conflicts: Vec<(IpAddr, Mac)>,
}

/// Every session.
pub type Sessions = BTreeMap<Peering, SessionState>;

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// In FRR's word.
    pub bgp: String,
    /// In FRR's word; `N/A` without BFD.
    pub bfd: String,
}

/// FRR on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// What it runs, without passwords; long, so it is shared.
    pub running: Arc<str>,
    /// What is wrong with the objects that it is made of, or `success`.
    pub conversion: String,
    /// What FRR did not take of it, or `success`.
    pub reload: String,
}

/// The receiving ends of a speaker's states.
#[derive(Clone, Debug)]
pub struct States {
    /// As [`Services`].
    pub services: watch::Receiver<Option<Arc<Services>>>,
    /// As [`Layer2`].
    pub layer2: watch::Receiver<Option<Arc<Layer2>>>,
    /// As [`Sessions`].
    pub sessions: watch::Receiver<Option<Arc<Sessions>>>,
    /// As [`NodeState`].
    pub frr: watch::Receiver<Option<Arc<NodeState>>>,
}

/// Whether the configuration is taken: what is wrong with it, in the words that others look for. Two of the same text
/// are the same.
#[derive(Clone, Debug, Default)]
pub struct Configuration(pub Vec<String>);

/// How the text begins.
const PREFIX: &str = "configuration error: ";

/// The longest that all of them may be: an API server takes no condition with more than 32,768 characters.
const LONGEST: usize = 32_000;

impl PartialEq for Configuration {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Configuration {
    /// From what is wrong with the objects.
    #[must_use]
    pub fn of(problems: &Problems) -> Self {
        let mut all = Vec::new();
        let mut length = 0;
        for problem in problems.iter() {
            let words = words(problem);
            length += words.len();
            if length > LONGEST {
                all.push("and more".to_owned());
                break;
            }
            all.push(words);
        }
        Self(all)
    }

    /// From a result and its summary, as they were written.
    #[must_use]
    pub fn read(result: &str, summary: &str) -> Self {
        match result {
            "Valid" => Self::default(),
            _ => Self(vec![summary.strip_prefix(PREFIX).unwrap_or_default().to_owned()]),
        }
    }

    /// Whether all of it is taken.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_valid() {
            true => Ok(()),
            false => write!(f, "{PREFIX}{}", self.0.join("\n")),
        }
    }
}

/// Now, as the API writes it.
pub(super) fn timestamp() -> String {
    #[expect(clippy::disallowed_methods, reason = "conditions carry the time")]
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A problem in MetalLB's words, where somebody compares them, and in ours elsewhere.
fn words(problem: &Problem) -> String {
    let what = &problem.what;
    match problem.object.kind {
        Kind::BGPPeer if what.starts_with("peer ") || what.starts_with("parsing peer ") => what.clone(),
        Kind::BGPAdvertisement if what.starts_with("invalid community format: ") => {
            let community = what.trim_start_matches("invalid community format: ");
            format!("{what}\ninvalid community \"{community}\" in BGP advertisement")
        }
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ObjectRef;

    /// Word for word what MetalLB's clients compare with.
    #[test]
    fn summaries_that_are_compared_literally() {
        let secret = "parsing peer peer1 secret type mismatch on \"metallb-system\"/\"bgp-password\", type \"kubernetes.io/basic-auth\" is expected \nfailed to parse peer peer1 password secret";
        let twice = "peer 10.200.200.2 already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node";
        for (kind, name, field, what, summary) in [
            (
                Kind::BGPPeer,
                "peer1",
                "spec.bfdProfile",
                "peer peer1 referencing non existing bfd profile b",
                "peer peer1 referencing non existing bfd profile b",
            ),
            (Kind::BGPPeer, "peer1", "spec.passwordSecret", secret, secret),
            (Kind::BGPPeer, "peer2", "spec.peerAddress", twice, twice),
            (
                Kind::BGPAdvertisement,
                "a",
                "spec.communities[0]",
                "invalid community format: my-valid-alias",
                "invalid community format: my-valid-alias\ninvalid community \"my-valid-alias\" in BGP advertisement",
            ),
            (
                Kind::IPAddressPool,
                "p",
                "spec.addresses[0]",
                "is none",
                "IPAddressPool p: spec.addresses[0]: is none",
            ),
        ] {
            let mut problems = Problems::default();
            problems.add(ObjectRef { kind, name: name.into() }, field, what);
            let configuration = Configuration::of(&problems);
            assert_eq!(configuration.to_string(), format!("configuration error: {summary}"));
        }
        let valid = Configuration::of(&Problems::default());
        assert!(valid.is_valid() && valid.to_string().is_empty());
    }

    #[test]
    fn several_problems_are_a_line_each() {
        let mut problems = Problems::default();
        for name in ["b", "a"] {
            let what = format!("peer {name} referencing non existing bfd profile x");
            problems.add(ObjectRef { kind: Kind::BGPPeer, name: name.into() }, "spec.bfdProfile", what);
        }
        assert_eq!(
            Configuration::of(&problems).to_string(),
            "configuration error: peer a referencing non existing bfd profile x\n\
             peer b referencing non existing bfd profile x"
        );
    }
}
