//! What is checked is what is sent: no text that a plugin could submit, for any operation, makes a
//! request to another path, query or origin than the operation has.

use std::collections::BTreeSet;

use groundcrew::{Credential, Mode, Place, Request, Scale, Target, Url};
use groundcrew_capabilities::all;
use groundcrew_capabilities::fly::contract::{CreateOptions, RestartOptions, StopOptions};
use serde_json::{Value, json};

use crate::support::{self, Process, Web, row};

/// Where a request of each operation may go, its names as `*`. What asks for something first, such as an
/// update, asks for that too.
const MAY: [&str; 24] = [
    "GET /v1/apps/*/machines",
    "GET /v1/apps/*/machines?include_deleted&metadata.groundcrew_effect",
    "GET /v1/orgs/groundcrew/machines?limit",
    "GET /v1/apps/*/machines/*",
    "GET /v1/apps/*/machines/*/events?limit",
    "GET /v1/apps/*/machines/*/versions",
    "GET /v1/apps/*/machines/*/wait?timeout&state",
    "GET /v1/apps/*/machines/*/wait?timeout&state&version",
    "GET /v1/apps/*/machines/*/wait?timeout&state&version&from_event_id",
    "GET /v1/apps/*/machines/*/wait?timeout&state&from_event_id",
    "GET /v1/apps/*/machines/*/lease",
    "POST /v1/apps/*/machines/*/COMMAND",
    "POST /v1/apps/*/machines/*/restart?force_stop",
    "POST /v1/apps/*/machines/*/restart?force_stop&signal",
    "PATCH /v1/apps/*/machines/*/metadata",
    "DELETE /v1/apps/*/machines/*?force",
    "GET /v1/apps?org_slug",
    "GET /v1/apps/*",
    "POST /v1/platform/placements",
    "GET /api/v1/apps/*/releases?limit",
    "GET /api/v1/apps/*/releases/current",
    "POST /api/v1/releases",
    "DELETE /v1/apps/*",
    "POST /prometheus/groundcrew/api/v1/query",
];

const COMMANDS: [&str; 8] = [
    "start", "stop", "suspend", "signal", "cordon", "uncordon", "lease", "exec",
];

/// What people and libraries have read as something else.
const HOSTILE: [&str; 28] = [
    "",
    ".",
    "..",
    ".\t.",
    "\t",
    "\n",
    "\r\n",
    "web\t",
    "/",
    "\\",
    "web/machines",
    "..%2f",
    "%2e%2e",
    "%09",
    "?force=true",
    "#",
    "web?x=1",
    "web#x",
    "//evil.example",
    "http://evil.example/",
    "@evil",
    "web;x",
    "\u{0}",
    "\u{202e}web",
    "ｗｅｂ",
    "web\u{2028}",
    "a b",
    "*",
];

/// A request of each operation with a text wherever it takes one.
fn requests(app: &str, id: &str, text: &str) -> Vec<Request> {
    let on = |name: &str, with: Value| {
        Request::new(row(name))
            .on(app.to_owned(), id.to_owned())
            .with(with)
    };
    let in_app =
        |name: &str, with: Value| Request::new(row(name)).in_app(app.to_owned()).with(with);
    let change = json!({ "image": text, "release": text, "env": [[text, text]], "metadata": [[text, text]], "autostop": text, "standbys": [text], "patch": null });
    let filter = json!({ "groups": [text], "regions": [text], "states": [text] });
    vec![
        in_app(
            "machines.list",
            json!({ "scope": { "app": app }, "filter": filter }),
        ),
        Request::new(row("machines.list"))
            .with(json!({ "scope": "organisation", "filter": filter })),
        on("machines.get", Value::Null),
        on("machines.events", json!(5)),
        on("machines.versions", Value::Null),
        in_app("machines.announce", json!([[text], 1])),
        on("machines.start", Value::Null),
        on(
            "machines.stop",
            json!(StopOptions {
                signal: Some(text.to_owned()),
                timeout_ms: None
            }),
        ),
        on(
            "machines.restart",
            json!(RestartOptions {
                signal: Some(text.to_owned()),
                ..RestartOptions::default()
            }),
        ),
        on("machines.suspend", Value::Null),
        on("machines.signal", json!(text)),
        on("machines.cordon", Value::Null),
        on("machines.uncordon", Value::Null),
        on("machines.destroy", json!(true)),
        on("machines.set-metadata", json!([[text, text]])),
        on(
            "machines.update",
            json!({ "change": change, "expected": text, "launch": null, "cordoned": null, "min_secrets_version": null }),
        ),
        on(
            "machines.restore",
            json!({ "version": text, "expected": text, "launch": null, "cordoned": null }),
        ),
        in_app(
            "machines.create",
            json!({ "like": text, "change": change, "region": text, "launch": false, "cordoned": false, "min_secrets_version": null }),
        ),
        on(
            "machines.exec",
            json!({ "command": [text], "timeout_ms": 1000 }),
        ),
        on(
            "machines.wait",
            json!({ "states": [text], "version": text, "from_event": text, "timeout_ms": 1 }),
        ),
        on(
            "machines.wait-healthy",
            json!({ "version": text, "from_event": text, "critical_after_ms": 0, "timeout_ms": 1 }),
        ),
        on("machines.lease", Value::Null),
        on("machines.release", Value::Null),
        Request::new(row("apps.list")),
        in_app("apps.get", Value::Null),
        in_app(
            "apps.capacity",
            json!({ "like": text, "regions": [text], "count": 1 }),
        ),
        in_app("apps.delete", json!(false)),
        in_app("releases.list", json!(1)),
        in_app("releases.current", Value::Null),
        in_app(
            "releases.create",
            json!({ "strategy": text, "image": text, "definition": null }),
        ),
        on("releases.set-status", json!("running")),
        on("releases.definition", Value::Null),
        Request::new(row("metrics.query")).with(json!({ "promql": text, "at": null })),
    ]
}

