//! `lab`: the lab's own program: the warden of a lab, its pods, and what people look at.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use ferrolb_e2e::{
    demo,
    install::{machine, show},
    netns::Net,
    pod,
    process::Spawn,
    wait,
    warden::{Warden, clean},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo"] => demo::run(false),
        ["demo", "--keep"] => demo::run(true),
        ["warden", dir] => clean::watch(&PathBuf::from(dir)),
        ["pod", name, listen @ ..] => {
            let listen: Vec<_> = listen.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
            pod::serve(name, &listen)
        }
        ["cluster"] => show::run(),
        ["machine", dir] => machine::live(&PathBuf::from(dir)),
        ["victim"] => victim(false),
        ["victim", "--kept"] => victim(true),
        ["down", rest @ ..] if rest.len() < 2 => clean::down(rest.first().copied()).map(|ended| {
            for id in ended {
                eprintln!("{id} is down");
            }
        }),
        _ => bail!("usage: lab demo [--keep] | lab cluster | lab down [NAME]"),
    }
}

/// A lab that waits to be killed, as one at work or as one left up: what the clean-up tests end in every way there is.
fn victim(kept: bool) -> Result<()> {
    let warden = Warden::start()?;
    if kept {
        warden.note_kept()?;
    }
    let net = Net::create(&warden, "a")?;
    let parent = net.command("sh").args(["-c", "sleep 1000 & wait"]).start(&warden)?;
    parent.wait_for(wait::START, "the grandchild", || {
        let pids = Spawn::new("ip").args(["netns", "pids", net.name()]).text()?;
        Ok((pids.lines().count() == 2).then_some(()))
    })?;
    eprintln!("up {}", warden.id());
    loop {
        std::thread::park();
    }
}
