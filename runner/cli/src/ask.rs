//! Questions to a person at a terminal.

use std::io::IsTerminal;

use crate::context::Shared;

/// Whether there is a person to ask.
pub(crate) fn can(shared: &Shared) -> bool {
    std::io::stdin().is_terminal() && !shared.json
}

/// Asks; anything but a yes is a no.
pub(crate) fn yes(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
