//! The speaker: announces addresses from this node.

use ferrolb::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    run::main::speaker()
}
