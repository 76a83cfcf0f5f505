//! One file per command; and `follow`, which those share that start a run.

pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod doctor;
mod drift;
mod follow;
pub(crate) mod keys;
pub(crate) mod machines;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod sim;
