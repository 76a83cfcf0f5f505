//! `cargo xtask bench`: the figures of `benches/README.md`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{binary, build_plugins, cargo, release, succeed};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Once, smaller, and with the development build: to see that it works.
    #[arg(long)]
    quick: bool,
    /// Only these parts (startup, effects, restart, deploy, proof); nothing is written.
    parts: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let groundcrew = if args.quick {
        build_plugins(false)?;
        // With the features of every other development build, so that nothing is built twice.
        cargo(&["build", "--workspace", "--all-targets"])?;
        binary()?
    } else {
        release(&["groundcrew-benches"])?
    };
    let built = groundcrew.parent().context("no directory")?;
    let mut measure = Command::new(built.join("groundcrew-bench"));
    measure
        .args(["measure", "--binary"])
        .arg(&groundcrew)
        .arg("--directory")
        .arg(built.join("bench"));
    if args.quick {
        measure.arg("--quick");
    } else if args.parts.is_empty() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        measure
            .arg("--write")
            .arg(here.join("../benches/README.md"));
    }
    succeed(measure.args(&args.parts))
}
