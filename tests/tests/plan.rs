//! Plan and apply against a fleet: whatever the timing, exactly what was planned; whatever changes,
//! it is seen if it counts; whatever fails, no half state is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use groundcrew::PlanRequest;
use groundcrew::journal::{Actor, Decision, RunStatus};
use groundcrew::plan::SignedPlan;
use groundcrew::store::MemoryStore;
use groundcrew::{Engine, Key, Policy, RunRequest, Target, Unobserved};
use groundcrew_fleet::{Behaviour, Caller, Fate, Fleet, Generated, Settings, Time, api, generate};
use groundcrew_simulator::{Pace, Running, SimulatorConfig};
use groundcrew_tests::embedded::{self, engine, target};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;

fn fleet(machines: usize, apps: usize, seed: u64, slowest: u64) -> Fleet {
    let settings = Settings {
        seed,
        start: Time::from(Timestamp::now()),
        behaviour: Behaviour::seeded().with_restart_total(600, slowest),
        ..Settings::default()
    };
    let wanted = Generated {
        machines,
        apps,
        idle_ones: true,
    };
    generate(settings, &wanted)
}

async fn serve(fleet: Fleet, scale: f64) -> Result<Running> {
    let config = SimulatorConfig {
        pace: Pace::Scaled(scale),
        ..SimulatorConfig::new(fleet)
    };
    Ok(config.start().await?)
}

async fn plan(engine: &Arc<Engine>, run: RunRequest, cases: &[&str]) -> Result<SignedPlan> {
    let rule = |rule: &&str| rule.parse().map(|rule| vec![rule]);
    let contingencies: Result<Vec<_>, _> = cases.iter().map(rule).collect();
    let request = PlanRequest {
        run,
        contingencies: contingencies.map_err(|e| anyhow!("{e}"))?,
        author: Key::generate("author"),
        valid_for: Duration::from_secs(3600),
    };
    let made = engine.plan(request, Arc::new(Unobserved)).await?;
    made.plan.with_context(|| format!("{:?}", made.report))
}

fn applying(plan: &SignedPlan, target: &Target) -> Result<RunRequest> {
    let (policy, actor) = (Policy::default(), Actor::default());
    Ok(RunRequest::applying(
        plan.clone(),
        target.clone(),
        actor,
        policy,
    )?)
}

/// Step, command, app and Machine of each write that was really applied, in order.
type Writes = Vec<(String, String, String, String)>;

fn applied(simulator: &Running) -> Writes {
    let mut writes: Writes = simulator.act(|fleet| {
        let all = fleet.applied().entries();
        all.filter(|a| !a.command.contains("lease"))
            .map(|a| {
                let effect = a.effect.clone().unwrap_or_default();
                let step = effect.split('/').nth(1).unwrap_or_default().to_owned();
                (step, a.command.to_owned(), a.app.clone(), a.id.clone())
            })
            .collect()
    });
    writes.sort();
    writes
}

fn planned(plan: &SignedPlan) -> Writes {
    let all = plan.plan().writes.iter().map(|write| {
        let request = &write.request;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let command = request.operation.clone();
        (
            write.step.clone(),
            command,
            text(&request.app),
            text(&request.subject),
        )
    });
    let mut all: Writes = all.collect();
    all.sort();
    all
}

