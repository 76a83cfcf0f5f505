//! Apps and capacity in a scripted run.

use std::collections::HashMap;

use crate::bindings::groundcrew::host::apps::{App, CapacityQuery, Room};
use crate::bindings::groundcrew::host::operations::Failure;
use crate::testing::TestHost;
use crate::testing::script::{Call, submit, take, with};

#[derive(Debug, Default)]
struct Apps {
    apps: Vec<App>,
    /// By region; every other one has room.
    rooms: HashMap<String, u32>,
    /// What was asked about capacity, by operation.
    asked: HashMap<u64, CapacityQuery>,
}

impl TestHost {
    /// Adds an app.
    #[must_use]
    pub fn app(mut self, app: App) -> Self {
        self.own::<Apps>().apps.push(app);
        self
    }

    /// Makes a region take at most so many Machines more; otherwise there is room.
    #[must_use]
    pub fn room(mut self, region: &str, machines: u32) -> Self {
        let rooms = &mut self.own::<Apps>().rooms;
        rooms.insert(region.to_owned(), machines);
        self
    }
}

pub(crate) fn list() -> u64 {
    submit(Call::new("apps.list", ""))
}

pub(crate) fn take_list(op: u64) -> Result<Vec<App>, Failure> {
    with(|script| {
        script.take(op)?;
        Ok(script.own::<Apps>().apps.clone())
    })
}

pub(crate) fn get(app: &str) -> u64 {
    submit(Call::new("apps.get", app))
}

pub(crate) fn take_get(op: u64) -> Result<App, Failure> {
    with(|script| {
        let name = script.subject(op);
        script.take(op)?;
        let mut apps = script.own::<Apps>().apps.iter();
        let found = apps.find(|app| app.name == name);
        found
            .cloned()
            .ok_or_else(|| Failure::NotFound(format!("there is no app {name}")))
    })
}

pub(crate) fn capacity(_app: &str, query: &CapacityQuery) -> u64 {
    with(|script| {
        let like = query.like.as_deref().unwrap_or_default();
        let op = script.submit(Call::new("apps.capacity", like).options(query));
        script.own::<Apps>().asked.insert(op, query.clone());
        op
    })
}

pub(crate) fn take_capacity(op: u64) -> Result<Vec<Room>, Failure> {
    with(|script| {
        script.take(op)?;
        let apps = script.own::<Apps>();
        let query = apps.asked.remove(&op).expect("it was asked");
        let room = |region: &String| Room {
            region: region.clone(),
            machines: apps
                .rooms
                .get(region)
                .map_or(query.count, |it| query.count.min(*it)),
            at_once: 8,
        };
        Ok(query.regions.iter().map(room).collect())
    })
}

pub(crate) fn delete(app: &str, force: bool) -> u64 {
    submit(Call::new("apps.delete", app).options(force))
}

pub(crate) fn take_delete(op: u64) -> Result<(), Failure> {
    take(op)
}
