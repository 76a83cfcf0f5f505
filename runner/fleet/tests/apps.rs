//! Apps that are deleted, and regions that are full.

use groundcrew_fleet::api::{
    CreateAppRequest, CreateRequest, CreateVolumeRequest, ExecRequest, ExtendVolumeRequest,
    PlacementRequest, SecretsUpdate, UpdateRequest,
};
use groundcrew_fleet::{Caller, Fleet, Generated, Settings, generate};
use serde_json::json;

const ME: Caller<'static> = Caller {
    nonce: None,
    effect: Some("e1"),
    owner: "me",
};

fn fleet(machines: usize) -> Fleet {
    let wanted = Generated {
        machines,
        apps: 2,
        idle_ones: false,
    };
    generate(Settings::default(), &wanted)
}

fn create(fleet: &mut Fleet, region: &str) -> Result<String, u16> {
    let request = CreateRequest {
        config: json!({ "image": "registry.fly.io/web:1" }),
        region: Some(region.into()),
        ..CreateRequest::default()
    };
    let made = fleet.create(&ME, "web", &request);
    made.map(|machine| machine.id).map_err(|error| error.status)
}

fn placed(fleet: &Fleet, region: &str, count: u64) -> Vec<(String, u64, u64)> {
    let request = PlacementRequest {
        region: region.into(),
        count,
        ..PlacementRequest::default()
    };
    let answer = fleet.placements(&request).expect("regions that exist");
    let regions = answer.regions.into_iter();
    regions
        .map(|placed| (placed.region, placed.count, placed.concurrency))
        .collect()
}

#[test]
fn an_app_with_machines_is_deleted_only_by_force() {
    let mut fleet = fleet(4);
    fleet.watch_service("web");
    let id = fleet.machine_ids("web").remove(0);
    fleet
        .stop(&ME, "web", &id, &Default::default())
        .expect("stopped");
    let refused = fleet.delete_app(&ME, "web", false).unwrap_err();
    assert_eq!(refused.status, 422);
    assert_eq!(fleet.delete_app(&ME, "none", true).unwrap_err().status, 404);
    assert_eq!(fleet.machine_count("web"), 2);
    fleet.track_changes();
    fleet.delete_app(&ME, "web", true).expect("deleted");
    assert_eq!(fleet.take_changed().len(), 2);
    assert_eq!(fleet.get_app("web").unwrap_err().status, 404);
    assert_eq!(fleet.get("web", &id).unwrap_err().status, 404);
    assert_eq!(fleet.apps().total_apps, 1);
    let write = fleet.applied().entries().last().expect("a write");
    assert_eq!(
        (write.command, write.app.as_str(), write.effect.as_deref()),
        ("apps.delete", "web", Some("e1"))
    );
    // Nobody serves any more, and nothing of it falls due.
    let groups = fleet.service_extremes("web").expect("watched").groups;
    assert!(groups.values().all(|group| group.least_serving == 0));
    assert_eq!(fleet.next_due(), None);
    fleet.create_app("web");
    let numbers: Vec<_> = fleet
        .apps()
        .apps
        .iter()
        .map(|app| app.internal_numeric_id)
        .collect();
    assert_eq!(numbers, [3, 2]);
    fleet.delete_app(&ME, "web", false).expect("it is empty");
}

#[test]
fn machines_that_are_gone_do_not_keep_an_app() {
    let mut fleet = fleet(2);
    let id = fleet.machine_ids("web").remove(0);
    fleet.destroy(&ME, "web", &id, true).expect("destroyed");
    assert_eq!(fleet.delete_app(&ME, "web", false).unwrap_err().status, 422);
    fleet.advance_to(fleet.now().after(10_000));
    fleet.delete_app(&ME, "web", false).expect("it is empty");
}

