//! Every operation of Fly's document: those that are served answer as it says, refusals included,
//! and the others are not there. What it does not say and is so all the same is listed.

use std::collections::BTreeSet;

use groundcrew_fleet::api::{
    CreateRequest, ExecRequest, LeaseRequest, MetadataPatch, MetadataValue, PlacementRequest,
    SignalRequest, StopRequest, UpdateRequest,
};
use groundcrew_simulator::{DEFAULT_READ_TOKEN, Pace};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{Answer, Client, first, path, simulator};
use crate::document::{Document, Operation};

/// The refusals that the document does not name, by status and operation: it omits most. That they
/// exist is from fly-go, from reports, or assumed: `FIDELITY.md`.
const UNNAMED_REFUSALS: [(u16, &str, &[&str]); 10] = [
    (
        400,
        "POST",
        &["/apps/{app_name}/machines", "/platform/placements"],
    ),
    (400, "GET", &["/orgs/{org_slug}/machines"]),
    (
        400,
        "DELETE",
        &["/apps/{app_name}/machines/{machine_id}/lease"],
    ),
    (
        401,
        "GET",
        &["/apps/{app_name}", "/apps/{app_name}/machines/{machine_id}"],
    ),
    (
        403,
        "*",
        &[
            "/apps/{app_name}",
            "/apps/{app_name}/machines",
            "/apps/{app_name}/machines/{machine_id}",
            "/apps/{app_name}/machines/{machine_id}/exec",
            "/apps/{app_name}/machines/{machine_id}/lease",
            "/apps/{app_name}/machines/{machine_id}/metadata",
            "/orgs/{org_slug}/machines",
        ],
    ),
    (
        404,
        "*",
        &[
            "/apps/{app_name}",
            "/apps/{app_name}/machines",
            "/apps/{app_name}/machines/{machine_id}",
            "/apps/{app_name}/machines/{machine_id}/cordon",
            "/apps/{app_name}/machines/{machine_id}/events",
            "/apps/{app_name}/machines/{machine_id}/exec",
            "/apps/{app_name}/machines/{machine_id}/lease",
            "/apps/{app_name}/machines/{machine_id}/metadata",
            "/apps/{app_name}/machines/{machine_id}/ps",
            "/apps/{app_name}/machines/{machine_id}/restart",
            "/apps/{app_name}/machines/{machine_id}/signal",
            "/apps/{app_name}/machines/{machine_id}/start",
            "/apps/{app_name}/machines/{machine_id}/stop",
            "/apps/{app_name}/machines/{machine_id}/suspend",
            "/apps/{app_name}/machines/{machine_id}/uncordon",
            "/apps/{app_name}/machines/{machine_id}/versions",
            "/apps/{app_name}/machines/{machine_id}/wait",
            "/platform/placements",
        ],
    ),
    (
        408,
        "*",
        &[
            "/apps/{app_name}/machines",
            "/apps/{app_name}/machines/{machine_id}/wait",
        ],
    ),
    (
        409,
        "*",
        &[
            "/apps/{app_name}/machines/{machine_id}/exec",
            "/apps/{app_name}/machines",
            "/apps/{app_name}/machines/{machine_id}",
            "/apps/{app_name}/machines/{machine_id}/cordon",
            "/apps/{app_name}/machines/{machine_id}/lease",
            "/apps/{app_name}/machines/{machine_id}/restart",
            "/apps/{app_name}/machines/{machine_id}/start",
            "/apps/{app_name}/machines/{machine_id}/stop",
            "/apps/{app_name}/machines/{machine_id}/suspend",
            "/apps/{app_name}/machines/{machine_id}/uncordon",
        ],
    ),
    (
        412,
        "*",
        &[
            "/apps/{app_name}/machines",
            "/apps/{app_name}/machines/{machine_id}",
            "/apps/{app_name}/machines/{machine_id}/exec",
        ],
    ),
    (422, "*", &["/apps/{app_name}", "/apps/{app_name}/machines"]),
];

