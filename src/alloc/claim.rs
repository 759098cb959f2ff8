//! What a Service asks for.

use super::Reason;
use crate::{
    names::{PoolName, ServiceKey},
    net::{Families, Family},
    world::{FamilyPolicy, Labels, Port, Service, TrafficPolicy, annotations},
};
use std::{collections::BTreeSet, net::IpAddr};

/// Addresses asked for by name, or why the request makes no sense.
pub(super) type Request = Result<Vec<IpAddr>, Reason>;

/// What a Service asks for.
pub(super) struct Claim<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) service: &'a Service,
    /// The addresses of its status.
    pub(super) current: Vec<IpAddr>,
    /// Whether the status holds nothing but addresses.
    readable: bool,
    /// The addresses that it names.
    pub(super) request: Option<Request>,
    /// The pool that it names.
    pub(super) pool: Option<PoolName>,
}

/// Who may share an address: equal keys, both present.
pub(super) fn sharing_key(service: &Service) -> Option<&str> {
    service.annotation(annotations::ALLOW_SHARED_IP).filter(|key| !key.is_empty())
}

/// The Pods behind an address where that matters: those of a Local Service.
pub(super) fn backends(service: &Service) -> Option<&Labels> {
    (service.traffic == TrafficPolicy::Local && !service.selector.is_empty()).then_some(&service.selector)
}

impl<'a> Claim<'a> {
    pub(super) fn read(
        key: &'a ServiceKey,
        service: &'a Service,
        current: Vec<IpAddr>,
        readable: bool,
    ) -> Result<Self, Reason> {
        if service.families.is_empty() {
            return Err(Reason::NoClusterIp);
        }
        if service.policy == FamilyPolicy::RequireDualStack && service.families.len() < 2 {
            return Err(Reason::NotDualStack);
        }
        let pool =
            service.annotation(annotations::ADDRESS_POOL).filter(|p| !p.is_empty()).map(PoolName::from);
        Ok(Self { key, service, current, readable, request: request(service), pool })
    }

    pub(super) fn ports(&self) -> &'a [Port] {
        &self.service.ports
    }

    fn is_dual(&self) -> bool {
        self.service.families.len() > 1
    }

    /// Whether the status holds addresses of the right families, and nothing that is no address.
    pub(super) fn families_fit(&self) -> bool {
        let have = families(&self.current);
        let want: Families = self.service.families.iter().copied().collect();
        self.readable && self.current.len() == have.len() && (have == want || self.missing_family().is_some())
    }

    /// The family that a `PreferDualStack` Service with one address could have in addition.
    pub(super) fn missing_family(&self) -> Option<Family> {
        let [one] = self.current.as_slice() else { return None };
        let prefers = self.service.policy == FamilyPolicy::PreferDualStack && self.is_dual();
        // A Service that names one address has asked for that one.
        (prefers && self.request.is_none()).then_some(match Family::of(*one) {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        })
    }

    pub(super) fn holds_exactly(&self, wanted: &[IpAddr]) -> bool {
        self.current.iter().collect::<BTreeSet<_>>() == wanted.iter().collect()
    }

    /// Whether the requested addresses have the families of the Service.
    pub(super) fn check_request(&self, ips: &[IpAddr]) -> Result<(), Reason> {
        let want: Families = self.service.families.iter().copied().collect();
        if families(ips) == want {
            Ok(())
        } else {
            Err(Reason::Families(ips.to_vec(), self.service.families.clone()))
        }
    }
}

fn families(ips: &[IpAddr]) -> Families {
    ips.iter().map(|ip| Family::of(*ip)).collect()
}

fn request(service: &Service) -> Option<Request> {
    let annotation = service.annotation(annotations::LOAD_BALANCER_IPS).filter(|ips| !ips.trim().is_empty());
    let text = match (annotation, service.load_balancer_ip.as_deref()) {
        (Some(_), Some(_)) => return Some(Err(Reason::TwoRequests)),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => return None,
    };
    let mut ips = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse::<IpAddr>() {
            Ok(ip) => ips.push(ip),
            Err(_) => return Some(Err(Reason::NotAnAddress(part.into()))),
        }
    }
    if families(&ips).len() < ips.len() {
        return Some(Err(Reason::TooMany(text.into())));
    }
    // Sorted as text, as the status has always shown them.
    ips.sort_by_key(ToString::to_string);
    Some(Ok(ips))
}
