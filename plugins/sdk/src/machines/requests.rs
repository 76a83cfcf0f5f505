//! What is read of one Machine and done to it, its configuration aside. A request that has options is
//! sent when it is awaited.

use std::future::IntoFuture;
use std::time::Duration;

pub use crate::bindings::groundcrew::host::machines::{Event, Executed};

use super::door;
use super::machine::Machine;
use crate::bindings::groundcrew::host::machines::{Done, ExecOptions, RestartOptions, StopOptions};
use crate::queue::Operation;
use crate::timespan::milliseconds;
use crate::{Error, Result};

impl Machine {
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

    /// Sets metadata; keys without a value are removed. Nothing restarts.
    pub async fn set_metadata(&self, values: &[(String, Option<String>)]) -> Result<()> {
        let id = door::set_metadata(&self.app, &self.id, values);
        Operation::new(id, |op| ignore(door::take_set_metadata(op)?)).await
    }

    /// Destroys it, running or not. One that is gone is left alone.
    pub async fn destroy(&self) -> Result<()> {
        let id = door::destroy(&self.app, &self.id, true);
        Operation::new(id, |op| ignore(door::take_destroy(op)?)).await
    }

    /// Runs a command in it: the program and its arguments, without a shell.
    pub fn exec(&self, command: &[String]) -> Exec<'_> {
        Exec {
            machine: self,
            options: ExecOptions {
                command: command.to_vec(),
                timeout_ms: 10_000,
            },
        }
    }
}

/// A request to restart a Machine; `.await` sends it.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Restart<'a> {
    machine: &'a Machine,
    options: RestartOptions,
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
    machine: &'a Machine,
    options: StopOptions,
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

/// A command to be run in a Machine; `.await` runs it.
#[derive(Debug)]
#[must_use = "nothing is run until it is awaited"]
pub struct Exec<'a> {
    machine: &'a Machine,
    options: ExecOptions,
}

impl Exec<'_> {
    /// Ends it after this long, ten seconds otherwise and a minute at most.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = milliseconds(timeout);
        self
    }
}

impl IntoFuture for Exec<'_> {
    type Output = Result<Executed>;
    type IntoFuture = Operation<Executed>;

    fn into_future(self) -> Self::IntoFuture {
        let id = door::exec(&self.machine.app, &self.machine.id, &self.options);
        Operation::new(id, |op| Ok(door::take_exec(op)?))
    }
}

/// Drops an answer that says nothing.
fn ignore(_: Done) -> Result<(), Error> {
    Ok(())
}
