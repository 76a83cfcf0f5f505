//! States of Machines.

/// The states that plugins name. A Machine can be in others, as Fly spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Running.
    Started,
    /// Stopped.
    Stopped,
    /// Stopped, with its memory kept.
    Suspended,
    /// Gone.
    Destroyed,
    /// It could not be made or started.
    Failed,
    /// In waits only: any state that does not change by itself.
    Settled,
}

impl State {
    /// As the contract spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::Destroyed => "destroyed",
            Self::Failed => "failed",
            Self::Settled => "settled",
        }
    }
}
