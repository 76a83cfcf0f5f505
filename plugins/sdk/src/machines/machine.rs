//! One Machine, and what can be done to it.

use std::ops::Deref;

use super::change::{Change, Exec, Restore, Update, Version};
use super::door;
use super::requests::{Restart, Stop, Wait, WaitHealthy};
pub use crate::bindings::groundcrew::host::machines::{
    Check, CheckStatus, Event, HostStatus, Machine as Summary, Mount, Waited,
};
use crate::bindings::groundcrew::host::machines::{
    Done, HealthyOptions, RestartOptions, StopOptions, WaitOptions,
};
use crate::queue::Operation;
use crate::{Error, Lease, Result, State};

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

    /// Reads it anew.
    pub async fn refresh(&self) -> Result<Machine> {
        let id = door::get(&self.app, &self.id);
        Operation::new(id, |op| Ok(Machine(door::take_get(op)?))).await
    }

    /// Reads its newest events, newest first; `limit` is 1 to 50.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>> {
        let id = door::events(&self.app, &self.id, limit);
        Operation::new(id, |op| Ok(door::take_events(op)?)).await
    }

    /// Takes its lease for this step. Fails as a conflict if somebody else has it.
    pub async fn lease(&self) -> Result<Lease> {
        Lease::take(&self.app, &self.id).await
    }

    /// Restarts it. Awaiting ends when the platform has accepted the restart.
    pub fn restart(&self) -> Restart<'_> {
        let options = RestartOptions {
            signal: None,
            timeout_ms: None,
            force_stop: false,
        };
        Restart {
            machine: self,
            options,
        }
    }

    /// Stops it.
    pub fn stop(&self) -> Stop<'_> {
        Stop {
            machine: self,
            options: StopOptions {
                signal: None,
                timeout_ms: None,
            },
        }
    }

    /// Starts it. One that is started is left alone.
    pub async fn start(&self) -> Result<()> {
        let id = door::start(&self.app, &self.id);
        Operation::new(id, |op| ignore(door::take_start(op)?)).await
    }

    /// Suspends it; its memory is kept.
    pub async fn suspend(&self) -> Result<()> {
        let id = door::suspend(&self.app, &self.id);
        Operation::new(id, |op| ignore(door::take_suspend(op)?)).await
    }

    /// Sends a signal, such as `SIGTERM`, to its main process.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let id = door::signal(&self.app, &self.id, signal);
        Operation::new(id, |op| ignore(door::take_signal(op)?)).await
    }

    /// Gives it another configuration, in place and only if it is still what it was when it was
    /// read. Awaiting ends when the platform has accepted that.
    pub fn update(&self, change: Change) -> Update<'_> {
        Update::new(self, change)
    }

    /// Gives it back the configuration of an earlier version.
    pub fn restore(&self, version: &str) -> Restore<'_> {
        Restore::new(self, version)
    }

    /// Reads its versions, newest first.
    pub async fn versions(&self) -> Result<Vec<Version>> {
        let id = door::versions(&self.app, &self.id);
        Operation::new(id, |op| Ok(door::take_versions(op)?)).await
    }

    /// Destroys it, running or not. One that is gone is left alone.
    pub async fn destroy(&self) -> Result<()> {
        let id = door::destroy(&self.app, &self.id, true);
        Operation::new(id, |op| ignore(door::take_destroy(op)?)).await
    }

    /// Sets metadata; keys without a value are removed. Nothing restarts.
    pub async fn set_metadata(&self, values: &[(String, Option<String>)]) -> Result<()> {
        let id = door::set_metadata(&self.app, &self.id, values);
        Operation::new(id, |op| ignore(door::take_set_metadata(op)?)).await
    }

    /// Runs a command in it: the program and its arguments, without a shell.
    pub fn exec(&self, command: &[String]) -> Exec<'_> {
        Exec::new(self, command)
    }

    /// Takes it out of the proxy's service.
    pub async fn cordon(&self) -> Result<()> {
        let id = door::cordon(&self.app, &self.id);
        Operation::new(id, |op| ignore(door::take_cordon(op)?)).await
    }

    /// Puts it back into the proxy's service.
    pub async fn uncordon(&self) -> Result<()> {
        let id = door::uncordon(&self.app, &self.id);
        Operation::new(id, |op| ignore(door::take_uncordon(op)?)).await
    }

    /// Waits until it is in this state, five minutes unless [`Wait::within`] says otherwise.
    pub fn wait(&self, state: State) -> Wait<'_> {
        let options = WaitOptions {
            states: vec![state.as_str().to_owned()],
            version: None,
            from_event: None,
            timeout_ms: PATIENCE_MS,
        };
        Wait {
            machine: self,
            options,
        }
    }

    /// Waits until it is started and every check on it has passed since, five minutes unless
    /// [`WaitHealthy::within`] says otherwise.
    pub fn wait_healthy(&self) -> WaitHealthy<'_> {
        let options = HealthyOptions {
            version: None,
            from_event: None,
            critical_after_ms: 0,
            timeout_ms: PATIENCE_MS,
        };
        WaitHealthy {
            machine: self,
            options,
        }
    }
}

/// How long a wait lasts unless it says otherwise: what flyctl allows a Machine by default.
const PATIENCE_MS: u64 = 5 * 60 * 1000;

/// Drops an answer that says nothing.
pub(crate) fn ignore(_: Done) -> Result<(), Error> {
    Ok(())
}
