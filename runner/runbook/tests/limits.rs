//! The limits of the language that only a whole runbook can meet: at each, and one past it. Those of
//! expressions and durations are tested beside them.

use groundcrew_runbook::limits::{
    MAX_ATTEMPTS, MAX_DIAGNOSTICS, MAX_ID, MAX_INPUTS, MAX_PATTERN, MAX_STEPS, MAX_TEXT,
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

#[test]
fn patterns() {
    let runbook = |pattern: &str| {
        let input = format!("[inputs.i]\ntype = 'string'\npattern = '{pattern}'\n");
        format!("{HEAD}{input}{STEP}with = {{ i = '${{inputs.i}}' }}\n")
    };
    assert!(check(&runbook(&"a".repeat(MAX_PATTERN))).is_ok());
    refused(
        &runbook(&"a".repeat(MAX_PATTERN + 1)),
        Code::TooLarge,
        "`pattern` is 1025 bytes long; at most 1024 are allowed",
    );
    // Short, and a program of megabytes.
    refused(
        &runbook("(a{1,200}){1,200}"),
        Code::InvalidValue,
        "`pattern` is not a regular expression: Compiled regex exceeds size limit of 131072 bytes.",
    );
    // As many as there can be, as large as they can be.
    let inputs = (0..MAX_INPUTS)
        .map(|n| format!("[inputs.i{n}]\ntype = 'string'\npattern = '(a{{1,50}}){{1,90}}x{n}'\n"));
    let text = format!(
        "{HEAD}{}{STEP}with = {{ all = '${{inputs}}' }}\n",
        inputs.collect::<String>()
    );
    let began = std::time::Instant::now();
    let _ = check(&text);
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

/// Each of a hundred diagnostics shows its line, which may be all of the text.
#[test]
fn a_diagnostic_of_the_longest_line_is_short() {
    let keys: String = (0..200).map(|n| format!("k{n} = 1, ")).collect();
    let long = "x".repeat(MAX_TEXT - keys.len() - 100);
    let text =
        format!("name = 'r'\nsummary = 's'\nstep = [{{ {keys} id = 'a', plugin = '{long}' }}]\n");
    let began = std::time::Instant::now();
    for diagnostic in &check(&text).unwrap_err() {
        let shown = groundcrew_runbook::render(diagnostic, &text, "r.toml", false);
        assert!(shown.len() < 4096, "{} bytes", shown.len());
    }
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
