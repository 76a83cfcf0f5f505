//! What is Fly's: routes of the Machines API and of releases, who may use them, how often, and what
//! is done.

pub(crate) mod auth;
pub(crate) mod dispatch;
pub(crate) mod limits;
pub(crate) mod query;
pub(crate) mod route;
