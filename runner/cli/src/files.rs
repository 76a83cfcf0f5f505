//! The directories that the program reads, through cap-std: a name in a configuration or on the
//! command line cannot lead out of them; and every file that it writes, with the mode that it has.

use std::fs::{File, Permissions};
use std::io::{Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::PluginSource;

use crate::exit::Exit;

/// A text file may not be larger: configuration and runbooks.
const TEXT_BYTES: u64 = 1 << 20;

/// A plugin may not be larger than the engine would take.
const PLUGIN_BYTES: u64 = 32 << 20;

/// Whoever owns it may read and write it, and nobody else: what is in a plan, a bundle, a receipt or a log
/// is nobody else's business.
const PRIVATE: u32 = 0o600;
/// For whoever wants it.
const PUBLIC: u32 = 0o644;

/// Writes a text aside, and puts it where it belongs once it is on the disk: whole or not at all. What
/// was there is replaced, its mode as well; a link leads on, and a pipe or a terminal is written to.
pub(crate) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    replace_as(path, PRIVATE, text)
}

/// The same for the public half of a key, which is made to be handed out: nothing else is.
pub(crate) fn replace_public(path: &Path, half: &str) -> std::io::Result<()> {
    replace_as(path, PUBLIC, half)
}

fn replace_as(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return File::options()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes());
    }
    let holder = path.parent().filter(|holder| *holder != Path::new(""));
    let mut aside = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(holder.unwrap_or(Path::new(".")))?;
    aside.write_all(text.as_bytes())?;
    aside.as_file().sync_all()?;
    aside.persist(path)?;
    Ok(())
}

/// Writes a text behind what is in a file, and waits until it is on the disk.
pub(crate) fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = File::options();
    let mut file = options.append(true).create(true).mode(PRIVATE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file that is held by one process at a time, until it is dropped.
pub(crate) fn alone(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = options.mode(PRIVATE).open(path)?;
    file.lock()?;
    Ok(file)
}

/// The text of a file, which may not be larger.
pub(crate) fn text(path: &Path, most: u64) -> Result<String, Exit> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Exit::usage(format!("`{}` cannot be read: {e}", path.display()), None)
    };
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let mut text = String::new();
    let read = file.take(most + 1).read_to_string(&mut text);
    match read.map_err(|e| unreadable(&e))? as u64 {
        read if read > most => Err(unreadable(&format!("it has more than {most} bytes"))),
        _ => Ok(text),
    }
}

/// A directory and what to call it.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: Dir,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory; none if there is none.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Dir::open_ambient_dir(path, ambient_authority())
            .ok()
            .map(|dir| Self {
                dir,
                path: path.to_owned(),
            })
    }

    /// Makes a private directory if it is not there, and opens it.
    pub(crate) fn private(path: &Path) -> std::io::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        Ok(Self {
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
            path: path.to_owned(),
        })
    }

    pub(crate) fn into_dir(self) -> Dir {
        self.dir
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// A text; none if there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Exit> {
        let unreadable = |e: &dyn std::fmt::Display| {
            Exit::usage(format!("`{}` cannot be read: {e}", self.shown(name)), None)
        };
        match self.dir.metadata(name) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unreadable(&e)),
            // A pipe in a project would keep whoever reads it waiting for ever.
            Ok(found) if !found.is_file() => Err(unreadable(&"it is not a regular file")),
            Ok(found) if found.len() > TEXT_BYTES => Err(unreadable(&format!(
                "it has {} bytes; at most {TEXT_BYTES} are allowed",
                found.len()
            ))),
            Ok(_) => self
                .dir
                .read_to_string(name)
                .map(Some)
                .map_err(|e| unreadable(&e)),
        }
    }

    /// The names of its files that end so, without the end.
    pub(crate) fn names(&self, end: &str) -> Vec<String> {
        let entries = self.dir.entries().into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_suffix(end))
                .map(str::to_owned)
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl PluginSource for Directory {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let file = format!("{name}.wasm");
        match self.dir.metadata(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("`{}`: {e}", self.shown(&file))),
            Ok(found) if found.len() > PLUGIN_BYTES => {
                Err(format!("`{}` has {} bytes", self.shown(&file), found.len()))
            }
            Ok(_) => self
                .dir
                .read(&file)
                .map(Some)
                .map_err(|e| format!("`{}`: {e}", self.shown(&file))),
        }
    }

    fn names(&self) -> Vec<String> {
        self.names(".wasm")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_where_a_link_leads() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "for everybody")?;
        symlink(&file, &link)?;
        replace(&link, "private")?;
        assert_eq!(std::fs::read_to_string(&file)?, "private");
        assert_eq!(std::fs::metadata(&file)?.mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link)?.is_symlink());
        assert_eq!(std::fs::read_dir(directory.path())?.count(), 2);
        assert!(replace(&directory.path().join("none/file"), "").is_err());
        Ok(())
    }

    #[test]
    fn what_is_written_is_private_but_for_public_keys() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        replace(&path("a"), "a")?;
        append(&path("b"), "b")?;
        append(&path("b"), "b")?;
        drop(alone(&path("c"))?);
        replace_public(&path("d"), "d")?;
        for (name, mode) in [("a", 0o600), ("b", 0o600), ("c", 0o600), ("d", 0o644)] {
            assert_eq!(
                std::fs::metadata(path(name))?.mode() & 0o777,
                mode,
                "{name}"
            );
        }
        assert_eq!(std::fs::read_to_string(path("b"))?, "bb");
        Ok(())
    }

    #[test]
    fn a_pipe_is_written_to_and_stays() -> std::io::Result<()> {
        let (mut end, other) = std::io::pipe()?;
        let path = PathBuf::from(format!(
            "/dev/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&other)
        ));
        replace(&path, "through")?;
        drop(other);
        let mut text = String::new();
        end.read_to_string(&mut text)?;
        assert_eq!(text, "through");
        Ok(())
    }
}
