//! BFD profiles.

use super::{
    Config, Input, Problems,
    problem::{Kind, Report},
    settle,
};
use crate::{
    api,
    names::{BfdName, Word},
};
use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

/// A BFDProfile; `None` leaves FRR's default. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// The name as FRR will know it.
    pub name: Word,
    /// `receive-interval`.
    pub receive_interval: Option<u32>,
    /// `transmit-interval`.
    pub transmit_interval: Option<u32>,
    /// `detect-multiplier`.
    pub detect_multiplier: Option<u32>,
    /// `echo receive-interval` and `echo transmit-interval`.
    pub echo_interval: Option<u32>,
    /// `echo-mode`.
    pub echo_mode: bool,
    /// `passive-mode`.
    pub passive_mode: bool,
    /// `minimum-ttl`.
    pub minimum_ttl: Option<u32>,
}

impl BfdProfile {
    /// The longest name that FRR keeps whole, in bytes.
    pub const NAME_MAX: usize = 63;
}

pub(super) fn parse(
    input: &Input,
    last: &Config,
    problems: &mut Problems,
) -> BTreeMap<BfdName, Arc<BfdProfile>> {
    settle::all(settle::read(Kind::BFDProfile, input, &input.bfd_profiles, &last.bfd, problems, read))
}

fn read(name: &str, profile: &api::BFDProfile, report: &mut Report<'_>) -> Option<BfdProfile> {
    let spec = &profile.spec;
    let mut within = |field: &str, value: Option<u32>, bounds: RangeInclusive<u32>| {
        if let Some(value) = value.filter(|v| !bounds.contains(v)) {
            let (low, high) = bounds.into_inner();
            report.fault(format!("spec.{field}"), format_args!("must be {low} to {high}, is {value}"));
        }
        value
    };
    let (receive_interval, transmit_interval, detect_multiplier, echo_interval, minimum_ttl) = (
        within("receiveInterval", spec.receive_interval, 10..=60_000),
        within("transmitInterval", spec.transmit_interval, 10..=60_000),
        within("detectMultiplier", spec.detect_multiplier, 2..=255),
        within("echoInterval", spec.echo_interval, 10..=60_000),
        within("minimumTtl", spec.minimum_ttl, 1..=254),
    );
    let length = name.len();
    if length > BfdProfile::NAME_MAX {
        let limit = BfdProfile::NAME_MAX;
        let what = format_args!("is {length} bytes long, and FRR cuts names of profiles off at {limit}");
        report.fault("metadata.name", what);
    }
    Some(BfdProfile {
        name: report.value("metadata.name", Word::new(name))?,
        receive_interval,
        transmit_interval,
        detect_multiplier,
        echo_interval,
        echo_mode: spec.echo_mode.unwrap_or(false),
        passive_mode: spec.passive_mode.unwrap_or(false),
        minimum_ttl,
    })
}
