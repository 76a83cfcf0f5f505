//! What is wrong with a Machine: by its fate, which a test gives it, or by its image.

use serde::{Deserialize, Serialize};

use crate::api::parse_go_duration;
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

impl std::str::FromStr for Fate {
    type Err = String;

    /// As people write it: `never-starts`, `out-of-memory(5s)`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (word, millis) = match text.strip_suffix(')').and_then(|open| open.split_once('(')) {
            Some((word, argument)) => {
                let millis = parse_go_duration(argument);
                (
                    word,
                    Some(millis.ok_or_else(|| format!("`{argument}` is no duration"))?),
                )
            }
            None => (text, None),
        };
        match (word, millis) {
            ("never-starts", None) => Ok(Self::NeverStarts),
            ("checks-fail", None) => Ok(Self::ChecksFail),
            ("host-unreachable", None) => Ok(Self::HostUnreachable),
            ("host-dies-on-restart", None) => Ok(Self::HostDiesOnRestart),
            ("image-pull-fails", None) => Ok(Self::ImagePullFails),
            ("out-of-memory", Some(after_ms)) => Ok(Self::OutOfMemory { after_ms }),
            ("slow-start", Some(boot_ms)) => Ok(Self::SlowStart { boot_ms }),
            ("idle", Some(after_ms)) => Ok(Self::Idle { after_ms }),
            ("out-of-memory" | "slow-start" | "idle", None) => {
                Err(format!("it needs a duration: `{word}(5s)`"))
            }
            _ => Err("there is no such fate".to_owned()),
        }
    }
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
