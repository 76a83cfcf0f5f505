//! The host's side of one running plugin: what it has submitted, what it has been given and not
//! taken, and the bounds on both. Lives in the wasmtime store.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng;
use rand_pcg::Pcg64;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::{StoreLimits, StoreLimitsBuilder};

use crate::contract::{Failure, RunInfo};
use crate::effect::{Outcome, Request, Row};
use crate::gate::Gate;
use crate::gate::shared::Halt;
use crate::journal::{Draft, NoteBody};
use crate::limits::Limits;

/// Why the host stopped a plugin.
#[derive(Debug, Clone, Error)]
pub(crate) enum Stop {
    /// It went past a bound, or broke the contract.
    #[error("{message}")]
    Bound {
        /// A stable word, as in [`crate::journal::StepProblem::code`].
        code: &'static str,
        /// What it did.
        message: String,
    },
    /// The run cannot go on.
    #[error(transparent)]
    Halt(#[from] Halt),
}

pub(crate) fn stop(code: &'static str, message: String) -> wasmtime::Error {
    wasmtime::Error::new(Stop::Bound { code, message })
}

/// The state of one instance of a plugin.
pub struct Guest {
    /// None while a plugin only describes itself.
    gate: Option<Arc<Gate>>,
    limits: Limits,
    pub(crate) memory: StoreLimits,
    pub(crate) info: RunInfo,
    random: Pcg64,
    now: u64,
    pending: Vec<(u64, Request)>,
    /// Submitted, and not delivered yet.
    in_flight: HashMap<u64, &'static Row>,
    submitted: u64,
    forgotten: std::collections::HashSet<u64>,
    delivered: HashMap<u64, (&'static Row, Held)>,
    held_bytes: usize,
    notes: u64,
}

enum Held {
    Outcome(Result<Arc<str>, Failure>),
    /// A listing of which some pages have been taken.
    Pages(Box<dyn Any + Send>, usize),
}

impl Guest {
    pub(crate) fn new(
        gate: Option<Arc<Gate>>,
        limits: Limits,
        info: RunInfo,
        random: Pcg64,
        now: u64,
    ) -> Self {
        let memory = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            // Tables hold function references: a plugin has a few thousand at most.
            .table_elements(100_000)
            .memories(4)
            .tables(16)
            .instances(16)
            .trap_on_grow_failure(true)
            .build();
        Self {
            gate,
            limits,
            memory,
            info,
            random,
            now,
            pending: Vec::new(),
            in_flight: HashMap::new(),
            submitted: 0,
            forgotten: std::collections::HashSet::new(),
            delivered: HashMap::new(),
            held_bytes: 0,
            notes: 0,
        }
    }

    /// Refuses any import while the plugin only describes itself: nothing there is real yet.
    pub(crate) fn performs(&self, function: &str) -> wasmtime::Result<()> {
        match self.gate {
            Some(_) => Ok(()),
            None => Err(stop(
                "contract",
                format!("`{function}` was called from `describe`"),
            )),
        }
    }

    /// Submits an effect: it gets a number now, and goes to the gate when the plugin next blocks.
    ///
    /// # Errors
    /// If a bound is passed; the plugin is then stopped.
    pub fn submit(&mut self, request: Request) -> wasmtime::Result<u64> {
        if self.in_flight.len() >= self.limits.operations_in_flight {
            return Err(stop(
                "operations",
                format!(
                    "more than {} operations in flight at once",
                    self.limits.operations_in_flight
                ),
            ));
        }
        if self.submitted >= self.limits.operations {
            return Err(stop(
                "operations",
                format!(
                    "more than {} operations in one step",
                    self.limits.operations
                ),
            ));
        }
        let size = rough_size(&request.arguments)
            + request.app.as_ref().map_or(0, String::len)
            + request.subject.as_ref().map_or(0, String::len);
        if size > self.limits.request_bytes {
            return Err(stop(
                "operations",
                format!(
                    "a request of {size} bytes; at most {} are allowed",
                    self.limits.request_bytes
                ),
            ));
        }
        self.submitted += 1;
        self.in_flight.insert(self.submitted, request.row);
        self.pending.push((self.submitted, request));
        Ok(self.submitted)
    }

    /// Gives everything pending to the gate and waits for what is done.
    pub(crate) async fn next(&mut self, max: u32) -> wasmtime::Result<Vec<u64>> {
        let Some(gate) = self.gate.clone() else {
            return Err(stop(
                "contract",
                "`next` was called from `describe`".to_owned(),
            ));
        };
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            gate.submit(pending)
                .await
                .map_err(|e| wasmtime::Error::new(Stop::Halt(e)))?;
        }
        loop {
            let (batch, now) = gate
                .next(max as usize)
                .await
                .map_err(|e| wasmtime::Error::new(Stop::Halt(e)))?;
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            self.now = now;
            let mut numbers = Vec::with_capacity(batch.len());
            for (number, outcome) in batch {
                let row = self.in_flight.remove(&number);
                if let (Some(row), false) = (row, self.forgotten.remove(&number)) {
                    self.hold(number, row, outcome)?;
                    numbers.push(number);
                }
            }
            if !numbers.is_empty() {
                return Ok(numbers);
            }
        }
    }

    fn hold(&mut self, number: u64, row: &'static Row, outcome: Outcome) -> wasmtime::Result<()> {
        self.held_bytes += outcome
            .result
            .as_ref()
            .map_or_else(|f| f.parts().1.len(), |json| json.len());
        if self.held_bytes > self.limits.result_bytes {
            return Err(stop(
                "result-bytes",
                format!(
                    "answers of {} bytes are held and not taken; at most {} are allowed",
                    self.held_bytes, self.limits.result_bytes
                ),
            ));
        }
        self.delivered
            .insert(number, (row, Held::Outcome(outcome.result)));
        Ok(())
    }

