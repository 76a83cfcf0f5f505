//! A scripted host for native tests of plugins.
//!
//! The plugin's function runs unchanged, in virtual time and on this thread: Machines are data,
//! every operation succeeds after [`LATENCY`] unless the script says otherwise, and everything
//! that was submitted is there to be looked at afterwards. It is not a model of Fly: nothing a
//! plugin does changes what a listing answers, unless [`TestHost::keep_track`] says so, and then
//! only what is made and destroyed does. Rehearsals have that model.

pub(crate) mod door;
mod script;

use std::future::Future;
use std::time::Duration;

use crate::bindings::groundcrew::host::apps::App;
use crate::bindings::groundcrew::host::http::Checked;
use crate::bindings::groundcrew::host::machines::{
    Check, CheckStatus, Event, Executed, HostStatus, Machine as Summary,
};
use crate::bindings::groundcrew::host::metrics::Sample;
pub use crate::bindings::groundcrew::host::operations::Failure;
use crate::bindings::groundcrew::host::releases::Release;
use crate::{Error, Host, queue};

use self::script::Script;

/// How long an operation takes that the script says nothing about.
pub const LATENCY: Duration = Duration::from_millis(10);

/// A started, reachable Machine of the group `app` in `fra` whose one check passes, to be changed by
/// struct update.
#[must_use]
pub fn machine(app: &str, id: &str) -> Summary {
    Summary {
        app: app.to_owned(),
        id: id.to_owned(),
        name: format!("{app}-{id}"),
        state: "started".to_owned(),
        region: "fra".to_owned(),
        group: "app".to_owned(),
        image: format!("registry.fly.io/{app}:deployment-1"),
        image_digest: None,
        release: None,
        checks: vec![Check {
            name: "alive".to_owned(),
            status: CheckStatus::Passing,
            output: String::new(),
            updated_at: 0,
        }],
        host_status: HostStatus::Ok,
        cordoned: false,
        standbys: Vec::new(),
        mounts: Vec::new(),
        services: 1,
        configured_checks: 1,
        autostop: "off".to_owned(),
        private_address: None,
        lease_owner: None,
        restarts: 0,
        out_of_memory_kills: 0,
        instance_id: "01".to_owned(),
        created_at: 0,
        updated_at: 0,
    }
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
    /// The Machine's id, if it acts on one.
    pub machine: String,
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
    /// The most leases that were held at once.
    pub max_leased: usize,
    /// Leases that were not given back.
    pub leases_left: Vec<String>,
    /// What was noted.
    pub notes: Vec<String>,
    /// How much virtual time it took.
    pub took: Duration,
}

impl TestHost {
    /// A host with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a Machine.
    #[must_use]
    pub fn machine(mut self, machine: Summary) -> Self {
        self.script.machines.push(machine);
        self
    }

    /// Adds Machines.
    #[must_use]
    pub fn machines(mut self, machines: impl IntoIterator<Item = Summary>) -> Self {
        self.script.machines.extend(machines);
        self
    }

    /// Makes an operation, such as `machines.restart`, fail for a Machine.
    #[must_use]
    pub fn fail(mut self, operation: &str, machine: &str, failure: Failure) -> Self {
        self.script
            .failures
            .insert((operation.to_owned(), machine.to_owned()), failure);
        self
    }

    /// Makes an operation take this long for a Machine.
    #[must_use]
    pub fn delay(mut self, operation: &str, machine: &str, delay: Duration) -> Self {
        self.script
            .delays
            .insert((operation.to_owned(), machine.to_owned()), delay);
        self
    }

    /// Gives a Machine events, the newest first; otherwise it has none.
    #[must_use]
    pub fn events(mut self, machine: &str, events: impl IntoIterator<Item = Event>) -> Self {
        let events = events.into_iter().collect();
        self.script.events.insert(machine.to_owned(), events);
        self
    }

    /// Makes commands end like this in a Machine; otherwise they succeed and print nothing.
    #[must_use]
    pub fn executed(mut self, machine: &str, executed: Executed) -> Self {
        self.script.executed.insert(machine.to_owned(), executed);
        self
    }

    /// Makes listings have the Machines that were made, as their patterns are, and no longer those
    /// that were destroyed.
    #[must_use]
    pub fn keep_track(mut self) -> Self {
        self.script.keeps_track = true;
        self
    }

    /// Adds an app.
    #[must_use]
    pub fn app(mut self, app: App) -> Self {
        self.script.apps.push(app);
        self
    }

    /// Makes a region take at most so many Machines more; otherwise there is room.
    #[must_use]
    pub fn room(mut self, region: &str, machines: u32) -> Self {
        self.script.rooms.insert(region.to_owned(), machines);
        self
    }

    /// Adds an app's release, older than those before.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.script.releases.push(release);
        self
    }

    /// Answers a query with these samples, after those that were given before; the last answer
    /// stays. A query that nobody speaks of has no data.
    #[must_use]
    pub fn samples(mut self, query: &str, samples: impl IntoIterator<Item = Sample>) -> Self {
        let answers = self.script.samples.entry(query.to_owned()).or_default();
        answers.push(samples.into_iter().collect());
        self
    }

    /// Answers a URL, after those answers that were given before; the last stays. A URL that nobody
    /// speaks of is unavailable.
    #[must_use]
    pub fn checked(mut self, url: &str, checked: Checked) -> Self {
        let answers = self.script.checked.entry(url.to_owned()).or_default();
        answers.push(checked);
        self
    }

    /// Makes listings lack this region.
    #[must_use]
    pub fn missing_region(mut self, region: &str) -> Self {
        self.script.missing_regions.push(region.to_owned());
        self
    }

    /// Interrupts the run after this much time: waits end and everything but cleaning up is
    /// refused.
    #[must_use]
    pub fn interrupt_after(mut self, time: Duration) -> Self {
        self.script.interrupt = Some(time);
        self
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
}

impl<T> Tested<T> {
    /// The ids of the Machines for which an operation was submitted, in order.
    #[must_use]
    pub fn machines_of(&self, operation: &str) -> Vec<&str> {
        let of_operation = self.submitted.iter().filter(|it| it.operation == operation);
        of_operation.map(|it| it.machine.as_str()).collect()
    }
}
