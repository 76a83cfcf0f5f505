//! Bad input and bad answers: the exit code, and a message that says what to do.

use anyhow::{Result, ensure};
use groundcrew_fleet::{Caller, FaultRule, api};
use groundcrew_tests::{READ_CANARY, World, fleet};

async fn world() -> Result<World> {
    World::start(fleet(20, 7), 20.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_runbooks_and_targets() -> Result<()> {
    let world = world().await?;
    std::fs::write(
        world.project().join("bad.toml"),
        "name = \"bad\"\nsumary = \"x\"\n",
    )?;
    std::fs::write(world.project().join("broken.wasm"), "not wasm")?;
    let bad = world.project().join("bad.toml").display().to_string();
    let table: [(&[&str], i32, &str); 8] = [
        (
            &["run", "restart-by-grup"],
            2,
            "did you mean `restart-by-group`",
        ),
        (&["run", "restart-by-group"], 2, "app"),
        (
            &[
                "run",
                "restart-by-group",
                "-i",
                "app=web",
                "-i",
                "paralel=1",
            ],
            2,
            "parallel",
        ),
        (&["run", &bad], 3, "summary"),
        (&["check", &bad], 3, "summary"),
        (
            &["run", "restart-by-group", "-i", "app=web", "-t", "prod"],
            2,
            "no target",
        ),
        (&["run", "restart-by-group", "-i", "app=web"], 4, "--yes"),
        (&["runs", "show", "nonsense"], 2, "no run"),
    ];
    for (arguments, code, text) in table {
        let said = world.run(arguments).await?;
        ensure!(
            said.code == code && said.err.contains(text),
            "{arguments:?}: {said:?}"
        );
    }
    ensure!(world.applied("machines.restart").is_empty());
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_apps_and_addresses() -> Result<()> {
    let mut world = world().await?;
    let unknown = world
        .run(&["run", "restart-by-group", "-i", "app=nowhere", "--yes"])
        .await?;
    ensure!(
        unknown.code == 1 && unknown.err.contains("not found"),
        "{unknown:?}"
    );
    world.use_token("canary-of-nobody");
    let denied = world
        .run(&["run", "restart-by-group", "-i", "app=web", "--yes"])
        .await?;
    ensure!(
        denied.code == 1 && denied.err.contains("token"),
        "{denied:?}"
    );
    let file = world.project().join("groundcrew.toml");
    let config = |address: &str| {
        format!(
            "default_target = \"test\"\n[target.test]\nmachines_api = \"{address}\"\ncredential = \"env://TEST_TOKEN\"\n"
        )
    };
    // The project's own says something else of a target of that name, and is not asked; so of another.
    let config = |address: &str| {
        config(address)
            .replace("test\"", "far\"")
            .replace("target.test", "target.far")
    };
    std::fs::write(&file, config("https://evil.example"))?;
    let elsewhere = world
        .run(&["run", "restart-by-group", "-i", "app=web", "--yes"])
        .await?;
    ensure!(
        elsewhere.code == 4 && elsewhere.err.contains("not bound"),
        "{elsewhere:?}"
    );
    std::fs::write(&file, "trusted_origins = [\"https://evil.example\"]\n")?;
    let widened = world.run(&["doctor"]).await?;
    ensure!(widened.out.contains("WRONG"), "{widened:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_used() -> Result<()> {
    let world = world().await?;
    // Below a file nobody can make a directory, not even root.
    std::fs::write(world.project().join("file"), "")?;
    let mut command = world.command(&["run", "restart-by-group", "-i", "app=web", "--yes"])?;
    let state = world.project().join("file").join("state");
    command.arg("--state-dir").arg(state);
    let child = command.spawn();
    let said = world.finish(child?).await?;
    ensure!(matches!(said.code, 2 | 5), "{said:?}");
    ensure!(world.applied("machines.restart").is_empty());
    Ok(())
}

const ONE: [&str; 8] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
    "--yes",
    "--json",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_only_reads_cannot_run() -> Result<()> {
    let mut world = world().await?;
    world.use_token(READ_CANARY);
    let said = world.run(&ONE).await?;
    ensure!(said.code == 1, "{said:?}");
    ensure!(said.out.contains("does not allow"), "{said:?}");
    ensure!(world.applied("machines.restart").is_empty());
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_someone_else_names_its_holder() -> Result<()> {
    let world = world().await?;
    let started = world.started("web", "web")?;
    let id = started.first().cloned().unwrap_or_default();
    let ann = Caller {
        nonce: None,
        effect: None,
        owner: "ann@example.com",
    };
    let request = api::LeaseRequest {
        ttl: Some(3600),
        description: Some("looking at it".to_owned()),
    };
    let lease = world
        .simulator
        .act(|fleet| fleet.lease_acquire(&ann, "web", &id, &request))
        .map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
    let said = world.run(&ONE).await?;
    ensure!(said.code == 1, "{said:?}");
    ensure!(said.out.contains("ann@example.com"), "{said:?}");
    let touched = world.applied("machines.restart");
    ensure!(!touched.iter().any(|(_, _, machine)| *machine == id));
    let nonce = Some(lease.nonce.as_str());
    let released = world
        .simulator
        .act(|fleet| fleet.lease_release(&Caller { nonce, ..ann }, "web", &id));
    ensure!(released.is_ok(), "the lease was taken from its holder");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_late_or_unsure_are_waited_for_and_found_out() -> Result<()> {
    for rule in [
        "machines.*@100%:slow(2s)",
        "machines.restart@first-3:timeout",
        "machines.restart@first-3:late(5s)",
    ] {
        let world = world().await?;
        let wanted = world.started("web", "web")?.len();
        let rules: Vec<FaultRule> = rule.parse().into_iter().collect();
        ensure!(rules.len() == 1, "{rule}");
        world.simulator.set_faults(rules);
        let said = world.run(&ONE).await?;
        ensure!(said.code == 0, "{rule}: {said:?}");
        let restarted = world.applied("machines.restart").len();
        ensure!(restarted == wanted, "{rule}: {restarted} of {wanted}");
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_say_no_are_said_with_their_reason() -> Result<()> {
    let table = [
        ("machines.restart@100%:conflict", "concurrent update"),
        ("machines.restart@100%:capacity", "no room"),
        ("machines.restart@100%:invalid", "refused"),
        ("machines.lease@100%:rate-limited(1s)", "asked too often"),
        ("machines.list@100%:cut-off", "connection broke"),
    ];
    for (rule, text) in table {
        let world = world().await?;
        let rules: Vec<FaultRule> = rule.parse().into_iter().collect();
        ensure!(rules.len() == 1, "{rule}");
        world.simulator.set_faults(rules);
        let said = world.run(&ONE).await?;
        ensure!(said.code == 1, "{rule}: {said:?}");
        ensure!(said.out.contains(text), "{rule}: {said:?}");
        ensure!(world.applied("machines.restart").is_empty(), "{rule}");
        world.verify()?;
    }
    Ok(())
}

/// Whoever opens a pipe waits until somebody writes into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_a_project_keeps_nobody_waiting() -> Result<()> {
    let world = world().await?;
    let runbooks = world.project().join("runbooks");
    std::fs::create_dir_all(&runbooks)?;
    let made = std::process::Command::new("mkfifo")
        .arg(runbooks.join("count-machines.toml"))
        .status()?;
    ensure!(made.success());
    let said = world.run(&["run", "count-machines"]).await?;
    ensure!(
        said.code == 2 && said.err.contains("not a regular file"),
        "{said:?}"
    );
    world.verify()
}
