//! The audit log: one Merkle tree over the entries of all runs.
//!
//! An RFC 6962 tree (SHA-256) in the layout of C2SP's tlog-tiles, with signed tlog-checkpoints
//! (<https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint>). The store's transaction that
//! writes an entry writes its leaf; everything here is derived from the leaves when a run ends, and
//! can be derived again.
//!
//! What it proves: that no entry was changed, removed from the middle, put in another order or cut
//! off behind the last checkpoint, by anybody without the key; and by anybody at all as far as a
//! checkpoint reaches that somebody else has kept.
//!
//! What it cannot prove: that something happened which was never logged. Whoever holds the key can
//! write another history behind the last checkpoint that anybody else has seen. Entries behind the
//! last checkpoint (of a run that was killed, until the next one ends) are chained but not signed
//! for. That an entry is true is the word of the program that wrote it.

mod flaw;
mod index;
mod publish;
mod receipt;
mod tiles;
mod verify;

use cap_std::fs::Dir;
use thiserror::Error;
use tlog_tiles::{Checkpoint, Hash, HashReader, Tile, TileHashReader};

use crate::key::{self, KeyError};
use crate::store::{Store, StoreError};
use tiles::Files;

pub use crate::journal::leaf::{Leaf, NOTHING, link};
pub use crate::key::Key;
pub use flaw::Flaw;
pub use publish::publish;
pub use receipt::{Checked, Receipt, check, prove};
pub use tiles::HEIGHT;
pub use verify::{Verified, verify};

/// Why the audit log cannot be used.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Its files.
    #[error("the audit log: {0}")]
    Files(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signed text.
    #[error("{what} is not signed by the key `{key}`: {why}")]
    Signature {
        /// What.
        what: String,
        /// The key's name.
        key: String,
        /// Why.
        why: String,
    },
    /// The store has fewer entries than were signed for: an old copy of it has been put back.
    #[error(
        "the store has {leaves} entries, and its last checkpoint is of {signed}: an older copy of the store has been put in its place"
    )]
    Restored {
        /// In the store.
        leaves: u64,
        /// In the checkpoint.
        signed: u64,
    },
    /// The tree.
    #[error("the tree does not fit: {0}")]
    Tree(String),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something else is wrong with what was handed over.
    #[error("{0}")]
    Malformed(String),
}

/// A tree that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// How many leaves.
    pub size: u64,
    /// The root.
    pub root: [u8; 32],
    /// The signed note, as it is published.
    pub note: String,
}

/// The log in a directory of its own.
pub struct AuditLog {
    files: Files,
    key: Key,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

impl AuditLog {
    /// The log whose tiles and checkpoint are in `directory`.
    pub fn new(directory: Dir, key: Key) -> Self {
        Self {
            files: Files::new(directory),
            key,
        }
    }

    /// The key that signs it.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The last checkpoint; none before the first.
    ///
    /// # Errors
    /// If it cannot be read, or is not signed by the key.
    pub fn checkpoint(&self) -> Result<Option<Signed>, AuditError> {
        self.files
            .checkpoint()?
            .map(|note| signed(&note, &self.key, "the checkpoint"))
            .transpose()
    }

    /// Refuses a store that has less than was signed for.
    ///
    /// # Errors
    /// `Restored`.
    pub fn guard(&self, store: &dyn Store) -> Result<(), AuditError> {
        let signed = self.checkpoint()?.map_or(0, |signed| signed.size);
        let leaves = store.leaf_count()?;
        if leaves < signed {
            return Err(AuditError::Restored { leaves, signed });
        }
        Ok(())
    }

