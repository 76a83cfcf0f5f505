//! The schema for editors, held against the sample runbooks: it accepts what the reader accepts and
//! refuses wrong keys and types.

use std::fs;
use std::path::Path;

use groundcrew_runbook::{Code, GrantForm, GrantKey, GrantKeys, check_for};
use serde_json::{Value, json};

/// As a host says it whose capability `machines` this is.
fn keys() -> GrantKeys {
    let key = |(name, form): (&str, GrantForm)| GrantKey {
        name: name.to_owned(),
        form,
        about: "Something.".to_owned(),
    };
    let machines = [
        ("apps", GrantForm::Names),
        ("groups", GrantForm::Names),
        ("max_machines", GrantForm::Number),
        ("max_share", GrantForm::Share),
    ];
    GrantKeys([("machines".to_owned(), machines.map(key).to_vec())].into())
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&groundcrew_runbook::schema(&keys())).expect("it is a schema")
}

fn read(text: &str) -> Value {
    toml::from_str(text).expect("it is TOML")
}

/// Paths and texts of the `.toml` files of a folder.
fn texts(folder: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has samples");
    paths
        .iter()
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn it_is_a_schema() {
    let schema = groundcrew_runbook::schema(&keys());
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn it_accepts_what_the_reader_accepts() {
    let validator = validator();
    for (path, runbook) in [texts("cases/valid"), texts("../../runbooks")].concat() {
        let runbook = read(&runbook);
        let errors: Vec<String> = validator
            .iter_errors(&runbook)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, [""; 0], "{path}");
    }
}

#[test]
fn it_refuses_wrong_keys_and_types() {
    let validator = validator();
    let mut refused = 0;
    for (path, text) in texts("cases/invalid") {
        let errors = check_for(&text, &keys()).expect_err("it is invalid");
        let seen = |code: &Code| matches!(code, Code::UnknownKey | Code::WrongType);
        if errors.iter().any(|error| seen(&error.code)) {
            assert!(!validator.is_valid(&read(&text)), "{path}");
            refused += 1;
        }
    }
    assert!(refused >= 2, "there are such samples");
}

/// One wrong thing at a time, in a runbook that is otherwise right.
#[test]
fn it_refuses_each_wrong_thing_by_itself() {
    let validator = validator();
    let right = read(include_str!("../cases/valid/everything.toml"));
    assert!(validator.is_valid(&right));
    for (pointer, key, wrong) in [
        ("", "nmae", json!("x")),
        ("", "name", json!("Big")),
        ("", "step", json!([])),
        ("", "lock", json!("app/web")),
        ("/inputs/size", "type", json!("text")),
        ("/inputs/size", "defualt", json!("s")),
        ("/step/0", "timeout", json!("10")),
        ("/step/0", "timeout", json!("0s")),
        ("/step/0", "timeout", json!("0h00m0ms")),
        ("/step/0", "on_failure", json!("ignore")),
        ("/step/0/retry", "max_attempts", json!(101)),
        ("/step/0/retry", "attempts", json!(2)),
        ("/step/0/rescue/0", "needs", json!([])),
        ("/step/0/rescue/0", "rescue", json!([])),
        ("/step/1/grant/machines", "app", json!(["web"])),
        ("/step/1/grant/machines", "max_machines", json!(-1)),
        ("/step/1/grant/machines", "max_machines", json!("6")),
        ("/step/1/grant/machines", "max_share", json!("101%")),
        ("/step/1/grant/machines", "max_share", json!("0%")),
        ("/step/1/grant/machines", "max_share", json!("00%")),
        ("/finally/0", "repeatable", json!("yes")),
    ] {
        let mut runbook = right.clone();
        runbook.pointer_mut(pointer).unwrap()[key] = wrong;
        assert!(!validator.is_valid(&runbook), "{pointer}/{key}");
    }
    for (pointer, key, right) in [
        ("/step/0", "timeout", json!("1h0m")),
        ("/step/0", "timeout", json!("0h10ms")),
        ("/step/1/grant/machines", "max_share", json!("9%")),
        ("/step/1/grant/machines", "max_share", json!("100%")),
        ("/step/1/grant/machines", "max_machines", json!(0)),
    ] {
        let mut runbook = read(include_str!("../cases/valid/everything.toml"));
        runbook.pointer_mut(pointer).unwrap()[key] = right;
        assert!(validator.is_valid(&runbook), "{pointer}/{key}");
    }
    let mut without = right;
    without["inputs"]["size"]
        .as_object_mut()
        .unwrap()
        .remove("values");
    assert!(!validator.is_valid(&without), "an enum has values");
}
