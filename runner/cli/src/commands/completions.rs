//! `groundcrew completions`.

use clap::Args as Arguments;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::terminal;

/// Print completions for a shell
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "groundcrew", &mut script);
    terminal::ours(&script);
    Ok(())
}