    fn held(&mut self, number: u64, operation: &str) -> wasmtime::Result<(&'static Row, Held)> {
        let (row, held) = self.delivered.remove(&number).ok_or_else(|| {
            let why = if number == 0 || number > self.submitted {
                "was never submitted"
            } else {
                "is not delivered, or was taken before"
            };
            stop(
                "contract",
                format!("operation {number} cannot be taken: it {why}"),
            )
        })?;
        if row.operation() != operation {
            return Err(stop(
                "contract",
                format!(
                    "operation {number} is a `{}` and cannot be taken as `{operation}`",
                    row.name
                ),
            ));
        }
        Ok((row, held))
    }

    /// Takes a delivered answer.
    ///
    /// # Errors
    /// If it is not there, or is of another type; the plugin is then stopped.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        number: u64,
        operation: &str,
    ) -> wasmtime::Result<Result<T, Failure>> {
        match self.held(number, operation)?.1 {
            Held::Outcome(Ok(json)) => {
                self.held_bytes -= json.len().min(self.held_bytes);
                let value = serde_json::from_str(&json).map_err(|e| {
                    stop(
                        "contract",
                        format!("operation {number} was taken as another type: {e}"),
                    )
                })?;
                Ok(Ok(value))
            }
            Held::Outcome(Err(failure)) => {
                self.held_bytes -= failure.parts().1.len().min(self.held_bytes);
                Ok(Err(failure))
            }
            Held::Pages(..) => Err(stop(
                "contract",
                format!("operation {number} was taken as another type"),
            )),
        }
    }

    /// Takes a part of a delivered answer: `page` gets the whole, and says whether this was the
    /// last part.
    ///
    /// # Errors
    /// As [`Guest::take`].
    pub fn take_part<T, P>(
        &mut self,
        number: u64,
        operation: &str,
        page: impl FnOnce(&mut T) -> (P, bool),
    ) -> wasmtime::Result<Result<P, Failure>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (row, held) = self.held(number, operation)?;
        let (mut whole, bytes) = match held {
            Held::Outcome(Err(failure)) => {
                self.held_bytes -= failure.parts().1.len().min(self.held_bytes);
                return Ok(Err(failure));
            }
            Held::Outcome(Ok(json)) => {
                let whole: T = serde_json::from_str(&json).map_err(|e| {
                    stop(
                        "contract",
                        format!("operation {number} was taken as another type: {e}"),
                    )
                })?;
                (Box::new(whole), json.len())
            }
            Held::Pages(whole, bytes) => match whole.downcast::<T>() {
                Ok(whole) => (whole, bytes),
                Err(_) => {
                    return Err(stop(
                        "contract",
                        format!("operation {number} was taken as another type"),
                    ));
                }
            },
        };
        let (part, last) = page(&mut whole);
        if last {
            self.held_bytes -= bytes.min(self.held_bytes);
        } else {
            self.delivered
                .insert(number, (row, Held::Pages(whole, bytes)));
        }
        Ok(Ok(part))
    }

    pub(crate) fn forget(&mut self, number: u64) {
        match self.delivered.remove(&number).map(|(_, held)| held) {
            Some(Held::Outcome(result)) => {
                let bytes = result.map_or_else(|f| f.parts().1.len(), |json| json.len());
                self.held_bytes -= bytes.min(self.held_bytes);
            }
            Some(Held::Pages(_, bytes)) => self.held_bytes -= bytes.min(self.held_bytes),
            None if number > 0 && number <= self.submitted => {
                self.forgotten.insert(number);
            }
            None => {}
        }
    }

    pub(crate) fn cancel(&self, number: u64) {
        if let Some(gate) = &self.gate {
            gate.cancel(number);
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Journals what the plugin says, within the bounds on talk.
    pub(crate) fn note(&mut self, note: NoteBody) {
        let Some(gate) = &self.gate else { return };
        self.notes += 1;
        if gate.said() {
            return;
        }
        if self.notes <= self.limits.notes {
            gate.note(note);
        } else if self.notes == self.limits.notes + 1 {
            let message = format!(
                "the plugin has said {} things; the rest is dropped",
                self.limits.notes
            );
            gate.note(NoteBody::Text {
                level: crate::contract::Level::Warning,
                message,
            });
        }
    }

    /// Cuts a text to the bound on notes, at a character.
    pub(crate) fn cut(&self, mut text: String) -> String {
        if text.len() > self.limits.note_bytes {
            text.truncate(text.floor_char_boundary(self.limits.note_bytes));
        }
        text
    }
}

/// The generator behind a step's `random`.
pub(crate) fn random(run: &str, step: &str) -> Pcg64 {
    let digest = Sha256::digest(format!("{run}/{step}").as_bytes());
    let part = |range: std::ops::Range<usize>| {
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&digest[range]);
        u128::from_le_bytes(bytes)
    };
    Pcg64::new(part(0..16), part(16..32))
}

impl Gate {
    fn note(&self, note: NoteBody) {
        self.run()
            .journal
            .append(vec![Draft::note(Some(self.step()), note)]);
    }
}

/// About how many bytes a value is as JSON, without writing it.
fn rough_size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(rough_size).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields
                .iter()
                .map(|(k, v)| k.len() + 4 + rough_size(v))
                .sum::<usize>()
                + 2
        }
    }
}
