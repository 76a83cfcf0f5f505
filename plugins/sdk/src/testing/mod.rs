//! A scripted host for native tests of plugins.
//!
//! The plugin's function runs unchanged, in virtual time and on this thread: Machines are data,
//! every operation succeeds after [`LATENCY`] unless the script says otherwise, and everything
//! that was submitted is there to be looked at afterwards. It is not a model of Fly: nothing a
//! plugin does changes what a listing answers, unless [`TestHost::keep_track`] says so, and then
//! only what is made and destroyed does. Rehearsals have that model.
//!
//! Here are the queue, time, failures and delays. What a test can say of a capability is in that
//! capability's `scripted.rs`, which adds its methods to [`TestHost`] and [`Tested`].

pub(crate) mod run;
pub(crate) mod script;

use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::bindings::groundcrew::host::operations::Failure;
// Nearly every test begins with it.
pub use crate::machines::scripted::machine;
use crate::{Error, Host, Kind, queue};

use self::script::{Own, Script};

/// How long an operation takes that the script says nothing about.
pub const LATENCY: Duration = Duration::from_millis(10);

/// An input with more in it: what most tests say, and what this one does.
///
/// # Panics
///
/// If one of them is no object.
#[must_use]
pub fn with_more(mut input: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut input, more) else {
        panic!("an input is an object");
    };
    fields.extend(more);
    input
}

/// A host that is being scripted.
#[derive(Debug, Default)]
pub struct TestHost {
    script: Script,
}

/// One operation that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// As in `machines.wait-healthy`.
    pub operation: &'static str,
    /// What it is about, such as a Machine's id or a URL; empty if it is about nothing in particular.
    pub subject: String,
    /// Its options, as `Debug` prints them.
    pub options: String,
    /// The virtual time since the run began.
    pub at: Duration,
}

/// What a run came to.
#[derive(Debug)]
pub struct Tested<T> {
    /// What the plugin returned.
    pub result: Result<T, Error>,
    /// What was submitted, in order.
    pub submitted: Vec<Submission>,
    /// The most operations that were in flight at once.
    pub max_in_flight: usize,
    /// What was noted.
    pub notes: Vec<String>,
    /// How much virtual time it took.
    pub took: Duration,
    own: Own,
}

impl TestHost {
    /// A host with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an operation, such as `machines.restart`, fail when it is about this.
    #[must_use]
    pub fn fail(mut self, operation: &str, subject: &str, failure: Failure) -> Self {
        self.script
            .failures
            .insert((operation.to_owned(), subject.to_owned()), failure);
        self
    }

    /// Makes an operation take this long when it is about this.
    #[must_use]
    pub fn delay(mut self, operation: &str, subject: &str, delay: Duration) -> Self {
        self.script
            .delays
            .insert((operation.to_owned(), subject.to_owned()), delay);
        self
    }

    /// Interrupts the run after this much time: waits end and everything but cleaning up is
    /// refused.
    #[must_use]
    pub fn interrupt_after(mut self, time: Duration) -> Self {
        self.script.interrupt = Some(time);
        self
    }

    /// What a capability of this type keeps, which is its own alone.
    pub(crate) fn own<T: Default + 'static>(&mut self) -> &mut T {
        self.script.own()
    }

    /// Runs a plugin's function to its end.
    pub fn run<T, F>(self, plugin: impl FnOnce(Host) -> F) -> Tested<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        script::install(self.script);
        queue::reset();
        let result = queue::block_on(plugin(Host::new()));
        script::uninstall().tested(result)
    }

    /// Runs a plugin to its end on this input.
    ///
    /// # Panics
    ///
    /// If it is no input of the plugin.
    pub fn run_with<I: DeserializeOwned, T>(
        self,
        plugin: impl AsyncFnOnce(I, Host) -> Result<T, Error>,
        input: Value,
    ) -> Tested<T> {
        let input = serde_json::from_value(input).expect("an input of the plugin");
        self.run(|host| plugin(input, host))
    }
}

impl<T> Tested<T> {
    /// What a capability of this type has kept; none if nothing asked for it.
    pub(crate) fn own<O: 'static>(&self) -> Option<&O> {
        self.own.get()
    }

    /// Which kind of failure it was, and the output that it carries.
    ///
    /// # Panics
    ///
    /// If the plugin succeeded, or failed without an output.
    #[must_use]
    pub fn failed(&self) -> (Kind, Value) {
        let Err(error) = &self.result else {
            panic!("the plugin succeeded");
        };
        let output = error.output().expect("an output");
        let output = serde_json::from_str(output).expect("JSON");
        (error.kind(), output)
    }

    /// What was submitted, and what it was about, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<(&str, &str)> {
        let submitted = self.submitted.iter();
        submitted
            .map(|it| (it.operation, it.subject.as_str()))
            .collect()
    }

    /// What an operation was submitted for, such as the ids of Machines, in order.
    #[must_use]
    pub fn subjects_of(&self, operation: &str) -> Vec<&str> {
        let of_operation = self.submitted.iter().filter(|it| it.operation == operation);
        of_operation.map(|it| it.subject.as_str()).collect()
    }
}
