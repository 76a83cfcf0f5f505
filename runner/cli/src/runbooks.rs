//! Runbooks: where one is found by its name, and what is said of one that is not right.

use std::path::Path;

use groundcrew::journal::PluginUsed;
use groundcrew::runbook::{self, Runbook};

use crate::context::{Shared, bundled_dirs, bundled_plugin, grant_keys};
use crate::exit::Exit;
use crate::files::Directory;
use crate::shown;
use crate::terminal::{self, say};

/// A runbook's text and where it is from.
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) shown: String,
    /// A bundled one has its name, and was not taken.
    pub(crate) instead: bool,
}

/// Finds a runbook: a path; then by name in the project's `runbooks`, then among the bundled ones.
pub(crate) fn find(shared: &Shared, name: &str) -> Result<Found, Exit> {
    let path = Path::new(name);
    if name.ends_with(".toml") || name.contains('/') {
        let (parent, file) = (
            path.parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
            path.file_name(),
        );
        let text = match (Directory::open(parent), file.and_then(|f| f.to_str())) {
            (Some(directory), Some(file)) => directory.read(file)?,
            _ => None,
        };
        return text
            .map(|text| Found {
                text,
                shown: name.to_owned(),
                instead: false,
            })
            .ok_or_else(|| Exit::usage(format!("there is no runbook `{name}`"), None));
    }
    let places: Vec<_> = std::iter::once(shared.project.join("runbooks"))
        .chain(bundled_dirs("runbooks"))
        .collect();
    let mut names = BUNDLED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect::<Vec<_>>();
    for (at, place) in places.into_iter().enumerate() {
        let Some(directory) = Directory::open(&place) else {
            continue;
        };
        let file = format!("{name}.toml");
        if let Some(text) = directory.read(&file)? {
            return Ok(Found {
                text,
                shown: directory.shown(&file),
                instead: at == 0 && bundled(name),
            });
        }
        names.extend(directory.names(".toml"));
    }
    if let Some((_, text)) = BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
        return Ok(Found {
            text: (*text).to_owned(),
            shown: format!("{name}.toml (bundled)"),
            instead: false,
        });
    }
    names.sort();
    names.dedup();
    let near = runbook::nearest(name, names.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`?"));
    let hint = near.unwrap_or_else(|| format!("there are `{}`", names.join("`, `")));
    Err(Exit::usage(
        format!("there is no runbook `{name}`"),
        Some(&hint),
    ))
}

/// Whether a runbook of this name comes with the program.
fn bundled(name: &str) -> bool {
    let beside = || {
        let mut places = bundled_dirs("runbooks").into_iter();
        places.any(|place| place.join(format!("{name}.toml")).is_file())
    };
    BUNDLED.iter().any(|(bundled, _)| *bundled == name) || beside()
}

/// What stands before something that comes with the program: whoever knows the name may take it for
/// that.
pub(crate) fn say_what_is_not_bundled(runbook: &Found, plugins: &[PluginUsed]) {
    if runbook.instead {
        say!(
            "note: `{}` stands before the bundled runbook of that name",
            runbook.shown
        );
    }
    for plugin in plugins {
        let known = bundled_plugin(&plugin.name);
        if known.is_some_and(|bytes| groundcrew::digest(&bytes) != plugin.digest) {
            say!(
                "note: the plugin `{}` here stands before the bundled plugin of that name",
                plugin.name
            );
        }
    }
}

/// The runbooks that the binary carries, as `build.rs` found them.
const BUNDLED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runbooks.rs"));

/// Checks a text; what is wrong is shown.
pub(crate) fn checked(shared: &Shared, found: &Found) -> Result<Runbook, Exit> {
    let show = |diagnostics: &[runbook::Diagnostic]| {
        for diagnostic in diagnostics {
            terminal::line(&shown::diagnostic(
                diagnostic,
                &found.text,
                &found.shown,
                shared.colour(),
            ));
        }
    };
    match runbook::check_for(&found.text, &grant_keys()) {
        Ok(runbook) => {
            show(&runbook.warnings);
            Ok(runbook)
        }
        Err(diagnostics) => {
            show(&diagnostics);
            let errors = diagnostics.len();
            say!(
                "error: `{}` has {} error{}; nothing has happened",
                found.shown,
                errors,
                if errors == 1 { "" } else { "s" }
            );
            Err(Exit::silent(3))
        }
    }
}
