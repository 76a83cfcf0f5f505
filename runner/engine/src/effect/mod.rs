//! Effects: what a plugin asks of the host, and what becomes of it.

mod executor;
pub(crate) mod fault;
mod setting;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::contract::Failure;

pub use executor::{
    Afterwards, Difference, Effect, Executor, Forked, Found, GivenUp, InService, Population,
};
pub use setting::{Commons, Mode, Setting};

/// A typed argument list as the arguments of a request.
pub fn arguments<T: Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

/// Reading or writing, the first thing that is asked of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Changes nothing in the world.
    Read,
    /// May change something.
    Write,
}

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
    /// What it does in a rehearsal.
    pub fork: &'static str,
    /// What a rehearsal takes for granted in its answer; empty if the answer is exact.
    pub assumes: &'static str,
    /// The fields of its answer, or of what it writes to, that count when a plan is compared with the fleet.
    pub projection: &'static [&'static str],
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
        fork: "answered by the target",
        assumes: "",
        projection: &[],
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

/// What a plugin asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// The operation.
    #[serde(rename = "operation", serialize_with = "row_name")]
    pub row: &'static Row,
    /// The app it concerns, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The one thing in the app that it acts on, such as a Machine's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The web origin that it goes to, if it goes outside: `https://example.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What else it is within, by the word of a grant's scope: `queue`, `default`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<String, String>,
    /// Everything else, in canonical JSON.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub arguments: serde_json::Value,
}

fn row_name<S: serde::Serializer>(row: &&'static Row, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(row.name)
}

impl Request {
    /// A request for an operation, with nothing else.
    pub fn new(row: &'static Row) -> Self {
        Self {
            row,
            app: None,
            subject: None,
            origin: None,
            within: BTreeMap::new(),
            arguments: serde_json::Value::Null,
        }
    }

    /// The same, on one thing in an app.
    pub fn on(mut self, app: String, subject: String) -> Self {
        self.app = Some(app);
        self.subject = Some(subject);
        self
    }

    /// The same, in an app.
    pub fn in_app(mut self, app: String) -> Self {
        self.app = Some(app);
        self
    }

    /// The same, to a web origin.
    pub fn at_origin(mut self, origin: String) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same, within what a scope of the capability's grants calls `one`.
    pub fn within_one(mut self, one: &str, name: String) -> Self {
        self.within.insert(one.to_owned(), name);
        self
    }

    /// What a request names for a grant to cover: the word of a scope, and the name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let app = self.app.as_deref().map(|app| ("app", app));
        let origin = self.origin.as_deref().map(|origin| ("origin", origin));
        let others = self
            .within
            .iter()
            .map(|(one, name)| (one.as_str(), name.as_str()));
        app.into_iter().chain(origin).chain(others)
    }

    /// The same, with arguments.
    pub fn with(mut self, arguments: serde_json::Value) -> Self {
        self.arguments = arguments;
        self
    }

    /// Whether it is a forward write: it changes something other than the run's own bookkeeping.
    pub fn counts(&self) -> bool {
        self.row.kind == Kind::Write && !self.row.housekeeping
    }

    /// Reads the arguments back as the type they were made from.
    ///
    /// # Errors
    /// `invalid`, if they are not of that type.
    pub fn arguments<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.arguments)
            .map_err(|e| Failure::Invalid(format!("arguments of `{}`: {e}", self.row.name)))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.name)?;
        match (&self.app, &self.subject) {
            (Some(app), Some(subject)) => write!(f, " {app}/{subject}"),
            (Some(only), None) | (None, Some(only)) => write!(f, " {only}"),
            (None, None) => Ok(()),
        }
    }
}

/// Names an effect everywhere: in the journal, in the header of every request that it causes, in
/// the simulator's log. Displayed as `run/step/number`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EffectId {
    /// The run.
    pub run: Arc<str>,
    /// The step; a later attempt of a step has `~2` and so on behind its id.
    pub step: Arc<str>,
    /// The number of the submission within the step, from 1.
    pub number: u64,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.number)
    }
}

/// What became of an effect. The JSON is exactly what is journalled and exactly what the plugin
/// gets.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The answer as JSON, or why there is none.
    pub result: Result<Arc<str>, Failure>,
    /// The effect is a write that was sent and it could not be found out whether it happened.
    pub in_doubt: bool,
}

impl Outcome {
    /// A success.
    pub fn ok<T: Serialize>(value: &T) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => Self {
                result: Ok(json.into()),
                in_doubt: false,
            },
            Err(e) => Self::failed(Failure::other(
                "answer",
                format!("the host could not write its answer down: {e}"),
            )),
        }
    }

    /// A failure of which it is known whether anything happened.
    pub fn failed(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            in_doubt: false,
        }
    }

    /// A failure after which the write may or may not have happened.
    pub fn in_doubt(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            in_doubt: true,
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::failed(failure)
    }
}

impl<T: Serialize> From<Result<T, Failure>> for Outcome {
    fn from(result: Result<T, Failure>) -> Self {
        match result {
            Ok(value) => Self::ok(&value),
            Err(failure) => Self::failed(failure),
        }
    }
}
