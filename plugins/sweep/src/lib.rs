//! What plugins share that go over many Machines. `which.rs` is which Machines an operator means and
//! how many at once, `attempt.rs` how one piece of the work is done and what ends the rest,
//! `report.rs` when the step counts as failed and what is said then.
//!
//! What a plugin reports of a Machine stays the plugin's: its outcomes and their totals are words of
//! its own, and its schema explains them.

mod attempt;
mod report;
mod which;

pub use attempt::{Attempt, unless_interrupted};
pub use report::{NO_HOST, NO_TURN, because, conclude, counted, kind, kinds};
pub use which::{Selection, Which, at_once};
