//! What only one operating system has is asked for at a door, which has a side for each of them.
//! `docs/platforms.md` says what was tried on which.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use groundcrew_tests::sources::{files_below, root};

/// What makes a source depend on one system: what is compiled on one of them only, what one of them
/// only has, and what means something else on each.
const TELLING: [&str; 47] = [
    // Compiled on one of them.
    "target_os",
    "target_vendor",
    "target_family",
    "target_env",
    "cfg(unix",
    "cfg(windows",
    "(unix)",
    "(windows)",
    "std::os::linux",
    "std::os::android",
    "std::os::macos",
    "std::os::darwin",
    "libc::",
    " nix::",
    // Files that the system makes.
    "/proc",
    "/sys/",
    "/dev/",
    "/run/",
    "/Library",
    // Clocks: which of them count suspended time differs.
    "ClockId",
    "Boottime",
    "CLOCK_",
    // On the disk, or in its cache: `File::sync_all` is right on both.
    "fsync",
    "sync_data",
    "sync_file_range",
    // A number means something in its own namespace only.
    "process::id",
    "test_kill_process",
    "namespace()",
    // A host's name changes with the network on one of them.
    "uname",
    "hostname",
    // How many files may be open.
    "Resource::",
    "rlimit",
    // Programs: not each system has them, nor the same one of a name.
    "Command::new",
    // Linux alone has these.
    "prctl",
    "inotify",
    "fanotify",
    "epoll",
    "eventfd",
    "signalfd",
    "timerfd",
    "memfd",
    "pidfd",
    "io_uring",
    "sendfile",
    "TMPFILE",
    "renameat2",
    "cgroup",
];

/// The doors: file, what is said there, and why it is right on each system. In tests too: who works on
/// macOS has to be able to run them.
const DOORS: &[(&str, &[&str], &str)] = &[
    (
        "runner/engine/src/system/mod.rs",
        &[
            "target_os",
            "process::id",
            "test_kill_process",
            "namespace()",
            "uname",
            "Resource::",
            "rlimit",
            "Command::new",
        ],
        "the door; what is not asked for at a side, both have; the program is a test's",
    ),
    (
        "runner/engine/src/system/linux.rs",
        &[
            "/proc",
            "/sys/",
            "ClockId",
            "Boottime",
            "process::id",
            "namespace()",
        ],
        "Linux's side",
    ),
    (
        "runner/engine/src/system/macos.rs",
        &["ClockId", "Command::new", "namespace()"],
        "macOS's side",
    ),
    (
        "runner/engine/src/store/sqlite/file.rs",
        &["fsync"],
        "SQLite is told to do what `File::sync_all` does; it does nothing more on Linux",
    ),
    (
        "runner/engine/tests/engine/store.rs",
        &["target_os", "/proc", "process::id"],
        "a test that reads the kernel's locks, on Linux only",
    ),
    (
        "runner/engine/tests/engine/private.rs",
        &["Command::new"],
        "a test; both have `sh`, and it starts this very program",
    ),
    (
        "runner/simulator/tests/simulator/flyctl.rs",
        &["Command::new", "process::id"],
        "a test of `flyctl`, where there is one; a directory of its own",
    ),
    (
        "runner/cli/src/audit.rs",
        &["Command::new"],
        "the program that the operator names",
    ),
    (
        "runner/cli/src/credentials.rs",
        &["Command::new"],
        "the program that the operator names",
    ),
    (
        "runner/cli/src/files.rs",
        &["/dev/"],
        "a test; both have `/dev/fd`",
    ),
];

#[test]
fn what_one_system_has_is_asked_for_at_a_door() -> Result<()> {
    let mut wrong = Vec::new();
    let mut opened = BTreeSet::new();
    for path in files_below("runner", "rs")? {
        let text = std::fs::read_to_string(&path)?;
        let file = path.strip_prefix(root())?.display().to_string();
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for word in TELLING.iter().filter(|word| line.contains(**word)) {
                let door = DOORS
                    .iter()
                    .find(|(at, words, _)| *at == file && words.contains(word));
                match door {
                    Some((at, _, _)) => drop(opened.insert((*at, *word))),
                    None => wrong.push(format!("{file}: `{word}` in {}", line.trim())),
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "only at a door, with a side for each system (`runner/engine/src/system/`):\n{}",
        wrong.join("\n")
    );
    for (file, words, why) in DOORS {
        for word in *words {
            let is = opened.contains(&(*file, *word));
            ensure!(is, "{file} has no `{word}` any more, though it is {why}");
        }
    }
    Ok(())
}

/// What is called of the system directly: rustix has it on Linux and on macOS, and it means the same.
/// What differs is at a door, above.
const ON_BOTH: [&str; 17] = [
    "fs::Access",
    "fs::FlockOperation",
    "fs::Mode",
    "fs::OFlags",
    "fs::access",
    "fs::flock",
    "fs::open",
    "io::Errno",
    "process::Pid",
    "process::Resource",
    "process::geteuid",
    "process::getrlimit",
    "process::getuid",
    "process::setrlimit",
    "process::test_kill_process",
    "system::uname",
    "time::",
];

#[test]
fn every_call_of_the_system_is_known_to_be_on_both() -> Result<()> {
    let mut called = BTreeSet::new();
    for path in files_below("runner", "rs")? {
        let text = std::fs::read_to_string(&path)?;
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| [line.trim(), " "])
            .collect();
        for (at, _) in code.match_indices("rustix::") {
            let rest = &code[at + "rustix::".len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
            let (of, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let group = behind.strip_prefix('{').and_then(|g| g.split_once('}'));
            let names: Vec<String> = match group {
                None => vec![of.to_owned()],
                Some((names, _)) => names
                    .split(',')
                    .filter_map(|name| name.split_whitespace().next())
                    .map(|name| format!("{of}{name}"))
                    .collect(),
            };
            for name in names {
                // An enum's value is the enum's.
                let name: Vec<&str> = name.splitn(3, "::").take(2).collect();
                called.insert(name.join("::"));
            }
        }
    }
    let known = |name: &String| {
        ON_BOTH
            .iter()
            .any(|on| name == on || on.ends_with("::") && name.starts_with(on))
    };
    let unknown: Vec<&String> = called.iter().filter(|name| !known(name)).collect();
    ensure!(unknown.is_empty(), "on macOS too? {unknown:?}");
    let unused: Vec<&&str> = ON_BOTH
        .iter()
        .filter(|on| !called.iter().any(|c| c.starts_with(**on)))
        .collect();
    ensure!(unused.is_empty(), "nobody calls {unused:?} any more");
    Ok(())
}
