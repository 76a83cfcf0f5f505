//! A Rust toolchain for wasm32 out of Debian's packages, for machines that cannot reach rustup's
//! server.
//!
//! Debian builds a newer compiler for its browsers (`rustc-web`). Its packages conflict with an
//! installed rustup, so they are unpacked into a cache, never installed; that needs no root
//! either. Compiler and library sources have to be of one version, hence one prefix per version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Packages whose names are fixed. Two more carry a version in theirs.
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];

/// A toolchain unpacked from Debian's packages.
#[derive(Debug, Clone)]
pub(crate) struct DebianToolchain {
    prefix: PathBuf,
}

impl DebianToolchain {
    /// The newest toolchain that `cache` holds complete.
    pub(crate) fn cached(cache: &Path) -> Option<Self> {
        let mut prefixes: Vec<PathBuf> = fs::read_dir(cache)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        prefixes.sort();
        prefixes
            .into_iter()
            .rev()
            .map(|prefix| Self { prefix })
            .find(|it| it.rustc().is_file())
    }

    /// Downloads and unpacks the packages, unless `cache` has this version already.
    pub(crate) fn obtain(cache: &Path) -> Result<Self> {
        let version = candidate()?;
        let prefix = cache.join(&version);
        if prefix.is_dir() {
            return Ok(Self { prefix });
        }
        let names = packages()?;
        eprintln!(
            "downloading {} from Debian (once, about 140 MB)",
            names.join(", ")
        );
        // Beside the final place, so that the rename is atomic; two at once do not meet.
        let work = cache.join(format!(".partial-{}", std::process::id()));
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let unpacked = unpack(&work, &names).and_then(|root| {
            Ok(fs::rename(&root, &prefix).or_else(|error| {
                // Somebody else finished first.
                if prefix.is_dir() { Ok(()) } else { Err(error) }
            })?)
        });
        fs::remove_dir_all(&work).ok();
        unpacked?;
        Ok(Self { prefix })
    }

    /// The compiler.
    pub(crate) fn rustc(&self) -> PathBuf {
        self.prefix.join("usr/bin/rustc")
    }

    /// The prefix that everything was unpacked into.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Where the compiler's shared libraries are.
    pub(crate) fn libraries(&self) -> Result<PathBuf> {
        let lib = self.prefix.join("usr/lib");
        fs::read_dir(&lib)
            .with_context(|| format!("cannot read {}", lib.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().contains("-linux-gnu"))
            })
            .with_context(|| format!("no library directory in {}", lib.display()))
    }
}

/// The version that apt would download, after a refresh of its lists if it knows none.
fn candidate() -> Result<String> {
    if let Some(version) = known_candidate()? {
        return Ok(version);
    }
    eprintln!("apt does not know rustc-web: running apt-get update");
    // Needs root; without it the next look says so well enough.
    Command::new("apt-get")
        .args(["update", "-qq"])
        .status()
        .ok();
    known_candidate()?.context("apt has no package rustc-web")
}

fn known_candidate() -> Result<Option<String>> {
    let policy = output(Command::new("apt-cache").args(["policy", "rustc-web"]))?;
    Ok(policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned))
}

/// The names of all five packages.
fn packages() -> Result<Vec<String>> {
    let standard_library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&standard_library, "libllvm")?;
    Ok(PACKAGES
        .iter()
        .map(|name| (*name).to_owned())
        .chain([standard_library, llvm])
        .collect())
}

/// The dependency of `package` whose name starts with `prefix`.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let text = output(Command::new("apt-cache").args(["depends", package]))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{package} depends on no {prefix}*"))
}

/// Downloads and unpacks below `work`; returns the directory that is complete.
fn unpack(work: &Path, names: &[String]) -> Result<PathBuf> {
    let status = Command::new("apt-get")
        .args(["download", "-qq", "-o", "APT::Sandbox::User=root"])
        .args(names)
        .current_dir(work)
        .status();
    ensure!(
        status.context("cannot run apt-get")?.success(),
        "apt-get download failed"
    );
    let root = work.join("root");
    let mut found = 0;
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg")
                .arg("-x")
                .arg(&path)
                .arg(&root)
                .status();
            ensure!(
                status.context("cannot run dpkg")?.success(),
                "cannot unpack {}",
                path.display()
            );
            found += 1;
        }
    }
    ensure!(
        found == names.len(),
        "apt-get downloaded {found} of {} packages",
        names.len()
    );
    ensure!(
        root.join("usr/bin/rustc").exists(),
        "the packages hold no rustc"
    );
    Ok(root)
}

/// Standard output of a command that has to succeed.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
