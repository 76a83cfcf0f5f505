//! What a grant can say of anything at Fly.

use groundcrew::{Covers, Radius, Scope, Unsaid};

/// Apps.
pub(crate) const APPS: Scope = Scope {
    key: "apps",
    one: "app",
    covers: Covers::Pattern,
    unsaid: Unsaid::Nothing,
    looked_up: false,
    about: "Apps, as names or patterns.",
};

/// Process groups: only the Machine itself tells which one it is of.
pub(crate) const GROUPS: Scope = Scope {
    key: "groups",
    one: "process group",
    covers: Covers::Name,
    unsaid: Unsaid::Anything,
    looked_up: true,
    about: "Process groups by name; all of them if absent.",
};

/// Machines that are written to.
pub(crate) const MACHINES: Radius = Radius {
    most: "max_machines",
    share: Some("max_share"),
    many: "Machines",
};
