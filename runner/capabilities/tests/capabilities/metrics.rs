//! `metrics`: what a Prometheus answers, in both worlds alike.

use groundcrew::{Mode, Request, arguments};
use groundcrew_simulator::Sample;
use serde_json::{Value, json};

use crate::support::{WORLDS, Web, World, failed, http, row};

/// A query of the present.
pub(crate) fn query(promql: &str) -> Request {
    let query = json!({ "promql": promql, "at": null });
    Request::new(row("metrics.query")).with(arguments(&query))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_data_is_an_empty_list_and_not_zero() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        assert_eq!(run.ask::<Value>(query("errors")).await, Ok(json!([])));
        let samples = ["0", "NaN"].map(|value| Sample {
            labels: [("app".to_owned(), "web".to_owned())].into(),
            ..Sample::of(value)
        });
        world.simulator.set_metric("errors", samples.into());
        let answer: Value = run.ask(query("errors")).await.unwrap();
        assert_eq!(answer[0]["labels"], json!([["app", "web"]]));
        assert_eq!(
            (&answer[0]["value"], &answer[1]["value"]),
            (&json!("0"), &json!("NaN"))
        );
        world.only_read();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_makes_no_sense_is_invalid_and_asked_once() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let error = json!({ "status": "error", "errorType": "bad_data", "error": "parse error: unclosed left parenthesis" });
        let web = Web::serve(move |_, _| http("400 Bad Request", "", &error.to_string())).await;
        let run = world.run_with_metrics(&web.url);
        let said = failed::<Value>("invalid", run.ask(query("sum(")).await);
        assert!(said.contains("unclosed left parenthesis"), "{said}");
        assert_eq!(web.seen().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_too_long_is_refused_before_anything_is_sent() {
    const LONGEST: usize = 16 << 10;
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let said = failed::<Value>("invalid", run.ask(query(&"x".repeat(LONGEST + 1))).await);
        assert!(said.contains("longer than 16384 bytes"), "{said}");
        assert_eq!(world.requests(), []);
        run.done(query(&"x".repeat(LONGEST))).await;
        assert_eq!(world.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_samples_than_anybody_reads_are_refused() {
    const MOST: usize = 10_000;
    let world = World::start(Mode::Perform).await;
    let run = world.run("run");
    let samples = |count| vec![Sample::of(1); count];
    world.simulator.set_metric("all", samples(MOST));
    let answer: Value = run.ask(query("all")).await.unwrap();
    assert_eq!(answer.as_array().unwrap().len(), MOST);
    world.simulator.set_metric("all", samples(MOST + 1));
    let said = failed::<Value>("invalid", run.ask(query("all")).await);
    assert!(said.contains("aggregate"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_posted_as_a_form_with_its_moment() {
    let world = World::start(Mode::Perform).await;
    let none = json!({ "status": "success", "data": { "resultType": "vector", "result": [] } });
    let web = Web::serve(move |_, _| http("200 OK", "", &none.to_string())).await;
    let run = world.run_with_metrics(&format!("{}/prometheus/x", web.url));
    let then = json!({ "promql": "up{app=\"web\"} + 1", "at": 1_700_000_000_250_u64 });
    let request = Request::new(row("metrics.query")).with(then);
    run.done(request).await;
    let seen = web.seen().remove(0);
    assert!(
        seen.starts_with("POST /prometheus/x/api/v1/query HTTP/1.1\r\n"),
        "{seen}"
    );
    let form = "query=up%7Bapp%3D%22web%22%7D+%2B+1&time=1700000000.250";
    assert!(seen.ends_with(&format!("\r\n\r\n{form}")), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_asked_again_and_what_stays_is_said() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        world.simulator.set_metric("errors", vec![Sample::of(3)]);
        let run = world.run("run");
        world.faults(&[
            "metrics.query@1:unavailable",
            "metrics.query@2:rate-limited(1s)",
            "metrics.query@3:reply-lost",
        ]);
        let answer: Value = run.ask(query("errors")).await.unwrap();
        assert_eq!(answer[0]["value"], "3");
        assert_eq!(world.requests().len(), 4);
        world.faults(&["metrics.query@100%:unavailable"]);
        failed::<Value>("unavailable", run.ask(query("errors")).await);
        // The first, and six more.
        assert_eq!(world.requests().len(), 4 + 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_of_a_prometheus_is_said() {
    let world = World::start(Mode::Perform).await;
    let matrix = json!({ "status": "success", "data": { "resultType": "matrix", "result": [] } });
    let nonsense = json!({ "status": "success", "data": { "resultType": "vector", "result": {} } });
    for (answer, kind) in [(matrix, "invalid"), (nonsense, "unavailable")] {
        let web = Web::serve(move |_, _| http("200 OK", "", &answer.to_string())).await;
        let run = world.run_with_metrics(&web.url);
        failed::<Value>(kind, run.ask(query("up")).await);
        assert_eq!(web.seen().len(), 1);
    }
}
