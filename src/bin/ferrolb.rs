//! The command line of FerroLB's users.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ferrolb::{
    api,
    io::settings::{self, Prefixes, Source},
    run,
};
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
    /// Ask a node's speaker to leave: its routers are asked to prefer other nodes, later its routes are withdrawn.
    Drain(Drain),
    /// Ask it to come back.
    Undrain(Drain),
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
        /// Its speaker's --always-block: prefixes that no BGP neighbor may tell it, comma separated.
        #[arg(long, value_name = "CIDRS", value_parser = settings::prefixes)]
        always_block: Option<Prefixes>,
    },
}

#[derive(clap::Args)]
struct Drain {
    /// The node.
    #[arg(long)]
    node: String,
    /// The manifest directory that has its Node, instead of a Kubernetes API.
    #[arg(long, conflicts_with = "kubeconfig")]
    manifests: Option<PathBuf>,
    /// How to reach the Kubernetes API [env: KUBECONFIG] [default: the cluster that we run in].
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds { dir } => crds(dir),
        Command::Drain(drain) => drain.ask(true),
        Command::Undrain(drain) => drain.ask(false),
        Command::Render { manifests, node, namespace, always_block } => {
            render(&manifests, &namespace, &node, always_block.unwrap_or_default())
        }
    }
}

impl Drain {
    fn ask(self, drain: bool) -> anyhow::Result<()> {
        let source = match self.manifests {
            Some(dir) => Source::Manifests(dir),
            None => Source::Api(self.kubeconfig),
        };
        run::drain::drain(&source, &self.node.into(), drain)
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

fn render(dir: &Path, namespace: &str, node: &str, block: Prefixes) -> anyhow::Result<()> {
    let (text, problems) = run::render::render(dir, namespace, node, block)?;
    for problem in problems.iter().chain(problems.remarks()) {
        writeln!(std::io::stderr(), "{problem}")?;
    }
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
