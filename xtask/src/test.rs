//! `cargo xtask test`: every test.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{build_plugins, cargo};

/// The functions of `machines` that change nothing: all that a read-only plugin may import.
const READS: [&str; 10] = [
    "list",
    "take-list",
    "get",
    "take-get",
    "events",
    "take-events",
    "wait",
    "take-wait",
    "wait-healthy",
    "take-wait-healthy",
];

pub(crate) fn run() -> Result<()> {
    for plugin in build_plugins(false)? {
        if plugin.name == "count-machines" {
            reads_only(&plugin.imports)?;
        }
    }
    // All at once, so that everything is built with one set of features.
    cargo(&["build", "--workspace", "--all-targets"])?;
    let nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    if nextest {
        cargo(&["nextest", "run", "--workspace"])?;
        cargo(&["test", "--workspace", "--doc"])
    } else {
        cargo(&["test", "--workspace"])
    }
}

/// The SDK links only what a plugin uses: `count-machines` has no power to write.
fn reads_only(imports: &[String]) -> Result<()> {
    let functions: Vec<&str> = imports
        .iter()
        .filter_map(|i| i.strip_prefix("groundcrew:host/machines@0.1.0#"))
        .collect();
    ensure!(
        functions.contains(&"list"),
        "count-machines does not import `machines.list`: the check of its imports looks in the wrong place"
    );
    for function in functions {
        ensure!(
            READS.contains(&function),
            "count-machines imports `machines.{function}`, which writes"
        );
    }
    eprintln!("count-machines imports nothing that writes");
    Ok(())
}
