//! Programs of others that a test compares with, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Installs packages, if one of the files that they bring is missing.
///
/// # Errors
/// If they are missing and cannot be installed: says what to do.
pub fn need(files: &[&str], packages: &[&str]) -> Result<()> {
    if files.iter().all(|file| Path::new(file).exists()) {
        return Ok(());
    }
    let install = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.output().context("there is no apt-get")
    };
    let wanted = [&["install", "-y", "--no-install-recommends"], packages].concat();
    let installed = install(&wanted).and_then(|first| {
        if first.status.success() {
            return Ok(first);
        }
        // Its lists may be old, or none.
        install(&["update"])?;
        install(&wanted)
    });
    let by_hand = format!("`apt-get install {}` as root", packages.join(" "));
    match installed {
        Ok(output) => ensure!(
            output.status.success(),
            "this test needs {by_hand}: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(e) => bail!("this test needs {by_hand}: {e}"),
    }
    Ok(())
}
