//! One neighbour of an FRRConfiguration, but for what it is told.

use super::{Faults, hear::Hearing, optional};
use crate::{
    api,
    config::{FRACTION, Neighbor, Peer, RemoteAs, Timers},
    frr::{GracefulRestart, Session},
    names::{Asn, Password, Word},
    net::Family,
};
use std::{collections::BTreeSet, fmt, net::IpAddr};

/// What an object says of one neighbour.
pub(super) struct Found {
    pub(super) neighbor: Neighbor,
    pub(super) session: Session,
    pub(super) hearing: Hearing,
}

/// The session that `from` describes; `None` after a fault that would make it another session than was meant.
pub(super) fn session(
    from: &api::FRRNeighbor,
    asn: Asn,
    profiles: &BTreeSet<Word>,
    at: &str,
    faults: &mut Faults,
) -> Option<Found> {
    if !from.password_secret.name.is_empty() {
        // Not resolved: who does that has told why. Without its password it would be another session.
        return None;
    }
    match read(from, asn, profiles) {
        Ok((neighbor, session)) => {
            let hearing = Hearing::of(from, &session.families, at, faults)?;
            Some(Found { neighbor, session, hearing })
        }
        Err(Fault(field, what)) => {
            faults.add(format!("{at}.{field}"), what);
            None
        }
    }
}

struct Fault(&'static str, String);

fn fault<T>(field: &'static str, what: impl fmt::Display) -> Result<T, Fault> {
    Err(Fault(field, what.to_string()))
}

fn word(field: &'static str, text: &str) -> Result<Option<Word>, Fault> {
    optional(text).or_else(|e| fault(field, e))
}

fn password(text: &str) -> Result<Option<Password>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    Password::new(text).map(Some).or_else(|e| fault("password", e))
}

fn read(from: &api::FRRNeighbor, asn: Asn, profiles: &BTreeSet<Word>) -> Result<(Neighbor, Session), Fault> {
    let neighbor = match (from.address.as_str(), from.interface.as_str()) {
        ("", "") => return fault("address", "has no address and no interface"),
        ("", interface) => match Word::new(interface) {
            Ok(name) if name.as_str().len() <= Peer::INTERFACE_MAX => Neighbor::Interface(name),
            Ok(_) => return fault("interface", format_args!("is longer than {} bytes", Peer::INTERFACE_MAX)),
            Err(e) => return fault("interface", e),
        },
        (address, "") => match address.parse::<IpAddr>() {
            Ok(ip) => Neighbor::Address(ip.to_canonical()),
            Err(_) => return fault("address", format_args!("failed to find ipfamily for {address:?}")),
        },
        _ => return fault("address", "has both Address and Interface specified"),
    };
    let remote_as = match (Asn::new(from.asn), from.dynamic_asn) {
        (None, None) => return fault("asn", "has no ASN or DynamicASN specified"),
        (Some(_), Some(_)) => return fault("asn", "has both ASN and DynamicASN specified"),
        (Some(asn), None) => RemoteAs::Number(asn),
        (None, Some(api::FRRDynamicAsn::Internal)) => RemoteAs::Internal,
        (None, Some(api::FRRDynamicAsn::External)) => RemoteAs::External,
    };
    let local_as = Asn::new(from.local_asn);
    if local_as == Some(asn) {
        return fault("localASN", "must differ from the router's asn");
    }
    let internal = match remote_as {
        RemoteAs::Internal => true,
        RemoteAs::External => false,
        RemoteAs::Number(remote) => remote == asn,
    };
    if internal && local_as.is_some() {
        return fault("localASN", "needs a neighbor of another AS");
    }
    let numbered = matches!(neighbor, Neighbor::Address(_));
    if !numbered && !from.source_address.is_empty() {
        return fault("sourceaddress", "an unnumbered session has the address of its interface");
    }
    let bfd = word("bfdProfile", &from.bfd_profile)?;
    if let Some(name) = bfd.as_ref().filter(|name| !profiles.contains(name)) {
        return fault("bfdProfile", format_args!("no BFD profile {name} in this object"));
    }
    // FRR prints an address in its shortest form, so that must be ours too
    let source = word("sourceaddress", &from.source_address)?.map(|text| {
        let address = text.as_str().parse::<IpAddr>().ok();
        address.and_then(|ip| Word::new(&ip.to_string()).ok()).unwrap_or(text)
    });
    let families = match &neighbor {
        // EVPN and nothing else
        _ if from.address_families == [api::FRRAddressFamily::Evpn] => BTreeSet::new(),
        Neighbor::Address(ip) if !from.dual_stack_address_family => BTreeSet::from([Family::of(*ip)]),
        _ => BTreeSet::from([Family::V4, Family::V6]),
    };
    // FRR forgets or refuses these two where they mean nothing
    let multihop = from.ebgp_multi_hop && !internal && numbered;
    let skip_connected_check =
        !internal && !multihop && matches!(&neighbor, Neighbor::Address(IpAddr::V6(_)));
    let session = Session {
        remote_as,
        local_as,
        bfd,
        password: password(&from.password)?,
        port: from.port.filter(|port| !matches!(port, 0 | 179)),
        multihop,
        ttl_security: ttl_security(from, internal)?,
        skip_connected_check,
        source,
        timers: timers(from)?,
        connect_time: match &from.connect_time {
            None => None,
            Some(time) => match seconds("connectTime", time)? {
                0 => return fault("connectTime", "must be at least 1s"),
                seconds => Some(seconds),
            },
        },
        graceful_restart: if from.enable_graceful_restart {
            GracefulRestart::On
        } else {
            GracefulRestart::Aware
        },
        families,
    };
    Ok((neighbor, session))
}

