//! The command `groundcrew`: arguments, rendering, exit codes. One file per command in
//! `commands/`; everything it does is done by the crate `groundcrew`.

#![forbid(unsafe_code)]

mod ask;
mod audit;
mod commands;
mod config;
mod context;
mod credentials;
mod defaults;
mod exit;
mod files;
mod inputs;
mod keys;
mod place;
mod plan_text;
mod progress;
mod render;
mod runbooks;
mod shown;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::context::Shared;
use crate::exit::Exit;

/// Run sandboxed WASM runbooks against fleets of Fly Machines.
#[derive(Debug, Parser)]
#[command(name = "groundcrew", version, propagate_version = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 ok   1 a step failed   2 usage   3 invalid runbook   4 refused
  5 journal or audit failure   6 something is in doubt   7 the plan does not fit any more
  70 a bug in groundcrew   130 interrupted   143 terminated";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a runbook, or rehearse it with --dry-run
    Run(commands::run::Args),
    /// Rehearse a runbook and save what it will do, to be applied exactly so
    Plan(commands::plan::Args),
    /// Approve a plan of somebody else, by signing it
    Approve(commands::approve::Args),
    /// Do what a plan says, and nothing else
    Apply(commands::apply::Args),
    /// Go on with a run whose process is gone, without doing anything twice
    Resume(commands::resume::Args),
    /// Check runbooks and say everything that is wrong with them
    Check(commands::check::Args),
    /// Print the JSON Schema of runbooks, for editors
    Schema,
    /// List plugins, show one, or print the operations table
    #[command(subcommand)]
    Plugin(commands::plugin::Command),
    /// List runs, show, export or close one
    #[command(subcommand)]
    Runs(commands::runs::Command),
    /// Read the journals of runs
    #[command(subcommand)]
    Audit(commands::audit::Command),
    /// The key that signs your plans and approvals
    #[command(subcommand)]
    Keys(commands::keys::Command),
    /// List the Machines of an app with their checks
    Machines(commands::machines::Args),
    /// Serve a simulated fleet as Fly's Machines API
    Sim(commands::sim::Args),
    /// Check that everything that a run needs is in place
    Doctor(commands::doctor::Args),
    /// Print completions for a shell
    Completions(commands::completions::Args),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // What is wrong repeats what was typed, or what a script was told to type.
        Err(e) if e.use_stderr() => {
            terminal::line(&shown::lines("", &e.to_string()));
            return ExitCode::from(2);
        }
        Err(help) => {
            terminal::ours(help.to_string().as_bytes());
            return ExitCode::SUCCESS;
        }
    };
    tracing_subscriber::fmt()
        .with_writer(terminal::Log)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("GROUNDCREW_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_ansi(false)
        .without_time()
        .init();
    groundcrew::system::raise_file_limit();
    let result = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(arguments));
            // A thread that is stuck in a system call must not keep the program alive.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            result
        }
        Err(e) => Err(Exit::bug(format!("no runtime can be started: {e}"))),
    };
    match result {
        Ok(()) if terminal::all_given() => ExitCode::SUCCESS,
        Ok(()) => Exit::failed("not everything has reached standard output").report(),
        Err(exit) => exit.report(),
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Exit> {
    let shared = arguments.shared;
    match arguments.command {
        Command::Run(args) => commands::run::run(&shared, args).await,
        Command::Plan(args) => commands::plan::run(&shared, args).await,
        Command::Approve(args) => commands::approve::run(&shared, &args),
        Command::Apply(args) => commands::apply::run(&shared, args).await,
        Command::Keys(command) => commands::keys::run(&shared, &command),
        Command::Resume(args) => commands::resume::run(&shared, args).await,
        Command::Check(args) => commands::check::run(&shared, &args),
        Command::Schema => commands::schema::run(),
        Command::Plugin(command) => commands::plugin::run(&shared, command).await,
        Command::Runs(command) => commands::runs::run(&shared, command).await,
        Command::Audit(command) => commands::audit::run(&shared, command).await,
        Command::Machines(args) => commands::machines::run(&shared, args).await,
        Command::Sim(args) => commands::sim::run(&shared, args).await,
        Command::Doctor(args) => commands::doctor::run(&shared, &args).await,
        Command::Completions(args) => commands::completions::run(&args),
    }
}

pub(crate) fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}
