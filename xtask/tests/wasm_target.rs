//! Without any way to get the wasm target, both remedies are named.

use std::path::Path;
use std::process::Command;

#[test]
fn with_no_remedy_both_are_named() {
    let empty = tempfile::tempdir().unwrap();
    // Only the compiler and cargo can be found: no apt-get, no rustup.
    let programs = empty.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["cargo", "rustc"] {
        let found = std::env::split_paths(&path)
            .map(|directory| directory.join(program))
            .find(|file| file.is_file());
        std::os::unix::fs::symlink(found.unwrap(), programs.join(program)).unwrap();
    }
    let said = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("plugins")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("PATH", &programs)
        .env("XDG_CACHE_HOME", empty.path())
        .env("GROUNDCREW_WASM_TOOLCHAIN", "debian")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success(), "{text}");
    assert!(text.contains("hint: run `rustup target add"), "{text}");
    assert!(text.contains("apt-get download rustc-web"), "{text}");
}
