//! Where a store may be: a directory and a file that are ours alone.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Access, Mode as FileMode, OFlags};
use rustix::io::Errno;

use super::StoreError;

/// Makes the state directory, if it is not there; nobody else may write to it.
pub(super) fn directory(directory: &Path) -> Result<(), StoreError> {
    let say = |what: String| {
        StoreError::Directory(format!(
            "the state directory `{}` {what}",
            directory.display()
        ))
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| say(format!("cannot be made: {e}")))?;
    let found = std::fs::metadata(directory).map_err(|e| say(format!("cannot be read: {e}")))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(say("belongs to another user".to_owned()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(say(format!(
            "can be written to by others (mode {:o}); `chmod 700` it",
            found.mode() & 0o777
        )));
    }
    Ok(())
}

/// Makes the file, if it is not there; nobody else may use it, and it is no link.
///
/// What is there is not opened: to close a file takes away all locks that this process has on it, those
/// of another store as well. (<https://sqlite.org/howtocorrupt.html>, section 2.2) One thread at a time
/// may call this, so that what it makes has no locks yet.
pub(super) fn file(path: &Path) -> Result<(), StoreError> {
    let say = |what: String| StoreError::Directory(format!("`{}` {what}", path.display()));
    let unwritable = |e: Errno| match e {
        Errno::ROFS | Errno::ACCESS => say(format!(
            "cannot be written: {e}; choose another place with `--state-dir`"
        )),
        other => say(format!("cannot be opened: {other}")),
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, FileMode::RUSR | FileMode::WUSR) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(e) => return Err(unwritable(e)),
    }
    let found = std::fs::symlink_metadata(path).map_err(|e| say(format!("cannot be read: {e}")))?;
    if found.is_symlink() {
        return Err(say("is a symbolic link; it has to be a file".to_owned()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(say("belongs to another user".to_owned()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(say(format!(
            "can be used by others (mode {:o}); `chmod 600` it",
            found.mode() & 0o777
        )));
    }
    rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).map_err(unwritable)
}
