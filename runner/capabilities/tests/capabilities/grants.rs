//! A grant covers what is read as well as what is written: every operation by every dimension of a
//! grant, asked as the gate asks. What is not covered is refused, or left out of a listing and counted.

use std::collections::BTreeSet;

use groundcrew::runbook::LimitValue;
use groundcrew::{
    CapabilityGrant, Effect, Effective, Failure, Outcome, Policy, Request, Scale, Target,
};
use groundcrew_capabilities::all;
use groundcrew_capabilities::fly::contract::Change;
use serde_json::{Value, json};

use crate::support::{Process, WORLDS, Web, World, http, row};

/// Who says it: the step that asks, or the operator.
#[derive(Debug, Clone, Copy)]
enum By {
    Step,
    Policy,
}

/// A grant of everything of a capability but for one dimension.
fn effective(capability: &str, key: &str, only: &str, by: By) -> Effective {
    let capabilities = all();
    let found = capabilities.iter().find(|each| each.name() == capability);
    let found = found.unwrap();
    let mut verbs: Vec<String> = found
        .operations()
        .iter()
        .map(|row| row.verb.to_owned())
        .collect();
    verbs.sort();
    verbs.dedup();
    let names = |name: &str| LimitValue::Names(vec![name.to_owned()]);
    let mut step = CapabilityGrant {
        verbs: Some(verbs.clone()),
        ..CapabilityGrant::default()
    };
    for scope in found.scopes() {
        step.limits.insert(scope.key.to_owned(), names("*"));
    }
    let mut policy = Policy::default();
    match by {
        By::Step => drop(step.limits.insert(key.to_owned(), names(only))),
        By::Policy => {
            let mut limit = CapabilityGrant::default();
            limit.limits.insert(key.to_owned(), names(only));
            policy.grant.insert(capability.to_owned(), limit);
        }
    }
    let terms = (found.name(), found.scopes(), found.radius());
    let target = Target::new("t", None, Scale::REAL).whereabouts();
    Effective::of(terms, &step, &verbs, &policy, &target).unwrap()
}

/// What becomes of a request, as the gate goes about it.
async fn asked(run: &Process, grant: &Effective, request: Request) -> Outcome {
    let refused = |why| Outcome::failed(Failure::Denied(why));
    if let Err(why) = (request.row.sound)(&request) {
        return Failure::Invalid(why).into();
    }
    if let Err(why) = grant.allows(&request) {
        return refused(why);
    }
    let effect = Effect {
        cover: grant.cover(),
        ..run.unchecked(request)
    };
    let executor = run.executor(effect.request.row.capability());
    if let Some(announced) = effect.request.row.announces {
        let announced = announced(&effect.request).unwrap();
        for found in announced
            .ids
            .iter()
            .filter_map(|id| executor.belongs("web", id))
        {
            if let Err(why) = grant.allows_found(&found) {
                return refused(why);
            }
        }
    }
    if effect.request.subject.is_some() || effect.request.row.creates.is_some() {
        let _busy = run.busy();
        match executor.within(&effect).await {
            Ok(found) => {
                for found in found {
                    if let Err(why) = grant.allows_found(&found) {
                        return refused(why);
                    }
                }
            }
            Err(failure) => return failure.into(),
        }
    }
    run.perform(&effect).await
}

/// Each operation on a Machine of `web`, or in that app.
fn requests(id: &str) -> Vec<Request> {
    let on = |name: &str, with: Value| {
        Request::new(row(name))
            .on("web".to_owned(), id.to_owned())
            .with(with)
    };
    let within =
        |name: &str, with: Value| Request::new(row(name)).in_app("web".to_owned()).with(with);
    let change = json!(Change::default());
    let filter = json!({ "groups": [], "regions": [], "states": [] });
    let fresh = json!({ "like": id, "change": { "metadata": [["fly_process_group", "other"]], "env": [], "replace": [] }, "region": null, "launch": false, "cordoned": false, "min_secrets_version": null });
    vec![
        within(
            "machines.list",
            json!({ "scope": { "app": "web" }, "filter": filter }),
        ),
        Request::new(row("machines.list"))
            .with(json!({ "scope": "organisation", "filter": filter })),
        on("machines.get", Value::Null),
        on("machines.events", json!(5)),
        on("machines.versions", Value::Null),
        within("machines.announce", json!([[id], 1])),
        on(
            "machines.wait",
            json!({ "states": ["started"], "version": null, "from_event": null, "timeout_ms": 1 }),
        ),
        on(
            "machines.wait-healthy",
            json!({ "version": null, "from_event": null, "critical_after_ms": 0, "timeout_ms": 1 }),
        ),
        on("machines.start", Value::Null),
        on(
            "machines.stop",
            json!({ "signal": null, "timeout_ms": null }),
        ),
        on(
            "machines.restart",
            json!({ "signal": null, "timeout_ms": null, "force_stop": false }),
        ),
        on("machines.suspend", Value::Null),
        on("machines.signal", json!("SIGHUP")),
        on("machines.cordon", Value::Null),
        on("machines.uncordon", Value::Null),
        on("machines.set-metadata", json!([["team", "blue"]])),
        on(
            "machines.update",
            json!({ "change": change, "expected": null, "launch": null, "cordoned": null, "min_secrets_version": null }),
        ),
        on(
            "machines.restore",
            json!({ "version": "01", "expected": null, "launch": null, "cordoned": null }),
        ),
        on(
            "machines.exec",
            json!({ "command": ["true"], "timeout_ms": 1000 }),
        ),
        on("machines.lease", Value::Null),
        on("machines.release", Value::Null),
        on("machines.destroy", json!(true)),
        // Of another group, and made of what is in this one.
        within("machines.create", fresh),
        Request::new(row("apps.list")),
        within("apps.get", Value::Null),
        within(
            "apps.capacity",
            json!({ "like": null, "regions": ["fra"], "count": 1 }),
        ),
        within("apps.delete", json!(true)),
        within("releases.list", json!(1)),
        within("releases.current", Value::Null),
        within(
            "releases.create",
            json!({ "strategy": "ROLLING", "image": "web:2", "definition": null }),
        ),
        on("releases.set-status", json!("running")),
        on("releases.definition", Value::Null),
        Request::new(row("metrics.query"))
            .with(json!({ "promql": "sum(up{app=\"web\"})", "at": null })),
        Request::new(row("metrics.query")).with(json!({ "promql": "sum(up)", "at": null })),
    ]
}

