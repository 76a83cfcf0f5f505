//! `groundcrew completions`.

use clap::Args as Arguments;
use clap_complete::Shell;

use crate::exit::Exit;

/// Print completions for a shell
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Exit> {
    clap_complete::generate(
        args.shell,
        &mut crate::command(),
        "groundcrew",
        &mut std::io::stdout(),
    );
    Ok(())
}