/// A request's line as [`MAY`] has it, and the names that stand in it.
fn shape(request: &str) -> (String, Vec<String>) {
    let mut line = request.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (
        line.next().unwrap_or_default(),
        line.next().unwrap_or_default(),
    );
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut names = Vec::new();
    let mut after = "";
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let is_name = matches!((after, segment), ("apps", _) | ("machines", _))
            || (after == "releases" && segment != "current");
        if is_name {
            names.push(segment.to_owned());
            segments.push("*");
        } else if after == "*" && method == "POST" && COMMANDS.contains(&segment) {
            segments.push("COMMAND");
        } else {
            segments.push(segment);
        }
        after = if is_name { "*" } else { segment };
    }
    let keys: Vec<&str> = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .collect();
    let keys = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", keys.join("&"))
    };
    (format!("{method} {}{keys}", segments.join("/")), names)
}

/// A target whose places are all at one address.
fn target(url: &str) -> Target {
    let place = |path: &str| {
        Place::new(
            Url::parse(&format!("{url}{path}")).unwrap(),
            None::<&Credential>,
        )
    };
    Target::new("t", Some("groundcrew"), Scale::REAL)
        .with_place("machines_api", place(""))
        .and_then(|target| target.with_place("releases_api", place("")))
        .and_then(|target| target.with_place("metrics_api", place("/prometheus/groundcrew")))
        .unwrap()
}

/// What arrives of a request, however its executor goes on about the answers that it gets. What is not
/// sound arrives nowhere: the gate asks first, and the types of the way to a URL ask again.
async fn arrives(web: &Web, request: Request) -> (bool, Vec<String>) {
    let sound = (request.row.sound)(&request).is_ok();
    let before = web.seen().len();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let process = Process::start("run", target(&web.url), Mode::Perform, now);
    let effect = process.unchecked(request);
    let executor = process.executor(effect.request.row.capability());
    let short = std::time::Duration::from_millis(500);
    let _ = tokio::time::timeout(short, async {
        if executor.prepares(effect.request.row) {
            let _ = executor.prepare(&effect).await;
        }
        executor.perform(effect.clone()).await
    })
    .await;
    (sound, web.seen().split_off(before))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_leads_to_another_place_than_its_operation_has() {
    // It says no to everything, for good.
    let web = Web::serve(|_, _| support::http("404 Not Found", "", "{\"error\":\"no\"}")).await;
    let mut performed = BTreeSet::new();
    let mut check = |name: &'static str, app: &str, id: &str, sound: bool, arrived: Vec<String>| {
        performed.insert(name);
        for request in &arrived {
            let (shape, names) = shape(request);
            assert!(
                MAY.contains(&shape.as_str()),
                "{name} of {app:?}/{id:?}: {shape}"
            );
            for name in names {
                assert!(
                    [app, id, "x"].contains(&name.as_str()),
                    "{name:?} is neither {app:?} nor {id:?}"
                );
            }
        }
        sound
    };
    for hostile in HOSTILE {
        for (app, id, text) in [
            (hostile, "d1", "x"),
            ("web", hostile, "x"),
            ("web", "d1", hostile),
        ] {
            for request in requests(app, id, text) {
                let name = request.row.name;
                let names_it = (app == hostile && request.app.is_some())
                    || (id == hostile && request.subject.is_some());
                let (sound, arrived) = arrives(&web, request).await;
                let sound = check(name, app, id, sound, arrived.clone());
                if names_it {
                    assert!(!sound, "{name} takes {hostile:?} for a name");
                    assert_eq!(arrived, Vec::<String>::new(), "{name} of {app:?}/{id:?}");
                }
            }
        }
    }
    let all: BTreeSet<&str> = all()
        .into_iter()
        .flat_map(|each| each.operations())
        .map(|row| row.name)
        .filter(|name| !name.starts_with("http."))
        .collect();
    assert_eq!(performed, all, "every operation is asked");
}

