//! Settings of ours on MetalLB's objects, which have no field for them: annotations `ferrolb.io/…`.

use super::problem::{Kind, Report};
use kube::core::ObjectMeta;
use std::ops::RangeInclusive;

/// On a BGPAdvertisement: MULTI_EXIT_DISC of its routes.
pub(super) const MED: &str = "ferrolb.io/med";

/// On a BGPAdvertisement: how often our AS comes in the paths of its routes beside the once that it always does.
pub(super) const PREPEND: &str = "ferrolb.io/as-path-prepend";

/// On a BGPPeer: how many hops away the router may be; packets from further away are dropped (RFC 5082).
pub(super) const TTL_SECURITY: &str = "ferrolb.io/ttl-security-hops";

/// On an L2Advertisement: how the nodes for its addresses are chosen.
pub(super) const PLACEMENT: &str = "ferrolb.io/l2-placement";

/// The value that spreads them evenly; without the annotation there is an election for each.
pub(super) const BALANCED: &str = "balanced";

/// How every annotation of ours begins.
const OURS: &str = "ferrolb.io/";

/// Remarks on annotations that look like ours and are none: somebody has mistyped one, or has it on another kind.
pub(super) fn unknown(kind: Kind, meta: &ObjectMeta, report: &mut Report<'_>) {
    let known: &[&str] = match kind {
        Kind::L2Advertisement => &[PLACEMENT],
        Kind::BGPAdvertisement => &[MED, PREPEND],
        Kind::BGPPeer => &[TTL_SECURITY],
        _ => &[],
    };
    let ours = meta.annotations.iter().flat_map(|all| all.keys()).filter(|name| name.starts_with(OURS));
    for name in ours.filter(|name| !known.contains(&name.as_str())) {
        let what = match known {
            [] => "no annotation of ours is for this kind".to_owned(),
            _ => format!("those of ours for this kind are {}", known.join(" and ")),
        };
        report.remark(field(name), format_args!("has no effect: {what}"));
    }
}

/// Whether an annotation has its only value; a fault when it has another.
pub(super) fn word(meta: &ObjectMeta, name: &str, only: &str, report: &mut Report<'_>) -> bool {
    let Some(text) = meta.annotations.as_ref().and_then(|all| all.get(name)) else { return false };
    let right = text.trim() == only;
    let refusal = || format!("must be {only}, is {text:?}");
    report.value(&field(name), right.then_some(()).ok_or_else(refusal)).is_some()
}

/// The number of an annotation; a fault when it is none, or not within `bounds`.
pub(super) fn number(
    meta: &ObjectMeta,
    name: &str,
    bounds: RangeInclusive<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let text = meta.annotations.as_ref()?.get(name)?.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && bounds.contains(number));
    let (low, high) = bounds.into_inner();
    report.value(&field(name), number.ok_or_else(|| format!("must be {low} to {high}, is {text:?}")))
}

/// The path of an annotation in a problem.
pub(super) fn field(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}
