//! Fuzzing: builds the targets of `fuzz/` with coverage in our own crates, and runs one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the seeds of the journal's target are: the golden journals.
const SEEDS: &str = "runner/engine/tests/engine/golden";

/// How `cargo xtask fuzz` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Inputs to try again (what an earlier run wrote to `<target>/fuzz`) instead.
    inputs: Vec<std::path::PathBuf>,
}

/// Fuzzes what is read from elsewhere: journals.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(crate::cargo_path());
    build
        .args(["build", "--package", "groundcrew-fuzz"])
        .args(["--features", "libfuzzer"])
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            root.join("fuzz/rustc-with-coverage.sh"),
        );
    crate::succeed(&mut build)?;
    let target = crate::binary()?.with_file_name("fuzz-journal");
    let mut fuzz = Command::new(&target);
    if !args.inputs.is_empty() {
        return crate::succeed(fuzz.args(&args.inputs));
    }
    let here = target.ancestors().nth(2).context("no target directory")?;
    let here = here.join("fuzz");
    let corpus = here.join("journal");
    std::fs::create_dir_all(&corpus)?;
    let mut seeds = 0;
    for entry in std::fs::read_dir(root.join(SEEDS))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "bundle") {
            let name = path.file_name().context("no name")?;
            std::fs::copy(&path, corpus.join(name))?;
            seeds += 1;
        }
    }
    ensure!(seeds > 0, "there is no golden journal in {SEEDS}");
    fuzz.arg(format!("-max_total_time={}", args.seconds))
        // Some times the length of a golden journal.
        .args(["-max_len=16384", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", here.display()))
        .arg(corpus);
    crate::succeed(&mut fuzz)
}
