//! The procedure against a scripted host, in virtual time.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, with_more};
use serde_json::{Value, json};

use super::*;

const URL: &str = "https://example.com/health";
const OTHER: &str = "https://example.com/";

fn says(status: u16, body: &str) -> Checked {
    Checked {
        status,
        content_type: None,
        body: body.to_owned(),
        truncated: false,
        elapsed_ms: 12,
    }
}

/// One answer of the URL after the other; the last stays.
fn answers(statuses: &[u16]) -> TestHost {
    let mut host = TestHost::new();
    for status in statuses {
        host = host.checked(URL, says(*status, "ok"));
    }
    host
}

fn read(input: Value) -> Result<Input, serde_json::Error> {
    serde_json::from_value(with_more(json!({ "urls": [URL] }), input))
}

fn run(host: TestHost, input: Value) -> Tested<Report> {
    host.run_with(check_url, with_more(json!({ "urls": [URL] }), input))
}

#[test]
fn one_answer_as_expected_is_enough() {
    let tested = run(answers(&[200]), json!({}));
    assert_eq!(tested.subjects_of("http.check"), [URL]);
    let options = &tested.submitted[0].options;
    for part in ["Method::Get", "timeout-ms: 10000", "max-bytes: 0"] {
        assert!(options.contains(part), "{part} is not in {options}");
    }
    let report = tested.result.unwrap();
    let expected = UrlReport {
        url: URL.to_owned(),
        passed: true,
        status: Some(200),
        looks: 1,
        elapsed_ms: Some(12),
        reason: None,
    };
    assert_eq!((report.urls, report.passed), (vec![expected], 1));
}

#[test]
fn it_looks_again_until_the_answer_is_as_expected() {
    let tested = run(answers(&[502, 404, 204]), json!({ "status": [200, 204] }));
    assert_eq!(tested.took, Duration::from_millis(10_030));
    assert_eq!(tested.result.unwrap().urls[0].looks, 3);
}

#[test]
fn it_gives_up_when_the_time_is_up() {
    let tested = run(
        answers(&[503]),
        json!({ "within": "12s", "status": [200, 204] }),
    );
    let (kind, report) = tested.failed();
    assert_eq!(kind, Kind::Application);
    assert_eq!(
        tested.result.as_ref().unwrap_err().message(),
        "0 of 1 answer as expected; https://example.com/health: it answers 503, not 200 or 204"
    );
    let url = &report["urls"][0];
    assert_eq!((&url["status"], &url["looks"]), (&json!(503), &json!(4)));
    assert!(tested.took < Duration::from_secs(13));

    let once = run(answers(&[503]), json!({ "within": "0s" }));
    assert_eq!(once.failed().1["urls"][0]["looks"], 1);
}

#[test]
fn no_answer_is_looked_at_again_too() {
    for failure in [
        Failure::Timeout("no whole answer within 10 s".to_owned()),
        Failure::Unavailable("connection refused".to_owned()),
        Failure::Application("it redirects more than 5 times".to_owned()),
    ] {
        let tested = run(TestHost::new().fail("http.check", URL, failure), json!({}));
        let (kind, report) = tested.failed();
        let url = &report["urls"][0];
        assert_eq!((kind, &url["status"]), (Kind::Application, &Value::Null));
        assert_eq!(
            (&url["looks"], &url["elapsed_ms"]),
            (&json!(13), &Value::Null)
        );
    }
}

#[test]
fn what_stays_as_it_is_ends_it_at_once() {
    for (failure, kind) in [
        (Failure::Denied("not granted".to_owned()), Kind::Denied),
        (Failure::Invalid("no URL".to_owned()), Kind::Invalid),
    ] {
        let host = answers(&[200]).fail("http.check", OTHER, failure);
        let tested = run(host, json!({ "urls": [URL, OTHER] }));
        let (failed_as, report) = tested.failed();
        assert_eq!((failed_as, &report["passed"]), (kind, &json!(1)));
        assert_eq!(report["urls"][1]["looks"], 1);
    }
}

