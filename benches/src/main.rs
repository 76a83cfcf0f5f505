//! Measures what Groundcrew promises: each figure beside a bare baseline that does the same work in
//! the same run, because only their ratio says something about another machine.
//!
//! `cargo xtask bench` runs all of it and writes `benches/README.md`; with `--quick` once and smaller,
//! to see that it works.
//!
//! One file per part: `startup.rs`, `effects.rs`, `restart.rs`, `deploy.rs`, `proof.rs`. The baselines run in processes of
//! their own (`bare.rs`), as does the simulator (`fleet.rs`), so that neither time nor memory of
//! one is counted for another.

#![forbid(unsafe_code)]

mod bare;
mod deploy;
mod effects;
mod fleet;
mod process;
mod proof;
mod report;
mod restart;
mod startup;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::report::Report;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measure.
    Measure(Measure),
    /// Serve a fleet until standard input closes; prints its address.
    Serve(fleet::Serve),
    /// The baseline of start-up: one request.
    BareRequest(bare::Request),
    /// The baseline of a restart: a loop of requests.
    BareRestart(bare::Restart),
}

#[derive(Debug, clap::Args)]
struct Measure {
    /// The `groundcrew` to measure.
    #[arg(long)]
    binary: PathBuf,
    /// A directory on a real file system for what is written.
    #[arg(long)]
    directory: PathBuf,
    /// Everything once and smaller, to see that it works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Write the figures into this file, between its two markers.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only these parts: startup, effects, restart, deploy, proof.
    parts: Vec<String>,
}

fn main() -> Result<()> {
    match Arguments::parse().part {
        Part::Measure(arguments) => runtime()?.block_on(measure(&arguments)),
        Part::Serve(arguments) => runtime()?.block_on(fleet::serve(arguments)),
        Part::BareRequest(arguments) => runtime()?.block_on(bare::request(arguments)),
        Part::BareRestart(arguments) => runtime()?.block_on(bare::restart(arguments)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")
}

async fn measure(arguments: &Measure) -> Result<()> {
    let wanted =
        |part: &str| arguments.parts.is_empty() || arguments.parts.iter().any(|p| p == part);
    std::fs::create_dir_all(&arguments.directory)?;
    let mut report = Report::default();
    let setting = process::Setting {
        binary: arguments.binary.clone(),
        directory: arguments.directory.clone(),
        quick: arguments.quick,
    };
    if wanted("startup") {
        startup::measure(&setting, &mut report).context("startup")?;
    }
    if wanted("effects") {
        effects::measure(&setting, &mut report)
            .await
            .context("effects")?;
    }
    if wanted("restart") {
        restart::measure(&setting, &mut report).context("restart")?;
    }
    if wanted("deploy") {
        deploy::measure(&setting, &mut report)
            .await
            .context("deploy")?;
    }
    if wanted("proof") {
        proof::measure(&setting, &mut report)
            .await
            .context("proof")?;
    }
    let text = report.markdown(&arguments.directory);
    print!("{text}");
    match &arguments.write {
        Some(path) => report::write_between_markers(path, &text),
        None => Ok(()),
    }
}
