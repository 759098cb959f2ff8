//! `bench`: the measurements of BENCHMARKS.md.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use ferrolb_e2e::bench::{announce, arp, edits, install, takeover};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "bench announce [--services N] [--samples N] [--peers N] [--burst N] [--idle SECONDS] | \
                     bench arp [--vips N] [--seconds N] | bench edits [--edits N] [--seed N] | bench install | \
                     bench takeover [--kills N] [--heals N] [--handovers N]";

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["install"] => install::run(&mut say),
        ["announce", rest @ ..] => {
            let mut options = announce::Options::default();
            for (flag, number) in pairs(rest)? {
                match flag {
                    "--services" => options.services = usize::try_from(number)?,
                    "--samples" => options.samples = usize::try_from(number)?,
                    "--peers" => options.peers = u8::try_from(number)?,
                    "--burst" => options.burst = usize::try_from(number)?,
                    "--idle" => options.idle = number,
                    _ => bail!("usage: {USAGE}"),
                }
            }
            announce::run(options, &mut say)
        }
        ["arp", rest @ ..] => {
            let mut options = arp::Options::default();
            for (flag, number) in pairs(rest)? {
                match flag {
                    "--vips" => options.vips = u32::try_from(number)?,
                    "--seconds" => options.seconds = number,
                    _ => bail!("usage: {USAGE}"),
                }
            }
            arp::run(options, &mut say)
        }
        ["edits", rest @ ..] => {
            let mut options = edits::Options::default();
            for (flag, number) in pairs(rest)? {
                match flag {
                    "--edits" => options.edits = usize::try_from(number)?,
                    "--seed" => options.seed = number,
                    _ => bail!("usage: {USAGE}"),
                }
            }
            edits::run(options, &mut say).map(drop)
        }
        ["takeover", rest @ ..] => {
            let mut options = takeover::Options::default();
            for (flag, number) in pairs(rest)? {
                match flag {
                    "--kills" => options.kills = usize::try_from(number)?,
                    "--heals" => options.heals = usize::try_from(number)?,
                    "--handovers" => options.handovers = usize::try_from(number)?,
                    _ => bail!("usage: {USAGE}"),
                }
            }
            takeover::run(options, &mut say)
        }
        _ => bail!("usage: {USAGE}"),
    }
}

/// Flags, each with its number.
fn pairs<'a>(words: &[&'a str]) -> Result<Vec<(&'a str, u64)>> {
    let pair = |pair: &[&'a str]| match pair {
        [flag, value] => {
            let number = value.parse().with_context(|| format!("{flag} wants a number"))?;
            Ok((*flag, number))
        }
        _ => bail!("usage: {USAGE}"),
    };
    words.chunks(2).map(pair).collect()
}

fn say(line: &str) {
    writeln!(stdout(), "{line}").ok();
}
