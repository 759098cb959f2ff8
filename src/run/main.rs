//! How the programs begin and end: settings, log, runtime, exit code.

use crate::io::{
    alone::Claim,
    http::healthy,
    l2::{Sockets, give_up_capabilities},
    memory::keep_little,
    settings::{self, Stop, Surroundings},
    telemetry,
};
use std::{
    io::{self, Write},
    process::ExitCode,
};
use tokio::runtime::{Builder, Runtime};

/// Threads beside the main one, which runs the loop: one, for everything that waits and answers. A node's number of
/// cores must not show in our memory.
const THREADS: usize = 1;

/// The controller, from its arguments to its exit code.
#[must_use]
pub fn controller() -> ExitCode {
    keep_little();
    match settings::Controller::read(&Surroundings::of_process()) {
        Err(why) => stop(why),
        Ok(settings) => {
            telemetry::init(settings.common.log_level);
            end(runtime().and_then(|runtime| runtime.block_on(super::controller::run(settings))))
        }
    }
}

/// The speaker, from its arguments to its exit code. Its sockets are opened first; after that no
/// capability is needed, and unless it is root none is left.
#[must_use]
pub fn speaker() -> ExitCode {
    keep_little();
    match settings::Speaker::read(&Surroundings::of_process()) {
        Err(why) => stop(why),
        Ok(settings) => {
            telemetry::init(settings.common.log_level);
            let _claims = match claim(&settings) {
                Ok(claims) => claims,
                Err(fault) => return end(Err(fault)),
            };
            let sockets = Sockets::open();
            // Root keeps what it was given: without CAP_DAC_OVERRIDE it could not even reach FRR's sockets.
            if !nix::unistd::geteuid().is_root()
                && let Err(fault) = give_up_capabilities()
            {
                tracing::warn!(%fault, "capabilities could not be given up");
            }
            end(runtime().and_then(|runtime| runtime.block_on(super::speaker::run(settings, sockets))))
        }
    }
}

/// What one speaker alone may have: the Services of a class on a node, and an FRR.
fn claim(settings: &settings::Speaker) -> anyhow::Result<Vec<Claim>> {
    let class =
        settings.common.lb_class.as_ref().map(|class| format!(" of class {class}")).unwrap_or_default();
    let services = format!("the Services{class} on node {}", settings.node);
    let frr = settings.frr_vty_dir.as_ref().map(|dir| format!("the FRR of {}", dir.display()));
    [Some(services), frr].into_iter().flatten().map(|what| Claim::lay(&what)).collect()
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?)
}

fn stop(stop: Stop) -> ExitCode {
    let (text, code) = match stop {
        Stop::Print { text, code } => (text, code),
        Stop::HealthCheck(port) => match healthy(port) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(fault) => (format!("unhealthy: {fault:#}"), 1),
        },
    };
    // Nobody is left to tell when this fails.
    drop(match code {
        0 => writeln!(io::stdout(), "{text}"),
        _ => writeln!(io::stderr(), "{text}"),
    });
    ExitCode::from(code)
}

fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!(fault = format!("{fault:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}
