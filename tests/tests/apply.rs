//! Plan, approve and apply from the command line: every exit code, and what is said.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Caller, Fate};
use groundcrew_tests::{READ_CANARY, Said, World, fleet};
use serde_json::Value;

const PLAN: [&str; 6] = [
    "plan",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
];

async fn world() -> Result<World> {
    World::start(fleet(30, 7), 40.0).await
}

fn file(world: &World, name: &str) -> String {
    world.project().join(name).display().to_string()
}

async fn plan(world: &World, path: &str, more: &[&str]) -> Result<Said> {
    let arguments = [&PLAN[..], &["-o", path], more].concat();
    let said = world.run(&arguments).await?;
    ensure!(said.code == 0, "{said:?}");
    Ok(said)
}

#[track_caller]
fn says(said: &Said, code: i32, text: &str) -> Result<()> {
    ensure!(
        said.code == code && (said.err.contains(text) || said.out.contains(text)),
        "not {code} with `{text}`: {said:#?}"
    );
    Ok(())
}

/// Somebody else stops the first Machine of a group.
fn stop_one(world: &World) -> Result<String> {
    let id = world.started("web", "web")?.into_iter().next();
    let id = id.context("no Machine")?;
    let caller = Caller {
        nonce: None,
        effect: None,
        owner: "somebody",
    };
    let stopped = world.simulator.act(|fleet| {
        fleet
            .stop(&caller, "web", &id, &Default::default())
            .map(drop)
    });
    ensure!(stopped.is_ok(), "{stopped:?}");
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_saved_applied_once_and_told_about() -> Result<()> {
    let mut world = world().await?;
    world.use_token(READ_CANARY);
    let path = file(&world, "change.plan");
    let machines = world.started("web", "web")?.len();
    let said = plan(&world, &path, &[]).await?;
    // Planning needs a token that reads, and writes nothing.
    ensure!(world.writes() == 0);
    for text in [
        "its plugins CAN do no more than this:",
        "imports  machines: announce, lease, list, release, restart, wait, wait-healthy",
        "granted  machines `list`, `restart`, `wait`, `lease` of apps `web`, groups `web`, at most 600 Machines",
        &format!(
            "blast radius: {machines} of 15 Machines of `web`; at most 15 at once, 15 afterwards"
        ),
        &format!("~ restart {machines} Machines of `web`, group `web`"),
        &format!(
            "({} of them after something that is only assumed)",
            machines - 1
        ),
        "afterwards the fleet is as before",
        "? the checks pass, 1 s after the start",
        "expected duration: ",
    ] {
        ensure!(said.out.contains(text), "`{text}` is not in {}", said.out);
    }
    for id in world.started("web", "web")? {
        ensure!(said.out.contains(&id), "{id} is not in the plan");
    }
    says(&said, 0, "made a key of your own")?;
    // Shown again it is the same, and as JSON it has the same.
    let again = world.run(&["plan", "--show", &path]).await?;
    ensure!(again.code == 0 && again.out == said.out, "{again:?}");
    let json = world.run(&["plan", "--show", &path, "--json"]).await?;
    let json: Value = serde_json::from_str(&json.out)?;
    let writes = json["plan"]["writes"].as_array().context("no writes")?;
    ensure!(writes.len() == machines && json["plan"]["apps"]["web"]["peak"] == 15);

    world.use_token(groundcrew_tests::CANARY);
    let said = world.run(&["apply", &path]).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(world.applied("machines.restart").len() == machines);
    let run = json["plan"]["run"].as_str().context("no run")?;
    let shown = world.run(&["runs", "show", run]).await?;
    says(&shown, 0, "applying plan ")?;
    says(
        &world.run(&["apply", &path]).await?,
        4,
        "the plan has been applied, by run",
    )?;
    ensure!(world.applied("machines.restart").len() == machines);
    // The rehearsal names it in its journal, which is in the audit log.
    let rehearsal = format!("{run}-plan");
    let shown = world.run(&["runs", "show", &rehearsal, "--json"]).await?;
    let shown: Value = serde_json::from_str(&shown.out)?;
    ensure!(shown["closed"]["plan"] == json["digest"]);
    says(&world.run(&["audit", "replay", &rehearsal]).await?, 0, "")?;
    says(&world.run(&["audit", "verify"]).await?, 0, "")?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_field_by_field_and_has_to_be_named() -> Result<()> {
    let world = world().await?;
    let path = file(&world, "change.plan");
    plan(&world, &path, &[]).await?;
    let machines = world.started("web", "web")?.len();
    let id = stop_one(&world)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let said = world.run(&["apply", &path]).await?;
    let line = format!("web/{id}.state: \"started\" is now \"stopped\"");
    says(&said, 7, &line)?;
    says(
        &said,
        7,
        &format!("groundcrew apply {path} --accept-drift web/{id}"),
    )?;
    let json = world.run(&["apply", &path, "--json"]).await?;
    let drift: Value = serde_json::from_str(&json.out)?;
    ensure!(
        json.code == 7 && drift["drift"][0]["field"] == "state",
        "{json:?}"
    );
    ensure!(world.writes() == 0, "something was written");
    // Another one's name does not do; its own does, and one fewer is fine.
    let said = world
        .run(&["apply", &path, "--accept-drift", "web/other"])
        .await?;
    says(&said, 7, &line)?;
    let accepted = format!("web/{id}.state");
    let said = world
        .run(&["apply", &path, "--accept-drift", &accepted])
        .await?;
    ensure!(said.code == 0, "{said:?}");
    let restarted = world.applied("machines.restart");
    ensure!(restarted.len() + 1 == machines && !restarted.iter().any(|(_, _, m)| *m == id));
    let shown = world
        .run(&["runs", "show", &world.newest_run().await?])
        .await?;
    says(&shown, 0, &format!("drift accepted: {accepted}"))?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_are_not_what_they_should_be_are_refused() -> Result<()> {
    let world = world().await?;
    let path = file(&world, "change.plan");
    plan(&world, &path, &["--valid-for", "1s"]).await?;
    let text = std::fs::read_to_string(&path)?;
    let id = world.started("web", "web")?.into_iter().next();
    let edited = text.replace(&id.context("no Machine")?, "00000000000000");
    let other = file(&world, "edited.plan");
    std::fs::write(&other, edited)?;
    says(
        &world.run(&["apply", &other]).await?,
        4,
        "changed after it was signed",
    )?;
    std::fs::write(&other, "{}")?;
    says(&world.run(&["apply", &other]).await?, 4, "this is no plan")?;
    says(
        &world.run(&["apply", "nowhere.plan"]).await?,
        2,
        "cannot be read",
    )?;
    let mut unsigned: Value = serde_json::from_str(&text)?;
    unsigned["note"] = "".into();
    std::fs::write(&other, unsigned.to_string())?;
    says(
        &world.run(&["apply", &other]).await?,
        4,
        "not signed by its author",
    )?;
    // Somebody whom nobody here knows.
    let stranger = file(&world, "stranger");
    plan(&world, &other, &["--key", &stranger]).await?;
    says(
        &world.run(&["apply", &other]).await?,
        4,
        "whose key is not known here",
    )?;
    says(
        &world.run(&["approve", &other, "--yes"]).await?,
        4,
        "whose key is not known here",
    )?;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    says(
        &world.run(&["apply", &path]).await?,
        4,
        "the plan has expired at",
    )?;
    ensure!(world.writes() == 0, "something was written");
    world.verify()
}

/// A key in a directory of its own; gives the directory and its public half.
async fn key(world: &World, name: &str) -> Result<(String, String)> {
    let directory = file(world, name);
    let said = world
        .run(&["keys", "new", "--name", name, "--key", &directory])
        .await?;
    ensure!(said.code == 0, "{said:?}");
    let shown = world.run(&["keys", "show", "--key", &directory]).await?;
    ensure!(shown.out == said.out && said.out.starts_with(&format!("{name}+")));
    says(
        &world
            .run(&["keys", "new", "--name", name, "--key", &directory])
            .await?,
        4,
        "there is a key in",
    )?;
    Ok((directory, said.out.trim().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_can_want_the_approval_of_others() -> Result<()> {
    let world = world().await?;
    let machines = world.started("web", "web")?.len();
    let (ann, ann_public) = key(&world, "ann").await?;
    let (bob, bob_public) = key(&world, "bob").await?;
    let policy = format!(
        "[target.test.approvals]\nrequired = 1\nkeys = [\"{ann_public}\", \"{bob_public}\"]\n"
    );
    let user: PathBuf = world.project().join(".config/groundcrew");
    std::fs::create_dir_all(&user)?;
    std::fs::write(user.join("policy.toml"), policy)?;
    let wanted = "wants what writes to `test` planned, and the plan approved (1 of 2 keys)";
    let run = ["run", "restart-by-group", "-i", "app=web", "--yes"];
    says(&world.run(&run).await?, 4, wanted)?;
    // Reading and rehearsing need nobody.
    says(&world.run(&["run", "count-machines"]).await?, 0, "")?;
    says(
        &world
            .run(&["run", "restart-by-group", "-i", "app=web", "--dry-run"])
            .await?,
        0,
        "",
    )?;

    let path = file(&world, "change.plan");
    plan(&world, &path, &["--key", &ann]).await?;
    let refused = world.run(&["apply", &path]).await?;
    says(&refused, 4, "the plan is approved by nobody")?;
    says(
        &world
            .run(&["approve", &path, "--key", &ann, "--yes"])
            .await?,
        4,
        "plan of your own",
    )?;
    says(
        &world.run(&["approve", &path, "--key", &bob]).await?,
        4,
        "pass `--yes`",
    )?;
    // Somebody who does not count may sign all the same, and is told.
    let said = world.run(&["approve", &path, "--yes"]).await?;
    says(
        &said,
        0,
        "the policy here does not name your key for `test`",
    )?;
    says(
        &world.run(&["apply", &path]).await?,
        4,
        "the plan is approved by nobody",
    )?;
    let said = world
        .run(&["approve", &path, "--key", &bob, "--yes"])
        .await?;
    says(&said, 0, "approved by `bob`")?;
    ensure!(said.out.contains("it WILL do this:") && !said.err.contains("does not name"));
    says(
        &world
            .run(&["approve", &path, "--key", &bob, "--yes"])
            .await?,
        4,
        "has signed this plan",
    )?;
    let said = world.run(&["apply", &path]).await?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(world.applied("machines.restart").len() == machines);
    let shown = world
        .run(&["runs", "show", &world.newest_run().await?])
        .await?;
    says(&shown, 0, "of ann, approved by bob")?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_rehearsed_and_become_contingencies() -> Result<()> {
    let world = world().await?;
    let machines = world.started("web", "web")?.len();
    let fault = "machines.wait-healthy@3:application";
    let dry: Vec<&str> = [
        "run",
        "restart-by-group",
        "-i",
        "app=web",
        "-i",
        "group=web",
        "--dry-run",
    ]
    .into();
    let with = |rule| {
        dry.iter()
            .copied()
            .chain(["--fault", rule])
            .collect::<Vec<_>>()
    };
    let said = world.run(&with(fault)).await?;
    says(&said, 1, "a fault that the rehearsal was asked for")?;
    says(
        &world.run(&with("machines.*@first-2:not-found")).await?,
        1,
        "",
    )?;
    says(
        &world
            .run(&with("machines.wait-healty@3:application"))
            .await?,
        4,
        "did you mean `machines.wait-healthy`?",
    )?;
    says(
        &world.run(&with("machines.restart@1:reply-lost")).await?,
        2,
        "`reply-lost` is not a kind of fault",
    )?;
    let real = [
        "run",
        "restart-by-group",
        "-i",
        "app=web",
        "--yes",
        "--fault",
        fault,
    ];
    says(&world.run(&real).await?, 2, "--dry-run")?;
    let path = file(&world, "change.plan");
    let said = plan(
        &world,
        &path,
        &[
            "--fault",
            fault,
            "--fault",
            "machines.list@1:timeout,machines.restart@1:capacity",
        ],
    )
    .await?;
    says(
        &said,
        0,
        &format!("if {fault}: it ends `failed`, having done {machines} of the above"),
    )?;
    says(
        &said,
        0,
        "if machines.list@1:timeout and machines.restart@1:capacity: it ends `failed`, having done 0 of the above",
    )?;
    ensure!(world.writes() == 0, "something was written");
    // The same goes wrong: what is left is no half state.
    let id = world
        .started("web", "web")?
        .into_iter()
        .nth(2)
        .context("no Machine")?;
    world
        .simulator
        .act(|fleet| fleet.set_fate("web", &id, Fate::ChecksFail));
    let said = world.run(&["apply", &path]).await?;
    says(&said, 1, &id)?;
    world.verify()
}

/// On a terminal `run` offers to go on with the interrupted run that holds its lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_an_interrupted_one_offers_to_go_on_with_it() -> Result<()> {
    let world = World::start(fleet(30, 7), 4.0).await?;
    let machines = world.started("web", "web")?.len();
    let run = [
        "run",
        "restart-by-group",
        "-i",
        "app=web",
        "-i",
        "group=web",
        "-i",
        "parallel=2",
        "--yes",
    ];
    let mut child = world.command(&run)?.spawn()?;
    world.until_applied("machines.restart", 3).await?;
    child.kill().await?;
    // Without a terminal it is only said.
    let said = world.run(&run).await?;
    says(&said, 4, "which was interrupted")?;
    let restarted = world.applied("machines.restart").len();
    // util-linux's `script` has a terminal to lend.
    let direct = world.command(&run)?;
    let direct = direct.as_std();
    let words = std::iter::once(direct.get_program()).chain(direct.get_args());
    let line: Vec<String> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let on_terminal = async |answer: &str| -> Result<Said> {
        let mut command = tokio::process::Command::new("script");
        command
            .args([
                "-q",
                "-e",
                "-E",
                "never",
                "-c",
                &line.join(" "),
                "/dev/null",
            ])
            .env_clear()
            .envs(direct.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        tokio::io::AsyncWriteExt::write_all(&mut input, answer.as_bytes()).await?;
        // `script` ends its terminal with its input: that stays open until the end.
        let said = world.finish(child).await;
        drop(input);
        said
    };
    let said = on_terminal("n\n").await?;
    says(&said, 4, "Go on with that run now? [y/N]")?;
    ensure!(world.applied("machines.restart").len() == restarted);
    let said = on_terminal("y\n").await?;
    says(&said, 0, "going on with run")?;
    ensure!(world.applied("machines.restart").len() == machines);
    world.verify()
}
