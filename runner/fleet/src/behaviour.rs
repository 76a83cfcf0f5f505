//! How long things take, and what is wrong with a Machine.

use serde::{Deserialize, Serialize};

use crate::image::{self, Marker};
use groundcrew_faults as random;

/// A range of milliseconds, both ends included.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub from: u64,
    /// The longest.
    pub to: u64,
}

impl Span {
    /// Always the same.
    pub const fn constant(millis: u64) -> Span {
        Span {
            from: millis,
            to: millis,
        }
    }

    /// Anything between the two.
    pub const fn between(from: u64, to: u64) -> Span {
        Span { from, to }
    }

    fn pick(self, drawn: u64) -> u64 {
        let width = self.to.saturating_sub(self.from);
        self.from
            .saturating_add(random::below(drawn, width.saturating_add(1)))
    }
}

/// How long the platform and the apps take, in milliseconds.
///
/// None of these is documented by Fly: they are our assumptions, the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From the create to the start.
    pub create: Span,
    /// From a stop or restart to the exit.
    pub stop: Span,
    /// From the start to `started`.
    pub boot: Span,
    /// From `started` to the first result of a check.
    pub first_check: Span,
    /// From a suspend to `suspended`.
    pub suspend: Span,
    /// From an update to the start of the new version, the stop of the old one aside.
    pub update: Span,
    /// From a destroy to `destroyed`.
    pub destroy: Span,
    /// How long `get` and `wait` may answer 404 after a create.
    pub visible: Span,
    /// From `started` to the exit of a Machine that never starts.
    pub crash: Span,
    /// From the start to `started` of an image marked `sim-slow-boot`.
    pub slow_boot: Span,
    /// From `started` to the first failure of an image marked `sim-sickens`; a check shows it when
    /// it next runs.
    pub healthy_for: Span,
    /// How much later the proxy sees that a Machine may serve, or is cordoned.
    pub discovery: Span,
}

impl Behaviour {
    /// Ranges, drawn from the seed.
    pub const fn seeded() -> Behaviour {
        Behaviour {
            create: Span::between(300, 900),
            stop: Span::between(300, 1_500),
            boot: Span::between(700, 3_000),
            first_check: Span::between(500, 1_500),
            suspend: Span::between(200, 800),
            update: Span::between(300, 1_200),
            destroy: Span::between(200, 1_000),
            visible: Span::between(0, 400),
            crash: Span::between(200, 1_000),
            slow_boot: Span::constant(60_000),
            healthy_for: Span::constant(5_000),
            discovery: Span::between(500, 2_000),
        }
    }

    /// Constants, for rehearsals: nothing is left to chance, and a plan can name each of them.
    pub const fn assumed() -> Behaviour {
        Behaviour {
            create: Span::constant(500),
            stop: Span::constant(1_000),
            boot: Span::constant(2_000),
            first_check: Span::constant(1_000),
            suspend: Span::constant(500),
            update: Span::constant(1_000),
            destroy: Span::constant(500),
            visible: Span::constant(0),
            crash: Span::constant(500),
            slow_boot: Span::constant(60_000),
            healthy_for: Span::constant(5_000),
            discovery: Span::constant(1_000),
        }
    }

    /// The same with restarts that take `from` to `to` milliseconds in all: a quarter to stop,
    /// half to boot, the rest to the first result of a check.
    #[must_use]
    pub const fn with_restart_total(self, from: u64, to: u64) -> Behaviour {
        Behaviour {
            stop: Span::between(from / 4, to / 4),
            boot: Span::between(from / 2, to / 2),
            first_check: Span::between(from - from / 4 - from / 2, to - to / 4 - to / 2),
            ..self
        }
    }
}

/// What takes time; the name is part of what is drawn.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Create,
    Stop,
    Boot,
    FirstCheck,
    Suspend,
    Update,
    Destroy,
    Visible,
    Crash,
    SlowBoot,
    HealthyFor,
    Discovery,
}

impl Behaviour {
    /// How long this phase of this Machine takes the `count`th time.
    pub(crate) fn take(&self, seed: u64, phase: Phase, id: &str, count: u64) -> u64 {
        let (span, name) = match phase {
            Phase::Create => (self.create, "create"),
            Phase::Stop => (self.stop, "stop"),
            Phase::Boot => (self.boot, "boot"),
            Phase::FirstCheck => (self.first_check, "first-check"),
            Phase::Suspend => (self.suspend, "suspend"),
            Phase::Update => (self.update, "update"),
            Phase::Destroy => (self.destroy, "destroy"),
            Phase::Visible => (self.visible, "visible"),
            Phase::Crash => (self.crash, "crash"),
            Phase::SlowBoot => (self.slow_boot, "slow-boot"),
            Phase::HealthyFor => (self.healthy_for, "healthy-for"),
            Phase::Discovery => (self.discovery, "discovery"),
        };
        span.pick(random::draw(seed, name, id, count))
    }
}

/// How long a restart will take, in milliseconds, as [`crate::Fleet::predicted_restart`] sees it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestartPrediction {
    /// To the exit.
    pub stop_ms: u64,
    /// From the exit to `started`.
    pub boot_ms: u64,
    /// From `started` to the first result of a check, 0 without checks.
    pub first_check_ms: u64,
}

impl RestartPrediction {
    /// From the command to the first result of a check.
    pub const fn total_ms(self) -> u64 {
        self.stop_ms + self.boot_ms + self.first_check_ms
    }
}

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