    /// Takes every entry of the store into the tree: writes the tiles, then signs a checkpoint and
    /// puts it into place. One process at a time; a crash on the way is caught up with by the next.
    ///
    /// # Errors
    /// If the files or the store fail, or the store is an older one.
    pub fn advance(&self, store: &dyn Store) -> Result<Signed, AuditError> {
        let _alone = self.files.lock()?;
        let old = self.checkpoint()?;
        let (old_size, old_root) = old.as_ref().map_or((0, tlog_tiles::EMPTY_HASH), |old| {
            (old.size, Hash(old.root))
        });
        let count = store.leaf_count()?;
        if count < old_size {
            return Err(AuditError::Restored {
                leaves: count,
                signed: old_size,
            });
        }
        if let (Some(old), true) = (old, count == old_size) {
            return Ok(old);
        }
        let mut tree = Growing::new(&self.files, old_size, old_root);
        let mut bundles = tiles::Bundles::begin(&self.files, old_size)?;
        let mut next = old_size;
        while next < count {
            let most = usize::try_from(count - next).unwrap_or(usize::MAX);
            let leaves = store.leaves(next, most.min(PAGE))?;
            if leaves.is_empty() {
                return Err(AuditError::Tree(format!("leaf {next} is missing")));
            }
            for leaf in leaves {
                tree.push(&leaf)?;
                bundles.push(&leaf)?;
                next += 1;
            }
        }
        let root = tlog_tiles::tree_hash(count, &tree).map_err(tree_error)?;
        for tile in Tile::new_tiles(HEIGHT, old_size, count) {
            let data = tile.read_data(&tree).map_err(tree_error)?;
            self.files.write_tile(&tile, &data)?;
        }
        bundles.finish()?;
        let text = Checkpoint::new(self.key.name(), count, root, "").map_err(tree_error)?;
        let text = String::from_utf8_lossy(&text.to_bytes()).into_owned();
        let note = self.key.sign(&text, &[])?;
        self.files.replace_checkpoint(&note)?;
        self.files.tidy(count);
        Ok(Signed {
            size: count,
            root: root.0,
            note,
        })
    }
}

/// Leaves read from the store at once.
const PAGE: usize = 1000;

fn tree_error(e: impl std::fmt::Debug) -> AuditError {
    AuditError::Tree(format!("{e:?}"))
}

/// Reads a signed checkpoint.
pub(crate) fn signed(note: &str, key: &Key, what: &str) -> Result<Signed, AuditError> {
    let unsigned = |why: String| AuditError::Signature {
        what: what.to_owned(),
        key: key.name().to_owned(),
        why,
    };
    let opened = key::open(note, std::slice::from_ref(key));
    let opened = opened.map_err(|e| unsigned(e.to_string()))?;
    if opened.by.is_empty() || opened.signatures.len() != 1 {
        return Err(unsigned("not by that key alone".to_owned()));
    }
    let checkpoint =
        Checkpoint::from_bytes(opened.text.as_bytes()).map_err(|e| unsigned(e.to_string()))?;
    if checkpoint.origin() != key.name() {
        return Err(unsigned(format!(
            "it is of the log `{}`",
            checkpoint.origin()
        )));
    }
    Ok(Signed {
        size: checkpoint.size(),
        root: checkpoint.hash().0,
        note: note.to_owned(),
    })
}

/// A tree that grows from what the tiles of an older one hold.
struct Growing<'a> {
    old: TileHashReader<'a>,
    size: u64,
    /// The index of the first new hash; they come without gaps.
    first: u64,
    new: Vec<Hash>,
}

impl<'a> Growing<'a> {
    fn new(files: &'a Files, size: u64, root: Hash) -> Self {
        Self {
            old: TileHashReader::new(size, root, files),
            size,
            first: tlog_tiles::stored_hash_index(0, size),
            new: Vec::new(),
        }
    }

    fn push(&mut self, leaf: &str) -> Result<(), AuditError> {
        let hash = tlog_tiles::record_hash(leaf.as_bytes());
        let stored = tlog_tiles::stored_hashes_for_record_hash(self.size, hash, self);
        self.new.extend(stored.map_err(tree_error)?);
        self.size += 1;
        Ok(())
    }

    fn fresh(&self, index: u64) -> Option<Hash> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.new.get(at).copied()
    }
}

impl HashReader for Growing<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let older: Vec<u64> = indexes
            .iter()
            .copied()
            .filter(|index| *index < self.first)
            .collect();
        let mut older = match older.is_empty() {
            true => Vec::new(),
            false => self.old.read_hashes(&older)?,
        }
        .into_iter();
        indexes
            .iter()
            .map(|index| {
                let hash = if *index < self.first {
                    older.next()
                } else {
                    self.fresh(*index)
                };
                hash.ok_or(tlog_tiles::Error::IndexesNotInTree)
            })
            .collect()
    }
}
