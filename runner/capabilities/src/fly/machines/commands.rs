//! The commands on one Machine: writes whose answer says nothing but that they were taken. Each stands
//! here once: its row, how it is asked of Fly, what it does to the model, and what shows that it
//! happened. What answers more than that (`update`, `create`, `exec`) is in `making.rs`.

use groundcrew::{Failure, Request, Row};
use groundcrew_fleet::api::{
    ApiError, MetadataPatch, RestartQuery, SignalRequest, StartResponse, StopRequest,
};
use groundcrew_fleet::{Caller, Fleet};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::sound;
use crate::fly::contract::{RestartOptions, StopOptions};
use crate::fly::world::api::{Asked, Command};

/// One command.
pub(super) struct Described {
    pub(super) row: Row,
    /// What is sent for a request of it.
    pub(super) made: fn(&Request) -> Result<Command, Failure>,
    pub(super) shown: Shown,
    /// The newest event has to be known before, to find it out later.
    pub(super) baseline: bool,
    /// A Machine that is not found shows that it is done.
    pub(super) gone_is_done: bool,
    /// The metadata that it sets, which must leave the Machine in its process group.
    pub(super) sets: Option<Reading>,
}

/// Reads metadata out of a request.
type Reading = fn(&Request) -> Result<Metadata, Failure>;

/// Keys of metadata with their values; none removes.
pub(super) type Metadata = Vec<(String, Option<String>)>;

/// What shows that a command happened whose answer was lost.
pub(super) enum Shown {
    /// The Machine's state.
    States(&'static [&'static str]),
    /// Its events, after the baseline.
    Events,
    /// Nothing needs to: it is sent again, and does no harm twice.
    Again,
    /// Nothing does, in words.
    Nothing(&'static str),
}

const WRITE: Row = Row {
    sound: sound::sound,
    in_doubt: "the state",
    projection: &["state", "host_status"],
    ..Row::WRITE
};

const FLAG: Row = Row {
    verb: "cordon",
    in_doubt: "the flag",
    projection: &["cordoned", "host_status"],
    ..WRITE
};

/// What differs is written on top.
const COMMAND: Described = Described {
    row: WRITE,
    made: |request| Err(request.row.unperformed()),
    shown: Shown::Again,
    baseline: false,
    gone_is_done: false,
    sets: None,
};

pub(super) const COMMANDS: [Described; 9] = [
    Described {
        row: Row {
            name: "machines.start",
            verb: "start",
            undo: Some("machines.stop"),
            ..WRITE
        },
        made: |_| {
            let mut start = post("start", |fleet, by, app, id| {
                fleet.start(by, app, id).map(drop)
            });
            start.asked.says_no = Some(start_failed);
            Ok(start)
        },
        shown: Shown::States(&["starting", "started"]),
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.stop",
            verb: "stop",
            undo: Some("machines.start"),
            ..WRITE
        },
        made: stop,
        shown: Shown::States(&["stopping", "stopped"]),
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.restart",
            verb: "restart",
            idempotent: false,
            in_doubt: "an exit with requested_stop, newer than the newest event before the intent; to be sure that it did not happen, our lease is taken anew; without the lease: cannot be found out",
            ..WRITE
        },
        made: restart,
        shown: Shown::Events,
        baseline: true,
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.suspend",
            verb: "suspend",
            undo: Some("machines.start"),
            ..WRITE
        },
        made: |_| {
            Ok(post("suspend", |fleet, by, app, id| {
                fleet.suspend(by, app, id).map(drop)
            }))
        },
        shown: Shown::States(&["suspending", "suspended"]),
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.signal",
            verb: "signal",
            idempotent: false,
            in_doubt: "cannot be found out",
            fork: "nothing changes",
            ..WRITE
        },
        made: signal,
        shown: Shown::Nothing("a signal leaves no trace"),
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.cordon",
            undo: Some("machines.uncordon"),
            ..FLAG
        },
        made: |_| {
            Ok(post("cordon", |fleet, by, app, id| {
                fleet.cordon(by, app, id).map(drop)
            }))
        },
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.uncordon",
            undo: Some("machines.cordon"),
            ..FLAG
        },
        made: |_| {
            Ok(post("uncordon", |fleet, by, app, id| {
                fleet.uncordon(by, app, id).map(drop)
            }))
        },
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.destroy",
            verb: "destroy",
            in_doubt: "gone, or on its way",
            projection: &["state", "host_status", "instance_id"],
            ..WRITE
        },
        made: destroy,
        shown: Shown::States(&["destroying", "destroyed"]),
        gone_is_done: true,
        ..COMMAND
    },
    Described {
        row: Row {
            name: "machines.set-metadata",
            verb: "metadata",
            in_doubt: "sent again",
            undo: Some("machines.set-metadata"),
            projection: &["host_status"],
            ..WRITE
        },
        made: set_metadata,
        sets: Some(|request| request.arguments()),
        ..COMMAND
    },
];

