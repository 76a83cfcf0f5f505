//! The rules of `ARCHITECTURE.md`: which crate may know which, and within a crate which file; and how
//! long a file may be. Read from `cargo metadata` and the sources.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};
use groundcrew_tests::sources::{Source, Sources, files_below, root};

/// What each crate may depend on among ours, outside its tests. Every member of the workspace is here
/// or is a plugin.
const ARROWS: &[(&str, &[&str])] = &[
    ("groundcrew-runbook", &[]),
    ("groundcrew-faults", &[]),
    ("groundcrew-fleet", &["groundcrew-faults"]),
    ("groundcrew", &["groundcrew-runbook", "groundcrew-faults"]),
    (
        "groundcrew-capabilities",
        &["groundcrew", "groundcrew-fleet"],
    ),
    ("groundcrew-simulator", &["groundcrew-fleet"]),
    (
        "groundcrew-cli",
        &[
            "groundcrew",
            "groundcrew-capabilities",
            "groundcrew-fleet",
            "groundcrew-simulator",
        ],
    ),
    ("groundcrew-plugin", &["groundcrew-plugin-macros"]),
    ("groundcrew-plugin-macros", &[]),
    // What plugins share.
    ("groundcrew-deploy", &["groundcrew-plugin"]),
    ("errand", &["groundcrew-plugin"]),
    ("groundcrew-sweep", &["groundcrew-plugin"]),
    // What looks at all of it.
    (
        "groundcrew-fuzz",
        &["groundcrew", "groundcrew-capabilities"],
    ),
    (
        "groundcrew-tests",
        &[
            "groundcrew",
            "groundcrew-capabilities",
            "groundcrew-fleet",
            "groundcrew-simulator",
        ],
    ),
    (
        "groundcrew-benches",
        &["groundcrew", "groundcrew-fleet", "groundcrew-simulator"],
    ),
    ("xtask", &[]),
    // Stands for each plugin: a crate under `plugins/` that is not named above.
    (
        A_PLUGIN,
        &[
            "groundcrew-plugin",
            "groundcrew-deploy",
            "errand",
            "groundcrew-sweep",
        ],
    ),
];

const A_PLUGIN: &str = "a plugin";

/// What must not be depended on, and by whom.
const NEVER: &[(&str, &[&str])] = &[
    ("groundcrew-runbook", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew-faults", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew-fleet", &["tokio", "wasmtime", "reqwest"]),
    ("groundcrew", &["clap", "axum", "indicatif", "governor"]),
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
        ensure!(ours.contains(name) || *name == A_PLUGIN, "no crate {name}");
    }
    Ok(())
}

/// The rooms of the engine, from the ground to the roof: each names only those before it.
const ROOMS: [&str; 25] = [
    "system",
    "scale",
    "clock",
    "contract",
    "digest",
    "json",
    "key",
    "limits",
    "sealed",
    "target",
    "deadline",
    "effect",
    "grant",
    "journal",
    "service",
    "plan",
    "store",
    "audit",
    "gate",
    "capability",
    "sandbox",
    "engine",
    "admit",
    "rehearse",
    "run",
];

