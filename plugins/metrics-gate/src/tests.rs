//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::Sample;
use groundcrew_plugin::testing::{Failure, TestHost, Tested, with_more};
use serde_json::{Value, json};

use super::*;

const QUERY: &str = "error_ratio";

fn of(app: &str, value: &str) -> Sample {
    Sample {
        labels: vec![("app".to_owned(), app.to_owned())],
        value: value.to_owned(),
        at: 0,
    }
}

/// One answer after the other, each with these values of `web`; the last stays.
fn answers(values: &[&[&str]]) -> TestHost {
    let mut host = TestHost::new();
    for look in values {
        host = host.samples(QUERY, look.iter().map(|value| of("web", value)));
    }
    host
}

fn run(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(metrics_gate, with_more(json!({ "query": QUERY }), input))
}

/// The report inside a failure, and its kind.
fn failed(tested: &Tested<Report>) -> (Kind, Value) {
    let (kind, report) = tested.failed();
    assert_eq!(report["passed"], false);
    let error = tested.result.as_ref().unwrap_err();
    assert_eq!(report["reason"], error.message());
    (kind, report)
}

fn why(tested: &Tested<Report>) -> String {
    assert_eq!(failed(tested).0, Kind::Application);
    tested.result.as_ref().unwrap_err().message().to_owned()
}

#[test]
fn one_look_within_the_bounds_is_enough() {
    let tested = run(answers(&[&["0.5"]]), json!({ "max": 0.5, "min": 0.5 }));
    assert_eq!(tested.subjects_of("metrics.query"), [QUERY]);
    let report = tested.result.unwrap();
    assert!(report.passed && !report.no_data);
    assert_eq!((report.looks, report.held_ms, report.reason), (1, 0, None));
    assert_eq!(report.values[0].labels["app"], "web");
    assert_eq!(report.values[0].value, Some(0.5));
}

#[test]
fn it_looks_again_until_the_answer_is_within_the_bounds() {
    let host = answers(&[&["3"], &[], &["2"], &["1"]]);
    let tested = run(host, json!({ "max": 1, "every": "10s" }));
    assert_eq!(tested.took, Duration::from_millis(30_040));
    assert_eq!(tested.result.unwrap().looks, 4);
}

#[test]
fn it_has_to_hold_at_every_look() {
    let held = json!({ "max": 1, "hold": "40s" });
    let tested = run(answers(&[&["1"]]), held.clone());
    let report = tested.result.unwrap();
    assert_eq!(report.looks, 4, "at 0, 15, 30 and 40 seconds");
    assert!((40_000..40_100).contains(&report.held_ms));

    for between in [&["2"] as &[&str], &[]] {
        let tested = run(answers(&[&["1"], between, &["1"]]), held.clone());
        assert_eq!(tested.result.unwrap().looks, 6, "it begins anew");
    }
}

#[test]
fn it_gives_up_when_the_time_is_up() {
    let tested = run(answers(&[&["2"]]), json!({ "max": 1, "timeout": "40s" }));
    assert_eq!(
        why(&tested),
        r#"not passed within 40s: {app="web"} is 2, not at most 1"#
    );
    let (_, report) = failed(&tested);
    assert_eq!(report["looks"], 4, "the last one at the very end");
    assert!(tested.took < Duration::from_secs(41));
    let value = json!({ "labels": { "app": "web" }, "value": 2.0 });
    assert_eq!(report["values"], json!([value]));

    let late = answers(&[&["2"], &["2"], &["1"]]);
    let tested = run(late, json!({ "max": 1, "timeout": "1m", "hold": "50s" }));
    assert_eq!(
        why(&tested),
        "not passed within 1m: it has held for 29 s of 50s"
    );

    let once = run(answers(&[&["2"]]), json!({ "max": 1, "timeout": "0s" }));
    assert_eq!(failed(&once).1["looks"], 1);
}

