//! Releases as flyctl records and reads them.

use groundcrew_simulator::{DEFAULT_READ_TOKEN, Token};
use serde_json::{Value, json};

use crate::client::{Client, simulator};

const ALL: &str = "/api/v1/releases";
const OF_WEB: &str = "/api/v1/apps/web/releases";

fn body(app: &str) -> String {
    json!({
        "app_name": app,
        "strategy": "ROLLING",
        "definition": { "app": app },
        "image": "registry.fly.io/web:deployment-01KA0000000000000000000001",
        "build_id": 0
    })
    .to_string()
}

fn with_token(client: &Client, token: &str) -> Client {
    Client {
        token: token.into(),
        ..client.with("x", "y")
    }
}

#[tokio::test]
async fn a_deploy_of_flyctl_is_recorded() {
    let (running, client) = simulator(2, |config| config.rate_limits = true).await;
    assert_eq!(client.get(&format!("{OF_WEB}/current")).await.code(), 404);
    let client = client.with("groundcrew-effect", "e1");
    let made = client.post(ALL, &body("web")).await;
    assert_eq!(made.code(), 201, "{}", made.body);
    let release = made.json()["release"].clone();
    assert_eq!(release["version"], 1);
    assert_eq!(release["status"], "pending");
    assert_eq!(release["user"], "operator@example.com");
    assert!(release["created_at"].is_string() && release["in_progress"] == true);
    let id = release["id"].as_str().expect("an id").to_owned();
    let one = format!("{ALL}/{id}");
    for (body, status) in [
        (json!({ "status": "running", "metadata": null }), 200),
        (json!({ "status": "complete", "metadata": { "a": 1 } }), 200),
        (json!({ "status": "failed" }), 422),
    ] {
        let answer = client.send("PATCH", &one, &body.to_string()).await;
        assert_eq!(answer.code(), status, "{body}: {}", answer.body);
        assert!(status != 200 || answer.json()["status"] == body["status"]);
    }
    let current = client.get(&format!("{OF_WEB}/current")).await.json();
    assert_eq!(
        (&current["id"], &current["stable"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(current["definition"], json!({ "app": "web" }));
    assert_eq!(current["image_ref"], release["image_ref"]);
    // The limits of the Machines API are not those of releases.
    for _ in 0..5 {
        assert_eq!(client.post(ALL, &body("web")).await.code(), 201);
    }
    let listed = client.get(&format!("{OF_WEB}?limit=2")).await.json();
    let versions: Vec<_> = listed["releases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|release| release["version"].clone())
        .collect();
    assert_eq!(versions, [json!(6), json!(5)]);
    let commands = running.act(|fleet| {
        let writes = fleet.applied().entries().take(3);
        let told = writes.map(|write| (write.command, write.effect.clone()));
        told.collect::<Vec<_>>()
    });
    let effect = Some("e1".to_owned());
    assert_eq!(
        commands,
        [
            ("releases.create", effect.clone()),
            ("releases.status", effect.clone()),
            ("releases.status", effect)
        ]
    );
}

#[tokio::test]
async fn releases_ask_for_a_token_that_may() {
    let limited = Token {
        apps: vec!["other".into()],
        ..Token::read_write("limited", "groundcrew")
    };
    let (_running, client) = simulator(2, |config| config.tokens.push(limited)).await;
    let made = client.post(ALL, &body("web")).await.json();
    let id = made["release"]["id"].as_str().expect("an id").to_owned();
    let one = format!("{ALL}/{id}");
    let patch = r#"{"status":"running"}"#;
    for token in [DEFAULT_READ_TOKEN, "limited"] {
        let client = with_token(&client, token);
        assert_eq!(client.post(ALL, &body("web")).await.code(), 403, "{token}");
        assert_eq!(client.send("PATCH", &one, patch).await.code(), 403);
    }
    let reader = with_token(&client, DEFAULT_READ_TOKEN);
    assert_eq!(reader.get(OF_WEB).await.code(), 200);
    assert_eq!(reader.get(&format!("{OF_WEB}/current")).await.code(), 200);
    let limited = with_token(&client, "limited");
    assert_eq!(limited.get(OF_WEB).await.code(), 403);
    assert_eq!(with_token(&client, "x").get(OF_WEB).await.code(), 401);
    assert_eq!(client.post(ALL, &body("none")).await.code(), 404);
    assert_eq!(client.post(ALL, "[]").await.code(), 400);
    assert_eq!(client.post(ALL, r#"{"image":1}"#).await.code(), 400);
}

#[tokio::test]
async fn faults_strike_releases_by_their_app() {
    let (running, client) = simulator(2, |_| {}).await;
    let rules = "releases.create/web@1:timeout-done\nreleases.status/web@1:unavailable";
    client.post("/_sim/faults", rules).await;
    assert_eq!(client.post(ALL, &body("web")).await.code(), 408);
    let current = client.get(&format!("{OF_WEB}/current")).await.json();
    assert_eq!(current["version"], 1);
    let one = format!("{ALL}/{}", current["id"].as_str().expect("an id"));
    let patch = r#"{"status":"running"}"#;
    assert_eq!(client.send("PATCH", &one, patch).await.code(), 503);
    assert_eq!(client.send("PATCH", &one, patch).await.code(), 200);
    let log = client.get("/_sim/log").await.json();
    let routes: Vec<_> = log["requests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|request: &Value| (request["route"].clone(), request["app"].clone()))
        .collect();
    assert_eq!(routes[0], (json!("releases.create"), json!("web")));
    assert_eq!(routes[2], (json!("releases.status"), json!("web")));
    drop(running);
}