#[test]
fn each_room_of_the_engine_stands_on_those_below_it() -> Result<()> {
    let mut wrong = Vec::new();
    for source in Sources::of("runner/engine")?.iter() {
        let Some(room) = source.module.first() else {
            continue;
        };
        let floor = |room: &str| ROOMS.iter().position(|known| *known == room);
        let own = floor(room).with_context(|| format!("`{room}` has no place in `ROOMS`"))?;
        for named in source.names() {
            let up = named
                .first()
                .and_then(|to| floor(to))
                .is_some_and(|to| to > own);
            if up {
                wrong.push(format!("{} names {}", source.file, named.join("::")));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} arrows run up:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn no_two_files_and_no_two_rooms_need_each_other() -> Result<()> {
    for of in [
        "runner/engine",
        "runner/capabilities",
        "runner/runbook",
        "runner/fleet",
        "runner/simulator",
        "runner/cli",
        "plugins/sdk",
        "plugins/deploy",
    ] {
        let sources = Sources::of(of)?;
        let arrows: usize = sources
            .rooms()
            .iter()
            .flat_map(|room| room.values())
            .map(BTreeSet::len)
            .sum();
        ensure!(arrows > 10, "{of}: only {arrows} arrows between its files");
        let circles = sources.circles();
        ensure!(circles.is_empty(), "{of}: on circles: {circles:?}");
    }
    Ok(())
}

/// What the engine must not know: the names of a vendor and of what only that one has.
const VENDORS: [&str; 4] = ["fly", "machine", "\"apps.", "\"releases."];

#[test]
fn the_engine_knows_no_vendor() -> Result<()> {
    for path in files_below("runner/engine/src", "rs")? {
        let text = std::fs::read_to_string(&path)?;
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            let code = line.split(" // ").next().unwrap_or_default().to_lowercase();
            let known = VENDORS.iter().find(|word| code.contains(**word));
            ensure!(known.is_none(), "{}: {line}", path.display());
        }
    }
    Ok(())
}

/// Where the bytes of a secret may be read. (`capabilities` will have readers of its own: Redis,
/// GitHub, stores of secrets.)
const READERS: [&str; 1] = ["runner/engine/src/target/credential.rs"];

#[test]
fn the_bytes_of_a_secret_are_read_in_one_place() -> Result<()> {
    let mut read = 0;
    for path in files_below("runner", "rs")? {
        let reads = std::fs::read_to_string(&path)?.contains("expose(");
        let may = READERS.iter().any(|reader| path.ends_with(reader));
        ensure!(may || !reads, "{} reads a secret", path.display());
        read += usize::from(reads);
    }
    ensure!(read == READERS.len(), "{read} files read secrets");
    Ok(())
}

/// Where entries are put into a journal: one after the other, and a whole run.
const APPENDING: [&str; 2] = [
    "runner/engine/src/store/bundle.rs",
    "runner/engine/src/store/writer.rs",
];

#[test]
fn only_the_writer_and_bundles_append_to_journals() -> Result<()> {
    let mut appending = 0;
    for path in files_below("runner", "rs")? {
        // The stores themselves take one for the other.
        let store = ["memory.rs", "sqlite/mod.rs"].map(|file| format!("engine/src/store/{file}"));
        if store.iter().any(|store| path.ends_with(store)) {
            continue;
        }
        let source = path.iter().any(|part| part == "src");
        let text = std::fs::read_to_string(&path)?;
        let appends = source && (text.contains("&Append {") || text.contains("store.take_in("));
        let may = APPENDING.iter().any(|known| path.ends_with(known));
        ensure!(may || !appends, "{} appends", path.display());
        appending += usize::from(appends);
    }
    ensure!(appending == APPENDING.len(), "{appending} files append");
    Ok(())
}

#[test]
fn a_capability_names_another_only_by_its_face() -> Result<()> {
    let sources = Sources::of("runner/capabilities")?;
    let is_one = |source: &&Source| source.code.contains("impl Capability for ");
    let rooms: Vec<&[String]> = sources
        .iter()
        .filter(is_one)
        .map(|s| &s.module[..])
        .collect();
    ensure!(
        rooms.len() >= 5,
        "only {} capabilities are found",
        rooms.len()
    );
    for source in sources.iter() {
        for named in source.names() {
            let other = rooms.iter().find(|room| {
                named.starts_with(room)
                    && !source.module.starts_with(room)
                    && named.len() > room.len() + 1
            });
            ensure!(
                other.is_none(),
                "{} looks inside another capability: {}",
                source.file,
                named.join("::")
            );
        }
    }
    Ok(())
}

#[test]
fn the_engine_never_prints_reads_the_environment_or_exits() -> Result<()> {
    let mut read = 0;
    for of in ["engine", "fleet", "runbook", "faults"] {
        for path in files_below(&format!("runner/{of}/src"), "rs")? {
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
    ensure!(read > 40, "only {read} files were read");
    Ok(())
}

/// The one file of the command that prints, and only what `shown.rs` has made.
const PRINTS: &str = "runner/cli/src/terminal.rs";

#[test]
fn the_command_prints_in_one_place() -> Result<()> {
    let printing = |path: &std::path::Path| -> Result<Vec<String>> {
        let text = std::fs::read_to_string(path)?;
        let lines = text.lines().filter(|line| {
            [
                "/dev/tty",
                "/dev/std",
                "print!",
                "println!",
                "dbg!",
                "stdout()",
                "io::stderr",
                " stderr()",
                "(stderr()",
                "indicatif",
            ]
            .iter()
            .any(|word| line.contains(word) && !line.trim_start().starts_with("//"))
        });
        Ok(lines.map(str::to_owned).collect())
    };
    for path in files_below("runner/cli/src", "rs")? {
        let lines = printing(&path)?;
        ensure!(
            path.ends_with(PRINTS) != lines.is_empty(),
            "{}: {lines:?}",
            path.display()
        );
    }
    // What is not escaped: a file whose bytes count, and what the program itself is made of.
    for (way, only) in [
        ("terminal::file(", "commands/runs.rs"),
        ("terminal::ours(", "commands/completions.rs or main.rs"),
    ] {
        for path in files_below("runner/cli/src", "rs")? {
            let goes = std::fs::read_to_string(&path)?.contains(way);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            ensure!(!goes || only.contains(&*name), "{}: {way}", path.display());
        }
    }
    Ok(())
}

#[test]
fn the_command_writes_files_in_one_place() -> Result<()> {
    let mut writing = 0;
    for path in files_below("runner/cli/src", "rs")? {
        let text = std::fs::read_to_string(&path)?;
        // What stands before its tests.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let writes = [
            "fs::write(",
            "File::create",
            "File::options",
            "OpenOptions",
            "fs::copy(",
            "DirBuilder",
            "create_dir",
            "tempfile::",
        ]
        .iter()
        .any(|word| text.contains(word));
        ensure!(
            !writes || path.ends_with("runner/cli/src/files.rs"),
            "{} writes",
            path.display()
        );
        writing += usize::from(writes);
    }
    ensure!(writing == 1, "{writing} files write");
    Ok(())
}

#[test]
fn a_room_is_a_folder_or_a_file() -> Result<()> {
    for folder in ["runner", "plugins", "xtask", "benches", "tests"] {
        for path in files_below(folder, "rs")? {
            let source = path.iter().any(|part| part == "src");
            ensure!(
                !source || !path.with_extension("").is_dir(),
                "{} has a folder beside it: it is that folder's `mod.rs`",
                path.display()
            );
        }
    }
    Ok(())
}

/// How many lines a file may have, and one of tests.
const LINES: usize = 500;
const LINES_OF_TESTS: usize = 800;

/// What is longer, and why.
const LONGER: [(&str, &str); 1] = [(
    "runner/engine/src/gate/mod.rs",
    "the one door, which is reviewed in one piece",
)];

#[test]
fn no_file_is_too_long() -> Result<()> {
    let mut longer = Vec::new();
    for folder in ["runner", "plugins", "xtask", "benches", "tests", "fuzz"] {
        for path in files_below(folder, "rs")? {
            let path = path.strip_prefix(root())?;
            let tests = |part: &std::ffi::OsStr| {
                ["tests", "tests.rs", "testing.rs"]
                    .iter()
                    .any(|t| part == *t)
            };
            let most = match path.iter().any(tests) {
                true => LINES_OF_TESTS,
                false => LINES,
            };
            let lines = std::fs::read_to_string(root().join(path))?.lines().count();
            if lines > most {
                longer.push(format!("{} ({lines} lines)", path.display()));
            }
        }
    }
    for (path, why) in LONGER {
        let known = longer.iter().position(|long| long.starts_with(path));
        let known = known.with_context(|| format!("{path} is no longer longer, though {why}"))?;
        longer.remove(known);
    }
    ensure!(longer.is_empty(), "too long: {}", longer.join(", "));
    Ok(())
}
