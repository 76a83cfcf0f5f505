//! Tokens, rate limits, and the bounds of a wait.

use std::time::{Duration, Instant};

use groundcrew_simulator::{DEFAULT_READ_TOKEN, Pace};

use crate::client::{Client, first, path, simulator};

#[tokio::test]
async fn tokens_are_asked_for() {
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    let unknown = Client {
        token: "nonsense".into(),
        ..client.with("x", "y")
    };
    let answer = unknown.get("/v1/apps/web").await;
    assert_eq!(
        (answer.code(), answer.json()["error"].as_str()),
        (401, Some("Authenticate: token validation error"))
    );
    let reader = Client {
        token: DEFAULT_READ_TOKEN.into(),
        ..client.with("x", "y")
    };
    assert_eq!(reader.get(&path(&id, "")).await.code(), 200);
    assert_eq!(reader.post(&path(&id, "/restart"), "").await.code(), 403);
    assert_eq!(client.get("/v1/orgs/other/machines").await.code(), 403);
    assert_eq!(running.act(|fleet| fleet.applied().entries().len()), 0);
}

#[tokio::test]
async fn a_fourth_request_in_a_second_is_too_many() {
    let (running, client) = simulator(2, |config| {
        config.rate_limits = true;
        config.pace = Pace::ByHand;
    })
    .await;
    let id = first(&running);
    for expected in [200, 200, 200, 429] {
        assert_eq!(
            client.post(&path(&id, "/cordon"), "").await.code(),
            expected
        );
    }
    assert_eq!(client.post(&path(&id, "/uncordon"), "").await.code(), 200);
    for expected in [200, 429] {
        running.move_clock(if expected == 200 { 1000 } else { 0 });
        let answer = client.post(&path(&id, "/cordon"), "").await;
        assert_eq!(answer.code(), expected, "{}", answer.body);
    }
    let mut passed = 0;
    for _ in 0..12 {
        passed += usize::from(client.get(&path(&id, "")).await.code() == 200);
    }
    assert_eq!(passed, 10);
}

#[tokio::test]
async fn a_wait_is_bounded_and_woken() {
    let (running, client) = simulator(2, |config| config.pace = Pace::ByHand).await;
    let id = first(&running);
    for (timeout, code) in [("0", 400), ("61", 400), ("1", 200), ("60", 200), ("x", 400)] {
        assert_eq!(
            client
                .get(&path(&id, &format!("/wait?timeout={timeout}")))
                .await
                .code(),
            code,
            "{timeout}"
        );
    }
    let stopped = path(&id, "/wait?state=stopped&timeout=60");
    let waiting = async { client.get(&stopped).await.code() };
    let acting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.post(&path(&id, "/stop"), "").await.code(), 200);
        assert!(running.move_clock(2_000));
    };
    assert_eq!(tokio::join!(waiting, acting).0, 200);
    let expiring = path(&id, "/wait?state=started&timeout=5");
    let waiting = async { client.get(&expiring).await.code() };
    let acting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.post("/_sim/advance", "5s").await.code(), 200);
    };
    assert_eq!(tokio::join!(waiting, acting).0, 408);
}

#[tokio::test]
async fn hundreds_of_restarts_at_once_take_as_long_as_the_slowest() {
    let (running, client) = simulator(300, |config| config.pace = Pace::Scaled(10.0)).await;
    let ids = running.act(|fleet| fleet.machine_ids("web"));
    let slowest = running.act(|fleet| {
        let total = |id: &String| {
            fleet
                .predicted_restart("web", id)
                .map(|p| p.stop_ms + p.boot_ms)
        };
        ids.iter().filter_map(total).max().unwrap_or(0)
    });
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids {
        let client = client.with("groundcrew-effect", &id);
        tasks.spawn(async move {
            assert_eq!(client.post(&path(&id, "/restart"), "").await.code(), 200);
            assert_eq!(
                client.get(&path(&id, "/wait?state=started")).await.code(),
                200
            );
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a restart");
    }
    // Generous: the machine that runs the tests may be busy.
    assert!(begun.elapsed() < Duration::from_millis(slowest / 10 + 10_000));
    let applied = client.get("/_sim/applied").await.json();
    assert_eq!(applied["applied"].as_array().map(Vec::len), Some(300));
}

#[tokio::test]
async fn creates_are_limited_by_app_and_region() {
    let (running, client) = simulator(2, |config| {
        config.rate_limits = true;
        config.pace = Pace::ByHand;
    })
    .await;
    let create = async |region: &str| {
        let config = r#""config":{"image":"registry.fly.io/web:1"}"#;
        let body = format!(r#"{{"region":{region},{config}}}"#);
        client.post("/v1/apps/web/machines", &body).await.code()
    };
    for (region, expected) in [
        (r#""fra""#, 200),
        (r#""fra""#, 200),
        // The first region is where a Machine goes whose create names none.
        ("null", 200),
        (r#""fra""#, 429),
        (r#""""#, 429),
        (r#""iad""#, 200),
        (r#""iad""#, 200),
        (r#""iad""#, 200),
        (r#""iad""#, 429),
        // One that does not exist counts where it would have gone.
        (r#""xyz""#, 429),
    ] {
        assert_eq!(create(region).await, expected, "{region}");
    }
    running.move_clock(1000);
    assert_eq!(create(r#""fra""#).await, 200);
    assert_eq!(create(r#""iad""#).await, 200);
    assert_eq!(create(r#""fra""#).await, 429);
}
