//! Whatever is made is its owner's alone, also where the umask keeps nothing from others.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::audit::{AuditLog, Key};
use groundcrew::store::SqliteStore;
use jiff::Timestamp;

/// A umask is the whole process's: it is a process of its own that makes the files.
#[test]
fn what_is_made_is_its_owners_alone_whatever_the_umask_is() {
    let made = Command::new("sh")
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "private::made_without_a_umask"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(
        made.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o777
}

/// Everything below a directory that is not for its owner alone, and how much there is.
fn check(directory: &Path, open: &mut Vec<String>) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        if mode(&path) != wanted {
            open.push(format!("{:o} {}", mode(&path), path.display()));
        }
        found += 1;
        if path.is_dir() {
            found += check(&path, open);
        }
    }
    found
}

#[tokio::test]
#[ignore = "the test above starts it, without a umask"]
async fn made_without_a_umask() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("umask")).unwrap();
    assert_eq!(mode(&at("umask")), 0o777, "there is a umask");
    std::fs::remove_dir(at("umask")).unwrap();
    // As the command makes them.
    for name in ["state/audit", "compiled"] {
        let mut private = std::fs::DirBuilder::new();
        let private = private.recursive(true).mode(0o700);
        private.create(at(name)).unwrap();
    }
    let store = SqliteStore::open(&at("state")).unwrap();
    let golden = include_str!("golden/v1.bundle");
    crate::support::store::import(&store, golden, Timestamp::UNIX_EPOCH).unwrap();
    let files = Dir::open_ambient_dir(at("state/audit"), ambient_authority()).unwrap();
    let log = AuditLog::new(files, Key::generate("groundcrew/test"));
    log.advance(&store).unwrap();
    crate::cache::load(&at("compiled")).await;
    // A store makes its own directory as well.
    let other = SqliteStore::open(&at("other/store")).unwrap();
    let mut open = Vec::new();
    let found = check(directory.path(), &mut open);
    assert_eq!(open, Vec::<String>::new());
    // Among them tiles, the write-ahead logs of both stores, and a compiled plugin.
    assert!(found >= 17, "{found}");
    drop((store, other));
}
