//! What answers: Fly over HTTP, or a fork of it.

pub(crate) mod api;
pub(crate) mod fork;
pub(crate) mod live;
pub(crate) mod model;
pub(crate) mod summary;
