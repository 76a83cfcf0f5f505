//! The limits of the language that only a whole runbook can meet: at each, and one past it. Those of
//! expressions and durations are tested beside them.

use groundcrew_runbook::limits::{
    MAX_ATTEMPTS, MAX_DIAGNOSTICS, MAX_ID, MAX_INPUTS, MAX_STEPS, MAX_TEXT,
};
use groundcrew_runbook::{Code, Diagnostic, check};

const HEAD: &str = "name = 'r'\nsummary = 's'\n";
const STEP: &str = "[[step]]\nid = 'a'\nplugin = 'p'\n";

#[track_caller]
fn refused(text: &str, code: Code, message: &str) {
    let errors = check(text).expect_err("it is past the limit");
    let told: Vec<(Code, &str)> = errors.iter().map(told).collect();
    assert_eq!(told, [(code, message)]);
}

fn told(error: &Diagnostic) -> (Code, &str) {
    (error.code, &error.message)
}

#[test]
fn text() {
    let start = format!("{HEAD}{STEP}#");
    let text = start.clone() + &"x".repeat(MAX_TEXT - start.len());
    assert!(check(&text).is_ok());
    refused(
        &(text + "x"),
        Code::TooLarge,
        "the runbook is 262145 bytes long; at most 262144 are allowed",
    );
}

#[test]
fn steps() {
    // A third of them each in `step`, `rescue` and `finally`: all are counted.
    let runbook = |count: usize| {
        let kinds = ["step", "step.rescue", "finally"];
        let step = |n: usize| {
            let kind = kinds[n * kinds.len() / count];
            format!("[[{kind}]]\nid = 's{n}'\nplugin = 'p'\n")
        };
        HEAD.to_owned() + &(0..count).map(step).collect::<String>()
    };
    assert!(check(&runbook(MAX_STEPS)).is_ok());
    refused(
        &runbook(MAX_STEPS + 1),
        Code::TooLarge,
        "the runbook has 257 steps; at most 256 are allowed",
    );
}

#[test]
fn inputs() {
    let runbook = |count: usize| {
        let input = |n| format!("[inputs.i{n}]\ntype = 'string'\n");
        let inputs: String = (0..count).map(input).collect();
        format!("{HEAD}{inputs}{STEP}with = {{ all = '${{inputs}}' }}\n")
    };
    assert!(check(&runbook(MAX_INPUTS)).is_ok());
    refused(
        &runbook(MAX_INPUTS + 1),
        Code::TooLarge,
        "the runbook has 257 inputs; at most 256 are allowed",
    );
}

#[test]
fn attempts() {
    let runbook = |attempts| format!("{HEAD}{STEP}retry = {{ max_attempts = {attempts} }}\n");
    let message = "`max_attempts` must be from 1 to 100";
    assert!(check(&runbook(MAX_ATTEMPTS)).is_ok());
    refused(&runbook(MAX_ATTEMPTS + 1), Code::InvalidValue, message);
    assert!(check(&runbook(1)).is_ok());
    refused(&runbook(0), Code::InvalidValue, message);
}

#[test]
fn ids() {
    let runbook =
        |length| HEAD.to_owned() + &STEP.replace("'a'", &format!("'{}'", "a".repeat(length)));
    assert!(check(&runbook(MAX_ID)).is_ok());
    let message = format!("`{}` cannot be the name of a step", "a".repeat(MAX_ID + 1));
    refused(&runbook(MAX_ID + 1), Code::InvalidId, &message);
}

#[test]
fn diagnostics() {
    let runbook = |count: usize| {
        let keys: String = (0..count).map(|n| format!("zz{n} = 1\n")).collect();
        format!("{HEAD}{keys}{STEP}")
    };
    let count = |text: &str| check(text).expect_err("it has unknown keys").len();
    assert_eq!(count(&runbook(MAX_DIAGNOSTICS)), MAX_DIAGNOSTICS);
    assert_eq!(count(&runbook(MAX_DIAGNOSTICS + 1)), MAX_DIAGNOSTICS);
}