#[test]
fn a_full_region_takes_no_more() {
    // One Machine of each app in `fra`, and one of each in `iad`.
    let mut fleet = fleet(4);
    fleet.set_capacity("fra", Some(3));
    let third = create(&mut fleet, "fra").expect("there is room");
    let request = CreateRequest {
        config: json!({ "image": "registry.fly.io/web:1" }),
        region: Some("fra".to_owned()),
        ..CreateRequest::default()
    };
    let refused = fleet.create(&ME, "web", &request).unwrap_err();
    assert_eq!(
        (refused.status, refused.body.status.as_deref()),
        (412, Some("insufficient_capacity"))
    );
    assert_eq!(
        refused.body.error,
        "insufficient resources available to fulfill request"
    );
    create(&mut fleet, "iad").expect("another region");
    fleet.advance_to(fleet.now().after(1_000));
    fleet.destroy(&ME, "web", &third, true).expect("destroyed");
    assert_eq!(create(&mut fleet, "fra"), Err(412));
    fleet.advance_to(fleet.now().after(10_000));
    create(&mut fleet, "fra").expect("one is gone");
    assert_eq!(create(&mut fleet, "fra"), Err(412));
    fleet.set_capacity("fra", None);
    create(&mut fleet, "fra").expect("there is no limit");
    // Fewer than there are already is no room either.
    fleet.set_capacity("fra", Some(1));
    assert_eq!(create(&mut fleet, "fra"), Err(412));
}

#[test]
fn placements_say_how_many_would_fit() {
    let mut fleet = fleet(4);
    let one = |region: &str, count, concurrency| (region.to_owned(), count, concurrency);
    assert_eq!(placed(&fleet, "fra", 5), [one("fra", 5, 5)]);
    fleet.set_capacity("fra", Some(4));
    fleet.set_capacity("iad", Some(2));
    assert_eq!(
        placed(&fleet, "iad,fra", 5),
        [one("iad", 0, 0), one("fra", 2, 2)]
    );
    assert_eq!(placed(&fleet, "fra", 1), [one("fra", 1, 1)]);
    assert_eq!(placed(&fleet, "fra", 0), [one("fra", 2, 2)]);
    assert_eq!(placed(&fleet, "sin", 20), [one("sin", 20, 8)]);
    let any = [
        one("sin", 9, 8),
        one("fra", 2, 2),
        one("iad", 0, 0),
        one("syd", 9, 8),
    ];
    let placed_any = placed(&fleet, "sin,any", 9);
    assert_eq!(placed_any[..4], any, "those that it is made of come first");
    assert_eq!(placed(&fleet, "", 9).len(), 18);
    let unknown = PlacementRequest {
        region: "xyz".into(),
        ..PlacementRequest::default()
    };
    assert_eq!(fleet.placements(&unknown).unwrap_err().status, 400);
}

/// Fly's own regions exist in every fleet, and so do those that its Machines are in.
#[test]
fn regions_are_flys_and_the_fleets() {
    let mut fleet = fleet(4);
    for region in ["lhr", "ord", "sjc", "nrt", "ams", "jnb"] {
        create(&mut fleet, region).expect(region);
    }
    let codes = |fleet: &Fleet| {
        let all = fleet.regions().regions.into_iter();
        all.map(|region| region.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&fleet).len(), 18);
    assert_eq!(create(&mut fleet, "mad"), Err(400), "it has closed");
    // A real fleet may still have one there.
    let mut machine = fleet.get("web", &fleet.machine_ids("web")[0]).unwrap();
    machine.region = "mad".to_owned();
    fleet.adopt("old", vec![machine]);
    assert!(codes(&fleet).contains(&"mad".to_owned()));
    create(&mut fleet, "mad").expect("one is there");
}

