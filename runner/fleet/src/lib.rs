//! A pure model of a fleet of Fly Machines: state, transitions, virtual time, faults.
//!
//! No I/O, no async, no clock: time moves only when the caller says so, and everything random
//! comes from a seed. The simulator serves this model over HTTP; a rehearsal runs on a copy of
//! the live fleet inside it. Look first at [`state`] (what leads where), then at the wire types
//! in [`api`].

#![forbid(unsafe_code)]

pub mod api;
pub mod state;
mod time;

pub use state::State;
pub use time::Time;
