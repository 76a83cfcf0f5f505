//! Key pairs in directories: two files, `key` (private, mode 0600) and `key.pub`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use groundcrew::{Key, Policy};

use crate::context::{Shared, actor};
use crate::exit::Exit;
use crate::files::{self, Directory};
use crate::shown;
use crate::terminal::say;

const PRIVATE: &str = "key";
const PUBLIC: &str = "key.pub";
/// Held by who makes them.
const LOCK: &str = "lock";

fn trouble<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Exit + 'a {
    move |e| Exit::journal(format!("the key `{}`: {e}", path.display()))
}

/// The pair of a directory; none if there is none.
pub(crate) fn read(directory: &Path) -> Result<Option<Key>, Exit> {
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

/// The pair of a directory, and whether it was made just now: there was none. Of the processes that
/// come at the same time one makes it, and all get the same.
pub(crate) fn ensure(directory: &Path, name: &str) -> Result<(Key, bool), Exit> {
    if let Some(key) = read(directory)? {
        return Ok((key, false));
    }
    Directory::private(directory).map_err(trouble(directory))?;
    let lock = directory.join(LOCK);
    let _alone = files::alone(&lock).map_err(trouble(&lock))?;
    if let Some(key) = read(directory)? {
        return Ok((key, false));
    }
    let key = Key::generate(name);
    // The private half comes last: where it is, both are, whole.
    let (private, public) = (directory.join(PRIVATE), directory.join(PUBLIC));
    let line = |half: &str| format!("{half}\n");
    files::replace_public(&public, &line(key.public())).map_err(trouble(&public))?;
    let half = line(key.private().unwrap_or_default());
    files::replace(&private, &half).map_err(trouble(&private))?;
    Ok((key, true))
}

/// As a part of a key's name, which has no spaces and no plus, nor anything that cannot be seen.
pub(crate) fn part(text: &str) -> String {
    let plain = |c: char| {
        if c.is_whitespace() || c == '+' {
            '-'
        } else {
            c
        }
    };
    shown::name(text).chars().map(plain).collect()
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
    let (key, made) = ensure(&directory, &own_name())?;
    if made {
        say!(
            "note: made a key of your own in `{}`; whoever applies your plans has to know its public half, for `plan_authors` of their policy:\n  {}",
            directory.display(),
            key.public()
        );
    }
    Ok(key)
}

/// What one's own pair is called unless one says otherwise.
pub(crate) fn own_name() -> String {
    let actor = actor();
    part(&format!("{}@{}", actor.user, actor.host))
}

/// The keys whose runs are gone on with here: one's own, and those that the policy names.
pub(crate) fn whose_runs(given: Option<&PathBuf>, policy: &Policy) -> Result<Vec<Key>, Exit> {
    let own = match own_directory(given) {
        Ok(directory) => read(&directory)?,
        Err(_) => None,
    };
    let named = policy.run_authors();
    let named = named.map_err(|e| Exit::refused(format!("the policy: {e}"), None))?;
    Ok(own.into_iter().chain(named).collect())
}
