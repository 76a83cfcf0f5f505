//! The log's files, in the layout of <https://c2sp.org/tlog-tiles>: `checkpoint`, `tile/L/N` with
//! hashes, `tile/entries/N` with leaves; `N.p/W` as long as a tile is not full.

use std::io::{Read, Write};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};
use rustix::fs::FlockOperation;
use tlog_tiles::{Tile, TileReader};

use super::AuditError;

/// The height of tiles: 256 hashes each. (tlog-tiles)
pub const HEIGHT: u8 = 8;
const WIDTH: u64 = 1 << HEIGHT;

/// No file of the log is larger: 256 leaves of at most 64 KiB.
const FILE_BYTES: u64 = 256 * (64 << 10);

pub(super) struct Files {
    directory: Dir,
}

fn failed(path: &str) -> impl Fn(std::io::Error) -> AuditError + '_ {
    move |e| AuditError::Files(format!("`{path}`: {e}"))
}

/// Where a tile is, as tlog-tiles has it; the crate's paths begin with the height and call entries
/// data.
pub(super) fn path(tile: &Tile) -> String {
    let whole = tile.path();
    let rest = whole
        .strip_prefix(&format!("tile/{HEIGHT}/"))
        .unwrap_or(&whole);
    match rest.strip_prefix("data/") {
        Some(number) => format!("tile/entries/{number}"),
        None => format!("tile/{rest}"),
    }
}

fn bundle(number: u64, width: u64) -> Tile {
    let width = u32::try_from(width).unwrap_or(1 << HEIGHT);
    Tile::new(HEIGHT, 0, number, width, true)
}

impl Files {
    pub(super) fn new(directory: Dir) -> Self {
        Self { directory }
    }

    /// Held by whoever changes the files.
    pub(super) fn lock(&self) -> Result<cap_std::fs::File, AuditError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        let file = self
            .directory
            .open_with("lock", &options)
            .map_err(failed("lock"))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| AuditError::Files(format!("`lock`: {e}")))?;
        Ok(file)
    }

    pub(super) fn checkpoint(&self) -> Result<Option<String>, AuditError> {
        let bytes = self.read("checkpoint")?;
        bytes
            .map(|bytes| {
                String::from_utf8(bytes)
                    .map_err(|_| AuditError::Files("`checkpoint` is not text".to_owned()))
            })
            .transpose()
    }

    pub(super) fn replace_checkpoint(&self, note: &str) -> Result<(), AuditError> {
        self.write("checkpoint", note.as_bytes())
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, AuditError> {
        let file = match self.directory.open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(path)(e)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed(path))?;
        Ok(Some(bytes))
    }

    /// Written aside, synced and renamed, so that nobody ever sees half of it.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), AuditError> {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if let Some(parent) = parent {
            let mut private = DirBuilder::new();
            private.recursive(true).mode(0o700);
            self.directory
                .create_dir_with(parent, &private)
                .map_err(failed(parent))?;
        }
        let aside = format!("{path}.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = self
            .directory
            .open_with(&aside, &options)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
        written.map_err(failed(&aside))?;
        self.directory
            .rename(&aside, &self.directory, path)
            .map_err(failed(path))?;
        // As a file: a handle of a directory cannot always be synced.
        let holder = self.directory.open(parent.unwrap_or("."));
        let holder = holder.map_err(failed(path))?;
        holder.sync_all().map_err(failed(path))
    }

    pub(super) fn write_tile(&self, tile: &Tile, data: &[u8]) -> Result<(), AuditError> {
        self.write(&path(tile), data)
    }

    /// Removes the partial tiles of earlier checkpoints. Nobody needs them: what cannot be removed
    /// stays.
    pub(super) fn tidy(&self, size: u64) {
        for level in 0..8u8 {
            let count = size >> (u32::from(HEIGHT) * u32::from(level));
            let tile = |number: u64, width: u64| {
                let width = u32::try_from(width).unwrap_or(1 << HEIGHT);
                Tile::new(HEIGHT, level, number, width, false)
            };
            self.tidy_one(count, tile);
        }
        self.tidy_one(size, bundle);
    }

    /// Of `count` hashes or leaves: the last tile keeps its present width, the one before is full.
    fn tidy_one(&self, count: u64, tile: impl Fn(u64, u64) -> Tile) {
        let (full, width) = (count / WIDTH, count % WIDTH);
        if width > 0 {
            let kept = path(&tile(full, width));
            if let Some((partial, width)) = kept.rsplit_once(".p/") {
                self.remove_partials(partial, Some(width));
            }
        }
        if full > 0 {
            self.remove_partials(&path(&tile(full - 1, WIDTH)), None);
        }
    }

    fn remove_partials(&self, tile: &str, but: Option<&str>) {
        let directory = format!("{tile}.p");
        let Ok(entries) = self.directory.read_dir(&directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if but.is_none_or(|but| name != but) {
                let _ = entry.remove_file();
            }
        }
        if but.is_none() {
            let _ = self.directory.remove_dir(&directory);
        }
    }
}

impl TileReader for Files {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let found = self.read(&path(tile)).ok().flatten();
            found.ok_or(tlog_tiles::Error::IndexesNotInTree)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Bundles of leaves as they are written: each leaf after its length in two bytes, big end first.
/// (tlog-tiles)
pub(super) struct Bundles<'a> {
    files: &'a Files,
    next: u64,
    bytes: Vec<u8>,
}

impl<'a> Bundles<'a> {
    /// Goes on with the bundle that `size` leaves end in.
    pub(super) fn begin(files: &'a Files, size: u64) -> Result<Self, AuditError> {
        let mut bytes = Vec::new();
        if !size.is_multiple_of(WIDTH) {
            let path = path(&bundle(size / WIDTH, size % WIDTH));
            bytes = files
                .read(&path)?
                .ok_or_else(|| AuditError::Files(format!("`{path}` is missing")))?;
        }
        Ok(Self {
            files,
            next: size,
            bytes,
        })
    }

    pub(super) fn push(&mut self, leaf: &str) -> Result<(), AuditError> {
        self.bytes.extend(framed(leaf)?);
        self.next += 1;
        if self.next.is_multiple_of(WIDTH) {
            let tile = bundle(self.next / WIDTH - 1, WIDTH);
            self.files.write_tile(&tile, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), AuditError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let tile = bundle(self.next / WIDTH, self.next % WIDTH);
        self.files.write_tile(&tile, &self.bytes)
    }
}

/// A leaf with its length.
pub(super) fn framed(leaf: &str) -> Result<Vec<u8>, AuditError> {
    let length = u16::try_from(leaf.len())
        .map_err(|_| AuditError::Tree(format!("a leaf of {} bytes", leaf.len())))?;
    Ok([&length.to_be_bytes(), leaf.as_bytes()].concat())
}

/// The bundles of a tree of `size` leaves: path, first leaf, and how many.
pub(super) fn bundles(size: u64) -> impl Iterator<Item = (String, u64, u64)> {
    (0..size.div_ceil(WIDTH)).map(move |number| {
        let width = (size - number * WIDTH).min(WIDTH);
        (path(&bundle(number, width)), number * WIDTH, width)
    })
}
