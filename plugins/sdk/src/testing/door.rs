//! The functions of the contract, answered by the script.

pub(crate) mod operations {
    use std::time::Duration;

    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::{try_with, with};

    pub(crate) fn next(max: u32) -> Vec<u64> {
        with(|script| script.next(max))
    }

    pub(crate) fn forget(op: u64) {
        try_with(|script| script.forget(op));
    }

    pub(crate) fn sleep(milliseconds: u64) -> u64 {
        with(|script| script.submit_sleep(Duration::from_millis(milliseconds)))
    }

    pub(crate) fn take_sleep(op: u64) -> Result<(), Failure> {
        with(|script| script.take(op))
    }

    pub(crate) fn now() -> u64 {
        with(|script| crate::machines::milliseconds(script.now()))
    }

    pub(crate) fn random() -> u64 {
        4 // Chosen by a fair roll of dice.
    }
}

pub(crate) mod machines {
    use crate::bindings::groundcrew::host::machines::{
        CreateOptions, Created, Done, Event, ExecOptions, Executed, Filter, Healthy,
        HealthyOptions, Machine, MachinePage, RestartOptions, RestoreOptions, Scope, StopOptions,
        UpdateOptions, Updated, Version, WaitOptions, Waited,
    };
    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::{MADE, with};

    /// Functions that take an app and an id.
    macro_rules! submit {
        ($($name:ident $operation:literal),* $(,)?) => {$(
            pub(crate) fn $name(_app: &str, id: &str) -> u64 {
                with(|script| script.submit($operation, id, String::new()))
            }
        )*};
    }

    /// Functions that take options as well.
    macro_rules! submit_with {
        ($($name:ident $operation:literal $options:ty),* $(,)?) => {$(
            pub(crate) fn $name(_app: &str, id: &str, options: &$options) -> u64 {
                with(|script| script.submit($operation, id, format!("{options:?}")))
            }
        )*};
    }

    /// Answers that say nothing or only `done`.
    macro_rules! take {
        ($($name:ident $answer:ty = $value:expr),* $(,)?) => {$(
            pub(crate) fn $name(op: u64) -> Result<$answer, Failure> {
                with(|script| script.take(op)).map(|()| $value)
            }
        )*};
    }

    submit! {
        get "machines.get", start "machines.start", suspend "machines.suspend", cordon "machines.cordon",
        uncordon "machines.uncordon", versions "machines.versions", lease "machines.lease", release "machines.release",
    }
    submit_with! {
        stop "machines.stop" StopOptions,
        restart "machines.restart" RestartOptions,
        wait "machines.wait" WaitOptions,
        wait_healthy "machines.wait-healthy" HealthyOptions,
        signal "machines.signal" str,
        update "machines.update" UpdateOptions,
        restore "machines.restore" RestoreOptions,
        set_metadata "machines.set-metadata" [(String, Option<String>)],
        exec "machines.exec" ExecOptions,
    }
    take! {
        take_start Done = Done { baseline_event: None },
        take_stop Done = Done { baseline_event: None },
        take_suspend Done = Done { baseline_event: None },
        take_signal Done = Done { baseline_event: None },
        take_cordon Done = Done { baseline_event: None },
        take_uncordon Done = Done { baseline_event: None },
        take_restart Done = Done { baseline_event: Some("baseline".to_owned()) },
        take_wait Waited = Waited { state: "started".to_owned(), version: "01".to_owned(), event: None },
        take_wait_healthy Healthy = Healthy { checks: 1, started_at: 0, healthy_at: 0 },
        take_versions Vec<Version> = Vec::new(),
        take_update Updated = updated(),
        take_restore Updated = updated(),
        take_set_metadata Done = Done { baseline_event: None },
        take_lease () = (),
        take_release () = (),
    }

    fn updated() -> Updated {
        Updated {
            instance_id: "02".to_owned(),
            previous: "01".to_owned(),
            baseline_event: "baseline".to_owned(),
        }
    }

    pub(crate) fn destroy(_app: &str, id: &str, force: bool) -> u64 {
        with(|script| script.submit("machines.destroy", id, format!("{force}")))
    }

    pub(crate) fn take_destroy(op: u64) -> Result<Done, Failure> {
        with(|script| {
            let id = script.machine_of(op);
            script.take(op)?;
            script.track(None, Some(&id));
            Ok(Done {
                baseline_event: None,
            })
        })
    }

