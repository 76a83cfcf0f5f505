//! What is wrong with a Machine: by its fate, which a test gives it, or by its image.

use serde::{Deserialize, Serialize};

use crate::image::{self, Marker};

/// What is wrong with a Machine.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fate {
    /// Nothing but what a marker in its image's tag says: `sim-crash-loop`, `sim-unhealthy`,
    /// `sim-sickens`, `sim-exits-N`, `sim-slow-boot`. Every other fate overrules the marker.
    #[default]
    Normal,
    /// Its process exits with 1 soon after each start, until the restart policy gives up.
    NeverStarts,
    /// It runs, and its checks fail.
    ChecksFail,
    /// Its host does not answer: commands fail and the state does not move.
    HostUnreachable,
    /// Its host stops answering at this moment.
    HostDiesAt {
        /// Milliseconds since the Unix epoch.
        at: u64,
    },
    /// Its host stops answering as soon as it has been restarted or started.
    HostDiesOnRestart,
    /// Its process is killed for want of memory, so long after each start.
    OutOfMemory {
        /// Milliseconds.
        after_ms: u64,
    },
    /// It boots this slowly.
    SlowStart {
        /// Milliseconds.
        boot_ms: u64,
    },
    /// Nobody uses it: so long after its start, its uncordon or the moment at which it gets this
    /// fate, the proxy stops or suspends it, if its services say so and it is not cordoned.
    Idle {
        /// Milliseconds.
        after_ms: u64,
    },
    /// Updates cannot pull their image: the old version comes back, and is `started` again.
    ImagePullFails,
}

/// How a Machine fares while its host does: by its fate or, where that is normal, by its image.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Well.
    Sound,
    /// Its process ends by itself with this code, soon after each start.
    Exits(i32),
    /// Its checks fail.
    Unhealthy,
    /// Its checks pass for a while, then fail.
    Sickens,
    /// Its process is killed so long after each start.
    OutOfMemory { after_ms: u64 },
    /// The proxy has no requests for it, and waits so long.
    Idle { after_ms: u64 },
    /// It boots slowly: so slowly, or as slowly as such images do.
    SlowBoot { boot_ms: Option<u64> },
}

impl Course {
    pub(crate) fn of(fate: Fate, image: &str) -> Course {
        match fate {
            Fate::Normal => match image::marker(image) {
                None => Course::Sound,
                Some(Marker::CrashLoop) => Course::Exits(1),
                Some(Marker::Unhealthy) => Course::Unhealthy,
                Some(Marker::Sickens) => Course::Sickens,
                Some(Marker::Exits(code)) => Course::Exits(code.into()),
                Some(Marker::SlowBoot) => Course::SlowBoot { boot_ms: None },
            },
            Fate::NeverStarts => Course::Exits(1),
            Fate::ChecksFail => Course::Unhealthy,
            Fate::OutOfMemory { after_ms } => Course::OutOfMemory { after_ms },
            Fate::Idle { after_ms } => Course::Idle { after_ms },
            Fate::SlowStart { boot_ms } => Course::SlowBoot {
                boot_ms: Some(boot_ms),
            },
            Fate::HostUnreachable
            | Fate::HostDiesAt { .. }
            | Fate::HostDiesOnRestart
            | Fate::ImagePullFails => Course::Sound,
        }
    }
}
