//! Settings of ours on MetalLB's objects, which have no field for them: annotations `ferrolb.io/…`.

use super::problem::Report;
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
