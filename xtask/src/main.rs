//! Builds, tests, demonstrates and measures Groundcrew.

mod plugins;
mod wasm_target;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, demonstrates and measures Groundcrew.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the plugins, then everything that embeds them.
    Build,
    /// Build only the plugins, into `<target>/plugins`.
    Plugins {
        /// Also print what each one imports.
        #[arg(long, short)]
        verbose: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Build => build_plugins(false),
        Task::Plugins { verbose } => build_plugins(verbose),
    }
}

fn build_plugins(verbose: bool) -> Result<()> {
    for plugin in plugins::build()? {
        eprintln!(
            "{} {} KiB: {}",
            plugin.name,
            plugin.bytes.div_ceil(1024),
            plugin.path.display()
        );
        if verbose {
            plugin
                .imports
                .iter()
                .for_each(|import| eprintln!("  {import}"));
        }
    }
    Ok(())
}