/// A Machine of the process group `web`.
fn of_web(world: &World) -> String {
    let mut ids = (0..8).map(|place| world.id(place));
    let web = ids.find(|id| world.machine(id).process_group() == "web");
    web.unwrap()
}

/// Nothing of `web`, by app or by group, may be in an answer.
fn shows(answer: &Value, key: &str) -> bool {
    let one = |entry: &Value| match key {
        "apps" => entry["app"] == "web" || entry["name"] == "web",
        _ => entry["group"] == "web",
    };
    let listed = answer.get("machines").unwrap_or(answer);
    match listed.as_array() {
        Some(entries) => entries.iter().any(one),
        None => one(answer),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_keeps_to_every_dimension() {
    // What the step, or the operator, allows: another app, and another process group.
    for (key, only) in [("apps", "web-2"), ("groups", "worker")] {
        for by in [By::Step, By::Policy] {
            for mode in WORLDS {
                let world = World::start(mode).await;
                let run = world.run("run");
                let id = of_web(&world);
                let mut performed = BTreeSet::new();
                for request in requests(&id) {
                    let name = request.row.name;
                    let capability = request.row.capability();
                    let has = all().into_iter().any(|each| {
                        each.name() == capability
                            && each.scopes().iter().any(|scope| scope.key == key)
                    });
                    performed.insert(name);
                    if !has {
                        continue;
                    }
                    let listing = matches!(name, "machines.list" | "apps.list");
                    let outcome = asked(&run, &effective(capability, key, only, by), request).await;
                    let what = format!("{name} with {key} by {by:?} in {mode:?}");
                    match &outcome.result {
                        Ok(answer) => {
                            let answer: Value = serde_json::from_str(answer).unwrap();
                            assert!(listing, "{what}: {answer}");
                            assert!(!shows(&answer, key), "{what}: {answer}");
                            assert!(outcome.left_out > 0, "{what}: {answer}");
                            // The plugin is told, too.
                            let told = answer.get("left_out").is_none_or(|told| *told != 0);
                            assert!(
                                told && (name != "machines.list" || answer["left_out"].is_u64())
                            );
                        }
                        Err(Failure::Denied(_)) => {}
                        Err(other) => panic!("{what}: {other}"),
                    }
                }
                let rows: BTreeSet<&str> = all()
                    .into_iter()
                    .flat_map(|each| each.operations())
                    .map(|row| row.name)
                    .filter(|name| !name.starts_with("http."))
                    .collect();
                assert_eq!(performed, rows);
                assert_eq!(world.applied(), [], "nothing is written");
            }
        }
    }
}

/// The other way round: what is covered passes, so that the test above cannot succeed by refusing
/// everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_covered_passes() {
    for mode in WORLDS {
        let world = World::start(mode).await;
        let run = world.run("run");
        let id = of_web(&world);
        for (key, only) in [("apps", "web"), ("groups", "web")] {
            let grant = effective("machines", key, only, By::Policy);
            for request in requests(&id) {
                if [
                    "machines.list",
                    "machines.get",
                    "machines.lease",
                    "machines.cordon",
                ]
                .contains(&request.row.name)
                {
                    let what = request.to_string();
                    let outcome = asked(&run, &grant, request).await;
                    assert!(outcome.result.is_ok(), "{what}: {outcome:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_metrics_is_held_to_its_apps() {
    let answer = "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}";
    let web = Web::serve(move |_, _| http("200 OK", "", answer)).await;
    let world = World::start(groundcrew::Mode::Perform).await;
    let run = world.run_with_metrics(&web.url);
    let grant = effective("metrics", "apps", "web", By::Step);
    for (query, passes) in [
        ("sum(up{app=\"web\"})", true),
        ("sum(up{app=\"web\"}) / sum(up{app=\"api\"})", false),
        ("sum(up)", false),
        ("sum(", false),
    ] {
        let request =
            Request::new(row("metrics.query")).with(json!({ "promql": query, "at": null }));
        let outcome = asked(&run, &grant, request).await;
        assert_eq!(outcome.result.is_ok(), passes, "{query}: {outcome:?}");
    }
    assert_eq!(web.seen().len(), 1);
}
