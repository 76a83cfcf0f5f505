//! What the model promises, by example.

use groundcrew_fleet::api::{
    CheckResult, CreateRequest, LeaseRequest, RestartQuery, UpdateRequest, WaitQuery,
};
use groundcrew_fleet::{Caller, Fate, Fleet, Generated, Settings, State, generate};

fn small(seed: u64) -> (Fleet, String) {
    let fleet = generate(
        Settings {
            seed,
            ..Settings::default()
        },
        &Generated {
            machines: 6,
            apps: 1,
            idle_ones: false,
        },
    );
    let id = fleet.machine_ids("web").remove(0);
    (fleet, id)
}

fn drain(fleet: &mut Fleet) {
    while let Some(at) = fleet.next_due() {
        fleet.advance_to(at);
    }
}

#[test]
fn a_restart_is_an_exit_on_request_and_a_start_of_the_same_version() {
    let (mut fleet, id) = small(1);
    let before = fleet.get("web", &id).unwrap();
    let baseline = before.newest_event().unwrap().to_owned();
    let predicted = fleet.predicted_restart("web", &id).unwrap();
    let begun = fleet.now();
    fleet
        .restart(&Caller::default(), "web", &id, &RestartQuery::default())
        .unwrap();
    assert_eq!(
        fleet.get("web", &id).unwrap().known_state(),
        Some(State::Restarting)
    );
    let query = WaitQuery {
        states: vec!["started".into()],
        from_event_id: Some(baseline.clone()),
        ..WaitQuery::default()
    };
    assert_eq!(fleet.wait_poll("web", &id, &query).unwrap(), None);
    drain(&mut fleet);
    assert_eq!(
        fleet.now().since(begun),
        predicted.stop_ms + predicted.boot_ms
    );
    assert!(fleet.wait_poll("web", &id, &query).unwrap().is_some());
    let after = fleet.get("web", &id).unwrap();
    assert_eq!(after.instance_id, before.instance_id);
    let newer: Vec<_> = after
        .events
        .iter()
        .filter(|event| event.id > baseline)
        .collect();
    let kinds: Vec<_> = newer.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["start", "exit", "restart"]);
    assert!(newer[1].requested_stop() && !newer[1].restarting());
    // The old result goes on standing until the first one after the start.
    let started = newer[0].at();
    assert_eq!(after.checks[0].result(), CheckResult::Passing);
    assert!(after.checks[0].updated().unwrap() < started);
    fleet.advance_to(begun.after(predicted.total_ms()));
    assert!(fleet.get("web", &id).unwrap().checks[0].updated().unwrap() > started);
}

#[test]
fn a_lease_is_held_once_and_fences_writes() {
    let (mut fleet, id) = small(2);
    let mine = Caller {
        owner: "me",
        ..Caller::default()
    };
    let request = LeaseRequest {
        ttl: Some(10),
        description: Some("run 1".into()),
    };
    let lease = fleet.lease_acquire(&mine, "web", &id, &request).unwrap();
    assert_eq!(lease.nonce.len(), 12);
    let other = fleet
        .lease_acquire(&Caller::default(), "web", &id, &request)
        .unwrap_err();
    assert_eq!(other.status, 409);
    let words = format!("aborted: machine ID {id} lease currently held by me");
    assert!(other.body.error.starts_with(&words));
    assert_eq!(
        fleet
            .restart(&Caller::default(), "web", &id, &RestartQuery::default())
            .unwrap_err()
            .status,
        409
    );
    let holder = Caller {
        nonce: Some(&lease.nonce),
        ..mine
    };
    let refreshed = fleet.lease_acquire(&holder, "web", &id, &request).unwrap();
    assert_eq!(refreshed.nonce, lease.nonce);
    fleet
        .restart(&holder, "web", &id, &RestartQuery::default())
        .unwrap();
    fleet.advance_to(fleet.now().after(10_000));
    assert_eq!(
        fleet.lease_release(&holder, "web", &id).unwrap_err().status,
        404
    );
    assert_eq!(fleet.cordon(&holder, "web", &id).unwrap_err().status, 409);
    fleet
        .lease_acquire(&Caller::default(), "web", &id, &request)
        .unwrap();
}

