//! The operations table: what is to be known of an operation.

use serde::{Deserialize, Serialize};

use super::{Name, Request};
use crate::contract::Failure;

/// Reading or writing, the first thing that is asked of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Changes nothing in the world.
    Read,
    /// May change something.
    Write,
}

/// What a step says that it is going to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Things of the request's app, by id.
    pub ids: Vec<String>,
    /// How many more it is going to make there.
    pub makes: usize,
}

/// Reads that in a request.
pub type Announcing = fn(&Request) -> Result<Announced, Failure>;

/// One row of the operations table: everything the gate, a rehearsal, a resume and a plan need to
/// know of an operation. `groundcrew plugin capabilities` prints it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// Capability and operation: `machines.restart`.
    pub name: &'static str,
    /// Reading or writing.
    pub kind: Kind,
    /// The verb that a grant names to allow it; empty if no grant is needed.
    pub verb: &'static str,
    /// Sending it twice is the same as sending it once.
    pub idempotent: bool,
    /// A write whose only effect is on this run's own bookkeeping (a lease): it is no forward
    /// write, does not count for the blast radius, and stays allowed during cleanup.
    pub housekeeping: bool,
    /// Spends its time waiting: an interrupt ends it early with `cancelled`.
    pub waits: bool,
    /// How it is found out whether it happened when no answer came.
    pub in_doubt: &'static str,
    /// The operation that takes it back, if there is one.
    pub undo: Option<&'static str>,
    /// Where in its answer (a JSON pointer) the id of the new thing is that it makes, in the
    /// request's app. What takes it back then acts on that.
    pub creates: Option<&'static str>,
    /// It says what the step is going to write to, before it does.
    #[serde(skip)]
    pub announces: Option<Announcing>,
    /// What it does in a rehearsal.
    pub fork: &'static str,
    /// What a rehearsal takes for granted in its answer; empty if the answer is exact.
    pub assumes: &'static str,
    /// The fields of its answer, or of what it writes to, that count when a plan is compared with the fleet.
    pub projection: &'static [&'static str],
    /// Reads what a request of it names, by the rules of the service that it goes to; why it is no such
    /// name, in words. The gate asks it of each request before anything else, wherever the request comes
    /// from: a plugin, a journal, a plan.
    #[serde(skip)]
    pub sound: fn(&Request) -> Result<(), String>,
}

impl Row {
    /// A read that is answered at once; what differs is written on top.
    pub const READ: Self = Self {
        name: "",
        kind: Kind::Read,
        verb: "list",
        idempotent: true,
        housekeeping: false,
        waits: false,
        in_doubt: "asked again",
        undo: None,
        creates: None,
        announces: None,
        fork: "answered by the target",
        assumes: "",
        projection: &[],
        sound: plain,
    };

    /// A write that does no harm twice; what differs is written on top.
    pub const WRITE: Self = Self {
        kind: Kind::Write,
        fork: "the model's transition",
        ..Self::READ
    };

    /// The row of an operation in its capability's table. Each name that is linked stands there, which
    /// a test of every capability walks.
    pub fn named(rows: &'static [Self], operation: &str) -> &'static Self {
        let found = rows.iter().find(|row| row.operation() == operation);
        found.unwrap_or(&rows[0])
    }

    /// What nothing performs: a row without an arm, our mistake.
    pub fn unperformed(&self) -> Failure {
        Failure::other("no-executor", format!("nothing performs `{}`", self.name))
    }

    /// The id of what an effect has made, out of its answer.
    pub(crate) fn made(&self, answer: &str) -> Option<String> {
        let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
        Some(answer.pointer(self.creates?)?.as_str()?.to_owned())
    }

    /// The operation's part of the name.
    pub fn operation(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(_, operation)| operation)
    }

    /// The capability's part of the name.
    pub fn capability(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(capability, _)| capability)
    }
}

/// App and subject are names of some kind.
fn plain(request: &Request) -> Result<(), String> {
    let named = [&request.app, &request.subject];
    let mut named = named.into_iter().flatten();
    named.try_for_each(|name| Name::read(name).map(drop))
}
