//! The command line of FerroLB's users.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ferrolb::api;
use std::{fs, io::Write as _, path::PathBuf};

/// FerroLB: addresses for Services of type LoadBalancer, and their announcement.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the definitions of all kinds of objects, as kubectl apply takes them.
    Crds {
        /// Write each into a file of its own in this directory instead.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds { dir } => crds(dir),
    }
}

fn crds(dir: Option<PathBuf>) -> anyhow::Result<()> {
    for (file, crd) in api::crds() {
        let text = api::manifest(&crd).with_context(|| format!("YAML of {file}"))?;
        match &dir {
            Some(dir) => {
                let path = dir.join(file);
                fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            }
            None => std::io::stdout().write_all(text.as_bytes())?,
        }
    }
    Ok(())
}
