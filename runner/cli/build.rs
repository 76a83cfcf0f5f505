//! Embeds the bundled runbooks, and the bundled plugins: every component of the directory that
//! `GROUNDCREW_EMBED_PLUGINS` names, which `cargo xtask build --release` sets. Without it none is
//! embedded; a development build finds them beside the executable.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs, io};

const VARIABLE: &str = "GROUNDCREW_EMBED_PLUGINS";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let runbooks = PathBuf::from("../../runbooks");
    println!("cargo::rerun-if-changed={}", runbooks.display());
    table("runbooks.rs", "include_str", &files(runbooks, "toml")?)?;
    let plugins = match env::var_os(VARIABLE) {
        Some(directory) => files(PathBuf::from(directory), "wasm")?,
        None => Vec::new(),
    };
    table("plugins.rs", "include_bytes", &plugins)
}

/// The files of a directory with this ending, sorted.
fn files(directory: PathBuf, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path().canonicalize()?;
        if path.extension().is_some_and(|end| end == ending) {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a table of names and contents.
fn table(file: &str, include: &str, paths: &[PathBuf]) -> io::Result<()> {
    let mut table = String::from("&[\n");
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let path = path.to_string_lossy();
        // Cannot fail: a string grows.
        let _ = writeln!(table, "({name:?}, {include}!({path:?})),");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join(file), table)
}
