//! What the deploy plugins share. `select.rs` is which Machines, `target/` what they become and
//! how one sees that they are (health, too), `one.rs` how a single Machine gets there and back,
//! `rolling.rs` how many do, `survey.rs` where they stand, `report.rs` what is said about it. `wanted/`
//! is what a fly.toml says they become, `groups/` the process groups that come and go with one,
//! `defaults.rs` what they do unless they are told otherwise, `testing.rs` what their tests share.
//!
//! A Machine is at the target when it calls itself by the deploy's release and runs its image.
//! So a deploy that is begun anew goes on where the one before it stopped, and no state of it is kept
//! anywhere else. Why is in `docs/decisions/0005-deploys.md`.

pub mod defaults;
pub mod groups;
pub mod one;
pub mod report;
pub mod rolling;
pub mod select;
pub mod survey;
pub mod target;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod wanted;

pub use groups::Scope;
pub use one::{How, Verify};
pub use report::{MachineReport, Outcome, Report};
pub use rolling::{Bounds, roll};
pub use select::Select;
pub use target::{Change, Target};