#[test]
fn fates_end_as_they_say() {
    let (mut fleet, id) = small(3);
    fleet.set_fate("web", &id, Fate::NeverStarts);
    fleet
        .restart(&Caller::default(), "web", &id, &RestartQuery::default())
        .unwrap();
    drain(&mut fleet);
    let machine = fleet.get("web", &id).unwrap();
    assert_eq!(machine.known_state(), Some(State::Stopped));
    let crashes = machine
        .events
        .iter()
        .filter(|event| event.exit_code() == Some(1));
    assert!(crashes.clone().count() >= 9, "{:?}", machine.events);
    assert_eq!(machine.events[0].restart_count(), 10);

    let (mut fleet, id) = small(4);
    fleet.set_fate("web", &id, Fate::HostDiesOnRestart);
    fleet
        .restart(&Caller::default(), "web", &id, &RestartQuery::default())
        .unwrap();
    fleet.advance_to(fleet.now().after(600_000));
    let machine = fleet.get("web", &id).unwrap();
    assert_eq!(
        (machine.state.as_str(), machine.host_status.as_str()),
        ("starting", "unreachable")
    );
    assert_eq!(machine.process_group(), "web");
    assert!(
        fleet
            .stop(&Caller::default(), "web", &id, &Default::default())
            .is_err()
    );
    fleet.set_fate("web", &id, Fate::Normal);
    drain(&mut fleet);
    assert_eq!(fleet.get("web", &id).unwrap().state, "started");

    let (mut fleet, id) = small(5);
    fleet.set_fate("web", &id, Fate::OutOfMemory { after_ms: 1000 });
    fleet.advance_to(fleet.now().after(1500));
    let machine = fleet.get("web", &id).unwrap();
    assert!(
        machine
            .events
            .iter()
            .any(|event| event.oom_killed() && event.restarting())
    );

    let (mut fleet, id) = small(6);
    fleet.set_fate("web", &id, Fate::ChecksFail);
    fleet
        .restart(&Caller::default(), "web", &id, &RestartQuery::default())
        .unwrap();
    drain(&mut fleet);
    fleet.advance_to(fleet.now().after(5_001));
    assert_eq!(
        fleet.get("web", &id).unwrap().checks[0].result(),
        CheckResult::Critical
    );
}

#[test]
fn an_update_compares_the_version_and_an_image_that_cannot_be_pulled_brings_the_old_one_back() {
    let (mut fleet, id) = small(8);
    let before = fleet.get("web", &id).unwrap();
    let mut config = before.config.clone();
    config["image"] = "registry.fly.io/web:unpullable".into();
    let mut request = UpdateRequest {
        config,
        current_version: Some("other".into()),
        ..UpdateRequest::default()
    };
    let caller = Caller {
        effect: Some("e1"),
        ..Caller::default()
    };
    assert_eq!(
        fleet
            .update(&caller, "web", &id, &request)
            .unwrap_err()
            .status,
        409
    );
    request.current_version = Some(before.instance_id.clone());
    let answered = fleet.update(&caller, "web", &id, &request).unwrap();
    assert_ne!(answered.instance_id, before.instance_id);
    drain(&mut fleet);
    let after = fleet.get("web", &id).unwrap();
    assert_eq!(
        (after.instance_id, after.state.as_str()),
        (before.instance_id, "started")
    );
    assert_eq!(
        fleet
            .applied()
            .entries()
            .filter(|write| write.effect.as_deref() == Some("e1"))
            .count(),
        1
    );
}

#[test]
fn a_fork_of_an_export_is_the_same_app() {
    let (mut fleet, id) = small(9);
    fleet
        .lease_acquire(
            &Caller {
                owner: "x",
                ..Caller::default()
            },
            "web",
            &id,
            &LeaseRequest::default(),
        )
        .unwrap();
    let exported = fleet.export("web");
    let text = serde_json::to_string(&exported).unwrap();
    let mut fork = Fleet::new(Settings {
        start: fleet.now(),
        ..Settings::default()
    });
    fork.adopt("web", serde_json::from_str(&text).unwrap());
    assert_eq!(fork.export("web"), exported);
}

