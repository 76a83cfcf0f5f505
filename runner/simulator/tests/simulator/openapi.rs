//! Every implemented route once, each answer against Fly's own document.

use serde_json::{Value, json};

use crate::client::{first, path, simulator};

/// Fly's OpenAPI document; its source and date are in `FIDELITY.md`.
const DOCUMENT: &str = include_str!("../data/machines-openapi.json");

/// OpenAPI 3.0 says `nullable` where JSON Schema lists a type.
fn convert(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.remove("nullable") == Some(json!(true))
                && let Some(kind) = object.get("type").cloned()
            {
                object.insert("type".into(), json!([kind, "null"]));
            }
            object.values_mut().for_each(convert);
        }
        Value::Array(list) => list.iter_mut().for_each(convert),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check(document: &Value, method: &str, template: &str, status: u16, body: &str) {
    let responses = &document["paths"][template][method.to_lowercase()]["responses"];
    let response = &responses[status.to_string()];
    assert!(
        response.is_object(),
        "{method} {template} does not document {status}: {body}"
    );
    let mut schema = response["content"]["application/json"]["schema"].clone();
    if schema.is_null() {
        return;
    }
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("a sound schema");
    let answer: Value = serde_json::from_str(body).expect("JSON");
    if let Err(error) = validator.validate(&answer) {
        panic!(
            "{method} {template}: {error} at {} in {answer}",
            error.instance_path()
        );
    }
}

