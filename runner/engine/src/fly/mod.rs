//! Fly: three capabilities that act on one world. `world/` is what Fly, or a fork of it, answers;
//! `machines/`, `apps.rs` and `releases.rs` are what plugins may ask for.

pub(crate) mod apps;
pub(crate) mod machines;
pub(crate) mod releases;
pub(crate) mod world;
