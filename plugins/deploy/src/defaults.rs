//! What the deploy plugins do unless they are told otherwise, each thing once.

use groundcrew_plugin::{Portion, Timespan};

/// How many Machines of a process group may be away at once: what flyctl allows. (`fly.toml`'s
/// `max_unavailable`.)
#[must_use]
pub fn unavailable() -> Portion {
    Portion::Percent(33)
}

/// How many Machines of a process group are worked on at once.
#[must_use]
pub fn parallel() -> u32 {
    100
}

/// How long the proxy gets to notice a Machine that came into service.
#[must_use]
pub fn discovery() -> Timespan {
    Timespan::seconds(2)
}

/// How long the proxy gets to notice that a Machine has left its service.
#[must_use]
pub fn drain() -> Timespan {
    Timespan::seconds(5)
}

/// How long a Machine may take to start, and then again for its checks to pass: flyctl's
/// `wait-timeout`.
#[must_use]
pub fn wait() -> Timespan {
    Timespan::minutes(5)
}

/// A check that is critical for so long after the start is a failure at once.
#[must_use]
pub fn critical() -> Timespan {
    Timespan::seconds(30)
}

/// What is done unless somebody says no.
#[must_use]
pub fn yes() -> bool {
    true
}
