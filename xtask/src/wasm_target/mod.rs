//! Where the `wasm32-unknown-unknown` target comes from.
//!
//! In this order: rustup's target for the active toolchain if it is installed; a toolchain from
//! Debian's packages if an earlier build made one; `rustup target add`; Debian's packages, freshly
//! downloaded. `GROUNDCREW_WASM_TOOLCHAIN=rustup|debian` allows only one of the two sources.

mod debian;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::debian::DebianToolchain;

/// The target that plugins are compiled for: no WASI, so nothing but our own imports.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Without a network `rustup target add` can hang while it is "downloading". With one it takes
/// seconds: the target is 20 MB.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(60);

/// A way to compile for [`TARGET`].
#[derive(Debug, Clone)]
pub(crate) enum WasmTarget {
    /// The active rustup toolchain has it.
    Installed,
    /// Debian's compiler builds its own standard library for it.
    Debian(DebianToolchain),
}

/// Which sources may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Either,
    Rustup,
    Debian,
}

impl WasmTarget {
    /// Finds the target, or fetches it.
    pub(crate) fn obtain() -> Result<Self> {
        let source = Source::from_environment()?;
        let sysroot = sysroot()?;
        let cache = cache_directory()?;
        let mut failures = Vec::new();
        if source != Source::Debian && has_target(&sysroot) {
            return Ok(Self::Installed);
        }
        if source != Source::Rustup
            && let Some(toolchain) = DebianToolchain::cached(&cache)
        {
            return Ok(Self::Debian(toolchain));
        }
        if source != Source::Debian {
            match add_with_rustup(OsStr::new("rustup"), RUSTUP_PATIENCE) {
                Ok(()) if has_target(&sysroot) => return Ok(Self::Installed),
                Ok(()) => failures.push(format!("rustup added {TARGET} to another toolchain")),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        if source != Source::Rustup {
            match DebianToolchain::obtain(&cache) {
                Ok(toolchain) => return Ok(Self::Debian(toolchain)),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!(
            "no way to compile plugins for {TARGET}: {}\n\
             hint: run `rustup target add {TARGET}` where rustup's server can be reached\n\
             hint: or let `apt-get download rustc-web` work (Debian's packages; none is installed)",
            failures.join("; ")
        )
    }

    /// Makes a `cargo build` use this target.
    pub(crate) fn configure(&self, cargo: &mut Command) -> Result<()> {
        cargo.args(["--target", TARGET]);
        match self {
            Self::Installed => {}
            Self::Debian(toolchain) => {
                cargo
                    .args(["-Zbuild-std=std,panic_abort"])
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", toolchain.rustc())
                    .env("LD_LIBRARY_PATH", toolchain.libraries()?)
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?);
            }
        }
        Ok(())
    }

    /// Directories whose names must not reach the output.
    pub(crate) fn private_paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Installed => Vec::new(),
            Self::Debian(toolchain) => vec![toolchain.prefix().to_owned()],
        }
    }
}

impl Source {
    fn from_environment() -> Result<Self> {
        match env::var("GROUNDCREW_WASM_TOOLCHAIN").as_deref() {
            Err(_) | Ok("") => Ok(Self::Either),
            Ok("rustup") => Ok(Self::Rustup),
            Ok("debian") => Ok(Self::Debian),
            Ok(other) => {
                bail!("GROUNDCREW_WASM_TOOLCHAIN is `{other}`; it can be `rustup` or `debian`")
            }
        }
    }
}

/// The directory of the compiler that cargo uses.
fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

fn has_target(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
}

/// The linker of the active toolchain; Debian packages none for wasm.
fn linker() -> Result<PathBuf> {
    let rustlib = sysroot()?.join("lib/rustlib");
    std::fs::read_dir(&rustlib)
        .with_context(|| format!("cannot read {}", rustlib.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/rust-lld")))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "the active toolchain has no rust-lld in {}",
                rustlib.display()
            )
        })
}

/// `rustup target add` within its time.
fn add_with_rustup(rustup: &OsStr, patience: Duration) -> Result<()> {
    eprintln!(
        "rustup target add {TARGET} (at most {} s)",
        patience.as_secs_f64()
    );
    let mut rustup = Command::new(rustup)
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run rustup")?;
    let began = Instant::now();
    loop {
        if let Some(status) = rustup.try_wait()? {
            return if status.success() {
                Ok(())
            } else {
                bail!("rustup target add failed")
            };
        }
        if began.elapsed() > patience {
            rustup.kill()?;
            rustup.wait()?;
            bail!(
                "rustup target add did not finish within {} s",
                patience.as_secs_f64()
            );
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Outside the checkout, so that the toolchain is made once per machine.
fn cache_directory() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("groundcrew/wasm-toolchain"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rustup");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_rustup_that_hangs_is_given_up() {
        let (_directory, rustup) = script("exec sleep 3600");
        let error = add_with_rustup(rustup.as_os_str(), Duration::from_millis(300)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rustup target add did not finish within 0.3 s"
        );
    }

    #[test]
    fn a_rustup_that_fails_or_is_missing_is_said() {
        let (_directory, rustup) = script("exit 1");
        let patience = Duration::from_secs(60);
        let error = add_with_rustup(rustup.as_os_str(), patience).unwrap_err();
        assert_eq!(error.to_string(), "rustup target add failed");
        let error = add_with_rustup(OsStr::new("/nowhere/rustup"), patience).unwrap_err();
        assert_eq!(error.to_string(), "cannot run rustup");
    }
}
