//! Fuzzing: builds `fuzz/` with coverage in our own crates, and runs its targets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The targets, and where their seeds are: folders, and how their files end.
const TARGETS: [(&str, &[(&str, &str)]); 5] = [
    (
        "journal",
        &[("runner/engine/tests/engine/golden", "bundle")],
    ),
    ("plans", &[("tests/golden", "plan")]),
    (
        "runbooks",
        &[
            ("runbooks", "toml"),
            ("runner/runbook/cases/valid", "toml"),
            ("runner/runbook/cases/invalid", "toml"),
        ],
    ),
    ("answers", &[("fuzz/seeds/answers", "")]),
    ("plugins", &[("fuzz/seeds/plugins", "")]),
];

/// How `cargo xtask fuzz` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long, all targets together.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this one: journal, plans, runbooks, answers or plugins.
    #[arg(long)]
    target: Option<String>,
    /// Inputs to try again (what an earlier run wrote to `<target>/fuzz`) instead.
    inputs: Vec<std::path::PathBuf>,
}

/// Fuzzes what is read from elsewhere.
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
    let program = crate::binary()?.with_file_name("fuzz");
    for input in &args.inputs {
        // As it was named when it was kept.
        let name = input.file_name().context("no name")?.to_string_lossy();
        let target = args.target.as_deref().or(name.split('.').next());
        let target = target.unwrap_or_default();
        crate::succeed(
            Command::new(&program)
                .env("GROUNDCREW_FUZZ", target)
                .arg(input),
        )?;
    }
    if !args.inputs.is_empty() {
        return Ok(());
    }
    let here = program.ancestors().nth(2).context("no target directory")?;
    let here = here.join("fuzz");
    let wanted = |target: &str| args.target.as_deref().is_none_or(|wanted| wanted == target);
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| wanted(name)).collect();
    ensure!(!targets.is_empty(), "there is no such target");
    let share = args.seconds.div_ceil(u32::try_from(targets.len())?);
    for (target, seeds) in targets {
        let corpus = here.join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut seeded = 0;
        for (folder, ending) in *seeds {
            for entry in std::fs::read_dir(root.join(folder))? {
                let path = entry?.path();
                if path.extension().unwrap_or_default() == *ending {
                    let name = path.file_name().context("no name")?;
                    std::fs::copy(&path, corpus.join(name))?;
                    seeded += 1;
                }
            }
        }
        ensure!(seeded > 0, "there are no seeds for {target}");
        let mut fuzz = Command::new(&program);
        fuzz.env("GROUNDCREW_FUZZ", target)
            .arg(format!("-max_total_time={share}"))
            // Some times the length of a golden journal.
            .args(["-max_len=16384", "-timeout=10", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/{target}.", here.display()))
            .arg(corpus);
        crate::succeed(&mut fuzz)?;
    }
    Ok(())
}
