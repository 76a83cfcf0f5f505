//! Requests with options: what `Machine`'s methods return, sent when it is awaited.

use std::future::IntoFuture;
use std::time::Duration;

use super::door;
use super::machine::ignore;
use crate::bindings::groundcrew::host::machines::{
    HealthyOptions, RestartOptions, StopOptions, WaitOptions, Waited,
};
use crate::queue::Operation;
use crate::timespan::milliseconds;
use crate::{Machine, Result, State};

/// A request to restart a Machine; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Restart<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) options: RestartOptions,
}

/// A restart that the platform accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restarted {
    /// The newest event of the Machine before the restart.
    pub baseline: Option<String>,
}

impl Restart<'_> {
    /// Stops with this signal instead of the Machine's own.
    pub fn signal(mut self, signal: Option<&str>) -> Self {
        self.options.signal = signal.map(str::to_owned);
        self
    }

    /// Kills it if it has not stopped after this long, instead of its own setting.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.timeout_ms = timeout.map(milliseconds);
        self
    }

    /// Does not wait for it to stop by itself.
    pub fn force(mut self) -> Self {
        self.options.force_stop = true;
        self
    }
}

impl IntoFuture for Restart<'_> {
    type Output = Result<Restarted>;
    type IntoFuture = Operation<Restarted>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::restart(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| {
            Ok(Restarted {
                baseline: door::take_restart(op)?.baseline_event,
            })
        })
    }
}

/// A request to stop a Machine; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Stop<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) options: StopOptions,
}

impl Stop<'_> {
    /// Stops with this signal instead of the Machine's own.
    pub fn signal(mut self, signal: Option<&str>) -> Self {
        self.options.signal = signal.map(str::to_owned);
        self
    }

    /// Kills it if it has not stopped after this long, instead of its own setting.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.timeout_ms = timeout.map(milliseconds);
        self
    }
}

impl IntoFuture for Stop<'_> {
    type Output = Result<()>;
    type IntoFuture = Operation<()>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::stop(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| ignore(door::take_stop(op)?))
    }
}

/// A wait for a state; `.await` begins it.
#[derive(Debug)]
#[must_use = "nothing is awaited until it is"]
pub struct Wait<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) options: WaitOptions,
}

impl Wait<'_> {
    /// Only a state reached by an event newer than this one counts.
    pub fn since(mut self, event: Option<&str>) -> Self {
        self.options.from_event = event.map(str::to_owned);
        self
    }

    /// Only in this version; if the Machine goes back to another one the wait fails.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = Some(version.to_owned());
        self
    }

    /// This other state is as good.
    pub fn or(mut self, state: State) -> Self {
        self.options.states.push(state.as_str().to_owned());
        self
    }

    /// Gives up after this long, at most 24 hours.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for Wait<'_> {
    type Output = Result<Waited>;
    type IntoFuture = Operation<Waited>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::wait(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_wait(op)?))
    }
}

/// A wait for health; `.await` begins it.
#[derive(Debug)]
#[must_use = "nothing is awaited until it is"]
pub struct WaitHealthy<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) options: HealthyOptions,
}

/// A Machine that has become healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// How many checks pass; 0 if it has none.
    pub checks: u32,
}

impl WaitHealthy<'_> {
    /// The event before the change that is watched; older starts and results do not count.
    pub fn since(mut self, event: Option<&str>) -> Self {
        self.options.from_event = event.map(str::to_owned);
        self
    }

    /// Only in this version; if the Machine goes back to another one the wait fails.
    pub fn version(mut self, version: &str) -> Self {
        self.options.version = Some(version.to_owned());
        self
    }

    /// A check that is critical this long after the start is a failure of the app.
    pub fn critical_after(mut self, patience: Duration) -> Self {
        self.options.critical_after_ms = milliseconds(patience);
        self
    }

    /// Gives up after this long, at most 24 hours.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for WaitHealthy<'_> {
    type Output = Result<Healthy>;
    type IntoFuture = Operation<Healthy>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::wait_healthy(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| {
            Ok(Healthy {
                checks: door::take_wait_healthy(op)?.checks,
            })
        })
    }
}
