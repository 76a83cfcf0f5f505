//! The checked runbook. Only [`check`](crate::check) makes one, so whoever holds one knows that its
//! names resolve, its `needs` have no circle and its expressions parse.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::expression::{ExpressionError, Scope};
use crate::grant::{EvaluatedGrant, Grant};
use crate::template::{Condition, Template, TemplateValue};
use crate::{Diagnostic, InputSpec, format_duration, parse_duration};

/// How long an attempt of a step may take when the runbook does not say: long enough for a rolling
/// restart of a large app, short enough that a hung step is found the same day.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A checked runbook.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// Its name.
    pub name: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// Its inputs, in the order of the file.
    pub inputs: Vec<InputSpec>,
    /// What it locks; `None` leaves that to the engine's default, an empty list locks nothing.
    pub lock: Option<Vec<Template>>,
    /// Its steps, in the order of the file.
    pub steps: Vec<Step>,
    /// Steps that run after all others however those ended, one after another.
    pub finally: Vec<Step>,
    /// What its author should look at although it can be run.
    pub warnings: Vec<Diagnostic>,
}

/// One use of one plugin.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique in the runbook, `rescue` and `finally` included.
    pub id: String,
    /// The plugin's name; never reads `steps`.
    pub plugin: Template,
    /// The plugin's input, always a [`TemplateValue::Table`].
    pub with: TemplateValue,
    /// Ids of the steps that must have ended before.
    pub needs: Vec<String>,
    /// Skips the step unless it holds.
    pub when: Option<Condition>,
    /// What it may do, by capability.
    pub grant: BTreeMap<String, Grant>,
    /// See [`Step::timeout`].
    pub timeout: Option<Template>,
    /// Retries of transient failures.
    pub retry: Retry,
    /// What its failure means for the run.
    pub on_failure: OnFailure,
    /// Operations that cannot be found out when in doubt may be done again.
    pub repeatable: bool,
    /// Steps that run, one after another, if this one failed.
    pub rescue: Vec<Step>,
}

/// Whether a run goes on after a step has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No further step begins, apart from `rescue` and `finally`.
    #[default]
    Stop,
    /// The rest runs, those that need it too; the run has failed all the same.
    Continue,
}

/// Retries of a step whose failure is transient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; 1 is no retry, and the default.
    pub max_attempts: u32,
    /// The pause before the second attempt; it doubles with each. Default 1 s.
    pub backoff: Duration,
    /// The longest pause. Default 1 min.
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
        }
    }
}

impl Step {
    /// How long an attempt may take.
    pub fn timeout(&self, scope: &Scope) -> Result<Duration, ExpressionError> {
        let Some(template) = &self.timeout else {
            return Ok(DEFAULT_TIMEOUT);
        };
        let value = template.evaluate(scope)?;
        let Some(text) = value.as_str() else {
            let reason = format!("{value} is not a duration such as `90s`");
            return Err(template.error(template.source(), reason));
        };
        let wrong = |why: String| template.error(template.source(), why);
        let timeout = parse_duration(text).map_err(|error| wrong(error.to_string()))?;
        match timeout.is_zero() {
            true => Err(wrong(format!("`{text}` gives the step no time"))),
            false => Ok(timeout),
        }
    }

    /// Its grants with their values.
    pub fn evaluate_grants(
        &self,
        scope: &Scope,
    ) -> Result<BTreeMap<String, EvaluatedGrant>, ExpressionError> {
        self.grant
            .iter()
            .map(|(name, grant)| Ok((name.clone(), grant.evaluate(scope)?)))
            .collect()
    }
}

impl std::fmt::Display for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (
            format_duration(self.backoff),
            format_duration(self.max_backoff),
        );
        write!(f, "{} attempts, {first} to {last} apart", self.max_attempts)
    }
}
