use groundcrew_plugin::{Summary, testing::machine};

use super::*;

fn runs(shown: &str, digest: Option<&str>, wanted: &str) -> bool {
    let summary = Summary {
        image: shown.to_owned(),
        image_digest: digest.map(str::to_owned),
        ..machine("web", "a")
    };
    runs_image(&Machine::from(summary), wanted)
}

#[test]
fn images_are_the_same_however_they_are_spelt() {
    assert!(runs("web:d-1", None, "registry.fly.io/web:d-1"));
    assert!(runs("registry.fly.io/web:d-1", None, "web:d-1"));
    assert!(runs("library/nginx:latest", None, "library/nginx"));
    assert!(runs(
        "web:d-1",
        Some("sha256:1"),
        "registry.fly.io/web@sha256:1"
    ));
    assert!(!runs("web:d-1", Some("sha256:2"), "web:d-1@sha256:1"));
    assert!(runs("web:d-1", None, "localhost:5000/web:d-1@sha256:1"));
    assert!(!runs("web:d-1", None, "web:d-2"));
}

#[test]
fn the_same_change_has_the_same_name_and_another_one_another() {
    let change = |env: &str| Change {
        image: Some("web:2".to_owned()),
        env: vec![env.to_owned()],
        ..Change::default()
    };
    let name = |env: &str| change(env).target().unwrap().release;
    assert_eq!(name("A=1"), name("A=1"));
    assert_ne!(name("A=1"), name("A=2"));
    // Names that deploys had before there were files.
    assert_eq!(name("A=1"), "deploy-23c81013cdcfe93a");
    let with = |config: &str, update_only| {
        let config = Some(config.to_owned());
        let change = Change {
            config,
            update_only,
            ..change("A=1")
        };
        change.target().unwrap().release
    };
    assert_ne!(with("", false), name("A=1"));
    assert_ne!(with("", false), with("[env]", false));
    assert_eq!(with("", false), with("", true));
}

fn patched(change: Change, machine: Summary) -> (Option<String>, Value) {
    let change = change.target().unwrap().change_for(&machine.into());
    let change = change.unwrap();
    let patch = change.patch.unwrap();
    (change.image, serde_json::from_str(&patch).unwrap())
}

#[test]
fn what_is_asked_for_goes_on_top_of_the_file() {
    let file = "swap_size_mb = 512\n[build]\nimage = \"web:1\"\n[env]\nA = \"file\"\nB = \"file\"";
    let change = Change {
        config: Some(file.to_owned()),
        env: vec!["A=asked".to_owned()],
        unset_env: vec!["B".to_owned(), "C".to_owned()],
        patch: Some(r#"{"env":{"D":"1"},"init":{"swap_size_mb":1024},"dns":{}}"#.to_owned()),
        ..Change::default()
    };
    let (image, patch) = patched(change.clone(), machine("web", "a"));
    assert_eq!(image.as_deref(), Some("web:1"));
    let env = json!({ "A": "asked", "B": null, "C": null, "D": "1", "FLY_PROCESS_GROUP": "app" });
    assert_eq!(patch["env"], env);
    assert_eq!(
        (&patch["init"]["swap_size_mb"], &patch["dns"]),
        (&json!(1024), &json!({}))
    );
    let asked = Change {
        image: Some("web:2".to_owned()),
        ..change.clone()
    };
    let image = patched(asked, machine("web", "a")).0;
    assert_eq!(image.as_deref(), Some("web:2"));
    let broken = Change {
        patch: Some("[]".to_owned()),
        ..change
    };
    assert!(
        broken
            .target()
            .unwrap_err()
            .message()
            .contains("JSON object")
    );
}

#[test]
fn what_the_proxy_serves_does_not_stand_by() {
    let file = "[processes]\nweb = \"\"\njobs = \"\"\n[[services]]\ninternal_port = 1\nprocesses = [\"web\"]";
    let change = Change {
        config: Some(file.to_owned()),
        ..Change::default()
    };
    let target = change.target().unwrap();
    let of = |group: &str, standbys: &[&str]| {
        let summary = Summary {
            group: group.to_owned(),
            standbys: standbys.iter().map(|id| (*id).to_owned()).collect(),
            ..machine("web", "a")
        };
        target.change_for(&summary.into()).unwrap().standbys
    };
    assert_eq!(of("web", &["b"]), Some(Vec::new()));
    assert_eq!((of("web", &[]), of("jobs", &["b"])), (None, None));
}

#[test]
fn images_are_not_built() {
    let change = |image: Option<&str>| Change {
        config: Some("[build]\ndockerfile = \"Dockerfile\"".to_owned()),
        image: image.map(str::to_owned),
        ..Change::default()
    };
    assert!(change(Some("web:2")).target().is_ok());
    let refused = change(None).target().unwrap_err();
    assert!(refused.message().contains("`dockerfile`"), "{refused}");
}

#[test]
fn a_new_group_has_nothing_of_its_pattern() {
    let change = Change {
        config: Some("[processes]\njobs = \"run jobs\"".to_owned()),
        ..Change::default()
    };
    let target = change.target().unwrap();
    let pattern = Machine::from(machine("web", "a"));
    assert!(target.change_for(&pattern).is_err());
    let change = target.change_for_new("jobs", Some("b")).unwrap();
    assert_eq!(change.standbys, Some(vec!["b".to_owned()]));
    let patch: Value = serde_json::from_str(change.patch.as_deref().unwrap()).unwrap();
    assert!(change.env.is_empty() && change.replace.contains(&"env".to_owned()));
    assert_eq!(patch["env"], json!({ "FLY_PROCESS_GROUP": "jobs" }));
    assert_eq!(patch["metadata"]["fly_process_group"], "jobs");
    assert_eq!(
        (&patch["services"], &patch["guest"]),
        (&json!([]), &Value::Null)
    );
    assert!(patch.as_object().unwrap().contains_key("files"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(Change::default().target().is_err());
    for env in ["A", "=1", " =1"] {
        let change = Change {
            env: vec![env.to_owned()],
            ..Change::default()
        };
        assert!(change.target().unwrap_err().message().contains("KEY=VALUE"));
    }
}
