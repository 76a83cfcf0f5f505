//! The arrows of `ARCHITECTURE.md`: which crate may know which, read from `cargo metadata` and the
//! sources.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on among ours, outside its tests. Every member of the workspace is here
/// or is a plugin.
const ARROWS: [(&str, &[&str]); 15] = [
    ("groundcrew-runbook", &[]),
    ("groundcrew-faults", &[]),
    ("groundcrew-fleet", &["groundcrew-faults"]),
    (
        "groundcrew",
        &[
            "groundcrew-runbook",
            "groundcrew-faults",
            "groundcrew-fleet",
        ],
    ),
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
    // What plugins share.
    ("groundcrew-deploy", &["groundcrew-plugin"]),
    ("errand", &["groundcrew-plugin"]),
    // What looks at all of it.
    ("groundcrew-fuzz", &["groundcrew"]),
    (
        "groundcrew-tests",
        &["groundcrew", "groundcrew-fleet", "groundcrew-simulator"],
    ),
    (
        "groundcrew-benches",
        &["groundcrew", "groundcrew-fleet", "groundcrew-simulator"],
    ),
    ("xtask", &[]),
    // Stands for each plugin: a crate under `plugins/` that is not named above.
    (
        A_PLUGIN,
        &["groundcrew-plugin", "groundcrew-deploy", "errand"],
    ),
];

const A_PLUGIN: &str = "a plugin";

/// What must not be depended on, and by whom.
const NEVER: [(&str, &[&str]); 4] = [
    ("groundcrew-runbook", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew-faults", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew-fleet", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew", &["clap", "axum", "indicatif"]),
];

#[test]
fn arrows_point_one_way() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let plugins = metadata.workspace_root.join("plugins");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let listed = ARROWS.iter().find(|(listed, _)| *listed == name);
        let plugin = || {
            let under = package.manifest_path.starts_with(&plugins);
            ARROWS.iter().find(|(of, _)| under && *of == A_PLUGIN)
        };
        let (_, allowed) = listed
            .or_else(plugin)
            .with_context(|| format!("{name} is no plugin and has no place in `ARROWS`"))?;
        let (_, never) = NEVER
            .iter()
            .find(|(of, _)| *of == name)
            .unwrap_or(&("", &[]));
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let turned = ours.contains(to) && !allowed.contains(&to) || never.contains(&to);
            ensure!(
                !turned || dependency.kind != DependencyKind::Normal,
                "{name} must not depend on {to}"
            );
        }
    }
    for (name, _) in ARROWS {
        ensure!(ours.contains(name) || name == A_PLUGIN, "no crate {name}");
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
