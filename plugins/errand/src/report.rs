//! What comes out, and when it counts as failed.

use std::time::Duration;

use groundcrew_plugin::{Created, Error, Event, Host, Kind, Machine, Result};
use schemars::JsonSchema;
use serde::Serialize;

/// How the command ended, and what became of its Machine.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The Machine that ran it.
    pub id: String,
    /// Where that was.
    pub region: String,
    /// The Machine whose configuration it had.
    pub pattern: String,
    /// How the command ended.
    pub result: Outcome,
    /// Its exit code, if it is known to have ended.
    pub exit_code: Option<i32>,
    /// From the request for the Machine until the exit code was read, in milliseconds.
    pub duration_ms: u64,
    /// The Machine is gone again.
    pub destroyed: bool,
    /// Why, unless all went well.
    pub reason: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With 0.
    Succeeded,
    /// With something else, for want of memory, or because somebody stopped it.
    Failed,
    /// How, or whether at all, is not known.
    Unknown,
}

/// All that is known once it is over.
pub(crate) struct Run<'a> {
    pub(crate) pattern: &'a Machine,
    pub(crate) created: &'a Created,
    pub(crate) duration: Duration,
    pub(crate) result: Result<Event>,
    pub(crate) destroyed: Result<()>,
}

impl Run<'_> {
    /// Makes the report, and a failure that carries it unless all went well.
    pub(crate) fn conclude(self, host: &Host) -> Result<Report> {
        let machine = &self.created.machine;
        let (result, exit_code) = match &self.result {
            Ok(exit) => (outcome(exit), exit.exit_code),
            Err(_) => (Outcome::Unknown, None),
        };
        let failure = self.failure(result);
        let report = Report {
            id: machine.id.clone(),
            region: machine.region.clone(),
            pattern: self.pattern.id.clone(),
            result,
            exit_code,
            duration_ms: self.duration.as_millis() as u64,
            destroyed: self.destroyed.is_ok(),
            reason: failure.as_ref().map(|error| error.message().to_owned()),
        };
        match failure {
            None => {
                host.item(&machine.id).succeeded("exit code 0");
                Ok(report)
            }
            Some(error) => {
                host.item(&machine.id).failed(error.message());
                Err(error.with_output(&report))
            }
        }
    }

    /// Why it did not go well. From the moment at which there was a Machine nothing counts as
    /// something that may pass: a retry of the step would run the command again.
    fn failure(&self, outcome: Outcome) -> Option<Error> {
        let left = match &self.destroyed {
            Ok(()) => String::new(),
            Err(error) => format!("; the Machine is still there: {error}"),
        };
        match (&self.result, outcome) {
            (Err(error), _) => {
                let kind = match error.kind() {
                    kind @ (Kind::Application | Kind::Cancelled | Kind::Denied) => kind,
                    Kind::NotFound
                    | Kind::Conflict
                    | Kind::RateLimited
                    | Kind::Capacity
                    | Kind::Timeout
                    | Kind::Unavailable
                    | Kind::Invalid
                    | Kind::Other => Kind::Other,
                };
                Some(Error::new(kind, format!("{error}{left}")))
            }
            (Ok(exit), Outcome::Failed | Outcome::Unknown) => {
                Some(Error::application(format!("{}{left}", how(exit))))
            }
            (Ok(_), Outcome::Succeeded) => {
                let error = self.destroyed.as_ref().err()?;
                Some(Error::new(
                    Kind::Other,
                    format!("the command succeeded, and its Machine is still there: {error}"),
                ))
            }
        }
    }
}

fn outcome(exit: &Event) -> Outcome {
    match exit.exit_code {
        _ if exit.requested_stop || exit.out_of_memory => Outcome::Failed,
        Some(0) => Outcome::Succeeded,
        Some(_) => Outcome::Failed,
        None => Outcome::Unknown,
    }
}

fn how(exit: &Event) -> String {
    match exit.exit_code {
        _ if exit.out_of_memory => "the command ran out of memory".to_owned(),
        _ if exit.requested_stop => {
            "somebody stopped the Machine before the command had ended".to_owned()
        }
        Some(code) => format!("the command ended with exit code {code}"),
        None => "the command ended, and Fly does not say with which exit code".to_owned(),
    }
}
