//! Compiled plugins are kept in a private directory, and taken from nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::store::MemoryStore;
use groundcrew::{Capability, CompiledCache, Engine, EngineParts, Limits, PluginSource, RealClock};

use crate::support::{Ledger, guest};

struct One(Vec<u8>);

impl PluginSource for One {
    fn component(&self, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(self.0.clone()))
    }

    fn names(&self) -> Vec<String> {
        vec!["p".to_owned()]
    }
}

fn cache(directory: &Path) -> Result<CompiledCache, String> {
    let directory = Dir::open_ambient_dir(directory, ambient_authority()).unwrap();
    CompiledCache::new(directory).map_err(|e| e.to_string())
}

pub(crate) async fn load(directory: &Path) {
    let engine = Engine::new(EngineParts {
        capabilities: vec![Arc::new(Ledger::default()) as Arc<dyn Capability>],
        plugins: vec![Box::new(One(guest("(call $finish)").build()))],
        store: Arc::new(MemoryStore::default()),
        wall: Arc::new(RealClock::new(
            jiff::Timestamp::now(),
            groundcrew::Scale::REAL,
        )),
        limits: Limits::default(),
        cache: Some(cache(directory).unwrap()),
    });
    engine.unwrap().plugin("p").await.unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn inode(file: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap())
}

#[tokio::test]
async fn what_was_compiled_once_is_taken_from_there() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).await;
    let kept = files(directory.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mode = std::fs::metadata(&kept[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What is compiled anew is renamed into place, which gives another inode.
    let before = inode(&kept[0]);
    load(directory.path()).await;
    assert_eq!(inode(&kept[0]), before, "it was compiled again");
}

#[tokio::test]
async fn a_file_that_is_damaged_or_that_others_can_write_to_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).await;
    let kept = files(directory.path()).remove(0);
    let good = std::fs::read(&kept).unwrap();

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let zeroes = vec![0; good.len()];
    for damaged in [&good[..good.len() / 2], &good[..16], &[], &flipped, &zeroes] {
        std::fs::write(&kept, damaged).unwrap();
        let before = inode(&kept);
        load(directory.path()).await;
        assert_ne!(inode(&kept), before, "a damaged file was used");
        assert_eq!(std::fs::read(&kept).unwrap(), good);
    }

    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o620)).unwrap();
    let before = inode(&kept);
    load(directory.path()).await;
    assert_ne!(
        inode(&kept),
        before,
        "a file that others can write to was used"
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = elsewhere.path().join("foreign");
    std::fs::rename(&kept, &foreign).unwrap();
    std::os::unix::fs::symlink(&foreign, &kept).unwrap();
    load(directory.path()).await;
    let found = std::fs::symlink_metadata(&kept).unwrap();
    assert!(found.is_file(), "a link out of the directory was followed");
}

#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o770)).unwrap();
    assert_eq!(
        cache(directory.path()).unwrap_err(),
        "the directory of compiled plugins can be written to by others (mode 770)"
    );
}
