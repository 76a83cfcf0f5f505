//! Questions to a person at a terminal.

use std::io::IsTerminal;

use crate::context::Shared;
use crate::exit::Exit;
use crate::shown::shown;
use crate::terminal;

/// Whether there is a person to ask.
pub(crate) fn can(shared: &Shared) -> bool {
    std::io::stdin().is_terminal() && !shared.json
}

/// Asks; anything but a yes is a no.
pub(crate) fn yes(question: &str) -> bool {
    terminal::question(&shown!("{}", question));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Asks a person at a terminal; anyone else has to have said `--yes`.
pub(crate) fn confirmed(
    shared: &Shared,
    what: &str,
    question: &str,
    hint: &str,
) -> Result<(), Exit> {
    if !can(shared) {
        return Err(Exit::refused(
            format!("{what} has to be confirmed"),
            Some(hint),
        ));
    }
    match yes(question) {
        true => Ok(()),
        false => Err(Exit::refused("not confirmed; nothing has happened", None)),
    }
}
