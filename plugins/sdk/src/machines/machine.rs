//! One Machine as it was seen. What is done to it is in the files of the requests.

use std::ops::Deref;

pub use crate::bindings::groundcrew::host::machines::{
    Check, CheckStatus, HostStatus, Machine as Summary, Mount,
};

use super::state::State;

/// One Machine as it was when it was listed or read. Its fields are those of [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(pub(crate) Summary);

impl Deref for Machine {
    type Target = Summary;

    fn deref(&self) -> &Summary {
        &self.0
    }
}

impl From<Summary> for Machine {
    fn from(summary: Summary) -> Self {
        Self(summary)
    }
}

impl Machine {
    /// Whether it was in this state.
    #[must_use]
    pub fn is(&self, state: State) -> bool {
        self.state == state.as_str()
    }

    /// Whether it stands by for others.
    #[must_use]
    pub fn is_standby(&self) -> bool {
        !self.standbys.is_empty()
    }

    /// Whether the platform reaches its host.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.host_status == HostStatus::Ok
    }
}
