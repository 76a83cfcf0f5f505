//! Verifying the whole log: every entry against its leaf, every leaf against the tiles, the tree
//! against the signed checkpoint, and against one from before.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use tlog_tiles::{Hash, HashReader, Tile};

use super::flaw::Flaw;
use super::index::{Index, Journals};
use super::tiles::{self, HEIGHT};
use super::{AuditError, AuditLog, Signed, signed};
use crate::journal::leaf::{Leaf, NOTHING, link};
use crate::store::{Logged, Store};

/// A log in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries that the checkpoint is of.
    pub signed: u64,
    /// Entries in all: those beyond the checkpoint are in no tree yet.
    pub entries: u64,
    /// Runs.
    pub runs: usize,
}

/// Entries read from the store at once.
const PAGE: usize = 10_000;

/// Verifies everything that is in the store and in the log's files, and that the tree goes on from
/// `since`, an earlier checkpoint. Of the store's index of runs, and of its locks, all that a journal
/// says too is compared with it (`index.rs`), and its file has to be made as this version makes it.
///
/// # Errors
/// Everything that is wrong, the first of its kind each.
pub fn verify(
    store: &dyn Store,
    log: &AuditLog,
    since: Option<&str>,
) -> Result<Verified, Vec<Flaw>> {
    let mut flaws = Vec::new();
    match store.altered() {
        Ok(altered) => flaws.extend(altered.into_iter().map(Flaw::Store)),
        Err(e) => flaws.push(Flaw::Unreadable(e.to_string())),
    }
    let tree = match entries(store, &mut flaws) {
        Ok(tree) => tree,
        Err(e) => {
            flaws.push(Flaw::Unreadable(e.to_string()));
            return Err(flaws);
        }
    };
    let last = match log.checkpoint() {
        Ok(Some(last)) => Some(last),
        Ok(None) if tree.leaves.is_empty() => None,
        Ok(None) => {
            flaws.push(Flaw::Checkpoint("there is no checkpoint".to_owned()));
            None
        }
        Err(e) => {
            flaws.push(Flaw::Checkpoint(e.to_string()));
            None
        }
    };
    if let Some(last) = &last {
        tree.compare("the checkpoint", last, &mut flaws);
        files(log, &tree, last.size, &mut flaws);
    }
    if let Some(since) = since {
        match signed(since, log.key(), "the earlier checkpoint") {
            Ok(since) => tree.compare("the earlier checkpoint", &since, &mut flaws),
            Err(e) => flaws.push(Flaw::Checkpoint(e.to_string())),
        }
    }
    if flaws.is_empty() {
        Ok(Verified {
            signed: last.map_or(0, |last| last.size),
            entries: tree.leaves.len() as u64,
            runs: tree.runs,
        })
    } else {
        Err(flaws)
    }
}

/// The tree that the entries give.
#[derive(Default)]
struct Whole {
    /// All stored hashes, in the order of their indexes.
    hashes: Vec<Hash>,
    /// The entries, by leaf: run and number.
    leaves: Vec<(Arc<str>, u64)>,
    texts: Vec<String>,
    runs: usize,
}

impl HashReader for Whole {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let of = |index: &u64| {
            let hash = usize::try_from(*index)
                .ok()
                .and_then(|i| self.hashes.get(i));
            hash.copied().ok_or(tlog_tiles::Error::IndexesNotInTree)
        };
        indexes.iter().map(of).collect()
    }
}

impl Whole {
    fn push(&mut self, leaf: String) -> Result<(), AuditError> {
        let hash = tlog_tiles::record_hash(leaf.as_bytes());
        let size = self.texts.len() as u64;
        let stored = tlog_tiles::stored_hashes_for_record_hash(size, hash, self);
        self.hashes.extend(stored.map_err(super::tree_error)?);
        self.texts.push(leaf);
        Ok(())
    }

    fn compare(&self, what: &str, signed: &Signed, flaws: &mut Vec<Flaw>) {
        if signed.size > self.leaves.len() as u64 {
            let (size, here) = (signed.size, self.leaves.len());
            let why = format!("{what} is of {size} entries; only {here} are here");
            flaws.push(Flaw::Checkpoint(why));
            return;
        }
        match tlog_tiles::tree_hash(signed.size, self) {
            Ok(root) if root.0 == signed.root => {}
            Ok(_) | Err(_) => flaws.push(Flaw::Root {
                what: what.to_owned(),
                size: signed.size,
            }),
        }
    }
}

/// What the store says of all its entries together.
struct Around {
    leaves: u64,
    entries: u64,
    index: Index,
}

impl Around {
    fn read(store: &dyn Store) -> Result<Self, AuditError> {
        Ok(Self {
            index: Index::read(store)?,
            leaves: store.leaf_count()?,
            entries: store.entry_count()?,
        })
    }
}