    pub(crate) fn take_exec(op: u64) -> Result<Executed, Failure> {
        let silent = Executed {
            exit_code: 0,
            stdout: String::new(),
            stderr: String::new(),
        };
        with(|script| {
            let id = script.machine_of(op);
            script.take(op)?;
            Ok(script.executed.get(&id).cloned().unwrap_or(silent))
        })
    }

    pub(crate) fn take_events(op: u64) -> Result<Vec<Event>, Failure> {
        with(|script| {
            let id = script.machine_of(op);
            script.take(op)?;
            Ok(script.events.get(&id).cloned().unwrap_or_default())
        })
    }

    /// New Machines are `new-1` and so on, by the number of the operation.
    pub(crate) fn create(_app: &str, options: &CreateOptions) -> u64 {
        let pattern = options.like.clone().unwrap_or_default();
        with(|script| {
            let op = script.submit("machines.create", &pattern, format!("{options:?}"));
            let region = options.region.clone().unwrap_or_else(|| "fra".to_owned());
            script.regions.insert(op, region);
            op
        })
    }

    pub(crate) fn take_create(op: u64) -> Result<Created, Failure> {
        with(|script| {
            let pattern = script.machine_of(op);
            script.take(op)?;
            let region = script.regions.remove(&op).unwrap_or_default();
            let id = format!("{MADE}{op}");
            let like = script.machines.iter().find(|it| it.id == pattern);
            let made = like.map(|pattern| Machine {
                id: id.clone(),
                region: region.clone(),
                ..pattern.clone()
            });
            script.track(made, None);
            Ok(Created {
                id,
                name: format!("groundcrew-{op}"),
                region,
                instance_id: "01".to_owned(),
                private_address: None,
                baseline_event: "made".to_owned(),
            })
        })
    }

    pub(crate) fn events(_app: &str, id: &str, limit: u32) -> u64 {
        with(|script| script.submit("machines.events", id, limit.to_string()))
    }

    pub(crate) fn take_get(op: u64) -> Result<Machine, Failure> {
        with(|script| {
            let id = script.machine_of(op);
            script.take(op)?;
            let found = script.machines.iter().find(|machine| machine.id == id);
            found
                .cloned()
                .ok_or_else(|| Failure::NotFound(format!("there is no Machine {id}")))
        })
    }

    pub(crate) fn list(scope: &Scope, filter: &Filter) -> u64 {
        with(|script| script.submit_list(scope, filter))
    }

    pub(crate) fn take_list(op: u64, offset: u32, max: u32) -> Result<MachinePage, Failure> {
        with(|script| {
            let (machines, total) = script.take_page(op, offset, max)?;
            Ok(MachinePage {
                machines,
                total,
                missing_regions: script.missing_regions.clone(),
            })
        })
    }
}

/// Functions whose answers say nothing.
macro_rules! take_nothing {
    ($($name:ident),* $(,)?) => {$(
        pub(crate) fn $name(op: u64) -> Result<(), Failure> {
            with(|script| script.take(op))
        }
    )*};
}

pub(crate) mod apps {
    use crate::bindings::groundcrew::host::apps::{App, CapacityQuery, Room};
    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::with;

    pub(crate) fn list() -> u64 {
        with(|script| script.submit("apps.list", "", String::new()))
    }

    pub(crate) fn take_list(op: u64) -> Result<Vec<App>, Failure> {
        with(|script| script.take(op).map(|()| script.apps.clone()))
    }

    pub(crate) fn get(app: &str) -> u64 {
        with(|script| script.submit("apps.get", app, String::new()))
    }

    pub(crate) fn take_get(op: u64) -> Result<App, Failure> {
        with(|script| {
            let name = script.machine_of(op);
            script.take(op)?;
            let found = script.apps.iter().find(|app| app.name == name);
            found
                .cloned()
                .ok_or_else(|| Failure::NotFound(format!("there is no app {name}")))
        })
    }

    pub(crate) fn capacity(_app: &str, query: &CapacityQuery) -> u64 {
        with(|script| {
            let like = query.like.clone().unwrap_or_default();
            let op = script.submit("apps.capacity", &like, format!("{query:?}"));
            script.asked.insert(op, query.clone());
            op
        })
    }

