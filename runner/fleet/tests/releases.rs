//! Releases: recorded, driven to their end, and read.

use groundcrew_fleet::api::{NewRelease, Release, ReleasePatch};
use groundcrew_fleet::{Caller, Fleet, Settings};
use serde_json::json;

const ME: Caller<'static> = Caller {
    nonce: None,
    effect: Some("e1"),
    owner: "me",
};

fn fleet() -> Fleet {
    let mut fleet = Fleet::new(Settings::default());
    fleet.create_app("web");
    fleet.create_app("other");
    fleet
}

fn create(fleet: &mut Fleet, app: &str, image: &str) -> Release {
    let request = NewRelease {
        app_name: app.into(),
        strategy: "BLUEGREEN".into(),
        definition: json!({ "app": app, "env": { "A": "b" } }),
        image: image.into(),
        build_id: 0,
    };
    fleet.release_create(&ME, &request).expect("recorded")
}

fn say(fleet: &mut Fleet, id: &str, status: &str) -> Result<Release, u16> {
    let patch = ReleasePatch {
        status: status.into(),
        ..ReleasePatch::default()
    };
    let answer = fleet.release_update(&ME, id, &patch);
    answer.map_err(|error| error.status)
}

#[test]
fn a_release_keeps_what_it_was_given_and_counts_for_its_app() {
    let mut fleet = fleet();
    assert_eq!(fleet.release_current("web").unwrap_err().status, 404);
    let first = create(&mut fleet, "web", "web:1");
    assert_eq!((first.version, first.status.as_str()), (1, "pending"));
    assert_eq!((first.in_progress, first.stable), (true, false));
    assert_eq!(
        (first.image_ref.as_str(), first.user.as_str()),
        ("web:1", "me")
    );
    assert_eq!(first.definition["env"]["A"], "b");
    assert_eq!(first.created(), Some(fleet.now()));
    let second = create(&mut fleet, "web", "web:2");
    assert_eq!(create(&mut fleet, "other", "other:1").version, 1);
    assert_eq!(second.version, 2);
    assert_ne!(first.id, second.id);
    assert_eq!(fleet.release_current("web"), Ok(second.clone()));
    assert_eq!(
        fleet.releases("web", None),
        Ok(vec![second.clone(), first.clone()])
    );
    assert_eq!(fleet.releases("web", Some(1)), Ok(vec![second]));
    assert_eq!(fleet.release_app(&first.id), Some("web"));
    assert_eq!(fleet.releases("none", None).unwrap_err().status, 404);
    assert_eq!(fleet.release_current("none").unwrap_err().status, 404);
    let unknown = fleet.release_create(&ME, &NewRelease::default());
    assert_eq!(unknown.unwrap_err().status, 404);
}

#[test]
fn a_release_runs_and_ends_once() {
    for (end, stable) in [
        ("complete", true),
        ("failed", false),
        ("interrupted", false),
    ] {
        let mut fleet = fleet();
        let id = create(&mut fleet, "web", "web:1").id;
        assert_eq!(say(&mut fleet, &id, end), Err(422));
        let running = say(&mut fleet, &id, "running").expect("it was pending");
        assert_eq!((running.in_progress, running.stable), (true, false));
        say(&mut fleet, &id, "running").expect("it still is");
        assert_eq!(say(&mut fleet, &id, "pending"), Err(422));
        assert_eq!(say(&mut fleet, &id, "paused"), Err(422));
        let ended = say(&mut fleet, &id, end).expect("it ran");
        assert_eq!((ended.in_progress, ended.stable), (false, stable));
        for after in ["running", "complete", "failed", "interrupted", ""] {
            assert_eq!(say(&mut fleet, &id, after), Err(422), "{end} {after}");
        }
        assert_eq!(fleet.release_current("web"), Ok(ended));
    }
    assert_eq!(say(&mut fleet(), "none", "running"), Err(404));
}

#[test]
fn what_was_said_stays_until_something_else_is_said() {
    let mut fleet = fleet();
    let id = create(&mut fleet, "web", "web:1").id;
    let patch = ReleasePatch {
        status: String::new(),
        metadata: json!({ "step": 1 }),
    };
    let release = fleet
        .release_update(&ME, &id, &patch)
        .expect("it is pending");
    assert_eq!(release.status, "pending");
    let release = say(&mut fleet, &id, "running").expect("it was pending");
    assert_eq!(release.metadata["step"], 1);
}

#[test]
fn releases_are_applied_writes_and_go_with_their_app() {
    let mut fleet = fleet();
    let id = create(&mut fleet, "web", "web:1").id;
    say(&mut fleet, &id, "running").expect("it was pending");
    let _ = say(&mut fleet, &id, "pending");
    let writes: Vec<_> = fleet
        .applied()
        .entries()
        .map(|write| {
            (
                write.command,
                write.app.clone(),
                write.id.clone(),
                write.effect.clone(),
            )
        })
        .collect();
    let write = |command| (command, "web".to_owned(), id.clone(), Some("e1".to_owned()));
    assert_eq!(writes, [write("releases.create"), write("releases.status")]);
    fleet.delete_app(&ME, "web", false).expect("it is empty");
    assert_eq!(say(&mut fleet, &id, "complete"), Err(404));
    fleet.create_app("web");
    assert_eq!(fleet.releases("web", None), Ok(Vec::new()));
    let again = create(&mut fleet, "web", "web:1");
    assert_eq!(again.version, 1);
    assert_ne!(again.id, id);
}

#[test]
fn of_many_releases_the_newest_are_kept_and_counted_on() {
    let mut fleet = fleet();
    for _ in 0..1001 {
        create(&mut fleet, "web", "web:1");
    }
    let releases = fleet.releases("web", None).expect("the app is there");
    let ends = (releases[0].version, releases[releases.len() - 1].version);
    assert_eq!((releases.len(), ends), (1000, (1001, 2)));
}
