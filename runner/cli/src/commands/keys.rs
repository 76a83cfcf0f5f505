//! `groundcrew keys`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::context::Shared;
use crate::exit::Exit;
use crate::keys;
use crate::shown::as_json;
use crate::terminal::{data, say};

/// The key that signs your plans and approvals
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key pair of your own
    New {
        /// What it is called [default: you@this-machine]
        #[arg(long)]
        name: Option<String>,
        /// The directory that it is kept in [default: `identity` in your configuration]
        #[arg(long, value_name = "DIR")]
        key: Option<PathBuf>,
    },
    /// Print the public half, for policies
    Show {
        /// The directory that it is kept in [default: `identity` in your configuration]
        #[arg(long, value_name = "DIR")]
        key: Option<PathBuf>,
    },
}

pub(crate) fn run(shared: &Shared, command: &Command) -> Result<(), Exit> {
    let (directory, key) = match command {
        Command::New { name, key } => {
            let directory = keys::own_directory(key.as_ref())?;
            let name = name.clone().unwrap_or_else(keys::own_name);
            if name.is_empty() || name != keys::part(&name) || name.contains(char::is_whitespace) {
                return Err(Exit::usage(
                    format!("`{name}` cannot be a key's name"),
                    Some("it has no spaces and no `+`"),
                ));
            }
            let (key, made) = keys::ensure(&directory, &name)?;
            if !made {
                return Err(Exit::refused(
                    format!("there is a key in `{}`", directory.display()),
                    Some("`groundcrew keys show` prints its public half"),
                ));
            }
            (directory, key)
        }
        Command::Show { key } => {
            let directory = keys::own_directory(key.as_ref())?;
            let found = keys::read(&directory)?.ok_or_else(|| {
                Exit::usage(
                    format!("there is no key in `{}`", directory.display()),
                    Some("`groundcrew keys new` makes one"),
                )
            })?;
            (directory, found)
        }
    };
    if shared.json {
        data!(
            "{}",
            as_json(&json!({ "name": key.name(), "public": key.public(), "directory": directory }))
        );
    } else {
        data!("{}", key.public());
        if matches!(command, Command::New { .. }) {
            say!(
                "made in `{}`. The line above is its public half, for `plan_authors` and `approvals` of a policy; the private half stays there.",
                directory.display()
            );
        }
    }
    Ok(())
}
