//! Key pairs in directories: two files, `key` (private, mode 0600) and `key.pub`.

use std::io::Write;
use std::path::{Path, PathBuf};

use groundcrew::Key;

use crate::context::{Shared, actor};
use crate::exit::Exit;
use crate::files::Directory;

const PRIVATE: &str = "key";
const PUBLIC: &str = "key.pub";

fn trouble<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Exit + 'a {
    move |e| Exit::journal(format!("the key `{}`: {e}", path.display()))
}

/// The pair of a directory; none if there is none.
pub(crate) fn read(directory: &Path) -> Result<Option<Key>, Exit> {
    use std::os::unix::fs::MetadataExt;
    let (private, public) = (directory.join(PRIVATE), directory.join(PUBLIC));
    let found = match std::fs::metadata(&private) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(trouble(&private)(e)),
    };
    if found.mode() & 0o077 != 0 {
        return Err(Exit::journal(format!(
            "the key `{}` can be read by others (mode {:o}); `chmod 600` it",
            private.display(),
            found.mode() & 0o777
        )));
    }
    let text = std::fs::read_to_string(&private).map_err(trouble(&private))?;
    let known = std::fs::read_to_string(&public).map_err(trouble(&public))?;
    let key = Key::from_pair(&text, &known);
    key.map(Some)
        .map_err(|e| Exit::journal(format!("`{}`: {e}", private.display())))
}

/// Puts a new pair into a directory that has none.
pub(crate) fn make(directory: &Path, name: &str) -> Result<Key, Exit> {
    use std::os::unix::fs::OpenOptionsExt;
    Directory::private(directory).map_err(trouble(directory))?;
    let (private, public) = (directory.join(PRIVATE), directory.join(PUBLIC));
    let key = Key::generate(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&private).map_err(trouble(&private))?;
    std::fs::write(&public, format!("{}\n", key.public())).map_err(trouble(&public))?;
    writeln!(file, "{}", key.private().unwrap_or_default())
        .and_then(|()| file.sync_all())
        .map_err(trouble(&private))?;
    Ok(key)
}

/// As a part of a key's name, which has no spaces and no plus.
pub(crate) fn part(text: &str) -> String {
    text.replace([' ', '+'], "-")
}

/// Where one's own pair is: it signs plans and approvals.
pub(crate) fn own_directory(given: Option<&PathBuf>) -> Result<PathBuf, Exit> {
    let own = || Shared::user_dir().map(|user| user.join("identity"));
    given.cloned().or_else(own).ok_or_else(|| {
        Exit::usage(
            "there is no home directory to keep a key in",
            Some("name a directory with `--key`"),
        )
    })
}

/// One's own pair, made if there is none.
pub(crate) fn own(given: Option<&PathBuf>) -> Result<Key, Exit> {
    let directory = own_directory(given)?;
    if let Some(key) = read(&directory)? {
        return Ok(key);
    }
    let key = make(&directory, &own_name())?;
    eprintln!(
        "note: made a key of your own in `{}`; whoever applies your plans has to know its public half, for `plan_authors` of their policy:\n  {}",
        directory.display(),
        key.public()
    );
    Ok(key)
}

/// What one's own pair is called unless one says otherwise.
pub(crate) fn own_name() -> String {
    let actor = actor();
    part(&format!("{}@{}", actor.user, actor.host))
}
