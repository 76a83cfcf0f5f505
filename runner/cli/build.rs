//! Embeds the bundled plugins: every component of the directory that `GROUNDCREW_EMBED_PLUGINS`
//! names, which `cargo xtask build --release` sets. Without it none is embedded; a development
//! build finds them beside the executable.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs, io};

const VARIABLE: &str = "GROUNDCREW_EMBED_PLUGINS";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut components = Vec::new();
    if let Some(directory) = env::var_os(VARIABLE) {
        for entry in fs::read_dir(PathBuf::from(directory))? {
            let path = entry?.path().canonicalize()?;
            if path.extension().is_some_and(|end| end == "wasm") {
                println!("cargo::rerun-if-changed={}", path.display());
                components.push(path);
            }
        }
    }
    components.sort();
    let mut table = String::from("&[\n");
    for path in components {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let path = path.to_string_lossy();
        // Both cannot fail: a string grows.
        let _ = writeln!(table, "({name:?}, include_bytes!({path:?})),");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("plugins.rs"), table)
}
