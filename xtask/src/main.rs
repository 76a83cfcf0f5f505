//! Builds, tests, demonstrates and measures Groundcrew.

mod bench;
mod demo;
mod fuzz;
mod plugins;
mod test;
mod wasm_target;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
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
    /// Build the plugins, then the binary.
    Build {
        /// Optimised, and with the plugins inside.
        #[arg(long)]
        release: bool,
    },
    /// Build everything, then take the tour: rehearsal, run with failures, journal.
    Demo,
    /// Run every test.
    Test,
    /// Measure what is promised, and write `benches/README.md`.
    Bench(bench::Args),
    /// Look for journals, plans, runbooks, answers and plugins that are read wrongly. Wants a C++ compiler.
    Fuzz(fuzz::Args),
    /// Build only the plugins, into `<target>/plugins`.
    Plugins {
        /// Also print what each one imports.
        #[arg(long, short)]
        verbose: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Build { release: false } => build().map(drop),
        Task::Build { release: true } => release(&[]).map(drop),
        Task::Demo => demo::run(&build()?),
        Task::Test => test::run(),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Plugins { verbose } => build_plugins(verbose).map(drop),
    }
}

/// Builds the plugins and the binary; gives the binary's path.
fn build() -> Result<PathBuf> {
    build_plugins(false)?;
    cargo(&["build", "--package", "groundcrew-cli"])?;
    binary()
}

/// Builds the binary as it is released, with the plugins inside, and further packages with it;
/// gives its path.
fn release(packages: &[&str]) -> Result<PathBuf> {
    let built = build_plugins(false)?;
    let plugins = built
        .first()
        .and_then(|plugin| plugin.path.parent())
        .context("there are no plugins")?;
    let mut build = Command::new(cargo_path());
    build
        .args(["build", "--release", "--package", "groundcrew-cli"])
        .env("GROUNDCREW_EMBED_PLUGINS", plugins);
    for package in packages {
        build.args(["--package", package]);
    }
    succeed(&mut build)?;
    let target = plugins.parent().context("no target directory")?;
    let binary = target.join("release").join("groundcrew");
    let carried = std::fs::read(&binary).with_context(|| binary.display().to_string())?;
    for plugin in &built {
        let component = std::fs::read(&plugin.path)?;
        let here = carried
            .windows(component.len())
            .any(|part| part == component);
        ensure!(
            here,
            "{} does not carry `{}`",
            binary.display(),
            plugin.name
        );
    }
    Ok(binary)
}

/// Where a development build puts the binary.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program's own path")?;
    Ok(here.with_file_name("groundcrew"))
}

/// Runs cargo on the workspace; its output is the person's.
fn cargo(arguments: &[&str]) -> Result<()> {
    succeed(Command::new(cargo_path()).args(arguments))
}

fn cargo_path() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} cannot be run"))?;
    ensure!(status.success(), "{command:?} failed");
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