/// The command of an operation; none if it is another write, or a read.
pub(super) fn of(row: &Row) -> Option<&'static Described> {
    static ALL: [Described; COMMANDS.len()] = COMMANDS;
    ALL.iter().find(|command| command.row.name == row.name)
}

type Done = Result<(), ApiError>;

fn post(path: &'static str, act: fn(&mut Fleet, &Caller<'_>, &str, &str) -> Done) -> Command {
    Command {
        asked: Asked::below(Method::POST, path),
        act: Box::new(act),
    }
}

fn stop(request: &Request) -> Result<Command, Failure> {
    let options: StopOptions = request.arguments()?;
    let mut body = Map::new();
    if let Some(signal) = &options.signal {
        body.insert("signal".to_owned(), signal.clone().into());
    }
    if let Some(timeout) = options.timeout_ms {
        body.insert("timeout".to_owned(), seconds(timeout).into());
    }
    let modelled = StopRequest {
        signal: options.signal,
        timeout: options.timeout_ms.map(millis),
    };
    Ok(Command {
        asked: Asked {
            body: Some(Value::Object(body)),
            ..Asked::below(Method::POST, "stop")
        },
        act: Box::new(move |fleet, by, app, id| fleet.stop(by, app, id, &modelled).map(drop)),
    })
}

fn restart(request: &Request) -> Result<Command, Failure> {
    let options: RestartOptions = request.arguments()?;
    let mut query = vec![("force_stop", options.force_stop.to_string())];
    query.extend(options.timeout_ms.map(|ms| ("timeout", seconds(ms))));
    query.extend(options.signal.clone().map(|signal| ("signal", signal)));
    let modelled = RestartQuery {
        force_stop: options.force_stop,
        timeout: options.timeout_ms.map(millis),
        signal: options.signal,
    };
    Ok(Command {
        asked: Asked {
            query,
            ..Asked::below(Method::POST, "restart")
        },
        act: Box::new(move |fleet, by, app, id| fleet.restart(by, app, id, &modelled).map(drop)),
    })
}

fn signal(request: &Request) -> Result<Command, Failure> {
    let modelled = SignalRequest {
        signal: request.arguments()?,
    };
    Ok(Command {
        asked: Asked {
            body: Some(json!({ "signal": modelled.signal })),
            ..Asked::below(Method::POST, "signal")
        },
        act: Box::new(move |fleet, by, app, id| fleet.signal(by, app, id, &modelled).map(drop)),
    })
}

fn destroy(request: &Request) -> Result<Command, Failure> {
    let force: bool = request.arguments()?;
    Ok(Command {
        asked: Asked {
            query: vec![("force", force.to_string())],
            ..Asked::itself(Method::DELETE)
        },
        act: Box::new(move |fleet, by, app, id| fleet.destroy(by, app, id, force).map(drop)),
    })
}

fn set_metadata(request: &Request) -> Result<Command, Failure> {
    let values: Metadata = request.arguments()?;
    let patch = MetadataPatch {
        metadata: values.into_iter().collect(),
        machine_version: None,
    };
    let body = serde_json::to_value(&patch);
    let body = body.map_err(|e| Failure::Invalid(format!("metadata: {e}")))?;
    Ok(Command {
        asked: Asked {
            body: Some(body),
            ..Asked::below(Method::PATCH, "metadata")
        },
        act: Box::new(move |fleet, by, app, id| fleet.metadata_patch(by, app, id, &patch)),
    })
}

/// A start can fail with a status of 200. (fly-go reads this too.)
fn start_failed(answer: &[u8]) -> Option<Failure> {
    let started: StartResponse = serde_json::from_slice(answer).ok()?;
    if started.status.as_deref() != Some("error") {
        return None;
    }
    let why = started
        .message
        .unwrap_or_else(|| "no reason given".to_owned());
    Some(Failure::other(
        "start-failed",
        format!("the Machine was not started: {why}"),
    ))
}

/// As Fly takes a duration: whole seconds, at least one.
fn seconds(ms: u64) -> String {
    format!("{}s", ms.div_ceil(1000).max(1))
}

fn millis(ms: u64) -> String {
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use groundcrew::Kind;

    use super::*;

    #[test]
    fn each_is_a_write_that_can_be_made_and_found_out_as_its_row_says() {
        for command in &COMMANDS {
            let row = &command.row;
            assert_eq!(row.kind, Kind::Write, "{}", row.name);
            assert!(of(row).is_some(), "{}", row.name);
            let repeated = matches!(command.shown, Shown::Again | Shown::States(_));
            assert_eq!(row.idempotent, repeated, "{}", row.name);
            assert_eq!(command.baseline, matches!(command.shown, Shown::Events));
        }
    }

    #[test]
    fn durations_are_whole_seconds() {
        assert_eq!([0, 1, 1000, 1001].map(seconds), ["1s", "1s", "1s", "2s"]);
    }
}
