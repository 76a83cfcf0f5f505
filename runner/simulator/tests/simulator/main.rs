//! The simulator, from outside.

mod apps;
mod client;
mod deploys;
mod document;
mod faults;
mod flyctl;
mod limits;
mod metrics;
mod openapi;
mod releases;
mod replay;
mod sequences;
