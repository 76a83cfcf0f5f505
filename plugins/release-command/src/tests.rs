//! What is not as in `one-off`, whose tests have the procedure.

use groundcrew_plugin::testing::{TestHost, Tested, machine, with_more};
use groundcrew_plugin::{Event, Kind};
use serde_json::{Value, json};

use super::*;

fn run(exit_code: i32, input: Value) -> Tested<Report> {
    let exit = Event {
        id: "01".to_owned(),
        kind: "exit".to_owned(),
        status: "stopped".to_owned(),
        source: "flyd".to_owned(),
        at: 0,
        exit_code: Some(exit_code),
        out_of_memory: false,
        requested_stop: false,
        restart_count: 0,
    };
    let host = TestHost::new()
        .machine(machine("web", "m1"))
        .events("new-2", [exit]);
    host.run_with(
        release_command,
        with_more(
            json!({ "app": "web", "image": "registry.fly.io/web:2", "command": ["bin/migrate"] }),
            input,
        ),
    )
}

#[test]
fn runs_the_new_image_as_flyctl_would() {
    let tested = run(0, json!({ "env": ["STEP=2"] }));
    let options = tested.submitted[1].options.replace('\\', "");
    for part in [
        r#"image: Some("registry.fly.io/web:2")"#,
        r#"("fly_process_group", Some("groundcrew_release_command"))"#,
        r#"("RELEASE_COMMAND", Some("1"))"#,
        r#"("STEP", Some("2"))"#,
        r#""cmd":["bin/migrate"]"#,
    ] {
        assert!(options.contains(part), "{part} is not in {options}");
    }
    assert!(tested.submitted[2].options.contains("300000"));
    assert_eq!(tested.subjects_of("machines.destroy"), ["new-2"]);
    assert_eq!(tested.result.unwrap().exit_code, Some(0));
}

#[test]
fn a_release_command_that_fails_fails_the_step() {
    let error = run(1, json!({})).result.unwrap_err();
    assert_eq!(error.kind(), Kind::Application);
    assert!(error.output().unwrap().contains(r#""exit_code":1"#));
}

#[test]
fn image_and_command_are_needed() {
    for incomplete in [
        json!({ "app": "web", "command": ["bin/migrate"] }),
        json!({ "app": "web", "image": "registry.fly.io/web:2" }),
    ] {
        assert!(serde_json::from_value::<Input>(incomplete).is_err());
    }
    let error = run(0, json!({ "image": "" })).result.unwrap_err();
    assert_eq!(error.message(), "`image` is empty");
}
