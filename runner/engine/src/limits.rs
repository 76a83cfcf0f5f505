//! Every bound on a plugin and a step, in one table. Each is tested at its value and one past it
//! (`tests/engine/bounds.rs`; those of loading in `admission.rs`).
//!
//! A bound that concerns one capability or the command alone is a constant beside the code that
//! keeps it: a metrics query (`metrics.rs` of `groundcrew-capabilities`), a look at a web service
//! (`http.rs` there), an answer of Fly's (`fly/world/live.rs` there), a file as an input
//! (`inputs.rs` of the command), the notes that a plan keeps (`rehearse/told.rs`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounds of one run. They are pinned in the run's header, because a replay must meet the
/// same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory that a plugin may have.
    pub memory_bytes: usize,
    /// Units of fuel (about one WebAssembly instruction each) that one attempt of a step may use.
    pub fuel: u64,
    /// Bytes of stack that a plugin may use.
    pub stack_bytes: usize,
    /// Operations submitted and not yet delivered, of one step.
    pub operations_in_flight: usize,
    /// Operations of one step in all.
    pub operations: u64,
    /// Bytes of answers held for a plugin that it has not taken.
    pub result_bytes: usize,
    /// Bytes of a plugin's output, or of a problem.
    pub output_bytes: usize,
    /// Bytes of one submission's arguments.
    pub request_bytes: usize,
    /// Bytes of a note; a longer one is cut.
    pub note_bytes: usize,
    /// Notes, items and announcements of one step; more are dropped, and that is noted once.
    pub notes: u64,
    /// Bytes of a component.
    pub component_bytes: usize,
    /// How long one attempt of a step may take by the run's clock, if the runbook says nothing.
    pub step_timeout: Duration,
    /// How long a plugin may take to describe itself, in fuel.
    pub describe_fuel: u64,
    /// How long the end of an interrupted run may take.
    pub cleanup_timeout: Duration,
}

/// The widest that this host can keep. A run's header may come from elsewhere, and says what it likes;
/// memory and stack are taken from the address space before anything has run.
pub(crate) const WIDEST: Limits = Limits {
    memory_bytes: 1 << 30,
    fuel: 1 << 48,
    stack_bytes: 8 << 20,
    operations_in_flight: 1_000_000,
    operations: 1 << 32,
    result_bytes: 1 << 30,
    output_bytes: 64 << 20,
    request_bytes: 16 << 20,
    note_bytes: 1 << 20,
    notes: 1 << 32,
    component_bytes: 256 << 20,
    // Longer than any of the language.
    step_timeout: Duration::from_secs(400 * 86_400),
    describe_fuel: 1 << 40,
    cleanup_timeout: Duration::from_secs(86_400),
};

impl Limits {
    /// The first of them that is wider than this host can keep, in words.
    pub(crate) fn too_wide(&self) -> Option<String> {
        let (name, value, most) = self.wider_than(&WIDEST)?;
        Some(format!(
            "the limit `{name}` is {value}; at most {most} can be kept"
        ))
    }

    /// The first of these bounds that is wider than in `most`: its name, its value here and there.
    pub fn wider_than(&self, most: &Self) -> Option<(&'static str, u128, u128)> {
        // Taken apart, so that a new bound is not forgotten.
        let Self {
            memory_bytes,
            fuel,
            stack_bytes,
            operations_in_flight,
            operations,
            result_bytes,
            output_bytes,
            request_bytes,
            note_bytes,
            notes,
            component_bytes,
            step_timeout,
            describe_fuel,
            cleanup_timeout,
        } = *self;
        let size = |size: usize| size as u128;
        let count = u128::from;
        let all = [
            ("memory_bytes", size(memory_bytes), size(most.memory_bytes)),
            ("fuel", count(fuel), count(most.fuel)),
            ("stack_bytes", size(stack_bytes), size(most.stack_bytes)),
            (
                "operations_in_flight",
                size(operations_in_flight),
                size(most.operations_in_flight),
            ),
            ("operations", count(operations), count(most.operations)),
            ("result_bytes", size(result_bytes), size(most.result_bytes)),
            ("output_bytes", size(output_bytes), size(most.output_bytes)),
            (
                "request_bytes",
                size(request_bytes),
                size(most.request_bytes),
            ),
            ("note_bytes", size(note_bytes), size(most.note_bytes)),
            ("notes", count(notes), count(most.notes)),
            (
                "component_bytes",
                size(component_bytes),
                size(most.component_bytes),
            ),
            (
                "step_timeout in ms",
                step_timeout.as_millis(),
                most.step_timeout.as_millis(),
            ),
            (
                "describe_fuel",
                count(describe_fuel),
                count(most.describe_fuel),
            ),
            (
                "cleanup_timeout in ms",
                cleanup_timeout.as_millis(),
                most.cleanup_timeout.as_millis(),
            ),
        ];
        all.into_iter().find(|(_, here, most)| here > most)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            // Twenty thousand million: about half a minute of pure computing, a thousand times
            // what a restart of 5,000 Machines needs.
            fuel: 20_000_000_000,
            // wasmtime's default.
            stack_bytes: 512 << 10,
            operations_in_flight: 10_000,
            operations: 1_000_000,
            result_bytes: 64 << 20,
            output_bytes: 8 << 20,
            request_bytes: 64 << 10,
            note_bytes: 4 << 10,
            notes: 100_000,
            component_bytes: 16 << 20,
            step_timeout: Duration::from_secs(3600),
            describe_fuel: 200_000_000,
            cleanup_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_widest_value() {
        assert_eq!(Limits::default().too_wide(), None);
        assert_eq!(WIDEST.too_wide(), None);
        // One past it in each field, as a header from elsewhere would say it.
        let widest = serde_json::to_value(WIDEST).unwrap();
        let fields = widest.as_object().unwrap();
        assert_eq!(fields.len(), 14);
        for name in fields.keys() {
            for more in [1, u64::MAX / 2] {
                let mut wide = widest.clone();
                let field = match wide[name].get_mut("secs") {
                    Some(seconds) => seconds,
                    None => &mut wide[name],
                };
                *field = field.as_u64().unwrap().saturating_add(more).into();
                let limits: Limits = serde_json::from_value(wide).unwrap();
                let said = limits.too_wide().unwrap();
                assert!(said.contains(&format!("`{name}")), "{said}");
            }
        }
    }
}