/// A pipeline of one to four restarts, some beside each other and some after others, on this many
/// apps.
fn random_runbook(random: &mut Pcg64, apps: usize) -> String {
    let mut text = "name = \"random\"\nsummary = \"Random.\"\n".to_owned();
    let mut last_on: BTreeMap<String, usize> = BTreeMap::new();
    for step in 0..random.random_range(1..=4) {
        let app = match random.random_range(0..apps) {
            0 => "web".to_owned(),
            other => format!("web-{}", other + 1),
        };
        // Two steps on one app would be in each other's way: one waits for the other.
        let needs = match last_on.insert(app.clone(), step) {
            Some(before) => format!("needs = [\"s{before}\"]\n"),
            None => String::new(),
        };
        let group = ["\"web\"", "\"worker\"", "null"][random.random_range(0..3)];
        let group = match group {
            "null" => String::new(),
            group => format!("group = {group}, "),
        };
        let regions = match random.random_bool(0.2) {
            true => "regions = [\"fra\", \"iad\"], ",
            false => "",
        };
        let unavailable = match random.random_bool(0.3) {
            true => format!("max_unavailable = \"{}%\", ", random.random_range(10..80)),
            false => String::new(),
        };
        let _ = write!(
            text,
            "[[step]]\nid = \"s{step}\"\nplugin = \"restart-by-group\"\n{needs}with = {{ app = \"{app}\", {group}{regions}{unavailable}parallel = {}, canary = {}, wait_timeout = \"5m\" }}\n[step.grant.machines]\napps = [\"{app}\"]\nverbs = [\"list\", \"restart\", \"wait\", \"lease\"]\n",
            random.random_range(1..20),
            random.random_bool(0.5),
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_timing_exactly_what_was_planned_is_done() -> Result<()> {
    let mut some = 0;
    for seed in 0..40 {
        let mut random = Pcg64::seed_from_u64(seed);
        let (machines, apps) = (random.random_range(3..60), random.random_range(1..=3));
        let slowest = random.random_range(700..9000);
        let scale = random.random_range(60.0..300.0);
        let simulator = serve(fleet(machines, apps, seed, slowest), scale).await?;
        let target = target(&simulator.base_url(), scale)?;
        let text = random_runbook(&mut random, apps);
        let engine = engine(Arc::new(MemoryStore::default()))?;
        let run = embedded::request(&text, &[], target.clone(), seed)?;
        let plan = plan(&engine, run, &[]).await?;
        ensure!(
            applied(&simulator).is_empty(),
            "{seed}: the rehearsal wrote"
        );
        let admitted = engine.admit(applying(&plan, &target)?).await;
        let admitted = admitted.map_err(|no| anyhow!("{no:?}"))?;
        ensure!(engine.drift(&admitted).await?.is_empty(), "{seed}");
        let handle = engine.start(admitted, Arc::new(Unobserved)).await?;
        let report = handle.finished().await;
        ensure!(
            report.status == Some(RunStatus::Succeeded),
            "{seed}: {report:?}"
        );
        ensure!(applied(&simulator) == planned(&plan), "{seed}:\n{text}");
        some += planned(&plan).len();
    }
    ensure!(some > 400, "only {some} writes in all");
    Ok(())
}

/// What somebody else may do to a Machine between plan and apply.
fn change(which: usize, fleet: &mut Fleet, id: &str, other: &str) -> Option<&'static str> {
    let caller = Caller {
        nonce: None,
        effect: None,
        owner: "somebody",
    };
    let caller = &caller;
    let app = "web";
    let config = |fleet: &Fleet| fleet.get(app, id).map(|m| m.config).unwrap_or_default();
    let update = |fleet: &mut Fleet, config| {
        let request = api::UpdateRequest {
            config,
            ..api::UpdateRequest::default()
        };
        fleet.update(caller, app, id, &request).map(drop)
    };
    let metadata = |fleet: &mut Fleet, key: &str, value: &str| {
        let patch = api::MetadataPatch {
            metadata: BTreeMap::from([(key.to_owned(), Some(value.to_owned()))]),
            machine_version: None,
        };
        fleet.metadata_patch(caller, app, id, &patch)
    };
    let (name, done) = match which {
        0 => (
            "stop",
            fleet.stop(caller, app, id, &Default::default()).map(drop),
        ),
        1 => ("suspend", fleet.suspend(caller, app, id).map(drop)),
        2 => (
            "restart",
            fleet
                .restart(caller, app, id, &Default::default())
                .map(drop),
        ),
        3 => ("cordon", fleet.cordon(caller, app, id).map(drop)),
        4 => ("destroy", fleet.destroy(caller, app, id, true).map(drop)),
        5 => (
            "another group",
            metadata(fleet, "fly_process_group", "worker"),
        ),
        6 => ("a label", metadata(fleet, "note", "mine")),
        7 => {
            let lease = api::LeaseRequest::default();
            (
                "lease",
                fleet.lease_acquire(caller, app, id, &lease).map(drop),
            )
        }
        8 => {
            fleet.set_fate(app, id, Fate::HostUnreachable);
            ("dead host", Ok(()))
        }
        9 => {
            fleet.set_fate(app, id, Fate::ChecksFail);
            ("failing checks", Ok(()))
        }
        10 => {
            let mut config = config(fleet);
            config["env"]["MODE"] = json!("other");
            ("environment", update(fleet, config))
        }
        11 => {
            let mut config = config(fleet);
            config["image"] = json!("registry.fly.io/web:other");
            ("image", update(fleet, config))
        }
        12 => {
            let mut config = config(fleet);
            config["standbys"] = json!([other]);
            config["env"]["FLY_STANDBY_FOR"] = json!(other);
            ("standby", update(fleet, config))
        }
        13 => {
            let request = api::CreateRequest {
                config: config(fleet),
                ..api::CreateRequest::default()
            };
            ("one more", fleet.create(caller, app, &request).map(drop))
        }
        14 => {
            let mut config = config(fleet);
            config["metadata"]["fly_process_group"] = json!("worker");
            let request = api::CreateRequest {
                config,
                ..api::CreateRequest::default()
            };
            (
                "one more elsewhere",
                fleet.create(caller, app, &request).map(drop),
            )
        }
        15 => ("signal", {
            let signal = api::SignalRequest {
                signal: "SIGHUP".to_owned(),
            };
            fleet.signal(caller, app, id, &signal).map(drop)
        }),
        _ => return None,
    };
    assert!(done.is_ok(), "{name}: {done:?}");
    Some(name)
}

/// The fields that count, of the group's Machines, looked at by another way than the plan does.
async fn counts(target: &Target, engine: &Engine) -> Result<BTreeMap<String, String>> {
    let list = engine.operations().find(|row| row.name == "machines.list");
    let fields = list.context("no such row")?.projection;
    let machines = groundcrew_capabilities::fly::list_machines(target, "web").await;
    let machines = machines.map_err(|e| anyhow!("{e}"))?;
    let group = machines.into_iter().filter(|m| m.group == "web");
    group
        .map(|machine| {
            let whole = serde_json::to_value(&machine)?;
            let counting: Vec<_> = fields.iter().map(|field| &whole[field]).collect();
            Ok((
                format!("web/{}", machine.id),
                serde_json::to_string(&counting)?,
            ))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_single_change_counts_for_nothing_or_is_reported() -> Result<()> {
    const SCALE: f64 = 200.0;
    let runbook = include_str!("../../runbooks/restart-by-group.toml");
    let inputs = [("app", "web"), ("group", "web")];
    let (mut reported, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for which in 0.. {
        let simulator = serve(fleet(20, 1, 7, 3000), SCALE).await?;
        let target = target(&simulator.base_url(), SCALE)?;
        let engine = engine(Arc::new(MemoryStore::default()))?;
        let run = embedded::request(runbook, &inputs, target.clone(), 1)?;
        let plan = plan(&engine, run, &[]).await?;
        let (id, other) = {
            let mut writes = plan
                .plan()
                .writes
                .iter()
                .filter_map(|w| w.request.subject.clone());
            (writes.next().context("one")?, writes.next().context("two")?)
        };
        let before = counts(&target, &engine).await?;
        let Some(name) = simulator.act(|fleet| change(which, fleet, &id, &other)) else {
            break;
        };
        // Whatever it takes is over.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let after = counts(&target, &engine).await?;
        let changed: BTreeSet<&String> = before
            .keys()
            .chain(after.keys())
            .filter(|subject| before.get(*subject) != after.get(*subject))
            .collect();
        let admitted = engine.admit(applying(&plan, &target)?).await;
        let admitted = admitted.map_err(|no| anyhow!("{no:?}"))?;
        let drifts = engine.drift(&admitted).await?;
        let seen: BTreeSet<&String> = drifts.iter().map(|drift| &drift.subject).collect();
        ensure!(
            seen == changed,
            "{name}: {drifts:?}, but {changed:?} have changed"
        );
        match seen.is_empty() {
            true => silent.insert(name),
            false => reported.insert(name),
        };
        if !drifts.is_empty() {
            let started = engine.start(admitted, Arc::new(Unobserved)).await;
            ensure!(started.is_err(), "{name}: it was started all the same");
            let foreign = applied(&simulator).len();
            ensure!(foreign <= 1, "{name}: something was written");
        }
    }
    // What each is, so that nothing goes over to the other side unseen.
    let all = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    ensure!(
        silent
            == all(&[
                "restart",
                "a label",
                "lease",
                "failing checks",
                "environment",
                "one more elsewhere",
                "signal"
            ]),
        "{silent:?}"
    );
    ensure!(
        reported
            == all(&[
                "stop",
                "suspend",
                "cordon",
                "destroy",
                "another group",
                "dead host",
                "image",
                "standby",
                "one more"
            ]),
        "{reported:?}"
    );
    Ok(())
}

/// Restarts the group `web`; if that fails, the group `worker`.
const WITH_RESCUE: &str = r#"
name = "with-rescue"
summary = "A way back."
[[step]]
id = "forward"
plugin = "restart-by-group"
with = { app = "web", group = "web", parallel = 1, canary = true, wait_timeout = "1m" }
[step.grant.machines]
apps = ["web"]
verbs = ["list", "restart", "wait", "lease"]
[[step.rescue]]
id = "back"
plugin = "restart-by-group"
with = { app = "web", group = "worker", parallel = 5 }
[step.rescue.grant.machines]
apps = ["web"]
verbs = ["list", "restart", "wait", "lease"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_health_failure_during_apply_ends_in_the_way_back() -> Result<()> {
    const SCALE: f64 = 200.0;
    for cases in [&["machines.wait-healthy@3:application"][..], &[]] {
        let simulator = serve(fleet(20, 1, 7, 3000), SCALE).await?;
        let target = target(&simulator.base_url(), SCALE)?;
        let engine = engine(Arc::new(MemoryStore::default()))?;
        let run = embedded::request(WITH_RESCUE, &[], target.clone(), 1)?;
        let plan = plan(&engine, run, cases).await?;
        let ids: Vec<String> = plan
            .plan()
            .writes
            .iter()
            .filter_map(|w| w.request.subject.clone())
            .collect();
        for contingency in &plan.plan().contingencies {
            let back = contingency
                .writes
                .iter()
                .filter(|w| w.step == "back")
                .count();
            ensure!(
                contingency.status == RunStatus::Failed && back > 3,
                "{contingency:?}"
            );
        }
        // The third that is restarted does not come back healthy. No plan knows.
        let broken = ids.get(2).context("three")?.clone();
        simulator.act(|fleet| fleet.set_fate("web", &broken, Fate::ChecksFail));
        let admitted = engine.admit(applying(&plan, &target)?).await;
        let admitted = admitted.map_err(|no| anyhow!("{no:?}"))?;
        let handle = engine.start(admitted, Arc::new(Unobserved)).await?;
        let report = handle.finished().await;
        ensure!(report.status == Some(RunStatus::Failed), "{report:?}");
        ensure!(report.in_doubt.is_empty());
        let (forward, back): (Writes, Writes) = applied(&simulator)
            .into_iter()
            .partition(|w| w.0 == "forward");
        let forward: BTreeSet<String> = forward.into_iter().map(|w| w.3).collect();
        ensure!(forward == ids[..3].iter().cloned().collect(), "{forward:?}");
        ensure!(
            back.len() > 3 && back.iter().all(|w| w.0 == "back"),
            "{back:?}"
        );
        let (_, state) = engine.journal(&report.run)?;
        let denied = |decision| decision != Decision::Allowed;
        ensure!(!state.effects().any(|(_, e)| denied(e.intended.decision)));
        let leased = simulator.act(|fleet| {
            let ids = fleet.machine_ids("web");
            ids.iter()
                .filter(|id| fleet.lease_get("web", id).is_ok())
                .count()
        });
        ensure!(leased == 0, "{leased} leases are left");
    }
    Ok(())
}
