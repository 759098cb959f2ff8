//! Our FRRConfiguration for an frr-k8s that somebody else runs: what frr-k8s' schema has, and Secrets by reference.

use super::{Built, policy_key};
use crate::{
    api,
    config::{Config, Kind, ObjectRef, Problems},
    plan::Plan,
};

/// An frr-k8s beside us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The namespace of the Secrets that peers name.
    pub secrets: String,
    /// Whether it can look passwords up itself. If not, they are in the object, for everybody to read.
    pub by_reference: bool,
}

impl Built {
    /// The object as frr-k8s takes it, and what of the plan it has no words for.
    #[must_use]
    pub fn elsewhere(
        &self,
        to: &Elsewhere,
        plan: &Plan,
        config: &Config,
    ) -> (api::FRRConfiguration, Problems) {
        const NONE: &str = "has no effect: frr-k8s has no such setting";
        let mut object = self.object.clone();
        let mut problems = Problems::default();
        for (name, ad) in &config.bgp {
            let object = ObjectRef { kind: Kind::BGPAdvertisement, name: name.to_string() };
            for (set, field) in [
                (ad.med.is_some(), "metadata.annotations[ferrolb.io/med]"),
                (ad.prepend.is_some(), "metadata.annotations[ferrolb.io/as-path-prepend]"),
            ] {
                if set {
                    problems.add(object.clone(), field, NONE);
                }
            }
        }
        for router in &mut object.spec.bgp.routers {
            for neighbor in &mut router.neighbors {
                neighbor.to_advertise.with_med.clear();
                neighbor.to_advertise.with_as_path_prepend.clear();
                let name = policy_key(&router.vrf, neighbor).and_then(|key| self.peers.get(&key));
                let Some((name, session)) = name.and_then(|name| plan.bgp.get_key_value(name)) else {
                    continue;
                };
                if std::mem::take(&mut neighbor.ttl_security_hops) != 0 {
                    let object = ObjectRef { kind: Kind::BGPPeer, name: name.to_string() };
                    problems.add(object, "metadata.annotations[ferrolb.io/ttl-security-hops]", NONE);
                }
                if let Some(secret) = session.peer.secret.as_deref().filter(|_| to.by_reference) {
                    neighbor.password.clear();
                    let (name, namespace) = (secret.to_owned(), to.secrets.clone());
                    neighbor.password_secret = api::FRRSecretReference { name, namespace };
                }
            }
        }
        (object, problems)
    }
}
