//! The states of a Machine and the one total function between them.
//!
//! Fly draws its edges only as pictures; these are read from its table of states, its update
//! rules and what `restart` does to `exit` and `start` events. Whatever is not an edge is
//! [`Next::Refused`]: there is no pair without an answer.

/// A state as Fly spells it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Being made, in the words of Fly's table; none has been seen in it.
    Creating,
    /// Being made.
    Created,
    /// Booting.
    Starting,
    /// Running.
    Started,
    /// Being stopped.
    Stopping,
    /// Not running.
    Stopped,
    /// Its memory is being saved.
    Suspending,
    /// Not running, memory saved.
    Suspended,
    /// Being stopped, to be started again.
    Restarting,
    /// Getting a new configuration, in the words of Fly's table; none has been seen in it.
    Updating,
    /// Getting a new configuration, whether it runs or not.
    Replacing,
    /// Being destroyed.
    Destroying,
    /// Gone.
    Destroyed,
    /// Could not be started.
    Failed,
    /// Could not be made; it destroys itself.
    LaunchFailed,
    /// An old version.
    Replaced,
    /// Moved to another host.
    Migrated,
}

/// Every state, for tests and tables.
pub const STATES: [State; 17] = [
    State::Creating,
    State::Created,
    State::Starting,
    State::Started,
    State::Stopping,
    State::Stopped,
    State::Suspending,
    State::Suspended,
    State::Restarting,
    State::Updating,
    State::Replacing,
    State::Destroying,
    State::Destroyed,
    State::Failed,
    State::LaunchFailed,
    State::Replaced,
    State::Migrated,
];

impl State {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Created => "created",
            State::Starting => "starting",
            State::Started => "started",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Suspending => "suspending",
            State::Suspended => "suspended",
            State::Restarting => "restarting",
            State::Updating => "updating",
            State::Replacing => "replacing",
            State::Destroying => "destroying",
            State::Destroyed => "destroyed",
            State::Failed => "failed",
            State::LaunchFailed => "launch_failed",
            State::Replaced => "replaced",
            State::Migrated => "migrated",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(word: &str) -> Option<State> {
        STATES.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it stays as it is when nobody does anything: what `wait` calls `settled`.
    pub const fn settled(self) -> bool {
        match self {
            State::Started
            | State::Stopped
            | State::Suspended
            | State::Failed
            | State::Destroyed
            | State::Replaced
            | State::Migrated => true,
            State::Creating
            | State::Created
            | State::Starting
            | State::Stopping
            | State::Suspending
            | State::Restarting
            | State::Updating
            | State::Replacing
            | State::Destroying
            | State::LaunchFailed => false,
        }
    }

    /// Whether it is getting another configuration.
    pub const fn is_new_version(self) -> bool {
        matches!(self, State::Updating | State::Replacing)
    }

    /// Whether the Machine is gone for good.
    pub const fn gone(self) -> bool {
        matches!(self, State::Destroyed | State::Replaced | State::Migrated)
    }
}

/// What can happen to a Machine: commands first, then what the platform does by itself.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stimulus {
    /// Command: start it.
    Start,
    /// Command: stop it.
    Stop,
    /// Command: stop it and start it again.
    Restart,
    /// Command: save its memory and halt it.
    Suspend,
    /// Command: give it another configuration.
    Update,
    /// Command: destroy it, which a running Machine refuses.
    Destroy,
    /// Command: destroy it whatever it does.
    DestroyForced,
    /// It was made, and is not to be started.
    Made,
    /// It was made or has the new configuration, and is to be started.
    Launched,
    /// It could not be made.
    NotMade,
    /// Its process runs.
    Booted,
    /// It could not be booted.
    NotBooted,
    /// Its process ended and stays down.
    Exited,
    /// Its process ended and is started again.
    ExitedToStart,
    /// Its memory is saved.
    Saved,
    /// It is gone.
    Removed,
}

/// Every stimulus, for tests and tables.
pub const STIMULI: [Stimulus; 16] = [
    Stimulus::Start,
    Stimulus::Stop,
    Stimulus::Restart,
    Stimulus::Suspend,
    Stimulus::Update,
    Stimulus::Destroy,
    Stimulus::DestroyForced,
    Stimulus::Made,
    Stimulus::Launched,
    Stimulus::NotMade,
    Stimulus::Booted,
    Stimulus::NotBooted,
    Stimulus::Exited,
    Stimulus::ExitedToStart,
    Stimulus::Saved,
    Stimulus::Removed,
];

/// What a stimulus does in a state.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// It leads to this state.
    To(State),
    /// It is accepted and changes nothing.
    Stay,
    /// It is refused.
    Refused,
}

/// What `stimulus` does to a Machine in `state`.
pub const fn transition(state: State, stimulus: Stimulus) -> Next {
    match stimulus {
        Stimulus::Start => start(state),
        Stimulus::Stop => stop(state),
        Stimulus::Restart => restart(state),
        Stimulus::Suspend => suspend(state),
        Stimulus::Update => update(state),
        Stimulus::Destroy => destroy(state),
        Stimulus::DestroyForced => destroy_forced(state),
        Stimulus::Made
        | Stimulus::Launched
        | Stimulus::NotMade
        | Stimulus::Booted
        | Stimulus::NotBooted
        | Stimulus::Exited
        | Stimulus::ExitedToStart
        | Stimulus::Saved
        | Stimulus::Removed => platform(state, stimulus),
    }
}