#[test]
fn it_has_to_succeed_so_many_times_in_a_row() {
    let tested = run(answers(&[200, 200, 500, 200]), json!({ "successes": 3 }));
    assert_eq!(tested.result.unwrap().urls[0].looks, 6);

    let short = json!({ "successes": 3, "within": "10s" });
    let tested = run(answers(&[500, 200]), short);
    assert_eq!(
        tested.failed().1["urls"][0]["reason"],
        "it has answered as expected 2 of 3 times in a row"
    );
}

#[test]
fn the_body_has_to_contain_the_text() {
    let starting = Checked {
        truncated: true,
        ..says(200, "starting")
    };
    let host = || TestHost::new().checked(URL, starting.clone());
    let input = json!({ "contains": "ready", "within": "1m" });
    let tested = run(host().checked(URL, says(200, "is ready")), input.clone());
    assert!(tested.submitted[0].options.contains("max-bytes: 16384"));
    assert_eq!(tested.result.unwrap().urls[0].looks, 2);
    assert_eq!(
        run(host(), input).failed().1["urls"][0]["reason"],
        "the beginning of its body does not contain `ready`"
    );
}

#[test]
fn private_ones_are_another_operation() {
    let input = json!({ "private": true, "method": "head", "timeout": "2s" });
    let tested = run(answers(&[200]), input);
    assert_eq!(tested.subjects_of("http.check-private"), [URL]);
    assert!(tested.subjects_of("http.check").is_empty());
    let options = &tested.submitted[0].options;
    assert!(options.contains("Method::Head") && options.contains("timeout-ms: 2000"));
    assert!(tested.result.is_ok());
}

#[test]
fn all_are_looked_at_at_the_same_time() {
    let urls: Vec<String> = (0..100).map(|n| format!("{OTHER}{n}")).collect();
    let mut host = TestHost::new();
    for url in &urls {
        host = host.checked(url, says(200, ""));
    }
    let tested = run(host, json!({ "urls": urls }));
    assert_eq!(tested.max_in_flight, 100);
    assert_eq!(tested.result.unwrap().passed, 100);
}

#[test]
fn an_interrupt_ends_it() {
    let host = answers(&[503]).interrupt_after(Duration::from_secs(7));
    let tested = run(host, json!({}));
    let (kind, report) = tested.failed();
    assert_eq!(
        (kind, &report["urls"][0]["looks"]),
        (Kind::Cancelled, &json!(2))
    );
    assert_eq!(tested.took, Duration::from_secs(7));
}

#[test]
fn nonsense_is_refused_before_anything_is_asked() {
    for (input, message) in [
        (
            json!({ "urls": [] }),
            "`urls` has 0 of them: there can be from 1 to 100",
        ),
        (
            json!({ "status": [] }),
            "`status` is empty: no answer would do",
        ),
        (
            json!({ "contains": "ok", "method": "head" }),
            "`contains` is about the body, and an answer to `head` has none",
        ),
        (
            json!({ "every": "10ms" }),
            "`every` is 10ms: looks are 1s apart at least",
        ),
        (
            json!({ "timeout": "2m" }),
            "`timeout` is 2m: a look may take from 1s to 1m",
        ),
        (
            json!({ "successes": 0 }),
            "`successes` is 0: then there is nothing to do",
        ),
        (
            json!({ "successes": 14 }),
            "14 looks that are 5s apart do not fit into `within`, 1m",
        ),
    ] {
        let tested = run(answers(&[200]), input);
        let error = tested.result.as_ref().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Invalid, message));
        assert!(tested.submitted.is_empty());
    }
    for (status, message) in [
        (json!(99), "`99` is no status: they go from 100 to 599"),
        (
            json!([200, 70000]),
            "`70000` is no status: they go from 100 to 599",
        ),
        (
            json!("200"),
            "invalid type: string \"200\", expected a status such as `200`, or a list of them",
        ),
    ] {
        let error = read(json!({ "status": status })).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(
        read(json!({ "status": 204 })).unwrap().status.to_string(),
        "204"
    );
}
