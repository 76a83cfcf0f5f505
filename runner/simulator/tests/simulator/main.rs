//! The simulator, from outside.

mod apps;
mod client;
mod faults;
mod flyctl;
mod limits;
mod openapi;
mod releases;
