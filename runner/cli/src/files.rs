//! The directories that the program reads, through cap-std: a name in a configuration or on the
//! command line cannot lead out of them.

use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::PluginSource;

use crate::exit::Exit;

/// A text file may not be larger: configuration and runbooks.
const TEXT_BYTES: u64 = 1 << 20;

/// A plugin may not be larger than the engine would take.
const PLUGIN_BYTES: u64 = 32 << 20;

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
        use std::os::unix::fs::DirBuilderExt;
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
