//! Runbooks: where one is found by its name, and what is said of one that is not right.

use std::path::Path;

use groundcrew::runbook::{self, Runbook};

use crate::context::{Shared, bundled_dirs, grant_keys};
use crate::exit::Exit;
use crate::files::Directory;
use crate::shown;
use crate::terminal::{self, say};

/// A runbook's text and where it is from.
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) shown: String,
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
    for place in places {
        let Some(directory) = Directory::open(&place) else {
            continue;
        };
        let file = format!("{name}.toml");
        if let Some(text) = directory.read(&file)? {
            return Ok(Found {
                text,
                shown: directory.shown(&file),
            });
        }
        names.extend(directory.names(".toml"));
    }
    if let Some((_, text)) = BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
        return Ok(Found {
            text: (*text).to_owned(),
            shown: format!("{name}.toml (bundled)"),
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