/// A list is tried in its order, and a word means several.
#[test]
fn lists_and_words_of_regions_are_tried_in_order() {
    let mut fleet = fleet(4);
    let mut goes = |expression: &str| {
        let id = create(&mut fleet, expression)?;
        Ok(fleet.get("web", &id).unwrap().region)
    };
    assert_eq!(goes("lhr,eu"), Ok("lhr".to_owned()));
    assert_eq!(goes("sa"), Ok("gru".to_owned()));
    for (word, within) in [
        ("eu", &["ams", "arn", "cdg", "fra", "lhr"][..]),
        ("us", &["dfw", "ewr", "iad", "lax", "ord", "sjc"]),
        ("usa", &["dfw", "ewr", "iad", "lax", "ord", "sjc"]),
        ("na", &["dfw", "ewr", "iad", "lax", "ord", "sjc", "yyz"]),
    ] {
        let region = goes(word).unwrap();
        assert!(within.contains(&region.as_str()), "{word}: {region}");
    }
    assert_eq!(goes("lhr,nowhere"), Err(400));
    assert_eq!(goes("EU"), Err(400), "words have one spelling");
    fleet.set_capacity("lhr", Some(0));
    let id = create(&mut fleet, "lhr,jnb").unwrap();
    assert_eq!(fleet.get("web", &id).unwrap().region, "jnb");
    assert_eq!(create(&mut fleet, "lhr"), Err(412));
}

/// `get` and `wait` alone, and only where a fault says so.
#[test]
fn what_was_made_is_known_at_once_but_for_a_fault() {
    let mut fleet = fleet(4);
    let id = create(&mut fleet, "fra").unwrap();
    assert!(fleet.get("web", &id).is_ok());
    fleet.hide_next(400);
    let id = create(&mut fleet, "fra").unwrap();
    assert_eq!(fleet.get("web", &id).unwrap_err().status, 404);
    let wait = fleet.wait_poll("web", &id, &Default::default());
    assert_eq!(wait.unwrap_err().status, 404);
    assert!(fleet.events("web", &id, None).is_ok());
    assert!(
        fleet
            .lease_acquire(&ME, "web", &id, &Default::default())
            .is_ok()
    );
    let later = fleet.now().after(400);
    fleet.advance_to(later);
    assert!(fleet.get("web", &id).is_ok());
}

/// Fly refuses both, each in its words.
#[test]
fn one_update_at_a_time_and_no_command_under_a_lease_of_others() {
    let mut fleet = fleet(4);
    let id = fleet.machine_ids("web").remove(0);
    let update = UpdateRequest {
        config: json!({ "image": "registry.fly.io/web:2" }),
        ..UpdateRequest::default()
    };
    fleet.update(&ME, "web", &id, &update).expect("the first");
    let refused = fleet.update(&ME, "web", &id, &update).unwrap_err();
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.body.error,
        "aborted: machine is replacing: concurrent update in progress"
    );
    let id = fleet.machine_ids("web").remove(1);
    fleet
        .lease_acquire(&ME, "web", &id, &Default::default())
        .expect("it is free");
    let exec = ExecRequest {
        command: vec!["true".to_owned()],
        ..ExecRequest::default()
    };
    let refused = fleet.exec(&ME, "web", &id, &exec).unwrap_err();
    assert_eq!(refused.status, 409);
    let words = format!("aborted: machine ID {id} lease currently held by me");
    assert!(
        refused.body.error.starts_with(&words),
        "{}",
        refused.body.error
    );
}

#[test]
fn an_app_is_made_once_by_a_name_that_a_host_can_have() {
    let mut fleet = fleet(4);
    let wanted = |name: &str| CreateAppRequest {
        name: name.to_owned(),
        network: "aside".to_owned(),
        ..CreateAppRequest::default()
    };
    let made = fleet.make_app(&ME, &wanted("new-app")).unwrap();
    assert_eq!(
        (made.name.as_str(), made.network.as_str()),
        ("new-app", "aside")
    );
    assert_eq!(create_in(&mut fleet, "new-app"), 200);
    for (name, status) in [
        ("new-app", 422),
        ("web", 422),
        ("", 400),
        ("-x", 400),
        ("Web", 400),
        ("a.b", 400),
        (&"x".repeat(64), 400),
    ] {
        let refused = fleet.make_app(&ME, &wanted(name)).unwrap_err();
        assert_eq!(refused.status, status, "{name:?}");
    }
}