/// The parameters that the document does not name; fly-go sends them, or the documentation does.
const UNNAMED_PARAMETERS: [&str; 6] = [
    "force",
    "force_stop",
    "include_leases",
    "kill",
    "metadata.fly_process_group",
    "ttl",
];

/// Sends requests and remembers what they showed of the document.
struct Walk {
    document: Document,
    served: BTreeSet<Operation>,
    unnamed: BTreeSet<(u16, Operation)>,
    parameters: BTreeSet<String>,
}

impl Walk {
    fn new() -> Walk {
        Walk {
            document: Document::read(),
            served: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            parameters: BTreeSet::new(),
        }
    }

    async fn ask(
        &mut self,
        client: &Client,
        method: &str,
        target: &str,
        body: &str,
        status: u16,
    ) -> Answer {
        let answer = client.send(method, target, body).await;
        assert_eq!(answer.code(), status, "{method} {target}: {}", answer.body);
        assert!(answer.head.contains("fly-request-id"), "{method} {target}");
        let operation = self.document.operation(method, target);
        let operation = operation.unwrap_or_else(|| panic!("{method} {target} is not described"));
        let names = self.document.unnamed_parameters(&operation, target);
        self.parameters.extend(names);
        if status < 400 {
            let request = self.document.request(&operation, body);
            assert_eq!(request, Ok(()), "{method} {target}: {body}");
            self.served.insert(operation.clone());
        }
        match self.document.answer(&operation, status, &answer.body) {
            Ok(true) => {}
            Ok(false) => drop(self.unnamed.insert((status, operation))),
            Err(why) => panic!("{method} {target} {status}: {why}"),
        }
        if status >= 400 {
            let error = answer.json()["error"].as_str().map(str::len);
            assert!(error > Some(0), "{method} {target}: {}", answer.body);
        }
        answer
    }
}

fn body(value: &Value) -> String {
    value.to_string()
}