/// How far away the neighbour may be, where FRR can have that.
fn ttl_security(from: &api::FRRNeighbor, internal: bool) -> Result<Option<u8>, Fault> {
    let why = match from.ttl_security_hops {
        0 => return Ok(None),
        hops if internal || hops == u8::MAX => "is 1 to 254, for a neighbor of another AS",
        _ if from.ebgp_multi_hop => "excludes ebgpMultiHop",
        hops if hops > 1 && from.address.is_empty() => "must be 1 over an interface",
        hops => return Ok(Some(hops)),
    };
    fault("ttlSecurityHops", why)
}

fn timers(from: &api::FRRNeighbor) -> Result<Option<Timers>, Fault> {
    if from.hold_time.is_none() && from.keepalive_time.is_none() {
        return Ok(None);
    }
    let (Some(hold), Some(keepalive)) = (&from.hold_time, &from.keepalive_time) else {
        let field = if from.hold_time.is_some() { "holdTime" } else { "keepaliveTime" };
        return fault(field, "holdTime and keepaliveTime are given both or none");
    };
    let fraction = keepalive.nanos().is_ok_and(|nanos| nanos > 0);
    let (hold, keepalive) = (seconds("holdTime", hold)?, seconds("keepaliveTime", keepalive)?);
    if keepalive == 0 && fraction && hold > 0 {
        return fault("keepaliveTime", FRACTION);
    }
    if matches!(hold, 1 | 2) {
        return fault("holdTime", "must be 0 or at least 3s");
    }
    if keepalive > hold {
        return fault("keepaliveTime", "must not be longer than the hold time");
    }
    // FRR never waits longer than a third of the hold time (RFC 4271 §4.4)
    Ok(Some(Timers { keepalive: keepalive.min(hold / 3), hold }))
}

/// Whole seconds, the rest cut off.
fn seconds(field: &'static str, time: &api::Duration) -> Result<u16, Fault> {
    let nanos = time.nanos().or_else(|e| fault(field, e))?;
    let range = |_| Fault(field, format!("{} is not from 0s to 65535s", time.0));
    u16::try_from(nanos.div_euclid(1_000_000_000)).map_err(range)
}
