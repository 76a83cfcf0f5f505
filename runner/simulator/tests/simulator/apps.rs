//! Apps that are deleted, and regions that are full, from outside.

use groundcrew_simulator::DEFAULT_READ_TOKEN;
use serde_json::json;

use crate::client::{Client, first, path, simulator};

#[tokio::test]
async fn an_app_is_deleted_with_its_machines_only_by_force() {
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    let reader = Client {
        token: DEFAULT_READ_TOKEN.into(),
        ..client.with("x", "y")
    };
    let delete = "/v1/apps/web?force";
    assert_eq!(reader.send("DELETE", delete, "").await.code(), 403);
    let refused = client.send("DELETE", "/v1/apps/web", "").await;
    assert_eq!(refused.code(), 422, "{}", refused.body);
    let refused = client.send("DELETE", "/v1/apps/web?force=false", "").await;
    assert_eq!(refused.code(), 422, "{}", refused.body);
    // Whoever waits for one of its Machines learns at once that it is gone.
    let wait = path(&id, "/wait?state=stopped&timeout=60");
    let waiting = async { client.get(&wait).await.code() };
    let deleting = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let effect = client.with("groundcrew-effect", "e1");
        effect.send("DELETE", delete, "").await.code()
    };
    assert_eq!(tokio::join!(waiting, deleting), (404, 202));
    assert_eq!(client.get("/v1/apps/web").await.code(), 404);
    assert_eq!(client.send("DELETE", delete, "").await.code(), 404);
    let applied = client.get("/_sim/applied").await.json();
    let write = &applied["applied"][0];
    assert_eq!(
        (&write["command"], &write["effect"]),
        (&json!("apps.delete"), &json!("e1"))
    );
}

#[tokio::test]
async fn placements_are_asked_for_with_any_token() {
    let (running, client) = simulator(4, |_| {}).await;
    let reader = Client {
        token: DEFAULT_READ_TOKEN.into(),
        ..client.with("x", "y")
    };
    running.act(|fleet| fleet.set_capacity("fra", Some(3)));
    let ask = async |body: &str| reader.post("/v1/platform/placements", body).await;
    let answer = ask(r#"{"org_slug":"groundcrew","region":"fra","count":5}"#).await;
    assert_eq!(answer.code(), 200, "{}", answer.body);
    let regions = json!([{ "region": "fra", "count": 2, "concurrency": 2 }]);
    assert_eq!(answer.json()["regions"], regions);
    assert_eq!(ask(r#"{"region":"fra"}"#).await.code(), 400);
    assert_eq!(ask(r#"{"org_slug":"other"}"#).await.code(), 404);
    let xyz = ask(r#"{"org_slug":"groundcrew","region":"xyz"}"#).await;
    assert_eq!(xyz.code(), 400, "{}", xyz.body);
}