#[test]
fn names_are_unique_and_pages_are_whole() {
    let (mut fleet, id) = small(10);
    let taken = fleet.get("web", &id).unwrap();
    let request = groundcrew_fleet::api::CreateRequest {
        config: taken.config.clone(),
        name: Some(taken.name.clone()),
        ..Default::default()
    };
    let refused = fleet
        .create(&Caller::default(), "web", &request)
        .unwrap_err();
    assert_eq!(refused.status, 409);
    assert!(
        refused
            .body
            .error
            .contains(&format!("machine ID {id} already exists"))
    );
    let mut query = groundcrew_fleet::api::OrgQuery {
        limit: Some(4),
        ..Default::default()
    };
    let first = fleet.list_org(&query).unwrap();
    query.cursor = Some(first.next_cursor.clone());
    let second = fleet.list_org(&query).unwrap();
    assert_eq!(
        (
            first.machines.len(),
            second.machines.len(),
            second.next_cursor.as_str()
        ),
        (4, 2, "")
    );
}

#[test]
fn short_pages_lose_nothing_and_missing_regions_are_named() {
    let settings = Settings {
        short_pages: true,
        ..Settings::default()
    };
    let mut fleet = generate(
        settings,
        &Generated {
            machines: 23,
            apps: 2,
            idle_ones: true,
        },
    );
    let walk = |fleet: &Fleet| {
        let mut query = groundcrew_fleet::api::OrgQuery {
            limit: Some(5),
            ..Default::default()
        };
        let (mut seen, mut missing) = (std::collections::BTreeSet::new(), Vec::new());
        loop {
            let page = fleet.list_org(&query).unwrap();
            seen.extend(page.machines.into_iter().map(|machine| machine.id));
            missing = if missing.is_empty() {
                page.error_regions
            } else {
                missing
            };
            if page.next_cursor.is_empty() {
                return (seen.len(), missing);
            }
            query.cursor = Some(page.next_cursor);
        }
    };
    assert_eq!(walk(&fleet), (23, vec![]));
    fleet.set_error_regions(vec!["fra".into()]);
    let (seen, missing) = walk(&fleet);
    assert!(seen < 23 && missing == ["fra"]);
}

#[test]
fn a_machine_whose_image_cannot_be_pulled_is_never_made() {
    let (mut fleet, _) = small(11);
    let config = serde_json::json!({ "image": "registry.fly.io/web:unpullable" });
    let request = groundcrew_fleet::api::CreateRequest {
        config,
        ..Default::default()
    };
    let made = fleet.create(&Caller::default(), "web", &request).unwrap();
    drain(&mut fleet);
    let machine = fleet.get("web", &made.id).unwrap();
    assert_eq!(machine.known_state(), Some(State::Destroyed));
    assert!(
        machine
            .events
            .iter()
            .any(|event| event.status == "launch_failed")
    );
}

