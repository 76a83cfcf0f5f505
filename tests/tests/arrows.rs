//! The arrows of `ARCHITECTURE.md`: which crate may know which, read from `cargo metadata` and the
//! sources.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on among ours, outside its tests.
const ARROWS: [(&str, &[&str]); 9] = [
    ("groundcrew-runbook", &[]),
    ("groundcrew-fleet", &[]),
    ("groundcrew", &["groundcrew-runbook", "groundcrew-fleet"]),
    ("groundcrew-simulator", &["groundcrew-fleet"]),
    (
        "groundcrew-cli",
        &[
            "groundcrew",
            "groundcrew-runbook",
            "groundcrew-fleet",
            "groundcrew-simulator",
        ],
    ),
    ("groundcrew-plugin", &["groundcrew-plugin-macros"]),
    ("groundcrew-plugin-macros", &[]),
    ("restart-by-group", &["groundcrew-plugin"]),
    ("count-machines", &["groundcrew-plugin"]),
];

/// What must not be depended on, and by whom.
const NEVER: [(&str, &[&str]); 3] = [
    ("groundcrew-runbook", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew-fleet", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew", &["clap", "axum", "indicatif"]),
];

#[test]
fn arrows_point_one_way() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let ours: Vec<String> = metadata
        .packages
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    for (name, allowed) in ARROWS {
        let package = metadata
            .packages
            .iter()
            .find(|p| *p.name == name)
            .with_context(|| format!("no crate {name}"))?;
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal)
        {
            let turned =
                ours.contains(&dependency.name) && !allowed.contains(&dependency.name.as_str());
            ensure!(!turned, "{name} must not depend on {}", dependency.name);
            let never = NEVER
                .iter()
                .any(|(n, list)| *n == name && list.contains(&dependency.name.as_str()));
            ensure!(!never, "{name} must not depend on {}", dependency.name);
        }
    }
    Ok(())
}

#[test]
fn the_engine_never_prints_reads_the_environment_or_exits() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no root")?;
    let mut read = 0;
    for crate_dir in [
        "runner/engine/src",
        "runner/fleet/src",
        "runner/runbook/src",
    ] {
        let mut directories = vec![root.join(crate_dir)];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path)?;
                read += 1;
                for word in [
                    "println!",
                    "eprint",
                    "env::var",
                    "process::exit",
                    "SystemTime::now",
                    "Timestamp::now",
                ] {
                    let line = text
                        .lines()
                        .find(|l| l.contains(word) && !l.trim_start().starts_with("//"));
                    ensure!(
                        line.is_none(),
                        "{}: {}",
                        path.display(),
                        line.unwrap_or_default()
                    );
                }
            }
        }
    }
    ensure!(read > 40, "only {read} files were read");
    Ok(())
}
