//! Fly's own services, the Machines API and releases: their routes, what is done there, their tokens
//! and rate limits.

mod answers;
pub(crate) mod auth;
pub(crate) mod limits;
mod query;
mod route;

pub(crate) use route::{Machines, Releases};
