//! What comes out, and when the step counts as failed.

use groundcrew_plugin::{Executed, Kind, Machine, Result};
use groundcrew_sweep::{NO_HOST, NO_TURN, Selection, because, counted, kind, kinds};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Attempt, Input, Ran};

/// The most that a report keeps of what one command printed to one stream, in bytes.
const MOST: usize = 4 << 10;

/// The most that it keeps of all of them together. The host takes 8 MiB of output, and JSON writes
/// a byte as up to six.
const MOST_OF_ALL: usize = 1 << 20;

/// What became of the command on every Machine that the step was about.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// By id.
    pub machines: Vec<MachineReport>,
    /// The same in numbers.
    pub totals: Totals,
    /// Some Machines were not attempted because the run was interrupted.
    pub stopped_early: bool,
}

/// What became of the command on one Machine.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its process group.
    pub group: String,
    /// What became of it.
    pub result: Outcome,
    /// How the command ended; none if it is not known to have ended.
    pub exit_code: Option<i32>,
    /// The last that it printed: 4 KiB, or less when more than 128 Machines share the room.
    pub stdout: String,
    /// As `stdout`.
    pub stderr: String,
    /// It printed more than is here.
    pub truncated: bool,
    /// From the request for the lease until that was given back, in milliseconds; 0 if nothing
    /// was begun.
    pub duration_ms: u64,
    /// Why, unless it succeeded.
    pub reason: Option<String>,
}

/// What became of the command on a Machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ended with 0.
    Succeeded,
    /// It ended with something else, or could not be run or followed to its end.
    Failed,
    /// The Machine was left alone although the input names it.
    Skipped,
    /// The platform does not reach its host; nothing was sent.
    Unreachable,
    /// Its turn did not come.
    NotAttempted,
}

/// How many Machines had which result.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Where it ended with 0.
    pub succeeded: u32,
    /// Where it failed.
    pub failed: u32,
    /// Left alone although named.
    pub skipped: u32,
    /// On a host that is not reached.
    pub unreachable: u32,
    /// Whose turn did not come.
    pub not_attempted: u32,
}

/// How much of each stream of each command is kept.
#[derive(Clone, Copy)]
pub(crate) struct Room(usize);

impl Room {
    pub(crate) fn among(machines: usize) -> Self {
        Self((MOST_OF_ALL / (2 * machines.max(1))).min(MOST))
    }

    pub(crate) fn cut(self, executed: Executed) -> Ended {
        let longest = executed.stdout.len().max(executed.stderr.len());
        Ended {
            exit_code: executed.exit_code,
            truncated: longest > self.0,
            stdout: tail(executed.stdout, self.0),
            stderr: tail(executed.stderr, self.0),
        }
    }
}

/// How a command ended, and what is kept of what it printed.
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    stdout: String,
    stderr: String,
    truncated: bool,
}

/// The end of a text, in at most so many bytes: what went wrong is printed last.
fn tail(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.drain(..text.ceil_char_boundary(text.len() - most));
    }
    text
}

/// Makes the report, and a failure of the step that carries it unless enough went well.
pub(crate) fn conclude(input: &Input, selection: &Selection, ran: Ran<'_>) -> Result<Report> {
    let kind = failure_kind(&ran.results);
    let mut machines: Vec<MachineReport> = ran.results.into_iter().map(MachineReport::of).collect();
    let waiting = ran.not_attempted.into_iter();
    machines.extend(waiting.map(|it| MachineReport::idle(it, Outcome::NotAttempted, NO_TURN)));
    let hosts = selection.unreachable.iter();
    machines.extend(hosts.map(|it| MachineReport::idle(it, Outcome::Unreachable, NO_HOST)));
    let skipped = selection.skipped.iter();
    machines.extend(skipped.map(|(it, why)| MachineReport::idle(it, Outcome::Skipped, why)));
    machines.sort_by(|a, b| a.id.cmp(&b.id));

    let totals = Totals::of(&machines);
    let report = Report {
        stopped_early: totals.not_attempted > 0,
        totals,
        machines,
    };
    // What an interrupt cut short is not something that was agreed to.
    let agreed = report.totals.is_tolerable(input) && kind != Kind::Cancelled;
    let failure = (!agreed).then(|| report.failure());
    groundcrew_sweep::conclude(report, kind, failure)
}

/// Which kind of failure the step ends with, if it fails. Something that may pass counts as such
/// only if the command ended nowhere: a retry of the step would run it everywhere again.
fn failure_kind(attempts: &[Attempt<'_>]) -> Kind {
    let mut kinds = kinds(attempts.iter().map(|it| &it.became));
    let ended_nowhere = kinds.len() == attempts.len() && !kinds.contains(&Kind::Timeout);
    let mut ended = attempts.iter().filter_map(|it| it.became.as_ref().ok());
    if ended.any(|it| it.exit_code != 0) {
        kinds.push(Kind::Application);
    }
    let lasting = [Kind::Cancelled, Kind::Application];
    kind(&kinds, &lasting, ended_nowhere).unwrap_or(Kind::Unavailable)
}

impl Report {
    /// One sentence about what went wrong.
    fn failure(&self) -> String {
        let totals = &self.totals;
        let counts = counted(&[
            (totals.failed, "failed"),
            (totals.unreachable, "on unreachable hosts"),
            (totals.not_attempted, "not attempted"),
        ]);
        let mut machines = self.machines.iter();
        let first = machines.find(|machine| machine.result == Outcome::Failed);
        let why = because(first.map(|it| (it.id.as_str(), it.reason.as_deref())));
        let succeeded = totals.succeeded;
        format!("{succeeded} succeeded, {}{why}", counts.join(", "))
    }
}

impl Totals {
    fn of(machines: &[MachineReport]) -> Self {
        let mut totals = Self::default();
        for machine in machines {
            *match machine.result {
                Outcome::Succeeded => &mut totals.succeeded,
                Outcome::Failed => &mut totals.failed,
                Outcome::Skipped => &mut totals.skipped,
                Outcome::Unreachable => &mut totals.unreachable,
                Outcome::NotAttempted => &mut totals.not_attempted,
            } += 1;
        }
        totals
    }

    fn is_tolerable(&self, input: &Input) -> bool {
        self.not_attempted == 0 && self.failed + self.unreachable <= input.tolerate
    }
}

impl MachineReport {
    fn of(attempt: Attempt<'_>) -> Self {
        let mut report = Self::idle(attempt.work, Outcome::Succeeded, "");
        report.duration_ms = attempt.duration_ms;
        report.reason = None;
        match attempt.became {
            Ok(ended) => report.ended(ended),
            Err(error) => {
                report.result = Outcome::Failed;
                report.reason = Some(error.to_string());
            }
        }
        report
    }

    fn ended(&mut self, ended: Ended) {
        self.truncated = ended.truncated;
        self.stdout = ended.stdout;
        self.stderr = ended.stderr;
        self.exit_code = Some(ended.exit_code);
        if ended.exit_code != 0 {
            self.result = Outcome::Failed;
            self.reason = Some(format!("exit code {}", ended.exit_code));
        }
    }

    fn idle(machine: &Machine, result: Outcome, why: &str) -> Self {
        Self {
            id: machine.id.clone(),
            region: machine.region.clone(),
            group: machine.group.clone(),
            result,
            exit_code: None,
            stdout: String::new(),
            stderr: String::new(),
            truncated: false,
            duration_ms: 0,
            reason: Some(why.to_owned()),
        }
    }
}