#[tokio::test]
async fn every_route_answers_as_the_document_says() {
    let mut document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    convert(&mut document);
    let (running, client) = simulator(4, |_| {}).await;
    let id = first(&running);
    let config = running
        .act(|fleet| fleet.get("web", &id))
        .expect("it exists")
        .config;
    let create = json!({ "config": config, "name": "fresh", "skip_launch": true }).to_string();
    let update = json!({ "config": config }).to_string();
    let app = "/apps/{app_name}/machines";
    let one = "/apps/{app_name}/machines/{machine_id}";
    let restart = "/restart?timeout=5s&signal=SIGTERM";
    let cases: Vec<(&str, String, String, &str, u16)> = vec![
        (
            "GET",
            "/apps".into(),
            "/v1/apps?org_slug=groundcrew".into(),
            "",
            200,
        ),
        (
            "GET",
            "/apps/{app_name}".into(),
            "/v1/apps/web".into(),
            "",
            200,
        ),
        ("GET", app.into(), "/v1/apps/web/machines".into(), "", 200),
        (
            "GET",
            app.into(),
            "/v1/apps/web/machines?summary=true".into(),
            "",
            200,
        ),
        (
            "POST",
            app.into(),
            "/v1/apps/web/machines".into(),
            &create,
            200,
        ),
        (
            "GET",
            "/orgs/{org_slug}/machines".into(),
            "/v1/orgs/groundcrew/machines?limit=2".into(),
            "",
            200,
        ),
        (
            "GET",
            "/platform/regions".into(),
            "/v1/platform/regions".into(),
            "",
            200,
        ),
        (
            "POST",
            "/platform/placements".into(),
            "/v1/platform/placements".into(),
            r#"{"org_slug":"groundcrew","region":"fra,any","count":3,"compute":{"cpus":1}}"#,
            200,
        ),
        (
            "GET",
            "/tokens/current".into(),
            "/v1/tokens/current".into(),
            "",
            200,
        ),
        ("GET", one.into(), path(&id, ""), "", 200),
        (
            "GET",
            format!("{one}/events"),
            path(&id, "/events?limit=5"),
            "",
            200,
        ),
        (
            "GET",
            format!("{one}/versions"),
            path(&id, "/versions"),
            "",
            200,
        ),
        ("GET", format!("{one}/ps"), path(&id, "/ps"), "", 200),
        (
            "GET",
            format!("{one}/metadata"),
            path(&id, "/metadata"),
            "",
            200,
        ),
        (
            "POST",
            format!("{one}/metadata/{{key}}"),
            path(&id, "/metadata/team"),
            r#"{"value":"ops"}"#,
            204,
        ),
        (
            "GET",
            format!("{one}/metadata/{{key}}"),
            path(&id, "/metadata/team"),
            "",
            200,
        ),
        (
            "PATCH",
            format!("{one}/metadata"),
            path(&id, "/metadata"),
            r#"{"metadata":{"a":"b"}}"#,
            204,
        ),
        (
            "PUT",
            format!("{one}/metadata"),
            path(&id, "/metadata"),
            r#"{"metadata":{},"machine_version":"x"}"#,
            412,
        ),
        (
            "DELETE",
            format!("{one}/metadata/{{key}}"),
            path(&id, "/metadata/team"),
            "",
            204,
        ),
        (
            "GET",
            format!("{one}/metadata/{{key}}"),
            path(&id, "/metadata/team"),
            "",
            404,
        ),
        (
            "POST",
            format!("{one}/exec"),
            path(&id, "/exec"),
            r#"{"cmd":"true"}"#,
            200,
        ),
        (
            "POST",
            format!("{one}/exec"),
            path(&id, "/exec"),
            r#"{"command":["sh","-c","exit 3"]}"#,
            200,
        ),
        ("POST", format!("{one}/exec"), path(&id, "/exec"), "{}", 400),
        (
            "POST",
            format!("{one}/signal"),
            path(&id, "/signal"),
            r#"{"signal":"SIGHUP"}"#,
            200,
        ),
        (
            "POST",
            format!("{one}/signal"),
            path(&id, "/signal"),
            r#"{"signal":10}"#,
            200,
        ),
        (
            "POST",
            format!("{one}/signal"),
            path(&id, "/signal"),
            r#"{"signal":"SIGTSTP"}"#,
            400,
        ),
        (
            "POST",
            format!("{one}/cordon"),
            path(&id, "/cordon"),
            "",
            200,
        ),
        (
            "POST",
            format!("{one}/uncordon"),
            path(&id, "/uncordon"),
            "",
            200,
        ),
        (
            "POST",
            format!("{one}/restart"),
            path(&id, restart),
            "",
            200,
        ),
        (
            "GET",
            format!("{one}/wait"),
            path(&id, "/wait?state=started&timeout=60"),
            "",
            200,
        ),
        (
            "GET",
            format!("{one}/wait"),
            path(&id, "/wait?timeout=61"),
            "",
            400,
        ),
        ("POST", one.into(), path(&id, ""), &update, 200),
        (
            "GET",
            format!("{one}/wait"),
            path(&id, "/wait?state=settled&timeout=60"),
            "",
            200,
        ),
        (
            "POST",
            format!("{one}/stop"),
            path(&id, "/stop"),
            r#"{"signal":"SIGTERM","timeout":"1s"}"#,
            200,
        ),
        ("POST", format!("{one}/stop"), path(&id, "/stop"), "[]", 400),
        (
            "GET",
            format!("{one}/wait"),
            path(&id, "/wait?state=stopped"),
            "",
            200,
        ),
        ("POST", format!("{one}/start"), path(&id, "/start"), "", 200),
        ("GET", format!("{one}/wait"), path(&id, "/wait"), "", 200),
        (
            "POST",
            format!("{one}/suspend"),
            path(&id, "/suspend"),
            "",
            200,
        ),
        (
            "GET",
            format!("{one}/wait"),
            path(&id, "/wait?state=suspended"),
            "",
            200,
        ),
        (
            "POST",
            format!("{one}/lease"),
            path(&id, "/lease?ttl=30"),
            "",
            201,
        ),
        ("GET", format!("{one}/lease"), path(&id, "/lease"), "", 200),
    ];
    for (method, template, target, body, status) in cases {
        let answer = client.send(method, &target, body).await;
        assert_eq!(answer.code(), status, "{method} {target}: {}", answer.body);
        assert!(answer.head.contains("fly-request-id"), "{method} {target}");
        check(&document, method, &template, status, &answer.body);
    }
    let nonce = client.get(&path(&id, "/lease")).await.json()["data"]["nonce"].clone();
    let holder = client.with("fly-machine-lease-nonce", nonce.as_str().expect("a nonce"));
    assert_eq!(
        client
            .send("DELETE", &path(&id, "?kill=true"), "")
            .await
            .code(),
        409
    );
    let released = holder.send("DELETE", &path(&id, "/lease"), "").await;
    assert_eq!(released.code(), 200, "{}", released.body);
    let destroyed = client.send("DELETE", &path(&id, "?force=true"), "").await;
    assert_eq!(destroyed.json(), json!({ "ok": true }));
    let deleted = client.send("DELETE", "/v1/apps/web?force=true", "").await;
    assert_eq!(deleted.code(), 202, "{}", deleted.body);
    check(&document, "DELETE", "/apps/{app_name}", 202, &deleted.body);
    running.stop(std::time::Duration::from_secs(1)).await;
}
