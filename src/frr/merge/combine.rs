//! Two objects that name the same neighbour: one session, or the field in which they exclude each other.

use crate::{config::Timers, frr::Session, names::Word, net::Family};
use std::collections::BTreeSet;

/// The field that is to blame, and why.
pub(super) type Conflict = (&'static str, String);

/// The session that is what both ask for. A setting that is not given has no opinion; of the AS to show and the
/// families only `own`, a session of ours, may have more than the other says.
pub(super) fn sessions(had: &Session, new: &Session, own: bool, name: &Word) -> Result<Session, Conflict> {
    let conflict = |field, what: &str| Err((field, format!("{what} specified for {name}")));
    if had.remote_as != new.remote_as {
        return conflict("asn", "multiple asns");
    }
    if had.local_as != new.local_as && !(own && new.local_as.is_none()) {
        return conflict("localASN", "multiple localASNs");
    }
    if !together(&had.families, &new.families, own) {
        return conflict("dualStackAddressFamily", "conflicting advertiseDualStack");
    }
    if let (Some(a), Some(b)) = (had.timers, new.timers) {
        let Timers { keepalive, hold } = b;
        if a.hold != hold {
            return conflict("holdTime", "multiple hold times");
        }
        if a.keepalive != keepalive {
            return conflict("keepaliveTime", "multiple keepalive times");
        }
    }
    let multihop = had.multihop || new.multihop;
    // one of the two says how far away the neighbour may be
    if multihop && (had.ttl_security.is_some() || new.ttl_security.is_some()) {
        return conflict("ebgpMultiHop", "conflicting ebgp-multihop");
    }
    let named = |(field, what): (&'static str, &str)| (field, format!("{what} specified for {name}"));
    Ok(Session {
        bfd: either(&had.bfd, &new.bfd).ok_or(("bfdProfile", "multiple bfd profiles")).map_err(named)?,
        password: either(&had.password, &new.password)
            .ok_or(("password", "multiple passwords"))
            .map_err(named)?,
        port: either(&had.port, &new.port).ok_or(("port", "multiple ports")).map_err(named)?,
        source: either(&had.source, &new.source)
            .ok_or(("sourceaddress", "multiple source addresses"))
            .map_err(named)?,
        connect_time: either(&had.connect_time, &new.connect_time)
            .ok_or(("connectTime", "multiple connect times"))
            .map_err(named)?,
        ttl_security: either(&had.ttl_security, &new.ttl_security)
            .ok_or(("ttlSecurityHops", "multiple ttl-security hops"))
            .map_err(named)?,
        timers: had.timers.or(new.timers),
        multihop,
        // where it may be several hops away anyway, FRR has no use for it
        skip_connected_check: had.skip_connected_check && !multihop,
        graceful_restart: had.graceful_restart.max(new.graceful_restart),
        families: had.families.union(&new.families).copied().collect(),
        ..had.clone()
    })
}

/// The one that is given, or `None` for two that differ.
#[expect(clippy::option_option, reason = "the inner one is the setting")]
fn either<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.as_ref().or(b.as_ref()).cloned()),
    }
}

/// No unicast family at all, of a neighbour for EVPN only, has no opinion either.
fn together(had: &BTreeSet<Family>, new: &BTreeSet<Family>, own: bool) -> bool {
    had.is_empty() || new.is_empty() || had == new || (own && had.is_superset(new))
}
