//! The simulator, from outside.

mod client;
mod faults;
mod flyctl;
mod limits;
mod openapi;