/// Everything that succeeds, in an order in which it can.
async fn successes(walk: &mut Walk, client: &Client, id: &str, config: &Value) {
    let create = body(&json!({
        "config": config, "name": "fresh", "region": "fra", "skip_launch": true,
        "skip_service_registration": true, "lease_ttl": 10, "min_secrets_version": 1
    }));
    let update = body(&json!({ "config": config, "skip_launch": false }));
    let placements =
        r#"{"org_slug":"groundcrew","region":"fra,any","count":3,"compute":{"cpus":1}}"#;
    let m = |rest: &str| path(id, rest);
    let cases: Vec<(&str, String, &str, u16)> = vec![
        ("GET", "/v1/apps?org_slug=groundcrew".into(), "", 200),
        ("GET", "/v1/apps/web".into(), "", 200),
        (
            "POST",
            "/v1/apps".into(),
            r#"{"name":"new-app","org_slug":"groundcrew","network":"aside"}"#,
            201,
        ),
        (
            "POST",
            "/v1/apps/web/secrets".into(),
            r#"{"values":{"A_KEY":"one","OTHER":"two"}}"#,
            200,
        ),
        ("GET", "/v1/apps/web/secrets".into(), "", 200),
        (
            "GET",
            "/v1/apps/web/secrets?show_secrets=true".into(),
            "",
            200,
        ),
        ("GET", "/v1/apps/web/secrets/A_KEY".into(), "", 200),
        (
            "POST",
            "/v1/apps/web/secrets/A_KEY".into(),
            r#"{"value":"three"}"#,
            201,
        ),
        ("DELETE", "/v1/apps/web/secrets/OTHER".into(), "", 200),
        (
            "POST",
            "/v1/apps/web/volumes".into(),
            r#"{"name":"data","region":"fra","size_gb":3,"encrypted":true,"require_unique_zone":true,"snapshot_retention":5}"#,
            200,
        ),
        ("GET", "/v1/apps/web/volumes".into(), "", 200),
        ("GET", "/v1/apps/web/machines".into(), "", 200),
        ("GET", "/v1/apps/web/machines?summary=true".into(), "", 200),
        (
            "GET",
            "/v1/apps/web/machines?state=started,stopped&region=fra&metadata.fly_process_group=web"
                .into(),
            "",
            200,
        ),
        ("POST", "/v1/apps/web/machines".into(), &create, 200),
        (
            "GET",
            "/v1/apps/web/machines?include_leases=true".into(),
            "",
            200,
        ),
        (
            "GET",
            "/v1/orgs/groundcrew/machines?limit=2".into(),
            "",
            200,
        ),
        ("GET", "/v1/platform/regions".into(), "", 200),
        ("POST", "/v1/platform/placements".into(), placements, 200),
        ("GET", "/v1/tokens/current".into(), "", 200),
        ("GET", m(""), "", 200),
        ("GET", m("/events?limit=5"), "", 200),
        ("GET", m("/versions"), "", 200),
        ("GET", m("/ps"), "", 200),
        ("GET", m("/metadata"), "", 200),
        ("POST", m("/metadata/team"), r#"{"value":"ops"}"#, 204),
        ("GET", m("/metadata/team"), "", 200),
        ("PATCH", m("/metadata"), r#"{"metadata":{"a":"b"}}"#, 204),
        ("PUT", m("/metadata"), r#"{"metadata":{"a":""}}"#, 204),
        ("DELETE", m("/metadata/team"), "", 204),
        ("POST", m("/exec"), r#"{"cmd":"true"}"#, 200),
        (
            "POST",
            m("/exec"),
            r#"{"command":["sh","-c","exit 3"],"timeout":5}"#,
            200,
        ),
        ("POST", m("/signal"), r#"{"signal":"SIGHUP"}"#, 200),
        ("POST", m("/cordon"), "", 200),
        ("POST", m("/uncordon"), "", 200),
        ("POST", m("/restart?timeout=5s&signal=SIGTERM"), "", 200),
        ("GET", m("/wait?state=started&timeout=60"), "", 200),
        ("POST", m("/restart?force_stop=true"), "", 200),
        ("GET", m("/wait?state=started&timeout=60"), "", 200),
        ("POST", m(""), &update, 200),
        ("GET", m("/wait?state=settled&timeout=60"), "", 200),
        ("GET", m("/versions"), "", 200),
        ("GET", m("/events"), "", 200),
        (
            "POST",
            m("/stop"),
            r#"{"signal":"SIGTERM","timeout":"1s"}"#,
            200,
        ),
        ("GET", m("/wait?state=stopped"), "", 200),
        ("POST", m("/start"), "", 200),
        ("GET", m("/wait"), "", 200),
        ("POST", m("/suspend"), "", 200),
        ("GET", m("/wait?state=suspended"), "", 200),
        ("GET", m(""), "", 200),
    ];
    for (method, target, body, status) in cases {
        walk.ask(client, method, &target, body, status).await;
    }
    let listed = client.get("/v1/apps/web/volumes").await.json();
    let volume = listed[0]["id"].as_str().expect("it was made").to_owned();
    for (method, rest, body) in [
        ("GET", "", ""),
        (
            "PUT",
            "",
            r#"{"snapshot_retention":7,"auto_backup_enabled":false}"#,
        ),
        ("PUT", "/extend", r#"{"size_gb":4}"#),
        ("POST", "/snapshots", ""),
        ("GET", "/snapshots", ""),
        ("DELETE", "", ""),
    ] {
        let target = format!("/v1/apps/web/volumes/{volume}{rest}");
        walk.ask(client, method, &target, body, 200).await;
    }
    lease(walk, client, id).await;
    walk.ask(client, "DELETE", &m("?force=true"), "", 200).await;
    let destroyed = m("/wait?state=destroyed&timeout=60");
    walk.ask(client, "GET", &destroyed, "", 200).await;
    walk.ask(client, "GET", &m(""), "", 200).await;
    let deleted = "/v1/apps/web/machines?include_deleted=true";
    walk.ask(client, "GET", deleted, "", 200).await;
    let delete = "/v1/apps/web?force=true";
    let answer = walk.ask(client, "DELETE", delete, "", 202).await;
    assert_eq!(answer.body, "");
}

/// A lease taken with a body and with a parameter, read, refreshed, and given back.
async fn lease(walk: &mut Walk, client: &Client, id: &str) {
    let at = path(id, "/lease");
    let taken = walk
        .ask(
            client,
            "POST",
            &at,
            r#"{"ttl":30,"description":"why"}"#,
            201,
        )
        .await;
    let nonce = taken.json()["data"]["nonce"]
        .as_str()
        .expect("a nonce")
        .to_owned();
    let read = walk.ask(client, "GET", &at, "", 200).await.json();
    assert_eq!(read["data"]["description"], "why");
    let holder = client.with("fly-machine-lease-nonce", &nonce);
    let again = walk
        .ask(&holder, "POST", &path(id, "/lease?ttl=60"), "", 201)
        .await;
    assert_eq!(again.json()["data"]["nonce"], *nonce);
    walk.ask(&holder, "DELETE", &at, "", 200).await;
}

/// Every status of a refusal, where it can be had.
async fn refusals(walk: &mut Walk, client: &Client, id: &str, config: &Value) {
    let reader = Client {
        token: DEFAULT_READ_TOKEN.into(),
        ..client.with("x", "y")
    };
    let stranger = Client {
        token: "nonsense".into(),
        ..client.with("x", "y")
    };
    let m = |rest: &str| path(id, rest);
    let gone = |rest: &str| path("00000000000000", rest);
    let machines = "/v1/apps/web/machines".to_owned();
    let stale = body(&json!({ "config": config, "current_version": "01KA" }));
    let elsewhere = body(&json!({ "config": config, "region": "syd" }));
    let nowhere = body(&json!({ "config": config, "region": "xyz" }));
    let named = body(&json!({ "config": config, "name": "same", "skip_launch": true }));
    let signal = r#"{"signal":"SIGTSTP"}"#;
    walk.ask(client, "POST", &machines, &named, 200).await;
    let cases: Vec<(&Client, &str, String, &str, u16)> = vec![
        (client, "POST", machines.clone(), "[]", 400),
        (client, "POST", machines.clone(), &nowhere, 400),
        (client, "POST", m(""), "[]", 400),
        (client, "POST", m(""), &elsewhere, 400),
        (client, "POST", m("/exec"), "{}", 400),
        (client, "POST", m("/stop"), "[]", 400),
        (client, "POST", m("/stop"), r#"{"signal":"SIGTSTP"}"#, 400),
        (client, "POST", m("/restart?timeout=soon"), "", 400),
        (client, "POST", m("/signal"), signal, 400),
        (client, "PATCH", m("/metadata"), "[]", 400),
        (client, "POST", m("/metadata/team"), "[]", 400),
        (client, "GET", m("/wait?timeout=61"), "", 400),
        (client, "DELETE", m("/lease"), "", 400),
        (client, "POST", "/v1/platform/placements".into(), "[]", 400),
        (
            client,
            "GET",
            "/v1/orgs/groundcrew/machines?cursor=x".into(),
            "",
            400,
        ),
        (&stranger, "GET", "/v1/apps/web".into(), "", 401),
        (&stranger, "GET", m(""), "", 401),
        (&stranger, "GET", "/v1/tokens/current".into(), "", 401),
        (&reader, "POST", machines.clone(), &named, 403),
        (&reader, "POST", m(""), &stale, 403),
        (&reader, "DELETE", m("?kill=true"), "", 403),
        (&reader, "POST", m("/exec"), r#"{"cmd":"true"}"#, 403),
        (&reader, "POST", m("/lease"), "", 403),
        (&reader, "PATCH", m("/metadata"), "{}", 403),
        (&reader, "DELETE", "/v1/apps/web".into(), "", 403),
        (client, "GET", "/v1/orgs/other/machines".into(), "", 403),
        (client, "GET", "/v1/apps/none".into(), "", 404),
        (client, "DELETE", "/v1/apps/none".into(), "", 404),
        (client, "GET", "/v1/apps/none/machines".into(), "", 404),
        (client, "POST", "/v1/apps/none/machines".into(), &named, 404),
        (
            client,
            "POST",
            "/v1/platform/placements".into(),
            r#"{"org_slug":"x"}"#,
            404,
        ),
        (client, "GET", gone(""), "", 404),
        (client, "POST", gone(""), &stale, 404),
        (client, "DELETE", gone(""), "", 404),
        (client, "GET", gone("/wait"), "", 404),
        (client, "GET", gone("/events"), "", 404),
        (client, "GET", gone("/versions"), "", 404),
        (client, "GET", gone("/ps"), "", 404),
        (client, "GET", gone("/metadata"), "", 404),
        (client, "PATCH", gone("/metadata"), "{}", 404),
        (client, "PUT", gone("/metadata"), "{}", 404),
        (client, "GET", m("/metadata/none"), "", 404),
        (client, "GET", m("/lease"), "", 404),
        (client, "POST", gone("/lease"), "", 404),
        (client, "POST", gone("/exec"), r#"{"cmd":"true"}"#, 404),
        (client, "POST", gone("/signal"), signal, 404),
        (client, "POST", gone("/start"), "", 404),
        (client, "POST", gone("/stop"), "", 404),
        (client, "POST", gone("/restart"), "", 404),
        (client, "POST", gone("/suspend"), "", 404),
        (client, "POST", gone("/cordon"), "", 404),
        (client, "POST", gone("/uncordon"), "", 404),
        (client, "GET", m("/wait?state=stopped&timeout=1"), "", 408),
        (client, "POST", machines.clone(), &named, 409),
        (client, "POST", m(""), &stale, 409),
        (
            client,
            "PUT",
            m("/metadata"),
            r#"{"metadata":{},"machine_version":"x"}"#,
            412,
        ),
        (
            client,
            "PATCH",
            m("/metadata"),
            r#"{"metadata":{},"machine_version":"x"}"#,
            412,
        ),
        (client, "DELETE", m("?kill=false"), "", 412),
        (client, "POST", machines.clone(), "{}", 422),
        (client, "DELETE", "/v1/apps/web".into(), "", 422),
    ];
    for (client, method, target, body, status) in cases {
        walk.ask(client, method, &target, body, status).await;
    }
    leased(walk, client, id, config).await;
}

/// What somebody else's lease refuses, and what a Machine that does not run does.
async fn leased(walk: &mut Walk, client: &Client, id: &str, config: &Value) {
    let m = |rest: &str| path(id, rest);
    let taken = client.post(&m("/lease?ttl=600"), "").await.json();
    let nonce = taken["data"]["nonce"].as_str().expect("a nonce").to_owned();
    let update = body(&json!({ "config": config }));
    let cases = [
        ("DELETE", m("?kill=true"), ""),
        ("POST", m(""), update.as_str()),
        ("POST", m("/lease?ttl=1"), ""),
        ("POST", m("/start"), ""),
        ("POST", m("/stop"), ""),
        ("POST", m("/restart"), ""),
        ("POST", m("/suspend"), ""),
        ("POST", m("/cordon"), ""),
        ("POST", m("/uncordon"), ""),
    ];
    for (method, target, body) in cases {
        walk.ask(client, method, &target, body, 409).await;
    }
    let holder = client.with("fly-machine-lease-nonce", &nonce);
    holder.post(&m("/stop"), "").await;
    client.get(&m("/wait?state=stopped")).await;
    let exec = r#"{"cmd":"true"}"#;
    walk.ask(client, "POST", &m("/exec"), exec, 409).await;
    walk.ask(&holder, "POST", &m("/exec"), exec, 412).await;
    holder.send("DELETE", &m("/lease"), "").await;
    walk.ask(&holder, "DELETE", &m("/lease"), "", 404).await;
}

/// Faults are answered in the same form, and so is a region without room.
async fn faults(walk: &mut Walk, client: &Client, config: &Value) {
    let create = body(&json!({ "config": config, "region": "syd" }));
    for (fault, status) in [
        ("timeout", 408),
        ("conflict", 409),
        ("capacity", 412),
        ("no-memory", 409),
        ("quota", 403),
        ("no-capacity", 400),
        ("invalid", 422),
        ("timeout-done", 408),
    ] {
        let rule = format!("machines.create/web@1:{fault}");
        assert_eq!(
            client.post("/_sim/faults", &rule).await.code(),
            200,
            "{fault}"
        );
        let machines = "/v1/apps/web/machines";
        walk.ask(client, "POST", machines, &create, status).await;
    }
}

#[tokio::test]
async fn every_operation_is_served_as_described_or_not_at_all() {
    let mut walk = Walk::new();
    let (running, client) = simulator(4, |_| {}).await;
    let id = first(&running);
    let config = running
        .act(|fleet| fleet.get("web", &id))
        .expect("it exists")
        .config;
    refusals(&mut walk, &client, &id, &config).await;
    faults(&mut walk, &client, &config).await;
    let other = running.act(|fleet| fleet.machine_ids("web"));
    let other = other.into_iter().find(|other| {
        let machine = running.act(|fleet| fleet.get("web", other));
        *other != id && machine.is_ok_and(|machine| machine.state == "started")
    });
    successes(&mut walk, &client, &other.expect("another one"), &config).await;

    for operation in walk.document.operations().difference(&walk.served) {
        let segments = operation.template.split('/');
        let filled: Vec<_> = segments
            .map(|segment| {
                if segment.starts_with('{') {
                    "x"
                } else {
                    segment
                }
            })
            .collect();
        let target = format!("/v1{}", filled.join("/"));
        let answer = client.send(&operation.method, &target, "").await;
        assert_eq!(
            (answer.code(), answer.body.as_str()),
            (404, "404 page not found\n"),
            "{operation:?} is served and not walked"
        );
    }
    let known = |status: u16, operation: &Operation| {
        UNNAMED_REFUSALS.iter().any(|(code, method, templates)| {
            *code == status
                && (*method == "*" || *method == operation.method)
                && templates.contains(&operation.template.as_str())
        })
    };
    let unknown: Vec<_> = walk
        .unnamed
        .iter()
        .filter(|(status, operation)| !known(*status, operation))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    for (status, method, templates) in UNNAMED_REFUSALS {
        for template in templates {
            let seen = walk.unnamed.iter().any(|(code, operation)| {
                *code == status
                    && (method == "*" || method == operation.method)
                    && operation.template == *template
            });
            assert!(
                seen,
                "{status} {method} {template} was not seen, or is named by now"
            );
        }
    }
    let parameters: Vec<_> = walk.parameters.iter().map(String::as_str).collect();
    assert_eq!(parameters, UNNAMED_PARAMETERS);
    running.stop(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn too_many_requests_are_refused_in_the_same_form() {
    let mut walk = Walk::new();
    let (running, client) = simulator(2, |config| {
        config.rate_limits = true;
        config.pace = Pace::ByHand;
    })
    .await;
    let id = first(&running);
    let m = |rest: &str| path(&id, rest);
    let create = r#"{"config":{"image":"registry.fly.io/web:v2"},"skip_launch":true}"#;
    let cases = [
        ("GET", m(""), "", 10),
        ("GET", "/v1/apps/web/machines".into(), "", 3),
        ("POST", "/v1/apps/web/machines".into(), create, 3),
        ("POST", m("/cordon"), "", 3),
        ("POST", m("/exec"), r#"{"cmd":"true"}"#, 3),
        ("GET", m("/metadata"), "", 3),
    ];
    for (method, target, body, burst) in cases {
        for _ in 0..burst {
            walk.ask(&client, method, &target, body, 200).await;
        }
        let answer = walk.ask(&client, method, &target, body, 429).await;
        let words = "resource_exhausted: rate limit exceeded";
        assert_eq!(answer.json(), json!({ "error": words }));
    }
    // The document names it nowhere.
    assert_eq!(walk.unnamed.len(), 6);
}

/// What our own client sends, in full and as little as possible.
#[test]
fn what_we_send_is_described() {
    fn check<T: Serialize>(method: &str, target: &str, bodies: &[T]) {
        let document = Document::read();
        let operation = document.operation(method, target).expect("it is described");
        for body in bodies {
            let body = serde_json::to_string(body).expect("JSON");
            assert_eq!(
                document.request(&operation, &body),
                Ok(()),
                "{target}: {body}"
            );
        }
    }
    let text = |text: &str| Some(text.to_owned());
    let config = json!({
        "image": "registry.fly.io/web:v2", "env": { "A": "b" }, "metadata": { "a": "b" },
        "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 }, "auto_destroy": true,
        "restart": { "policy": "no" }, "stop_config": { "timeout": "5s", "signal": "SIGTERM" }
    });
    let create = CreateRequest {
        config: config.clone(),
        name: text("gc-1"),
        region: text("fra"),
        skip_launch: true,
        skip_service_registration: true,
        lease_ttl: Some(30),
        min_secrets_version: Some(2),
    };
    let little = CreateRequest {
        config: json!({ "image": "web" }),
        ..CreateRequest::default()
    };
    check("POST", "/v1/apps/web/machines", &[create, little]);
    let update = UpdateRequest {
        config: config.clone(),
        name: text("gc-1"),
        region: text("fra"),
        current_version: text("01KA"),
        skip_launch: true,
        skip_service_registration: true,
        lease_ttl: Some(30),
        min_secrets_version: Some(2),
    };
    let little = UpdateRequest {
        config: config.clone(),
        ..UpdateRequest::default()
    };
    check("POST", &path("x", ""), &[update, little]);
    let placement = PlacementRequest {
        org_slug: "groundcrew".into(),
        region: "fra,any".into(),
        count: 3,
        compute: config["guest"].clone(),
        volume_name: "data".into(),
        volume_size_bytes: Some(1 << 30),
    };
    let little = PlacementRequest::default();
    check("POST", "/v1/platform/placements", &[placement, little]);
    let stop = StopRequest {
        signal: text("SIGTERM"),
        timeout: text("5s"),
    };
    check("POST", &path("x", "/stop"), &[stop, StopRequest::default()]);
    let signal = SignalRequest {
        signal: "SIGUSR1".into(),
    };
    check("POST", &path("x", "/signal"), &[signal]);
    let exec = ExecRequest {
        cmd: String::new(),
        command: vec!["true".into()],
        stdin: text("in"),
        timeout: Some(5),
    };
    check("POST", &path("x", "/exec"), &[exec, ExecRequest::default()]);
    let lease = LeaseRequest {
        ttl: Some(30),
        description: text("run 1"),
    };
    check(
        "POST",
        &path("x", "/lease"),
        &[lease, LeaseRequest::default()],
    );
    let patch = MetadataPatch {
        metadata: [("a".to_owned(), text("b")), ("c".to_owned(), text(""))].into(),
        machine_version: text("01KA"),
    };
    check("PATCH", &path("x", "/metadata"), &[patch]);
    let value = MetadataValue { value: "b".into() };
    check("POST", &path("x", "/metadata/a"), &[value]);
}

/// Two forms that are on the wire and that the document's schemas do not allow.
#[tokio::test]
async fn what_only_prose_or_code_describes_is_taken_too() {
    let document = Document::read();
    let (running, client) = simulator(2, |_| {}).await;
    let id = first(&running);
    for (method, rest, body, status) in [
        // "Null values and empty strings remove keys", says its prose.
        (
            "PATCH",
            "/metadata",
            r#"{"metadata":{"fly_process_group":null}}"#,
            204,
        ),
        // fly-go's `Kill` sends 9.
        ("POST", "/signal", r#"{"signal":9}"#, 200),
    ] {
        let target = path(&id, rest);
        let operation = document
            .operation(method, &target)
            .expect("it is described");
        assert!(
            document.request(&operation, body).is_err(),
            "{body} is described by now"
        );
        let answer = client.send(method, &target, body).await;
        assert_eq!(answer.code(), status, "{body}: {}", answer.body);
    }
}