/// A process of a run against a server, where time is short.
fn at(web: &Web) -> Process {
    let place = groundcrew::Place::new(Url::parse(&web.url).unwrap(), None::<&Credential>);
    let target = Target::new("t", Some("groundcrew"), Scale::new(500.0).unwrap());
    let target = target.with_place("machines_api", place).unwrap();
    Process::start("run", target, Mode::Perform, jiff::Timestamp::UNIX_EPOCH)
}

/// An answer is believed only as far as it is about what was asked.
#[tokio::test(flavor = "multi_thread")]
async fn answers_about_something_else_are_none() {
    let machine = |id: &str| json!({ "id": id, "name": "n", "state": "started", "config": {} });
    for (request, answer, says) in [
        (
            requests("web", "d1", "x").remove(0),
            json!([machine("d1"), machine("d2"), machine("d1")]),
            "listed twice",
        ),
        (
            requests("web", "d1", "x").remove(0),
            json!([machine("../d1")]),
            "is not a Machine's id",
        ),
        (
            requests("web", "d1", "x").remove(2),
            machine("d2"),
            "was asked for",
        ),
    ] {
        let answer = answer.to_string();
        let web = Web::serve(move |_, _| support::http("200 OK", "", &answer)).await;
        let process = at(&web);
        let effect = process.unchecked(request);
        let outcome = process.executor("machines").perform(effect).await;
        let failure = outcome.result.unwrap_err().to_string();
        assert!(failure.contains(says), "{failure}");
    }
}

/// What was there before is not what has been made: whoever takes the making back would destroy it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_has_not_been_made() {
    let machine = |id: &str| json!({ "id": id, "name": "n", "state": "started", "region": "ams", "config": { "image": "i" } });
    // Known from a listing, or as what is copied; and one that is new.
    for (listed, answered, old) in [("d1", "d1", true), ("d2", "d1", true), ("d1", "d9", false)] {
        let there = json!([machine(listed)]).to_string();
        let (copied, made) = (machine("d1").to_string(), machine(answered).to_string());
        let web = Web::serve(move |request, _| {
            let body = match shape(request).0 {
                create if create.starts_with("POST") => &made,
                list if list.starts_with("GET /v1/apps/*/machines?") => &there,
                list if list == "GET /v1/apps/*/machines" => &there,
                _ => &copied,
            };
            support::http("200 OK", "", body)
        })
        .await;
        let process = at(&web);
        process.done(requests("web", "d1", "x").remove(0)).await;
        let like = CreateOptions {
            like: Some("d1".to_owned()),
            ..CreateOptions::default()
        };
        let create = support::within("machines.create", "web", &like);
        let made: Result<Value, _> = process.ask(create).await;
        if !old {
            assert_eq!(made.unwrap()["id"], "d9");
            continue;
        }
        let failure = made.unwrap_err().to_string();
        assert!(
            failure.contains("the answer is about Machine `d1`, which was there before"),
            "{failure}"
        );
        // It was asked for the mark of what it made, and tried again; nothing else was written.
        let sent: BTreeSet<String> = web.seen().iter().map(|seen| shape(seen).0).collect();
        let marked = "GET /v1/apps/*/machines?include_deleted&metadata.groundcrew_effect";
        assert!(sent.contains(marked), "{sent:?}");
        assert!(
            sent.iter()
                .all(|sent| sent.starts_with("GET") || sent == "POST /v1/apps/*/machines"),
            "{sent:?}"
        );
    }
}

/// As many as the contract says, and not one more.
#[test]
fn an_announcement_has_so_many_machines_at_most() {
    let announce = |ids: usize| {
        let ids: Vec<String> = (0..ids).map(|id| format!("{id:014x}")).collect();
        let request = Request::new(row("machines.announce")).in_app("web".to_owned());
        let request = request.with(json!([ids, 0]));
        (request.row.sound)(&request)
    };
    assert_eq!(announce(3000), Ok(()));
    assert!(
        announce(3001)
            .unwrap_err()
            .contains("3001 Machines are announced")
    );
}