#[test]
fn a_command_in_a_machine_is_echoed_and_ends_as_it_says() {
    let (mut fleet, id) = small(12);
    let mut exec = |request: groundcrew_fleet::api::ExecRequest| {
        let answer = fleet.exec(&Caller::default(), "web", &id, &request);
        answer.map(|answer| (answer.exit_code, answer.stdout))
    };
    let cmd = groundcrew_fleet::api::ExecRequest {
        cmd: "bin/migrate --up".into(),
        ..Default::default()
    };
    assert_eq!(exec(cmd), Ok((0, "bin/migrate --up\n".to_owned())));
    let command = groundcrew_fleet::api::ExecRequest {
        command: ["sh", "-c", "bin/check || exit 3"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    };
    assert_eq!(
        exec(command),
        Ok((3, "sh -c bin/check || exit 3\n".to_owned()))
    );
    assert_eq!(exec(Default::default()).unwrap_err().status, 400);
}

#[test]
fn one_that_is_only_to_be_made_is_created_and_then_rests() {
    let (mut fleet, id) = small(11);
    let request = CreateRequest {
        config: fleet.get("web", &id).unwrap().config,
        skip_launch: true,
        ..CreateRequest::default()
    };
    let made = fleet.create(&Caller::default(), "web", &request).unwrap();
    assert_eq!(made.state, "created");
    let refused = fleet
        .start(&Caller::default(), "web", &made.id)
        .unwrap_err();
    assert_eq!(refused.status, 412);
    let words = "unable to start machine from current state: 'created'";
    assert!(refused.body.error.ends_with(words));
    drain(&mut fleet);
    fleet.advance_to(fleet.now().after(60_000));
    let wait = |state: &str| WaitQuery {
        states: vec![state.into()],
        ..WaitQuery::default()
    };
    let answer = fleet.wait_poll("web", &made.id, &wait("stopped")).unwrap();
    assert_eq!(answer.unwrap().state, "stopped");
    assert_eq!(
        fleet.wait_poll("web", &made.id, &wait("started")).unwrap(),
        None
    );
}

/// Whatever is asked for: it rests until the one that it stands by for is gone.
#[test]
fn a_standby_that_is_made_is_not_started() {
    let (mut fleet, id) = small(12);
    let mut config = fleet.get("web", &id).unwrap().config;
    config["standbys"] = serde_json::json!([id]);
    let request = CreateRequest {
        config,
        ..CreateRequest::default()
    };
    let made = fleet.create(&Caller::default(), "web", &request).unwrap();
    fleet.advance_to(fleet.now().after(60_000));
    assert_eq!(fleet.get("web", &made.id).unwrap().state, "stopped");
}

/// What is gone is shown, and nothing more can be done to it but to destroy it once more.
#[test]
fn what_is_gone_is_not_found_by_who_would_change_it() {
    let (mut fleet, id) = small(13);
    let nobody = Caller::default();
    fleet.destroy(&nobody, "web", &id, true).unwrap();
    drain(&mut fleet);
    assert_eq!(fleet.get("web", &id).unwrap().state, "destroyed");
    let config = fleet.get("web", &id).unwrap().config;
    let update = groundcrew_fleet::api::UpdateRequest {
        config,
        ..Default::default()
    };
    let refused = [
        fleet.update(&nobody, "web", &id, &update).unwrap_err(),
        fleet.cordon(&nobody, "web", &id).unwrap_err(),
        fleet
            .lease_acquire(&nobody, "web", &id, &Default::default())
            .unwrap_err(),
        fleet
            .metadata_patch(&nobody, "web", &id, &Default::default())
            .unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.status, 404, "{refused:?}");
    }
    assert!(fleet.destroy(&nobody, "web", &id, true).is_ok());
}

/// By Fly's documentation of suspending.
#[test]
fn some_machines_cannot_be_suspended() {
    for (key, value) in [
        ("swap_size_mb", serde_json::json!(512)),
        ("schedule", serde_json::json!("daily")),
        ("guest", serde_json::json!({ "memory_mb": 16_384 })),
    ] {
        let (mut fleet, id) = small(14);
        let mut machine = fleet.get("web", &id).unwrap();
        machine.config[key] = value;
        fleet.adopt("odd", vec![machine]);
        let refused = fleet.suspend(&Caller::default(), "odd", &id).unwrap_err();
        assert_eq!(refused.status, 412, "{key}");
    }
    let (mut fleet, id) = small(14);
    let mut machine = fleet.get("web", &id).unwrap();
    machine.config["guest"] = serde_json::json!({ "memory_mb": 16_383 });
    fleet.adopt("small", vec![machine]);
    assert!(fleet.suspend(&Caller::default(), "small", &id).is_ok());
    assert!(fleet.suspend(&Caller::default(), "web", &id).is_ok());
}

/// As fly-go reads durations: a number is one of nanoseconds.
#[test]
fn a_stop_takes_its_timeout_as_text_and_as_a_number() {
    for (body, timeout) in [
        (r#"{"timeout":"30s"}"#, Some("30s")),
        (r#"{"timeout":30000000000}"#, Some("30000ms")),
        (r#"{"timeout":null}"#, None),
        ("{}", None),
    ] {
        let read: groundcrew_fleet::api::StopRequest = serde_json::from_str(body).unwrap();
        assert_eq!(read.timeout.as_deref(), timeout, "{body}");
    }
}
