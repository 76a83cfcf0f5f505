//! How long things take.

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
            Phase::Crash => (self.crash, "crash"),
            Phase::SlowBoot => (self.slow_boot, "slow-boot"),
            Phase::HealthyFor => (self.healthy_for, "healthy-for"),
            Phase::Discovery => (self.discovery, "discovery"),
        };
        span.pick(random::draw(seed, name, id, count))
    }
}