    pub(crate) fn take_capacity(op: u64) -> Result<Vec<Room>, Failure> {
        with(|script| {
            script.take(op)?;
            let Some(query) = script.asked.remove(&op) else {
                return Ok(Vec::new());
            };
            let room = |region: &String| Room {
                region: region.clone(),
                machines: script
                    .rooms
                    .get(region)
                    .map_or(query.count, |it| query.count.min(*it)),
                at_once: 8,
            };
            Ok(query.regions.iter().map(room).collect())
        })
    }

    pub(crate) fn delete(app: &str, force: bool) -> u64 {
        with(|script| script.submit("apps.delete", app, force.to_string()))
    }

    take_nothing!(take_delete);
}

pub(crate) mod releases {
    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::bindings::groundcrew::host::releases::{NewRelease, Release, Status};
    use crate::testing::script::with;

    pub(crate) fn list(app: &str, limit: u32) -> u64 {
        with(|script| script.submit("releases.list", app, limit.to_string()))
    }

    pub(crate) fn take_list(op: u64) -> Result<Vec<Release>, Failure> {
        with(|script| script.take(op).map(|()| script.releases.clone()))
    }

    pub(crate) fn current(app: &str) -> u64 {
        with(|script| script.submit("releases.current", app, String::new()))
    }

    pub(crate) fn take_current(op: u64) -> Result<Release, Failure> {
        with(|script| {
            script.take(op)?;
            let newest = script.releases.first().cloned();
            newest.ok_or_else(|| Failure::NotFound("the app has no release".to_owned()))
        })
    }

    pub(crate) fn create(app: &str, new: &NewRelease) -> u64 {
        with(|script| script.submit("releases.create", app, format!("{new:?}")))
    }

    pub(crate) fn take_create(op: u64) -> Result<Release, Failure> {
        with(|script| script.take(op)).map(|()| Release {
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
        with(|script| script.submit("releases.set-status", id, format!("{status:?}")))
    }

    take_nothing!(take_set_status);
}

pub(crate) mod metrics {
    use crate::bindings::groundcrew::host::metrics::Sample;
    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::{in_turn, with};

    pub(crate) fn query(promql: &str, at: Option<u64>) -> u64 {
        with(|script| script.submit("metrics.query", promql, format!("{at:?}")))
    }

    pub(crate) fn take_query(op: u64) -> Result<Vec<Sample>, Failure> {
        with(|script| {
            let query = script.machine_of(op);
            script.take(op)?;
            Ok(in_turn(&mut script.samples, &query).unwrap_or_default())
        })
    }
}

pub(crate) mod http {
    use crate::bindings::groundcrew::host::http::{CheckRequest, Checked};
    use crate::bindings::groundcrew::host::operations::Failure;
    use crate::testing::script::{in_turn, with};

    pub(crate) fn check(request: &CheckRequest) -> u64 {
        with(|script| script.submit("http.check", &request.url, format!("{request:?}")))
    }

    pub(crate) fn check_private(request: &CheckRequest) -> u64 {
        with(|script| script.submit("http.check-private", &request.url, format!("{request:?}")))
    }

    pub(crate) fn take_check(op: u64) -> Result<Checked, Failure> {
        with(|script| {
            let url = script.machine_of(op);
            script.take(op)?;
            let missing = || Failure::Unavailable(format!("nobody answers at {url}"));
            in_turn(&mut script.checked, &url).ok_or_else(missing)
        })
    }

    pub(crate) fn take_check_private(op: u64) -> Result<Checked, Failure> {
        take_check(op)
    }
}

pub(crate) mod log {
    use crate::bindings::groundcrew::host::log::{ItemState, Level};
    use crate::testing::script::try_with;

    pub(crate) fn note(_level: Level, message: &str) {
        try_with(|script| script.notes.push(message.to_owned()));
    }

    pub(crate) fn expect(_total: u32, _unit: &str) {}

    pub(crate) fn item(_name: &str, _state: &ItemState) {}
}

pub(crate) mod run_info {
    use crate::bindings::groundcrew::host::run_info::Run;

    pub(crate) fn current() -> Run {
        Run {
            id: "run".to_owned(),
            runbook: "test".to_owned(),
            step: "test".to_owned(),
            attempt: 1,
            target: "test".to_owned(),
        }
    }
}