fn create_in(fleet: &mut Fleet, app: &str) -> u16 {
    let request = CreateRequest {
        config: json!({ "image": "registry.fly.io/web:1" }),
        ..CreateRequest::default()
    };
    let made = fleet.create(&ME, app, &request);
    made.map_or_else(|refused| refused.status, |_| 200)
}

/// Values are told apart by digests and shown only where they are asked for; each change is a version.
#[test]
fn secrets_are_set_and_unset_in_versions() {
    let mut fleet = fleet(4);
    let update = |values: &[(&str, Option<&str>)]| SecretsUpdate {
        values: values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
            .collect(),
    };
    let set = update(&[("A", Some("one")), ("B", Some("one")), ("C", Some("two"))]);
    let done = fleet.update_secrets(&ME, "web", &set).unwrap();
    assert_eq!((done.version, done.secrets.len()), (1, 3));
    let listed = fleet.secrets("web", false).unwrap().secrets;
    assert!(listed.iter().all(|secret| secret.value.is_none()));
    assert_eq!(listed[0].digest, listed[1].digest);
    assert_ne!(listed[0].digest, listed[2].digest);
    assert_eq!(listed[0].digest.len(), 16);
    let shown = fleet.secret("web", "C", true).unwrap();
    assert_eq!(shown.value.as_deref(), Some("two"));
    let change = update(&[("A", None), ("B", Some("three"))]);
    let done = fleet.update_secrets(&ME, "web", &change).unwrap();
    assert_eq!((done.version, done.secrets.len()), (2, 1));
    assert_eq!(fleet.secret("web", "A", false).unwrap_err().status, 404);
    assert_eq!(fleet.unset_secret(&ME, "web", "A").unwrap_err().status, 404);
    assert_eq!(fleet.unset_secret(&ME, "web", "B").unwrap(), 3);
    // All of them or none.
    let odd = update(&[("D", Some("x")), ("1D", Some("x"))]);
    assert_eq!(
        fleet.update_secrets(&ME, "web", &odd).unwrap_err().status,
        400
    );
    assert_eq!(fleet.secrets("web", false).unwrap().secrets.len(), 1);
    assert_eq!(fleet.secrets("none", false).unwrap_err().status, 404);
    // Another app has its own.
    assert!(fleet.secrets("web-2", false).unwrap().secrets.is_empty());
}

fn volume(fleet: &mut Fleet, region: &str) -> String {
    let request = CreateVolumeRequest {
        name: "data".to_owned(),
        region: Some(region.to_owned()),
        size_gb: Some(3),
        ..CreateVolumeRequest::default()
    };
    fleet.create_volume(&ME, "web", &request).unwrap().id
}

fn with_volume(volume: &str, region: Option<&str>) -> CreateRequest {
    CreateRequest {
        config: json!({
            "image": "registry.fly.io/web:1",
            "mounts": [{ "volume": volume, "path": "/data" }],
        }),
        region: region.map(str::to_owned),
        ..CreateRequest::default()
    }
}