/// Every entry against its leaf, every run's journal by folding it, and the index against the journals.
/// Entries and journals go side by side, page by page, while the next page is read.
fn entries(store: &dyn Store, flaws: &mut Vec<Flaw>) -> Result<Whole, AuditError> {
    let mut leaves = Leaves::default();
    let mut journals = Journals::default();
    let mut next = 0;
    let mut page = store.logged(next, PAGE)?;
    let around = loop {
        while !page.is_empty() {
            next += page.len() as u64;
            page = std::thread::scope(|scope| {
                let following = scope.spawn(|| store.logged(next, PAGE));
                let folding = scope.spawn(|| journals.fold(&page));
                let fitting = page.iter().try_for_each(|logged| leaves.take(logged));
                joined(folding);
                fitting?;
                // Behind a gap nothing has its place, whatever is there and whether it can be read.
                match leaves.gap {
                    true => Ok::<_, AuditError>(Vec::new()),
                    false => Ok(joined(following)?),
                }
            })?;
        }
        if leaves.gap {
            break None;
        }
        // A run that is alive goes on meanwhile. If nothing was written since the last page, then what
        // is read here is of these very entries.
        let around = Around::read(store);
        page = store.logged(next, PAGE)?;
        if page.is_empty() {
            break Some(around);
        }
    };
    let Leaves {
        mut tree,
        flaws: found,
        links,
        ..
    } = leaves;
    flaws.extend(found);
    let Some(around) = around else {
        return Ok(tree);
    };
    tree.runs = journals.0.len();
    match around {
        Ok(around) => {
            let (count, unlogged) = (around.leaves, around.entries);
            if count != next {
                let why = format!("{count} leaves are counted, and {next} have their entry");
                flaws.push(Flaw::Leaf { leaf: next, why });
            }
            if unlogged != next {
                let why = format!("there are {unlogged} entries, and {next} of them are logged");
                flaws.push(Flaw::Unreadable(why));
            }
            around.index.compare(&journals, &links, flaws);
        }
        Err(e) => flaws.push(Flaw::Unreadable(e.to_string())),
    }
    for (run, state) in journals.0 {
        if let Err(illegal) = state {
            flaws.push(Flaw::Journal { run, illegal });
        }
    }
    Ok(tree)
}

/// What a thread came to.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The entries against their leaves, and the tree of these.
#[derive(Default)]
struct Leaves {
    tree: Whole,
    /// By run, the link to its last leaf.
    links: HashMap<Arc<str>, String>,
    flaws: Vec<Flaw>,
    /// A leaf is missing: what comes after it has no place.
    gap: bool,
}

impl Leaves {
    fn take(&mut self, logged: &Logged) -> Result<(), AuditError> {
        let (index, record) = (self.tree.leaves.len() as u64, &logged.record);
        if self.gap {
            return Ok(());
        }
        if logged.index != index {
            let why = format!("the next one is leaf {}", logged.index);
            self.flaws.push(Flaw::Leaf { leaf: index, why });
            self.gap = true;
            return Ok(());
        }
        let known = self.links.get_key_value(logged.run.as_str());
        let (run, previous) = known.map_or_else(
            || (logged.run.as_str().into(), NOTHING),
            |(run, link)| (run.clone(), link.as_str()),
        );
        let wanted = Leaf::of(&logged.run, record, previous);
        if wanted.text() != logged.leaf {
            self.flaws.push(Flaw::Entry {
                run: logged.run.clone(),
                sequence: record.sequence,
                leaf: index,
                why: difference(&logged.leaf, &wanted).to_owned(),
            });
        }
        self.links.insert(run.clone(), link(&logged.leaf));
        self.tree.leaves.push((run, record.sequence));
        self.tree.push(logged.leaf.clone())
    }
}

/// What an entry's leaf says otherwise than its entry.
fn difference(logged: &str, wanted: &Leaf) -> &'static str {
    match serde_json::from_str::<Leaf>(logged) {
        Err(_) => "its leaf does not read",
        Ok(leaf) if leaf.text() != logged => "its leaf is not in its canonical form",
        Ok(leaf) if leaf.payload != wanted.payload => "its payload is not what was logged",
        Ok(leaf) if leaf.previous != wanted.previous => "it does not follow what is before it",
        Ok(_) => "its place, kind or time is not what was logged",
    }
}

/// The log's files against what the entries give.
fn files(log: &AuditLog, tree: &Whole, size: u64, flaws: &mut Vec<Flaw>) {
    if size > tree.texts.len() as u64 {
        return;
    }
    let mut differs =
        |path: String, wanted: &[u8], entry: Option<(String, u64)>| match log.files.read(&path) {
            Ok(Some(found)) if found == wanted => {}
            Ok(_) => flaws.push(Flaw::File { path, entry }),
            Err(e) => flaws.push(Flaw::Unreadable(e.to_string())),
        };
    for tile in Tile::new_tiles(HEIGHT, 0, size) {
        let Ok(wanted) = tile.read_data(tree) else {
            continue;
        };
        let path = tiles::path(&tile);
        // At the lowest level each hash is an entry's.
        let first = (tile.level() == 0)
            .then(|| log.files.read(&path).ok().flatten())
            .flatten()
            .and_then(|found| {
                let hashes = found.chunks(32).zip(wanted.chunks(32));
                hashes
                    .enumerate()
                    .find(|(_, (a, b))| a != b)
                    .map(|(i, _)| i)
            })
            .and_then(|i| {
                let leaf = (tile.level_index() << HEIGHT) + i as u64;
                let (run, sequence) = tree.leaves.get(usize::try_from(leaf).ok()?)?;
                Some((run.to_string(), *sequence))
            });
        differs(path, &wanted, first);
    }
    for (path, first, width) in tiles::bundles(size) {
        let range =
            usize::try_from(first).unwrap_or(0)..usize::try_from(first + width).unwrap_or(0);
        let leaves = tree.texts.get(range).unwrap_or_default();
        let wanted: Result<Vec<Vec<u8>>, _> =
            leaves.iter().map(|leaf| tiles::framed(leaf)).collect();
        if let Ok(wanted) = wanted {
            differs(path, &wanted.concat(), None);
        }
    }
}
