//! Effects: what a plugin asks of the host, and what becomes of it.

mod cover;
mod executor;
pub(crate) mod fault;
mod name;
mod row;
mod setting;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::contract::Failure;

pub use cover::Cover;
pub use executor::{
    Afterwards, Asked, Difference, Effect, Executor, Forked, Found, GivenUp, InService, Population,
};
pub use name::Name;
pub use row::{Announced, Announcing, Kind, Row};
pub use setting::{Commons, Mode, Setting};

/// A typed argument list as the arguments of a request.
pub fn arguments<T: Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
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

    /// Whether it counts for the blast radius: a forward write, and what takes hold of something, such as
    /// a lease. What gives back always may.
    pub fn reaches(&self) -> bool {
        self.counts() || (self.row.housekeeping && self.row.undo.is_some())
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
    /// How much of a listing the answer leaves out because no grant covers it.
    pub left_out: usize,
}

impl Outcome {
    /// A success.
    pub fn ok<T: Serialize>(value: &T) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => Self {
                result: Ok(json.into()),
                in_doubt: false,
                left_out: 0,
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
            left_out: 0,
        }
    }

    /// A failure after which the write may or may not have happened.
    pub fn in_doubt(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            in_doubt: true,
            left_out: 0,
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
