//! Releases in a scripted run.

use crate::bindings::groundcrew::host::operations::Failure;
use crate::bindings::groundcrew::host::releases::{NewRelease, Release, Status};
use crate::testing::TestHost;
use crate::testing::script::{Call, submit, take, with};

/// The newest first.
#[derive(Debug, Default)]
struct Record(Vec<Release>);

impl TestHost {
    /// Adds an app's release, older than those before.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.own::<Record>().0.push(release);
        self
    }
}

pub(crate) fn list(app: &str, limit: u32) -> u64 {
    submit(Call::new("releases.list", app).options(limit))
}

pub(crate) fn take_list(op: u64) -> Result<Vec<Release>, Failure> {
    with(|script| {
        script.take(op)?;
        Ok(script.own::<Record>().0.clone())
    })
}

pub(crate) fn current(app: &str) -> u64 {
    submit(Call::new("releases.current", app))
}

pub(crate) fn take_current(op: u64) -> Result<Release, Failure> {
    with(|script| {
        script.take(op)?;
        let newest = script.own::<Record>().0.first().cloned();
        newest.ok_or_else(|| Failure::NotFound("the app has no release".to_owned()))
    })
}

pub(crate) fn create(app: &str, new: &NewRelease) -> u64 {
    submit(Call::new("releases.create", app).options(new))
}

pub(crate) fn take_create(op: u64) -> Result<Release, Failure> {
    take(op).map(|()| Release {
        id: format!("release-{op}"),
        version: 1,
        status: "pending".to_owned(),
        strategy: String::new(),
        image: String::new(),
        user: "somebody".to_owned(),
        created_at: String::new(),
        in_progress: true,
        definition: None,
    })
}

pub(crate) fn set_status(_app: &str, id: &str, status: Status) -> u64 {
    submit(Call {
        cleans_up: true,
        ..Call::new("releases.set-status", id).options(status)
    })
}

pub(crate) fn take_set_status(op: u64) -> Result<(), Failure> {
    take(op)
}
