//! The audit log beside the journals: its directory, its key, and where its checkpoints go.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use groundcrew::audit::{AuditLog, Signed, publish};
use groundcrew::store::Store;

use crate::config::{AuditConfig, Config};
use crate::context::Shared;
use crate::exit::Exit;
use crate::files::{self, Directory};
use crate::keys;
use crate::terminal::say;

fn trouble<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Exit + 'a {
    move |e| Exit::journal(format!("the audit log: `{}`: {e}", path.display()))
}

/// The log of the state directory; its key is made at first use.
pub(crate) fn open(shared: &Shared, config: &Config) -> Result<AuditLog, Exit> {
    let directory = shared.state_dir()?.join("audit");
    let opened = Directory::private(&directory).map_err(trouble(&directory))?;
    let keys = match &config.user.audit.key {
        Some(path) => Shared::user_dir().unwrap_or_default().join(path),
        None => directory,
    };
    let (key, _) = keys::ensure(&keys, &name())?;
    Ok(AuditLog::new(opened.into_dir(), key))
}

/// Tells this log from every other: the machine, and something random.
fn name() -> String {
    let host = keys::part(&groundcrew::system::host());
    format!(
        "groundcrew/{host}/{:08x}",
        crate::context::random_seed() >> 32
    )
}

/// Takes what the store has into the log, and sends the checkpoint where it is to go. A log that
/// cannot be advanced now is caught up with by the next run.
pub(crate) async fn catch_up(shared: &Shared, config: &Config, store: &dyn Store) {
    let advanced = open(shared, config).and_then(|log| Ok(log.advance(store)?));
    match advanced {
        Ok(signed) => send(&config.user.audit, &signed).await,
        Err(e) => say!("warning: {}; the next run catches up", e.message()),
    }
}

async fn send(config: &AuditConfig, signed: &Signed) {
    for place in &config.checkpoint_to {
        let sent = match place.starts_with("https://") || place.starts_with("http://") {
            true => publish(place, signed).await.map_err(|e| e.to_string()),
            false => send_to(place, signed).map_err(|e| e.to_string()),
        };
        if let Err(e) = sent {
            say!("warning: the checkpoint does not reach `{}`: {}", place, e);
        }
    }
}

fn send_to(place: &str, signed: &Signed) -> std::io::Result<()> {
    let other = |why: String| Err(std::io::Error::other(why));
    match place.split_once("://") {
        Some(("file", path)) => {
            // Appended: a place that keeps all of them shows a log that was rewritten.
            files::append(Path::new(path), &format!("{}\n", signed.note))
        }
        Some(("cmd", command)) => {
            let mut words = command.split_whitespace();
            let Some(program) = words.next() else {
                return other("it names no program".to_owned());
            };
            let mut child = Command::new(program)
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(signed.note.as_bytes())?;
            }
            let status = child.wait()?;
            match status.success() {
                true => Ok(()),
                false => other(format!("it ended with {status}")),
            }
        }
        Some(_) | None => {
            other("write `file://PATH`, `cmd://PROGRAM ARGUMENTS` or `https://…`".to_owned())
        }
    }
}
