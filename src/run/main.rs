//! How the programs begin and end: settings, log, runtime, exit code.

use crate::io::{
    settings::{self, Stop, Surroundings},
    telemetry,
};
use std::{
    io::{self, Write},
    process::ExitCode,
};
use tokio::runtime::{Builder, Runtime};

/// Threads of a runtime: the loop is one task, the rest waits. A node's number of cores must not show in our memory.
const THREADS: usize = 2;

/// The controller, from its arguments to its exit code.
#[must_use]
pub fn controller() -> ExitCode {
    match settings::Controller::read(&Surroundings::of_process()) {
        Err(stop) => print(&stop),
        Ok(settings) => {
            telemetry::init(settings.common.log_level);
            end(runtime().and_then(|runtime| runtime.block_on(super::controller::run(settings))))
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?)
}

fn print(stop: &Stop) -> ExitCode {
    // Nobody is left to tell when this fails.
    drop(match stop.code {
        0 => writeln!(io::stdout(), "{}", stop.text),
        _ => writeln!(io::stderr(), "{}", stop.text),
    });
    ExitCode::from(stop.code)
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
