//! The controller: gives Services of type LoadBalancer their addresses.

use ferrolb::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main::controller()
}
