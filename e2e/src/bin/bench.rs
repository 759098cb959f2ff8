//! `bench`: the measurements of BENCHMARKS.md.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use ferrolb_e2e::bench::{announce, install};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (options, usage) = match words.as_slice() {
        ["install"] => return install::run(&mut say),
        ["announce", rest @ ..] => (rest, "bench announce [--services N] [--samples N]"),
        _ => bail!("usage: bench announce [--services N] [--samples N] | bench install"),
    };
    let mut announce = announce::Options { services: 5000, samples: 100 };
    for pair in options.chunks(2) {
        let [flag, value] = pair else { bail!("usage: {usage}") };
        let number = value.parse().with_context(|| format!("{flag} wants a number"))?;
        match *flag {
            "--services" => announce.services = number,
            "--samples" => announce.samples = number,
            _ => bail!("usage: {usage}"),
        }
    }
    announce::run(announce, &mut say)
}

fn say(line: &str) {
    writeln!(stdout(), "{line}").ok();
}