#[test]
fn the_first_look_outside_is_the_last_if_told_so() {
    let input = json!({ "min": 1, "max": 2, "hold": "1m", "fail_fast": true });
    let tested = run(answers(&[&[], &["1"], &["0.5"]]), input);
    assert_eq!(why(&tested), r#"{app="web"} is 0.5, not from 1 to 2"#);
    assert_eq!(failed(&tested).1["looks"], 3, "no data is not outside");
}

#[test]
fn no_data_is_never_zero() {
    let input = |no_data: &str| json!({ "max": 1, "no_data": no_data, "timeout": "1m" });
    for nothing in [&[] as &[&str], &["NaN"], &["+Inf"]] {
        let waited = run(answers(&[nothing]), input("wait"));
        assert!(why(&waited).starts_with("not passed within 1m: "));
        let (_, report) = failed(&waited);
        assert_eq!(
            (&report["no_data"], &report["looks"]),
            (&json!(true), &json!(5))
        );

        let refused = run(answers(&[nothing]), input("fail"));
        assert_eq!(failed(&refused).1["looks"], 1);

        let passed = run(answers(&[nothing]), input("pass")).result.unwrap();
        assert!(passed.passed && passed.no_data);
    }
    let nothing = run(answers(&[&[]]), input("fail"));
    assert_eq!(why(&nothing), "there is no data");
    let blank = run(answers(&[&["1", "NaN", "-Inf"]]), input("fail"));
    assert_eq!(why(&blank), "2 of 3 series have no number");
    assert_eq!(failed(&blank).1["values"][0]["value"], Value::Null);
}

#[test]
fn what_passes_without_data_has_to_hold_as_well() {
    let input = json!({ "max": 1, "no_data": "pass", "hold": "30s" });
    let tested = run(answers(&[&[]]), input);
    assert_eq!(tested.result.unwrap().looks, 3);
}

#[test]
fn each_series_counts_or_what_they_are_reduced_to() {
    let passes = |reduce: &str, bounds: Value| {
        let host = TestHost::new().samples(QUERY, [of("a", "1"), of("b", "4"), of("c", "-2")]);
        let mut input = json!({ "reduce": reduce, "timeout": "0s" });
        let fields = input.as_object_mut().unwrap();
        fields.extend(bounds.as_object().unwrap().clone());
        let tested = run(host, input);
        let result = tested.result;
        result.map_err(|error| error.message().replace("not passed within 0s: ", ""))
    };
    assert!(passes("each", json!({ "min": -2, "max": 4 })).is_ok());
    assert_eq!(
        passes("each", json!({ "max": 0 })).unwrap_err(),
        r#"{app="a"} is 1, not at most 0; 2 of 3 are not"#
    );
    let greatest = passes("max", json!({ "min": 4, "max": 4 })).unwrap();
    assert_eq!(greatest.values.len(), 1);
    assert_eq!(greatest.values[0].labels["app"], "b");
    assert!(passes("min", json!({ "min": -2, "max": -2 })).is_ok());
    assert_eq!(
        passes("min", json!({ "min": 0 })).unwrap_err(),
        r#"{app="c"} is -2, not at least 0"#
    );
    let sum = passes("sum", json!({ "min": 3, "max": 3 })).unwrap();
    assert!(sum.values[0].labels.is_empty());
    assert_eq!(
        passes("sum", json!({ "max": 2 })).unwrap_err(),
        "the sum is 3, not at most 2"
    );
}

#[test]
fn what_is_outside_counts_before_what_has_no_number() {
    let verdict = |reduce: &str, no_data: &str| {
        let input = json!({ "max": 1, "reduce": reduce, "no_data": no_data, "fail_fast": true });
        let tested = run(answers(&[&["NaN", "2"], &["0"]]), input);
        tested.result.map(|report| report.looks)
    };
    assert!(verdict("each", "wait").is_err());
    assert_eq!(verdict("max", "wait"), Ok(2), "not all of it is known");
    assert!(verdict("max", "pass").is_err());
    assert!(verdict("sum", "pass").is_err());
}

#[test]
fn a_report_keeps_what_is_outside_of_many() {
    let mut samples: Vec<Sample> = (0..500).map(|n| of(&n.to_string(), "0")).collect();
    samples.push(of("blank", "NaN"));
    samples.push(of("bad", "9"));
    let host = TestHost::new().samples(QUERY, samples);
    let (_, report) = failed(&run(host, json!({ "max": 1, "timeout": "0s" })));
    assert_eq!(report["values"].as_array().unwrap().len(), 100);
    assert_eq!(report["values"][0]["labels"]["app"], "bad");
    assert_eq!(report["values"][1]["labels"]["app"], "blank");
}

#[test]
fn a_query_that_fails_ends_it() {
    for (failure, kind) in [
        (Failure::Invalid("parse error".to_owned()), Kind::Invalid),
        (Failure::Unavailable("503".to_owned()), Kind::Unavailable),
        (Failure::Denied("no".to_owned()), Kind::Denied),
    ] {
        let host = TestHost::new().fail("metrics.query", QUERY, failure);
        let tested = run(host, json!({ "max": 1, "no_data": "pass" }));
        let (failed_as, report) = failed(&tested);
        assert_eq!((failed_as, &report["looks"]), (kind, &json!(0)));
    }
}

#[test]
fn an_interrupt_ends_it() {
    let host = answers(&[&["2"]]).interrupt_after(Duration::from_secs(20));
    let tested = run(host, json!({ "max": 1 }));
    let (kind, report) = failed(&tested);
    assert_eq!((kind, &report["looks"]), (Kind::Cancelled, &json!(2)));
    assert_eq!(tested.took, Duration::from_secs(20));
}

#[test]
fn nonsense_is_refused_before_anything_is_asked() {
    for (input, message) in [
        (
            json!({}),
            "neither `min` nor `max` is given: then there is nothing to wait for",
        ),
        (
            json!({ "min": 2, "max": 1 }),
            "`min` is 2 and `max` 1: nothing is within these bounds",
        ),
        (
            json!({ "max": 1, "every": "500ms" }),
            "`every` is 500ms: looks are 1s apart at least",
        ),
        (
            json!({ "max": 1, "hold": "5m" }),
            "`hold` is 5m, and the gate gives up after `timeout`, 5m",
        ),
        (json!({ "max": 1, "query": " " }), "`query` is empty"),
    ] {
        let tested = run(answers(&[&["1"]]), input);
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.is_empty());
    }
}
