//! What earlier versions wrote is good for ever: `tests/golden` has a configuration, a policy, a runbook,
//! a plan and a run's journal as version 0.1.0 wrote them when the engine still knew Fly: a target was
//! three addresses, and what a grant can say was the same for every capability.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use groundcrew::store::bundle;
use groundcrew_tests::{World, fleet};

/// Who signed the plan.
const AUTHOR: &str = "uid-0@vm+e9207c37+ATlMAdj50rPZCc5vW4zwKyNYqGtva+441mURLpr6ljfu";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

fn text(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(golden(name))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_with_all_that_it_grants() -> Result<()> {
    let world = World::start(fleet(2, 1), 20.0).await?;
    let path = golden("restart-and-look.plan").display().to_string();
    let policy = world.project().join("policy.toml");
    std::fs::write(&policy, format!("plan_authors = [\"{AUTHOR}\"]\n"))?;
    let policy = policy.display().to_string();
    let arguments = ["plan", "--show", &path, "--policy", &policy];
    let shown = world.run(&arguments).await?;
    ensure!(shown.code == 0, "{shown:?}");
    let expected = golden("restart-and-look.plan.txt");
    if std::env::var_os("GROUNDCREW_BLESS").is_some() {
        std::fs::write(&expected, &shown.out)?;
    }
    ensure!(
        shown.out == std::fs::read_to_string(&expected)?,
        "{}",
        shown.out
    );
    // It was forgotten once.
    let origin = "granted  http `check`, `check-private` of origins `http://127.0.0.1:4291`";
    ensure!(shown.out.contains(origin), "{}", shown.out);
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_and_a_policy_are_read_as_they_were() -> Result<()> {
    let world = World::start(fleet(6, 1), 20.0).await?;
    let here = |text: String| {
        text.replace("http://127.0.0.1:4291", &world.simulator.base_url())
            .replace("sim://", "env://TEST_TOKEN")
    };
    for name in ["policy.toml", "restart-and-look.toml"] {
        std::fs::write(world.project().join(name), here(text(name)?))?;
    }
    // As the user's own: a policy binds a place, and a project could call it anything.
    std::fs::write(world.configuration(), here(text("groundcrew.toml")?))?;
    let policy = world.project().join("policy.toml").display().to_string();
    let runbook = world
        .project()
        .join("restart-and-look.toml")
        .display()
        .to_string();
    let arguments = [
        "run",
        &runbook,
        "-i",
        "app=web",
        "--dry-run",
        "--yes",
        "--policy",
        &policy,
    ];
    let said = world.run(&arguments).await?;
    ensure!(said.code == 0, "{said:?}");
    // And still limits what it limited.
    let narrow = text("policy.toml")?.replace("\"http://127.0.0.1:4291\", ", "");
    std::fs::write(world.project().join("policy.toml"), narrow)?;
    let denied = world.run(&arguments).await?;
    let why = "the operator's policy does not cover the origin";
    ensure!(denied.code == 4 && denied.err.contains(why), "{denied:?}");
    world.verify()
}

#[test]
fn a_journal_folds_and_tells_what_it_told() -> Result<()> {
    let bundle = bundle::read(&text("restart-and-look.bundle")?)?;
    ensure!(bundle.signer()?.is_none(), "nobody signed it then");
    let state = bundle.state();
    ensure!(state.closed.is_some() && state.effects().count() > 10);
    let origins = state
        .effects()
        .filter_map(|(_, effect)| effect.intended.request.origin.clone());
    ensure!(origins.collect::<Vec<_>>() == ["http://127.0.0.1:4291"]);
    Ok(())
}
