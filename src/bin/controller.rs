//! The controller: gives Services of type LoadBalancer their addresses.

use ferrolb::run;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run::main::controller()
}
