//! Instant queries, and telling what they are answered.

use groundcrew_simulator::{DEFAULT_READ_TOKEN, Pace, Sample, Token};
use serde_json::{Value, json};

use crate::client::{Client, simulator};

const QUERY: &str = "/prometheus/groundcrew/api/v1/query";

/// A query with everything in it that has to be encoded.
const ASKED: &str = r#"sum(rate(fly_edge_http_responses_count{app="web", status=~"5.."}[1m])) + 1"#;

/// When the simulated time begins: 2026-01-01.
const BEGIN: f64 = 1_767_225_600.0;

fn encoded(text: &str, space: &str) -> String {
    let encode = |byte: u8| match byte {
        b' ' => space.to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn with_token(client: &Client, token: &str) -> Client {
    Client {
        token: token.into(),
        ..client.with("x", "y")
    }
}

async fn tell(client: &Client, query: &str, samples: Value) {
    let body = json!({ "query": query, "samples": samples }).to_string();
    let told = client.post("/_sim/metric", &body).await;
    assert_eq!(told.code(), 200, "{}", told.body);
    let count = samples.as_array().map_or(0, Vec::len);
    assert_eq!(told.json(), json!({ "samples": count }));
}

fn vector(result: &Value) -> Value {
    json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
}

#[tokio::test]
async fn a_query_is_answered_what_was_told_of_it() {
    let (running, client) = simulator(1, |config| config.pace = Pace::ByHand).await;
    let samples = json!([
        { "labels": { "region": "fra" }, "value": "0.25" },
        { "labels": {}, "value": "NaN" },
        { "value": "3" }
    ]);
    tell(&client, ASKED, samples).await;
    let expected = |at: f64| {
        vector(&json!([
            { "metric": { "region": "fra" }, "value": [at, "0.25"] },
            { "metric": {}, "value": [at, "NaN"] },
            { "metric": {}, "value": [at, "3"] }
        ]))
    };
    for space in ["%20", "+"] {
        let asked = encoded(ASKED, space);
        let got = client.get(&format!("{QUERY}?query={asked}")).await;
        assert_eq!(
            (got.code(), got.json()),
            (200, expected(BEGIN)),
            "{}",
            got.body
        );
        assert!(got.head.contains("application/json"), "{}", got.head);
        let form = client.with("content-type", "application/x-www-form-urlencoded");
        let posted = form
            .post(QUERY, &format!("time=1&query={asked}&timeout=5s"))
            .await;
        assert_eq!((posted.code(), posted.json()), (200, expected(BEGIN)));
        let posted = client.post(&format!("{QUERY}?query={asked}"), "").await;
        assert_eq!(posted.json(), expected(BEGIN));
    }
    // The value is of the simulated moment, whatever `time` says.
    assert!(running.move_clock(1_500));
    let got = client
        .get(&format!("{QUERY}?query={}", encoded(ASKED, "+")))
        .await;
    assert_eq!(got.json(), expected(BEGIN + 1.5));
}

#[tokio::test]
async fn what_nobody_told_is_an_empty_vector() {
    let (running, client) = simulator(1, |_| {}).await;
    let empty = vector(&json!([]));
    let ask = async |query: &str| client.get(&format!("{QUERY}?query={query}")).await.json();
    assert_eq!(ask("up").await, empty);
    tell(&client, "up", json!([{ "value": "1" }])).await;
    assert_ne!(ask("up").await, empty);
    // Queries are known by their text, not understood.
    assert_eq!(ask("up%20").await, empty);
    tell(&client, "up", json!([{ "value": "2" }])).await;
    assert_eq!(ask("up").await["data"]["result"][0]["value"][1], "2");
    tell(&client, "up", json!([])).await;
    assert_eq!(ask("up").await, empty);
    running.set_metric("up", vec![Sample::of(0.5)]);
    assert_eq!(ask("up").await["data"]["result"][0]["value"][1], "0.5");
}

#[tokio::test]
async fn a_query_without_a_query_is_bad_data() {
    let (_running, client) = simulator(1, |_| {}).await;
    for (method, target, body) in [
        ("GET", QUERY.to_owned(), ""),
        ("GET", format!("{QUERY}?query="), ""),
        ("GET", format!("{QUERY}?time=1"), ""),
        ("POST", QUERY.to_owned(), ""),
        ("POST", QUERY.to_owned(), "time=1"),
        ("POST", QUERY.to_owned(), r#"{"query":"up"}"#),
    ] {
        let answer = client.send(method, &target, body).await;
        assert_eq!(answer.code(), 400, "{method} {target} {body}");
        let said = answer.json();
        assert_eq!(
            (&said["status"], &said["errorType"]),
            (&json!("error"), &json!("bad_data")),
            "{method} {target} {body}"
        );
        let error = said["error"].as_str().unwrap_or_default();
        assert!(error.contains("\"query\""), "{error}");
    }
    for (method, target) in [
        ("DELETE", QUERY),
        ("GET", "/prometheus/groundcrew/api/v1/query_range"),
        ("GET", "/prometheus/groundcrew"),
    ] {
        assert_eq!(
            client.send(method, target, "").await.code(),
            404,
            "{target}"
        );
    }
}

#[tokio::test]
async fn every_token_of_the_organisation_may_ask() {
    let foreign = Token::read_write("foreign", "other");
    let limited = Token {
        apps: vec!["web".into()],
        ..Token::read_only("limited", "groundcrew")
    };
    let (running, client) = simulator(1, |config| config.tokens.extend([foreign, limited])).await;
    let asked = format!("{QUERY}?query=up");
    let other = "/prometheus/other/api/v1/query?query=up";
    let reader = with_token(&client, DEFAULT_READ_TOKEN);
    assert_eq!(reader.get(&asked).await.code(), 200);
    assert_eq!(reader.post(QUERY, "query=up").await.code(), 200);
    let limited = with_token(&client, "limited");
    assert_eq!(limited.get(&asked).await.code(), 200);
    assert_eq!(client.get(other).await.code(), 403);
    assert_eq!(
        client
            .post("/prometheus/other/api/v1/query", "query=up")
            .await
            .code(),
        403
    );
    assert_eq!(with_token(&client, "foreign").get(&asked).await.code(), 403);
    assert_eq!(
        with_token(&client, "nonsense").get(&asked).await.code(),
        401
    );
    // It is in the log, and among the writes it is not.
    let log = client.get("/_sim/log").await.json();
    let first = &log["requests"][0];
    assert_eq!(
        (&first["route"], &first["status"], &first["token"]),
        (
            &json!("metrics.query"),
            &json!(200),
            &json!("reader@example.com")
        )
    );
    assert_eq!(running.act(|fleet| fleet.applied().entries().len()), 0);
}

#[tokio::test]
async fn queries_fail_as_they_are_told_to() {
    let (_running, client) = simulator(1, |_| {}).await;
    let rule = "metrics.query@1:unavailable";
    assert_eq!(client.post("/_sim/faults", rule).await.code(), 200);
    let asked = format!("{QUERY}?query=up");
    assert_eq!(client.get(&asked).await.code(), 503);
    assert_eq!(client.get(&asked).await.code(), 200);
}

#[tokio::test]
async fn what_is_told_must_be_sound() {
    let (_running, client) = simulator(1, |_| {}).await;
    for body in [
        "",
        "[]",
        r#"{"query":"up"}"#,
        r#"{"samples":[]}"#,
        r#"{"query":"up","samples":[{"labels":{}}]}"#,
        r#"{"query":"up","samples":[{"value":1}]}"#,
        r#"{"query":"up","samples":[],"more":1}"#,
    ] {
        let refused = client.post("/_sim/metric", body).await;
        assert_eq!(refused.code(), 400, "{body}: {}", refused.body);
        assert!(refused.json()["error"].is_string(), "{body}");
    }
    assert_eq!(client.get("/_sim/metric").await.code(), 404);
    let empty = client.get(&format!("{QUERY}?query=up")).await.json();
    assert_eq!(empty, vector(&json!([])));
}
