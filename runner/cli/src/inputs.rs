//! The inputs of a run: as they are given, and over the runbook's own defaults those that `defaults`
//! finds.

use std::io::Read as _;

use groundcrew::runbook::Runbook;

use crate::config::Config;
use crate::defaults::inherited;
use crate::exit::Exit;
use crate::terminal::say;

/// The inputs of a run: those given, and over the runbook's own defaults those of the
/// configuration, which are shown.
pub(crate) fn inputs(
    config: &Config,
    target: Option<&str>,
    runbook: &Runbook,
    given: &[String],
) -> Result<serde_json::Value, Exit> {
    let pairs = pairs(given)?;
    let target = target.unwrap_or_else(|| config.default_target());
    let inherited = inherited(config, target, runbook, &pairs)?;
    for (name, place) in &inherited.from {
        say!("{} = {}  (from {})", name, inherited.values[name], place);
    }
    let bound = runbook.bind_inputs_over(&pairs, &inherited.values);
    bound.map_err(|errors| {
        for error in &errors {
            match inherited.from.get(&error.input) {
                Some(place) => say!("error: {} (from {})", error, place),
                None => say!("error: {}", error),
            }
            if let Some(hint) = &error.hint {
                say!("  hint: {}", hint);
            }
        }
        say!(
            "error: the inputs of `{}` are not right; nothing has happened",
            runbook.name
        );
        Exit::silent(2)
    })
}

/// Secret inputs that are given again, for a plan or a run whose other inputs are known.
pub(crate) fn secrets(runbook: &Runbook, given: &[String]) -> Result<serde_json::Value, Exit> {
    let bound = runbook.bind_secrets(&pairs(given)?);
    bound.map_err(|errors| {
        let mut errors = errors.into_iter();
        let first = errors.next();
        for error in errors {
            say!("error: {}", error);
        }
        let (message, hint) = first.map_or_else(Default::default, |e| (e.message, e.hint));
        Exit::usage(message, hint.as_deref())
    })
}

fn pairs(given: &[String]) -> Result<Vec<(String, String)>, Exit> {
    let pair = |input: &String| match input.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), read(name, value)?)),
        None => Err(Exit::usage(
            format!("`{input}` is no input"),
            Some("write `-i NAME=VALUE`"),
        )),
    };
    given.iter().map(pair).collect()
}

/// The longest file that an input may name: half of what an expression may result in, so that a
/// runbook can hand it on with something beside it.
const INPUT_BYTES: u64 = 512 << 10;

/// A value as it was given; `@FILE` is what is in a file, and `@@` begins a value with one `@`.
fn read(name: &str, value: &str) -> Result<String, Exit> {
    let Some(path) = value.strip_prefix('@') else {
        return Ok(value.to_owned());
    };
    if path.starts_with('@') {
        return Ok(path.to_owned());
    }
    let wrong = |why: String| {
        let hint = "`@FILE` reads a file; begin with `@@` for a value that begins with `@`";
        let text = format!("input `{name}`: `{path}` cannot be read: {why}");
        Exit::usage(text, Some(hint))
    };
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    let mut text = String::new();
    let read = file.take(INPUT_BYTES + 1).read_to_string(&mut text);
    match read.map_err(|e| wrong(e.to_string()))? as u64 {
        0..=INPUT_BYTES => Ok(text),
        _ => Err(wrong(format!("it is larger than {INPUT_BYTES} bytes"))),
    }
}
