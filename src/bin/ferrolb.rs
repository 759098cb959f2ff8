//! The command line of FerroLB's users.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ferrolb::{api, run};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// FerroLB: addresses for Services of type LoadBalancer, and their announcement.
#[derive(Parser)]
#[command(version = ferrolb::io::settings::version())]
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
    /// Print the frr.conf that a node would run; what is wrong with the objects goes to stderr.
    Render {
        /// The manifest directory.
        #[arg(long)]
        manifests: PathBuf,
        /// The node.
        #[arg(long)]
        node: String,
        /// The namespace of the configuration objects.
        #[arg(long, default_value = "metallb-system")]
        namespace: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds { dir } => crds(dir),
        Command::Render { manifests, node, namespace } => render(&manifests, &namespace, &node),
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

fn render(dir: &Path, namespace: &str, node: &str) -> anyhow::Result<()> {
    let (text, problems) = run::render::render(dir, namespace, node)?;
    for problem in problems.iter() {
        writeln!(std::io::stderr(), "{problem}")?;
    }
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