const fn start(state: State) -> Next {
    match state {
        State::Stopped | State::Suspended | State::Failed => Next::To(State::Starting),
        State::Started | State::Starting => Next::Stay,
        State::Creating
        | State::Created
        | State::Stopping
        | State::Suspending
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::Destroying
        | State::Destroyed
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn stop(state: State) -> Next {
    match state {
        State::Started | State::Starting | State::Restarting => Next::To(State::Stopping),
        // The saved memory is dropped.
        State::Suspended | State::Failed => Next::To(State::Stopped),
        State::Stopping | State::Stopped => Next::Stay,
        State::Creating
        | State::Created
        | State::Suspending
        | State::Updating
        | State::Replacing
        | State::Destroying
        | State::Destroyed
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn restart(state: State) -> Next {
    match state {
        State::Started => Next::To(State::Restarting),
        State::Stopped | State::Suspended | State::Failed => Next::To(State::Starting),
        State::Creating
        | State::Created
        | State::Starting
        | State::Stopping
        | State::Suspending
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::Destroying
        | State::Destroyed
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn suspend(state: State) -> Next {
    match state {
        State::Started => Next::To(State::Suspending),
        State::Suspending | State::Suspended => Next::Stay,
        State::Creating
        | State::Created
        | State::Starting
        | State::Stopping
        | State::Stopped
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::Destroying
        | State::Destroyed
        | State::Failed
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn update(state: State) -> Next {
    match state {
        State::Started | State::Starting | State::Stopped | State::Suspended | State::Failed => {
            Next::To(State::Replacing)
        }
        State::Creating
        | State::Created
        | State::Stopping
        | State::Suspending
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::Destroying
        | State::Destroyed
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn destroy(state: State) -> Next {
    match state {
        State::Created | State::Stopped | State::Suspended | State::Failed => {
            Next::To(State::Destroying)
        }
        State::Destroying | State::Destroyed => Next::Stay,
        State::Creating
        | State::Starting
        | State::Started
        | State::Stopping
        | State::Suspending
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::LaunchFailed
        | State::Replaced
        | State::Migrated => Next::Refused,
    }
}

const fn destroy_forced(state: State) -> Next {
    match state {
        State::Creating
        | State::Created
        | State::Starting
        | State::Started
        | State::Stopping
        | State::Stopped
        | State::Suspending
        | State::Suspended
        | State::Restarting
        | State::Updating
        | State::Replacing
        | State::Failed
        | State::LaunchFailed => Next::To(State::Destroying),
        State::Destroying | State::Destroyed => Next::Stay,
        State::Replaced | State::Migrated => Next::Refused,
    }
}

/// What the platform does by itself: few edges, and none of them for a client to refuse.
const fn platform(state: State, stimulus: Stimulus) -> Next {
    match (state, stimulus) {
        (State::Creating | State::Created | State::Updating | State::Replacing, Stimulus::Made) => {
            Next::To(State::Stopped)
        }
        (
            State::Creating | State::Created | State::Updating | State::Replacing,
            Stimulus::Launched,
        ) => Next::To(State::Starting),
        (State::Creating | State::Created, Stimulus::NotMade) => Next::To(State::LaunchFailed),
        (State::Starting, Stimulus::Booted) => Next::To(State::Started),
        (State::Starting, Stimulus::NotBooted) => Next::To(State::Failed),
        (State::Started | State::Stopping | State::Replacing, Stimulus::Exited) => {
            Next::To(State::Stopped)
        }
        (State::Started | State::Restarting, Stimulus::ExitedToStart) => Next::To(State::Starting),
        (State::Suspending, Stimulus::Saved) => Next::To(State::Suspended),
        (State::Destroying | State::LaunchFailed, Stimulus::Removed) => Next::To(State::Destroyed),
        (
            State::Creating
            | State::Created
            | State::Starting
            | State::Started
            | State::Stopping
            | State::Stopped
            | State::Suspending
            | State::Suspended
            | State::Restarting
            | State::Updating
            | State::Replacing
            | State::Destroying
            | State::Destroyed
            | State::Failed
            | State::LaunchFailed
            | State::Replaced
            | State::Migrated,
            _,
        ) => Next::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for state in STATES {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("confused"), None);
    }

    #[test]
    fn what_is_gone_stays_gone() {
        for state in STATES.into_iter().filter(|state| state.gone()) {
            for stimulus in STIMULI {
                assert!(
                    !matches!(transition(state, stimulus), Next::To(_)),
                    "{state:?}"
                );
            }
        }
    }

    #[test]
    fn every_state_in_between_can_end() {
        for state in STATES.into_iter().filter(|state| !state.settled()) {
            let ends = STIMULI.into_iter().any(|stimulus| {
                matches!(transition(state, stimulus), Next::To(_))
                    && platform(state, stimulus) != Next::Refused
            });
            assert!(ends, "{state:?} can never end by itself");
        }
    }
}
