//! What an API server would not have taken of a Service.
//!
//! A manifest directory has no API server before it: without this, a misspelt word would be read as the default.

use crate::net::Family;
use k8s_openapi::api::core::v1 as core;
use std::{collections::BTreeSet, fmt, net::IpAddr};

/// The first field of a Service that an API server refuses, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The path of the field.
    pub field: String,
    /// What is wrong, on one line.
    pub what: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.what)
    }
}

/// What of `spec` an API server would refuse, of the fields that are read here. One that stands on no load balancer
/// is of no interest.
pub(super) fn of(spec: &core::ServiceSpec) -> Option<Misfit> {
    match spec.type_.as_deref() {
        Some("LoadBalancer") => {}
        None | Some("" | "ClusterIP" | "NodePort" | "ExternalName") => return None,
        Some(other) => return misfit("spec.type", format_args!("{other:?} is no type of Service")),
    }
    cluster_ips(spec)
        .or_else(|| families(spec))
        .or_else(|| {
            let field = "spec.ipFamilyPolicy";
            let known = ["SingleStack", "PreferDualStack", "RequireDualStack"];
            word(field, spec.ip_family_policy.as_deref(), &known)
        })
        .or_else(|| {
            let policy = spec.external_traffic_policy.as_deref().filter(|text| !text.is_empty());
            word("spec.externalTrafficPolicy", policy, &["Cluster", "Local"])
        })
        .or_else(|| spec.ports.iter().flatten().enumerate().find_map(|(i, port)| of_port(i, port)))
}

fn misfit(field: impl Into<String>, what: impl fmt::Display) -> Option<Misfit> {
    Some(Misfit { field: field.into(), what: what.to_string() })
}

fn word(field: impl Into<String>, written: Option<&str>, known: &[&str]) -> Option<Misfit> {
    let other = written.filter(|text| !known.contains(text))?;
    misfit(field, format_args!("{other:?} is none of {}", known.join(", ")))
}

fn families(spec: &core::ServiceSpec) -> Option<Misfit> {
    let written = spec.ip_families.as_deref().unwrap_or_default();
    let distinct: BTreeSet<&String> = written.iter().collect();
    let good =
        distinct.len() == written.len() && distinct.iter().all(|f| matches!(f.as_str(), "IPv4" | "IPv6"));
    if good {
        None
    } else {
        misfit("spec.ipFamilies", format_args!("{written:?} is not one or both of IPv4, IPv6"))
    }
}

fn cluster_ips(spec: &core::ServiceSpec) -> Option<Misfit> {
    let one = spec.cluster_ip.iter().map(|ip| ("spec.clusterIP".to_owned(), ip));
    let all = spec.cluster_ips.iter().flatten().enumerate();
    let all = all.map(|(i, ip)| (format!("spec.clusterIPs[{i}]"), ip));
    let is_none = |ip: &str| matches!(ip, "" | "None");
    let stray = one.chain(all).find(|(_, ip)| !is_none(ip) && ip.parse::<IpAddr>().is_err());
    if let Some((field, ip)) = stray {
        return misfit(field, format_args!("{ip:?} is neither an IP address nor None"));
    }
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let families: Vec<Family> = ips.iter().filter_map(|ip| ip.parse().ok()).map(Family::of).collect();
    match families.as_slice() {
        [] | [_] => None,
        [a, b] if a != b => None,
        _ => misfit("spec.clusterIPs", format_args!("{ips:?} has more than one address of a family")),
    }
}

fn of_port(i: usize, port: &core::ServicePort) -> Option<Misfit> {
    let protocol = port.protocol.as_deref().filter(|text| !text.is_empty());
    if !(1..=65535).contains(&port.port) {
        return misfit(format!("spec.ports[{i}].port"), format_args!("{} is not from 1 to 65535", port.port));
    }
    word(format!("spec.ports[{i}].protocol"), protocol, &["TCP", "UDP", "SCTP"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(spec: serde_json::Value) -> Option<String> {
        of(&serde_json::from_value(spec).unwrap()).map(|misfit| misfit.to_string())
    }

    #[test]
    fn what_an_api_server_refuses_is_named() {
        for (spec, expected) in [
            (r#"{"type": "Loadbalancer"}"#, "spec.type \"Loadbalancer\" is no type of Service"),
            (r#"{"ipFamilies": ["IPv9"]}"#, "spec.ipFamilies [\"IPv9\"] is not one or both of IPv4, IPv6"),
            (
                r#"{"ipFamilies": ["IPv4", "IPv4"]}"#,
                "spec.ipFamilies [\"IPv4\", \"IPv4\"] is not one or both of IPv4, IPv6",
            ),
            (
                r#"{"ipFamilies": ["IPv4\n"]}"#,
                "spec.ipFamilies [\"IPv4\\n\"] is not one or both of IPv4, IPv6",
            ),
            (
                r#"{"ipFamilyPolicy": "DualStack"}"#,
                "spec.ipFamilyPolicy \"DualStack\" is none of SingleStack, PreferDualStack, RequireDualStack",
            ),
            (
                r#"{"clusterIP": "10.0.0.300"}"#,
                "spec.clusterIP \"10.0.0.300\" is neither an IP address nor None",
            ),
            (
                r#"{"clusterIPs": ["10.0.0.1", "x"]}"#,
                "spec.clusterIPs[1] \"x\" is neither an IP address nor None",
            ),
            (
                r#"{"clusterIPs": ["10.0.0.1", "10.0.0.2"]}"#,
                "spec.clusterIPs [\"10.0.0.1\", \"10.0.0.2\"] has more than one address of a family",
            ),
            (
                r#"{"externalTrafficPolicy": "local"}"#,
                "spec.externalTrafficPolicy \"local\" is none of Cluster, Local",
            ),
            (
                r#"{"ports": [{"port": 80}, {"port": 65536}]}"#,
                "spec.ports[1].port 65536 is not from 1 to 65535",
            ),
            (
                r#"{"ports": [{"port": 80, "protocol": "tcp"}]}"#,
                "spec.ports[0].protocol \"tcp\" is none of TCP, UDP, SCTP",
            ),
        ] {
            let mut spec: serde_json::Value = serde_json::from_str(spec).unwrap();
            let fields = spec.as_object_mut().unwrap();
            fields.entry("type").or_insert_with(|| "LoadBalancer".into());
            assert_eq!(said(spec).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_an_api_server_takes_is_taken() {
        for spec in [
            r"{}",
            r#"{"type": "ClusterIP", "ipFamilies": ["IPv9"]}"#,
            r#"{"type": "LoadBalancer"}"#,
            r#"{"type": "LoadBalancer", "clusterIP": "None", "ipFamilies": ["IPv6", "IPv4"]}"#,
            r#"{"type": "LoadBalancer", "clusterIP": "", "clusterIPs": ["fd00::1", "10.0.0.1"],
                "ipFamilies": [], "ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": "Local",
                "ports": [{"port": 1, "protocol": "SCTP"}, {"port": 65535}]}"#,
        ] {
            assert_eq!(said(serde_json::from_str(spec).unwrap()), None, "{spec}");
        }
    }
}
