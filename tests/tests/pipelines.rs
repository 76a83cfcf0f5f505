//! Whole deploys as pipelines, and what they need beside Machines: apps, releases, metrics, web
//! services.

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{FaultRule, api};
use groundcrew_simulator::Sample;
use groundcrew_tests::deploys::{
    NEW, image, is_as_before, is_deployed, is_green, machines, run, watched,
};
use groundcrew_tests::{READ_CANARY, Said, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn releases(world: &World) -> Result<Vec<api::Release>> {
    let listed = world.simulator.act(|fleet| fleet.releases("web", None));
    listed.map_err(|e| anyhow::anyhow!("{}", e.body.wording()))
}

/// Answers every request with these heads and bodies, one after the other; the last one stays.
async fn web(answers: Vec<String>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let mut answers = answers.into_iter().peekable();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let answer = match answers.peek().cloned() {
                Some(answer) => answer,
                None => break,
            };
            if answers.len() > 1 {
                answers.next();
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}connection: close\r\n\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_from_the_release_command_to_the_last_look() -> Result<()> {
    let world = watched(12, 3, 40.0).await?;
    let before = machines(&world)?;
    let url = web(vec![
        answer("503 Service Unavailable", "", "warming up"),
        answer("200 OK", "", "fine"),
    ])
    .await?;
    world.simulator.set_metric("errors", vec![Sample::of(0.2)]);
    world.configure(
        &format!(
            "[defaults]\ndrain = \"1s\"\nhold = \"2s\"\n[target.test.defaults.runbooks.deploy]\nstrategy = \"bluegreen\"\n[target.test.defaults.apps.web]\nrelease_command = [\"bin/migrate\"]\nrelease_group = \"web\"\nurls = [\"{url}/up\"]\norigins = [\"{url}\"]\nprivate = true\ngate_query = \"errors\"\ngate_max = \"0.5\"\ngate_hold = \"15s\"\n"
        ),
    )?;
    let said = run(&world, "run", "deploy", &[&image(NEW)]).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        said.err.contains("strategy = \"bluegreen\"") && said.err.contains("target.test.defaults"),
        "{said:?}"
    );
    is_green(&before, &machines(&world)?)?;
    let recorded = releases(&world)?;
    ensure!(
        recorded.len() == 1
            && recorded[0].status == "complete"
            && recorded[0].strategy == "BLUEGREEN"
            && recorded[0].image_ref == NEW,
        "{recorded:?}"
    );
    // The command line wins over all defaults.
    let inputs = [
        &image("registry.fly.io/web:deployment-3"),
        "strategy=rolling",
    ];
    let said = run(&world, "run", "deploy", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(!world.applied("machines.update").is_empty());
    ensure!(releases(&world)?[0].strategy == "ROLLING");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_deploy_is_recorded_and_nothing_is_left() -> Result<()> {
    let world = watched(12, 4, 40.0).await?;
    let before = machines(&world)?;
    // The release command fails: nothing is touched.
    let inputs = [
        &image(NEW),
        "release_command=sh,-c,exit 3",
        "release_group=web",
    ];
    let said = run(&world, "run", "deploy", &inputs).await?;
    ensure!(
        said.code == 1 && said.err.contains("exit code 3"),
        "{said:?}"
    );
    is_as_before(&before, &machines(&world)?)?;
    ensure!(releases(&world)?[0].status == "failed");
    // The deploy fails: it takes back what it changed.
    let bad = image("registry.fly.io/web:sim-crash-loop");
    let said = run(&world, "run", "deploy", &[&bad, "drain=1s"]).await?;
    ensure!(said.code == 1, "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    ensure!(releases(&world)?[0].status == "failed");
    // It gets there, and what is looked at afterwards is not as it should be: that is no success.
    let inputs = [
        &image(NEW),
        "drain=1s",
        "hold=1s",
        "gate_query=errors",
        "gate_max=1",
        "gate_hold=10s",
        "gate_timeout=40s",
    ];
    let said = run(&world, "run", "deploy", &inputs).await?;
    ensure!(said.code == 1 && said.err.contains("no data"), "{said:?}");
    is_deployed(&before, &machines(&world)?)?;
    ensure!(releases(&world)?[0].status == "failed");
    // Somebody else's release is under way.
    let by = groundcrew_fleet::Caller {
        nonce: None,
        effect: None,
        owner: "ann@example.com",
    };
    world.simulator.act(|fleet| {
        let new = api::NewRelease {
            app_name: "web".to_owned(),
            strategy: "ROLLING".to_owned(),
            image: NEW.to_owned(),
            ..api::NewRelease::default()
        };
        let made = fleet.release_create(&by, &new).ok();
        let running = api::ReleasePatch {
            status: "running".to_owned(),
            ..api::ReleasePatch::default()
        };
        made.and_then(|made| fleet.release_update(&by, &made.id, &running).ok())
    });
    let writes = world.writes();
    let said = run(&world, "run", "deploy", &[&image(NEW)]).await?;
    ensure!(
        said.code == 1 && said.err.contains("ann@example.com") && world.writes() == writes,
        "{said:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_by_shares_with_a_look_at_metrics_between() -> Result<()> {
    let shares = [
        "drain=1s",
        "discovery=1s",
        "hold=2s",
        "gate_query=errors",
        "gate_max=1",
    ];
    let inputs = [&shares[..], &["gate_hold=15s", "gate_timeout=1m"]].concat();
    let new = image(NEW);
    let inputs = [&[new.as_str()], &inputs[..]].concat();
    let world = watched(24, 5, 40.0).await?;
    let before = machines(&world)?;
    // Without data nobody goes on, and the old Machines serve as before.
    let said = run(&world, "run", "deploy-gradual", &inputs).await?;
    ensure!(said.code == 1 && said.err.contains("no data"), "{said:?}");
    is_as_before(&before, &machines(&world)?)?;
    world.simulator.set_metric("errors", vec![Sample::of(0)]);
    let said = run(&world, "run", "deploy-gradual", &inputs).await?;
    ensure!(said.code == 0, "{said:?}");
    is_green(&before, &machines(&world)?)?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_deploy_is_applied_as_it_was_planned() -> Result<()> {
    for strategy in ["rolling", "canary", "immediate", "bluegreen"] {
        let mut world = watched(12, 11, 40.0).await?;
        let before = machines(&world)?;
        world.use_token(READ_CANARY);
        let file = world.project().join("deploy.plan");
        let file = file.display().to_string();
        let (new, strategy) = (image(NEW), format!("strategy={strategy}"));
        let arguments = [
            "plan",
            "deploy",
            "-i",
            "app=web",
            "-i",
            &new,
            "-i",
            &strategy,
            "-i",
            "release_command=bin/migrate",
            "-i",
            "release_group=web",
            "-i",
            "hold=2s",
            "-o",
            &file,
        ];
        let said = world.run(&arguments).await?;
        ensure!(said.code == 0 && world.writes() == 0, "{said:?}");
        ensure!(
            said.out.contains("releases.create") || said.out.contains("create 1 release"),
            "{said:?}"
        );
        world.use_token(groundcrew_tests::CANARY);
        let said = world.run(&["apply", &file]).await?;
        ensure!(said.code == 0, "{strategy}: {said:?}");
        let after = machines(&world)?;
        match strategy.as_str() {
            "strategy=bluegreen" => is_green(&before, &after)?,
            _ => is_deployed(&before, &after)?,
        }
        ensure!(releases(&world)?[0].status == "complete");
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_recorded_once_whatever_is_answered() -> Result<()> {
    for rules in [
        &[
            "releases.create@1:reply-lost",
            "releases.status@1:timeout-done",
        ][..],
        &[
            "releases.create@1:timeout-done",
            "releases.status@2:reply-lost",
        ],
        &["releases.*@30%:unavailable"],
    ] {
        let world = watched(12, 6, 60.0).await?;
        let rules: Result<Vec<FaultRule>, _> = rules.iter().map(|rule| rule.parse()).collect();
        let rules = rules.map_err(|e| anyhow::anyhow!("{e}"))?;
        world.simulator.set_faults(rules);
        let inputs = [&image(NEW), "strategy=immediate", "hold=0s"];
        let said = run(&world, "run", "deploy", &inputs).await?;
        ensure!(said.code == 0, "{said:?}");
        let recorded = releases(&world)?;
        ensure!(
            recorded.len() == 1 && recorded[0].status == "complete",
            "{recorded:?}"
        );
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn web_services_are_looked_at_within_their_origin() -> Result<()> {
    let world = watched(3, 7, 60.0).await?;
    let elsewhere = web(vec![answer("200 OK", "", "elsewhere")]).await?;
    let moved = |to: &str| answer("302 Found", &format!("location: {to}\r\n"), "");
    let away = web(vec![moved(&format!("{elsewhere}/secret"))]).await?;
    let around = web(vec![moved("/a"), moved("b"), answer("200 OK", "", "here")]).await?;
    let endless = web(vec![moved("/again")]).await?;
    let look = async |url: &str, origin: &str, private: &str| {
        let (urls, origins) = (format!("urls={url}"), format!("origins={origin}"));
        let private = format!("private={private}");
        let arguments = [
            "run",
            "check-url",
            "--yes",
            "-i",
            &urls,
            "-i",
            &origins,
            "-i",
            &private,
            "-i",
            "within=3s",
        ];
        world.run(&arguments).await
    };
    let here = look(&format!("{around}/up"), &around, "true").await?;
    ensure!(here.code == 0, "{here:?}");
    for (url, origin, private, reason) in [
        (&around, &around, "false", "not public"),
        (&around, &elsewhere, "true", "does not cover the origin"),
        (&away, &away, "true", "another origin"),
        (&endless, &endless, "true", "redirects more than"),
    ] {
        let said = look(url, origin, private).await?;
        ensure!(said.code == 1 && said.err.contains(reason), "{said:?}");
    }
    let local = around.replace("127.0.0.1", "localhost");
    let said = look(&local, &local, "false").await?;
    ensure!(
        said.code == 1 && said.err.contains("not public"),
        "{said:?}"
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_is_reset_and_its_app_deleted() -> Result<()> {
    let world = watched(3, 8, 60.0).await?;
    world.simulator.act(|fleet| {
        let machines = fleet.list("web", &api::ListQuery::default());
        let builders: Vec<api::Machine> =
            machines.unwrap_or_default().into_iter().take(1).collect();
        let builders = builders.into_iter().map(|machine| api::Machine {
            id: "b0000000000001".to_owned(),
            name: "builder".to_owned(),
            ..machine
        });
        fleet.adopt("fly-builder-quiet-sea-12", builders.collect());
    });
    let arguments = |command: &'static str| {
        let more = match command {
            "run" => "--yes",
            _ => "--json",
        };
        [
            command,
            "reset-builder",
            more,
            "-i",
            "app=fly-builder-quiet-sea-12",
            "-i",
            "delete_app=true",
        ]
    };
    let planned = world.run(&arguments("plan")).await?;
    ensure!(planned.code == 0 && world.writes() == 0, "{planned:?}");
    ensure!(planned.out.contains("apps.delete"), "{planned:?}");
    let said = world.run(&arguments("run")).await?;
    ensure!(said.code == 0, "{said:?}");
    let apps = world.simulator.act(|fleet| fleet.apps());
    ensure!(
        apps.apps
            .iter()
            .all(|app| !app.name.starts_with("fly-builder")),
        "{apps:?}"
    );
    world.verify()
}

/// The bundled runbooks with what each needs, but for those that only look.
fn every_runbook(machine: &str) -> Vec<(&'static str, Vec<String>)> {
    let new = image(NEW);
    let one = |text: &str| text.to_owned();
    vec![
        ("count-machines", vec![]),
        (
            "deploy",
            vec![
                new.clone(),
                one("release_command=bin/migrate"),
                one("release_group=web"),
            ],
        ),
        ("deploy-bluegreen", vec![new.clone()]),
        ("deploy-canary", vec![new.clone()]),
        ("deploy-gradual", vec![new.clone()]),
        ("deploy-immediate", vec![new.clone()]),
        ("deploy-rolling", vec![new.clone()]),
        ("exec-on", vec![one("command=uptime"), one("group=web")]),
        ("one-off", vec![one("command=uptime"), one("group=web")]),
        ("recover-deploy", vec![new.clone(), one("workers=worker")]),
        (
            "release-command",
            vec![new.clone(), one("command=bin/migrate"), one("group=web")],
        ),
        ("replace-machine", vec![format!("ids={machine}")]),
        ("reset-builder", vec![one("allow_any_name=true")]),
        ("restart-by-group", vec![one("group=web")]),
        ("rollback", vec![one("release=rel-1")]),
        ("scale-group", vec![one("group=web"), one("count=3")]),
        ("survey-deploy", vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_runbook_is_rehearsed_with_a_token_that_reads() -> Result<()> {
    let mut world = watched(12, 9, 60.0).await?;
    world.use_token(READ_CANARY);
    let before = machines(&world)?;
    let (machine, _) = before
        .iter()
        .find(|(_, is)| is.state == "started" && is.group == "web")
        .context("nobody")?;
    let all = every_runbook(machine);
    for (runbook, inputs) in &all {
        let mut arguments = vec!["run", *runbook, "--dry-run", "--yes"];
        if *runbook != "count-machines" {
            arguments.extend(["-i", "app=web"]);
        }
        for text in inputs {
            arguments.extend(["-i", text]);
        }
        let said = world.run(&arguments).await?;
        // The other way back needs versions that nobody here has.
        ensure!(
            said.code == 0 || *runbook == "rollback",
            "{runbook}: {said:?}"
        );
        ensure!(world.writes() == 0, "{runbook}: a rehearsal writes");
    }
    is_as_before(&before, &machines(&world)?)?;
    // And none was forgotten: what is left needs no app.
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
    for entry in std::fs::read_dir(place)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let name = name.trim_end_matches(".toml");
        let known = all.iter().any(|(runbook, _)| *runbook == name);
        ensure!(
            known || ["check-url", "metrics-gate"].contains(&name),
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fly_toml_says_which_process_groups_there_are() -> Result<()> {
    let world = watched(12, 10, 60.0).await?;
    let file = |text: &str| -> Result<String> {
        let path = world.project().join("fly.toml");
        std::fs::write(&path, text)?;
        Ok(format!("config=@{}", path.display()))
    };
    let groups = |world: &World| -> Result<Vec<(String, usize)>> {
        let mut counts = std::collections::BTreeMap::new();
        for is in machines(world)?.into_values() {
            *counts.entry(is.group).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    };
    let before = groups(&world)?;
    ensure!(
        before[0].0 == "web" && before[1].0 == "worker",
        "{before:?}"
    );
    let wrong = file("app = \"web\"\nprimary_regoin = \"fra\"\n")?;
    let said = run(&world, "run", "deploy-rolling", &[&image(NEW), &wrong]).await?;
    ensure!(
        said.code == 1 && said.err.contains("primary_regoin") && said.err.contains("line 2"),
        "{said:?}"
    );
    let config = file(
        "app = \"web\"\n[processes]\nweb = \"serve\"\nmailer = \"mail\"\n[env]\nLOG = \"debug\"\n[[services]]\ninternal_port = 3000\nprotocol = \"tcp\"\nprocesses = [\"web\"]\n[[services.ports]]\nport = 80\nhandlers = [\"http\"]\n[[services.http_checks]]\ninterval = \"2s\"\ntimeout = \"1s\"\ngrace_period = \"1s\"\nmethod = \"get\"\npath = \"/up\"\n[deploy]\nstrategy = \"canary\"\n",
    )?;
    let planned = run(&world, "plan", "deploy-rolling", &[&image(NEW), &config]).await?;
    ensure!(
        planned.code == 0 && world.writes() == 0 && planned.out.contains("machines.create"),
        "{planned:?}"
    );
    let said = run(&world, "run", "deploy-rolling", &[&image(NEW), &config]).await?;
    ensure!(
        said.code == 0 && said.err.contains("`[deploy]` of fly.toml is not used"),
        "{said:?}"
    );
    let after = groups(&world)?;
    // One that works and one that stands by for it; the workers are gone.
    ensure!(
        after == [("mailer".to_owned(), 2), before[0].clone()],
        "{after:?}"
    );
    let patched = world
        .simulator
        .act(|fleet| fleet.list("web", &api::ListQuery::default()));
    let patched = patched.map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
    let web = patched
        .iter()
        .find(|machine| machine.process_group() == "web");
    let config_of = &web.context("nobody serves")?.config;
    // What the file does not say is gone: `RAILS_ENV`, `[restart]`, `kill_signal`.
    let env = serde_json::json!({ "FLY_PROCESS_GROUP": "web", "LOG": "debug" });
    let gone = ["restart", "stop_config"];
    ensure!(
        config_of["env"] == env
            && gone.iter().all(|gone| config_of[gone].is_null())
            && config_of["init"]["cmd"] == serde_json::json!(["serve"])
            && config_of["services"][0]["checks"][0]["path"] == "/up",
        "{config_of:#}"
    );
    let again = run(&world, "run", "deploy-rolling", &[&image(NEW), &config]).await?;
    ensure!(
        again.code == 0 && again.out.contains("unchanged"),
        "{again:?}"
    );
    let missing = run(
        &world,
        "run",
        "deploy-rolling",
        &[&image(NEW), "config=@nowhere.toml"],
    )
    .await?;
    ensure!(
        missing.code == 2 && missing.err.contains("nowhere.toml"),
        "{missing:?}"
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_as_input_is_bounded() -> Result<()> {
    let world = watched(2, 10, 60.0).await?;
    let path = world.project().join("fly.toml");
    let config = format!("config=@{}", path.display());
    let planned = async |bytes: usize| -> Result<Said> {
        let mut text = "app = \"web\"\n[processes]\nweb = \"serve\"\n#".to_owned();
        text.extend(std::iter::repeat_n('x', bytes - text.len()));
        std::fs::write(&path, text)?;
        run(&world, "plan", "deploy-rolling", &[&image(NEW), &config]).await
    };
    let largest = planned(512 << 10).await?;
    ensure!(largest.code == 0, "{largest:?}");
    let larger = planned((512 << 10) + 1).await?;
    ensure!(
        larger.code == 2 && larger.err.contains("larger than 524288 bytes"),
        "{larger:?}"
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_of_a_release_says_what_machines_become() -> Result<()> {
    let world = watched(12, 13, 60.0).await?;
    let definition = serde_json::json!({
        "app": "web",
        "processes": { "web": "serve", "worker": "work" },
        "env": { "LOG": "warn" },
        "services": [{ "internal_port": 3000, "protocol": "tcp", "processes": ["web"] }],
    });
    world.simulator.act(|fleet| {
        let by = groundcrew_fleet::Caller {
            nonce: None,
            effect: None,
            owner: "ann@example.com",
        };
        for (image, definition) in [(NEW, definition), ("web:later", serde_json::json!({}))] {
            let new = api::NewRelease {
                app_name: "web".to_owned(),
                strategy: "ROLLING".to_owned(),
                image: image.to_owned(),
                definition,
                ..api::NewRelease::default()
            };
            fleet.release_create(&by, &new).map(drop).ok();
        }
    });
    for (named, reason) in [("current", "no definition"), ("7", "not among the newest")] {
        let named = format!("config_of={named}");
        let said = run(&world, "run", "deploy-rolling", &[&named]).await?;
        ensure!(said.code == 1 && said.err.contains(reason), "{said:?}");
    }
    let said = run(&world, "run", "deploy-rolling", &["config_of=1"]).await?;
    ensure!(said.code == 0, "{said:?}");
    let after = world
        .simulator
        .act(|fleet| fleet.list("web", &api::ListQuery::default()));
    for machine in after.map_err(|e| anyhow::anyhow!("{}", e.body.wording()))? {
        let mut env =
            serde_json::json!({ "FLY_PROCESS_GROUP": machine.process_group(), "LOG": "warn" });
        if let [first] = &machine.config_view().standbys()[..] {
            env["FLY_STANDBY_FOR"] = first.as_str().into();
        }
        let checks = machine.config["checks"].as_object();
        ensure!(
            machine.config["image"] == NEW
                && machine.config["env"] == env
                && checks.is_none_or(serde_json::Map::is_empty),
            "{:#}",
            machine.config
        );
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn rehearsals_are_as_patient_with_the_target_as_real_runs() -> Result<()> {
    // At the wall's own pace, so that eight listings at once are too many.
    let world = watched(6, 12, 1.0).await?;
    let arguments = ["run", "survey-deploy", "--dry-run", "-i", "app=web"];
    for said in world.at_once(8, &arguments).await? {
        ensure!(said.code == 0, "{said:?}");
    }
    let refused = world.simulator.act(|fleet| {
        let all = fleet.requests().entries();
        all.filter(|request| request.status == 429).count()
    });
    ensure!(refused > 0, "nobody was too fast");
    Ok(())
}
