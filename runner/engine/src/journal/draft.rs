//! Entries on their way to the writer, already in JSON.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Decision, Delivered, EntryKind, Note, NoteBody, RunClosed, RunOpened, RunStatus, StepBegan,
    StepEnded,
};
use crate::contract::Failure;
use crate::effect::{Outcome, Request};

/// An entry before it has a place.
#[derive(Debug)]
pub struct Draft {
    pub(crate) kind: EntryKind,
    pub(crate) payload: String,
    pub(crate) closing: Option<RunStatus>,
}

impl Draft {
    fn new<T: Serialize>(kind: EntryKind, payload: &T) -> Self {
        // The payload types hold nothing that JSON cannot: no maps with other keys than text.
        let payload = serde_json::to_string(payload)
            .unwrap_or_else(|e| format!("{{\"unwritable\":{:?}}}", e.to_string()));
        Self {
            kind,
            payload,
            closing: None,
        }
    }

    pub(crate) fn run_opened(payload: &RunOpened) -> Self {
        Self::new(EntryKind::RunOpened, payload)
    }

    pub(crate) fn step_began(payload: &StepBegan) -> Self {
        Self::new(EntryKind::StepBegan, payload)
    }

    pub(crate) fn step_ended(payload: &StepEnded) -> Self {
        Self::new(EntryKind::StepEnded, payload)
    }

    pub(crate) fn run_closed(payload: &RunClosed) -> Self {
        Self {
            closing: Some(payload.status),
            ..Self::new(EntryKind::RunClosed, payload)
        }
    }

    pub(crate) fn note(step: Option<&str>, note: NoteBody) -> Self {
        Self::new(
            EntryKind::Note,
            &Note {
                step: step.map(str::to_owned),
                note,
            },
        )
    }

    pub(crate) fn delivered(step: &str, effects: Vec<u64>, now: u64) -> Self {
        Self::new(
            EntryKind::Delivered,
            &Delivered {
                step: step.to_owned(),
                effects,
                now,
            },
        )
    }

    /// Written without building an [`Intended`]: this is the hot path.
    pub(crate) fn intended(
        step: &str,
        effect: u64,
        decision: Decision,
        host: bool,
        request: &Request,
        baseline: Option<&Value>,
    ) -> Self {
        #[derive(Serialize)]
        struct Line<'a> {
            step: &'a str,
            effect: u64,
            decision: Decision,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            host: bool,
            request: &'a Request,
            #[serde(skip_serializing_if = "Option::is_none")]
            baseline: Option<&'a Value>,
        }
        Self::new(
            EntryKind::Intended,
            &Line {
                step,
                effect,
                decision,
                host,
                request,
                baseline,
            },
        )
    }

    /// Puts the answer's bytes in unchanged.
    pub(crate) fn settled(step: &str, effect: u64, outcome: &Outcome) -> Self {
        #[derive(Serialize)]
        struct Line<'a> {
            step: &'a str,
            effect: u64,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            in_doubt: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            answer: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            failure: Option<&'a Failure>,
        }
        let answer = outcome
            .result
            .as_ref()
            .ok()
            .and_then(|json| serde_json::from_str::<&RawValue>(json).ok());
        let failure = outcome.result.as_ref().err();
        Self::new(
            EntryKind::Settled,
            &Line {
                step,
                effect,
                in_doubt: outcome.in_doubt,
                answer,
                failure,
            },
        )
    }
}
