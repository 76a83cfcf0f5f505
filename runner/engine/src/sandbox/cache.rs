//! The cache of compiled plugins: a private directory of our own.
//!
//! Compiled code is trusted wholly when it is loaded, so it is only ever written here by this
//! program, from a component that it compiled itself, into a directory that nobody else can write
//! to. Files from elsewhere are never accepted. A file begins with the SHA-256 of the rest, which tells
//! what a disk or a power cut did to it. A cache that cannot be used is not used.

use std::io::{Read, Write};

use cap_std::fs::{Dir, MetadataExt, OpenOptions, OpenOptionsExt};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Of SHA-256.
const DIGEST_BYTES: usize = 32;

/// Why a directory is not used as the cache.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the directory of compiled plugins {0}")]
pub struct CacheError(String);

/// See the module.
#[derive(Debug)]
pub struct CompiledCache {
    directory: Dir,
}

impl CompiledCache {
    /// Uses `directory`.
    ///
    /// # Errors
    /// If it is not ours, or others can write to it.
    pub fn new(directory: Dir) -> Result<Self, CacheError> {
        let found = directory
            .dir_metadata()
            .map_err(|e| CacheError(format!("cannot be read: {e}")))?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError("belongs to another user".to_owned()));
        }
        if found.mode() & 0o022 != 0 {
            return Err(CacheError(format!(
                "can be written to by others (mode {:o})",
                found.mode() & 0o777
            )));
        }
        Ok(Self { directory })
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut file = self.directory.open(format!("{key}.cwasm")).ok()?;
        let found = file.metadata().ok()?;
        let ours = found.is_file()
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & 0o022 == 0;
        let mut written = [0; DIGEST_BYTES];
        let mut code = Vec::new();
        let read =
            ours && file.read_exact(&mut written).is_ok() && file.read_to_end(&mut code).is_ok();
        (read && Sha256::digest(&code)[..] == written).then_some(code)
    }

    /// Written aside and renamed, so that nobody reads half a file. Failing to is not an error:
    /// the plugin is compiled again next time.
    pub(crate) fn put(&self, key: &str, code: &[u8]) {
        // Others may write the same at this moment, in other containers too: there a process's number
        // would be no name.
        let aside = format!("{key}.{:016x}.new", OsRng.next_u64());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = self
            .directory
            .open_with(&aside, &options)
            .and_then(|mut file| {
                file.write_all(&Sha256::digest(code))?;
                file.write_all(code)
            });
        if let Err(e) = written.and_then(|()| {
            self.directory
                .rename(&aside, &self.directory, format!("{key}.cwasm"))
        }) {
            tracing::debug!("the compiled plugin is not kept: {e}");
        }
    }
}
