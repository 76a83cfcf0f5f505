//! The rows of the operations table: those of the commands (`commands.rs`), and the others.

use groundcrew::{Announced, Failure, Kind, Request, Row};

use super::commands::COMMANDS;
use super::sound;

const READ: Row = Row {
    sound: sound::sound,
    fork: "answered by the fork, exact once the app is copied",
    ..Row::READ
};

const WAIT: Row = Row {
    verb: "wait",
    waits: true,
    fork: "virtual time passes; start and check times are assumed",
    assumes: "what is waited for comes about: 1 s to stop, 2 s to start",
    ..READ
};

const WRITE: Row = Row {
    sound: sound::sound,
    in_doubt: "the state",
    projection: &["state", "host_status"],
    ..Row::WRITE
};

const LEASE: Row = Row {
    kind: Kind::Write,
    verb: "lease",
    housekeeping: true,
    in_doubt: "owner and description of the lease",
    fork: "held in the fork; none is taken on the target",
    ..READ
};

/// What a plan rests on of a Machine that was listed.
const SEEN: [&str; 8] = [
    "id",
    "state",
    "group",
    "region",
    "image_digest",
    "host_status",
    "cordoned",
    "standbys",
];

/// Machines of the app that the step is going to write to, and how many more it is going to make.
fn announced(request: &Request) -> Result<Announced, Failure> {
    let (ids, makes): (Vec<String>, u32) = request.arguments()?;
    let makes = makes as usize;
    Ok(Announced { ids, makes })
}

/// What is no command.
const OTHERS: [Row; 13] = [
    Row {
        name: "machines.list",
        projection: &SEEN,
        ..READ
    },
    Row {
        name: "machines.get",
        // It was asked for by its id.
        projection: SEEN.split_at(1).1,
        ..READ
    },
    Row {
        name: "machines.events",
        ..READ
    },
    Row {
        name: "machines.versions",
        ..READ
    },
    Row {
        name: "machines.announce",
        announces: Some(announced),
        fork: "nothing is sent",
        ..READ
    },
    Row {
        name: "machines.update",
        verb: "update",
        in_doubt: "the effect's id in the Machine's metadata; it names the version that it is for, so it counts once",
        undo: Some("machines.restore"),
        assumes: "the image can be pulled, and there is room",
        projection: &["instance_id", "state", "host_status", "cordoned"],
        ..WRITE
    },
    Row {
        name: "machines.restore",
        verb: "update",
        in_doubt: "as an update",
        assumes: "the image can be pulled, and there is room",
        projection: &["instance_id", "state", "host_status", "cordoned"],
        ..WRITE
    },
    Row {
        name: "machines.create",
        verb: "create",
        in_doubt: "the effect's id in the metadata, of Machines that are gone, too; else sent again: its name is made of the effect's id, and Fly has each name once",
        undo: Some("machines.destroy"),
        creates: Some("/id"),
        assumes: "there is room, and the image can be pulled",
        projection: &[],
        ..WRITE
    },
    Row {
        name: "machines.exec",
        verb: "exec",
        idempotent: false,
        in_doubt: "cannot be found out",
        fork: "nothing runs",
        assumes: "the command ends with 0 and prints nothing",
        ..WRITE
    },
    Row {
        name: "machines.wait",
        ..WAIT
    },
    Row {
        name: "machines.wait-healthy",
        assumes: "the checks pass, 1 s after the start",
        ..WAIT
    },
    Row {
        name: "machines.lease",
        undo: Some("machines.release"),
        ..LEASE
    },
    Row {
        name: "machines.release",
        ..LEASE
    },
];

/// All of them: the commands' first.
pub(crate) static ROWS: [Row; COMMANDS.len() + OTHERS.len()] = {
    let mut all = [READ; COMMANDS.len() + OTHERS.len()];
    let mut at = 0;
    while at < COMMANDS.len() {
        all[at] = COMMANDS[at].row;
        at += 1;
    }
    while at < all.len() {
        all[at] = OTHERS[at - COMMANDS.len()];
        at += 1;
    }
    all
};

/// The row of an operation.
pub(crate) fn row(name: &str) -> &'static Row {
    Row::named(&ROWS, name)
}
