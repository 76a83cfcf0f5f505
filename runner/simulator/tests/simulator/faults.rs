//! Each kind of fault, as a client sees it, and what was really done.

use std::time::Duration;

use crate::client::{first, path, simulator};

#[tokio::test]
async fn faults_look_and_act_as_they_say() {
    // Fault, status seen (0: cut before a status), and whether the write was applied.
    let cases = [
        ("unavailable", 503, false),
        ("internal", 500, false),
        ("bad-gateway", 502, false),
        ("timeout", 408, false),
        ("conflict", 409, false),
        ("capacity", 412, false),
        ("invalid", 422, false),
        ("rate-limited(3s)", 429, false),
        ("drop", 0, false),
        ("reply-lost", 0, true),
        ("cut-off", 200, true),
        ("slow(1s)", 200, true),
    ];
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    for (fault, status, applied) in cases {
        let rule = format!("machines.cordon/{id}@1:{fault}");
        let set = client.post("/_sim/faults", &rule).await;
        assert_eq!(
            (set.code(), set.json()["faults"][0].as_str()),
            (200, Some(rule.as_str()))
        );
        let answer = client
            .with("groundcrew-effect", fault)
            .post(&path(&id, "/cordon"), "")
            .await;
        assert_eq!(answer.code(), status, "{fault}: {answer:?}");
        assert_eq!(
            answer.head.contains("retry-after: 3"),
            status == 429,
            "{fault}"
        );
        let done = running.act(|fleet| {
            fleet
                .applied()
                .entries()
                .any(|write| write.effect.as_deref() == Some(fault))
        });
        assert_eq!(done, applied, "{fault}");
    }
    assert_eq!(client.post("/_sim/faults", "nonsense").await.code(), 400);
}

#[tokio::test]
async fn a_cut_off_answer_ends_inside_its_body() {
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    client.post("/_sim/faults", "machines.get@1:cut-off").await;
    let answer = client.get(&path(&id, "")).await;
    assert_eq!(answer.code(), 200);
    assert!(
        !answer.body.is_empty() && answer.json().is_null(),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_late_request_arrives_after_its_refusal() {
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    client
        .post("/_sim/faults", "machines.cordon@1:late(5s)")
        .await;
    assert_eq!(client.post(&path(&id, "/cordon"), "").await.code(), 503);
    assert_eq!(running.act(|fleet| fleet.applied().entries().len()), 0);
    for _ in 0..200 {
        if running.act(|fleet| fleet.applied().entries().len()) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the late request never arrived");
}

#[tokio::test]
async fn a_fate_is_set_from_outside() {
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    let body = format!(r#"{{"app":"web","id":"{id}","fate":{{"kind":"host-unreachable"}}}}"#);
    assert_eq!(client.post("/_sim/fate", &body).await.code(), 200);
    let refused = client.post(&path(&id, "/restart"), "").await.code();
    assert!([408, 503].contains(&refused), "{refused}");
    assert_eq!(
        client.get(&path(&id, "")).await.json()["host_status"],
        "unreachable"
    );
    let log = client.get("/_sim/log").await.json();
    assert_eq!(log["requests"][0]["route"], "machines.restart");
    assert!(client.get("/_sim/fleet").await.json()["apps"]["web"].is_array());
}

#[tokio::test]
async fn refusals_of_capacity_do_nothing() {
    let cases = [
        ("no-memory", 409, "insufficient memory available"),
        ("quota", 403, "over the allowed quota"),
        ("no-capacity", 400, "no capacity"),
        ("host-disabled", 503, "temporarily disabled"),
    ];
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    for (fault, status, words) in cases {
        let rule = format!("machines.cordon@1:{fault}");
        client.post("/_sim/faults", &rule).await;
        let answer = client.post(&path(&id, "/cordon"), "").await;
        assert_eq!(answer.code(), status, "{fault}");
        assert!(answer.body.contains(words), "{fault}: {}", answer.body);
    }
    assert_eq!(running.act(|fleet| fleet.applied().entries().len()), 0);
}

#[tokio::test]
async fn a_create_that_timed_out_may_have_happened() {
    let (running, client) = simulator(2, |_| {}).await;
    client
        .post("/_sim/faults", "machines.create@1:timeout-done")
        .await;
    let body = r#"{"name":"fresh","config":{"image":"registry.fly.io/web:1"}}"#;
    let answer = client.post("/v1/apps/web/machines", body).await;
    assert_eq!(answer.code(), 408, "{answer:?}");
    assert_eq!(running.act(|fleet| fleet.machine_count("web")), 3);
    let again = client.post("/v1/apps/web/machines", body).await;
    assert_eq!(again.code(), 409, "{answer:?}");
    let log = client.get("/_sim/log").await.json();
    assert_eq!(log["requests"][0]["status"], 408);
    assert_eq!(log["requests"][0]["fault"], "timeout-done");
}