/// A Machine goes to where its volume is, and nobody else gets that.
#[test]
fn a_volume_belongs_to_one_machine_in_its_region() {
    let mut fleet = fleet(4);
    let id = volume(&mut fleet, "lhr");
    let elsewhere = fleet.create(&ME, "web", &with_volume(&id, Some("fra")));
    assert_eq!(elsewhere.unwrap_err().status, 400);
    let made = fleet.create(&ME, "web", &with_volume(&id, None)).unwrap();
    assert_eq!(made.region, "lhr");
    let shown = fleet.volume("web", &id).unwrap();
    assert_eq!(shown.attached_machine_id.as_deref(), Some(made.id.as_str()));
    let again = fleet.create(&ME, "web", &with_volume(&id, Some("lhr")));
    assert_eq!(again.unwrap_err().status, 409);
    let missing = fleet.create(&ME, "web", &with_volume("vol_none", None));
    assert_eq!(missing.unwrap_err().status, 404);
    assert_eq!(
        fleet.destroy_volume(&ME, "web", &id).unwrap_err().status,
        412
    );
    fleet.destroy(&ME, "web", &made.id, true).unwrap();
    let later = fleet.now().after(60_000);
    fleet.advance_to(later);
    assert_eq!(fleet.volume("web", &id).unwrap().attached_machine_id, None);
    fleet.destroy_volume(&ME, "web", &id).unwrap();
    assert_eq!(fleet.volume("web", &id).unwrap_err().status, 404);
}

#[test]
fn volumes_grow_are_copied_and_restored_and_never_shrink() {
    let mut fleet = fleet(4);
    let id = volume(&mut fleet, "fra");
    let sized = |size_gb| ExtendVolumeRequest { size_gb };
    let extend = |fleet: &mut Fleet, size| {
        let done = fleet.extend_volume(&ME, "web", &id, &sized(size));
        done.map(|done| done.volume.size_gb).map_err(|e| e.status)
    };
    assert_eq!(extend(&mut fleet, 5), Ok(5));
    assert_eq!(extend(&mut fleet, 4), Err(400));
    assert_eq!(extend(&mut fleet, 500), Ok(500));
    assert_eq!(extend(&mut fleet, 501), Err(400));
    fleet.create_snapshot(&ME, "web", &id).unwrap();
    let snapshots = fleet.snapshots("web", &id).unwrap();
    assert_eq!((snapshots.len(), snapshots[0].retention_days), (1, Some(5)));
    let made = |request: CreateVolumeRequest| CreateVolumeRequest {
        name: "copy".to_owned(),
        region: Some("fra".to_owned()),
        ..request
    };
    for (request, size) in [
        (
            made(CreateVolumeRequest {
                source_volume_id: Some(id.clone()),
                ..Default::default()
            }),
            Ok(500),
        ),
        (
            made(CreateVolumeRequest {
                snapshot_id: Some(snapshots[0].id.clone()),
                ..Default::default()
            }),
            Ok(500),
        ),
        (
            made(CreateVolumeRequest {
                source_volume_id: Some(id.clone()),
                size_gb: Some(3),
                ..Default::default()
            }),
            Err(400),
        ),
        (
            made(CreateVolumeRequest {
                snapshot_id: Some("vs_none".to_owned()),
                ..Default::default()
            }),
            Err(404),
        ),
        (
            made(CreateVolumeRequest {
                size_gb: Some(0),
                ..Default::default()
            }),
            Err(400),
        ),
        (
            CreateVolumeRequest {
                name: "No".to_owned(),
                ..Default::default()
            },
            Err(400),
        ),
    ] {
        let done = fleet.create_volume(&ME, "web", &request);
        assert_eq!(
            done.map(|volume| volume.size_gb).map_err(|e| e.status),
            size,
            "{request:?}"
        );
    }
    assert_eq!(fleet.volumes("web").unwrap().len(), 3);
    assert_eq!(fleet.get_app("web").unwrap().volume_count, 3);
}

/// Of a real fleet the volumes are known that its Machines have.
#[test]
fn volumes_of_a_fleet_that_is_loaded_are_there() {
    let mut fleet = fleet(4);
    let id = volume(&mut fleet, "fra");
    fleet.create(&ME, "web", &with_volume(&id, None)).unwrap();
    let mut copy = Fleet::new(Settings::default());
    copy.adopt("web", fleet.export("web"));
    let volumes = copy.volumes("web").unwrap();
    assert_eq!((volumes.len(), volumes[0].region.as_str()), (1, "fra"));
    assert!(volumes[0].attached_machine_id.is_some());
}
