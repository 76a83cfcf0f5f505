//! Builds, tests, demonstrates and measures Groundcrew.

mod demo;
mod plugins;
mod test;
mod wasm_target;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
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
    /// Build everything, then take the tour: rehearsal, run with failures, journal.
    Demo,
    /// Run every test.
    Test,
    /// Build only the plugins, into `<target>/plugins`.
    Plugins {
        /// Also print what each one imports.
        #[arg(long, short)]
        verbose: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Build => build().map(drop),
        Task::Demo => demo::run(&build()?),
        Task::Test => test::run(),
        Task::Plugins { verbose } => build_plugins(verbose).map(drop),
    }
}

/// Builds the plugins and the binary; gives the binary's path.
fn build() -> Result<PathBuf> {
    build_plugins(false)?;
    cargo(&["build", "--package", "groundcrew-cli"])?;
    binary()
}

/// Where a development build puts the binary.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program's own path")?;
    Ok(here.with_file_name("groundcrew"))
}

/// Runs cargo on the workspace; its output is the person's.
fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .status()
        .context("cargo cannot be run")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}

fn build_plugins(verbose: bool) -> Result<Vec<plugins::Built>> {
    let built = plugins::build()?;
    for plugin in &built {
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
    Ok(built)
}
