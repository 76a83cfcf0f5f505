//! Tests of the engine through its public API, with guests written in WebAssembly text.

mod admission;
mod audit;
mod bounds;
mod bundle;
mod cache;
mod credential;
mod fold;
mod gate;
mod golden;
mod grants;
mod hostile;
mod index;
mod interrupt;
mod plan;
mod private;
mod radius;
mod rehearsal;
mod resume;
mod store;
mod support;
