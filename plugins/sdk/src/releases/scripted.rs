//! Releases in a scripted run.

use std::collections::BTreeMap;

use crate::bindings::groundcrew::host::operations::Failure;
use crate::bindings::groundcrew::host::releases::{NewRelease, Release, Status};
use crate::testing::TestHost;
use crate::testing::script::{Call, submit, take, with};

/// The newest first.
#[derive(Debug, Default)]
struct Record(Vec<Release>);

/// Of which release each definition is asked for.
#[derive(Debug, Default)]
struct Asked(BTreeMap<u64, String>);

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

pub(crate) fn definition(_app: &str, id: &str) -> u64 {
    let op = submit(Call::new("releases.definition", id));
    with(|script| script.own::<Asked>().0.insert(op, id.to_owned()));
    op
}

pub(crate) fn take_definition(op: u64) -> Result<Option<String>, Failure> {
    with(|script| {
        script.take(op)?;
        let asked = script.own::<Asked>().0.remove(&op);
        let mut all = script.own::<Record>().0.iter();
        let found = all.find(|release| Some(&release.id) == asked.as_ref());
        Ok(found.and_then(|release| release.definition.clone()))
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
