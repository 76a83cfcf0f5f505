//! A limit that is known to be too small is said before anything is written to.

use anyhow::{Result, ensure};
use groundcrew_tests::World;
use groundcrew_tests::deploys::{NEW, image, run, watched};

/// Runbooks that know their Machines before they begin, with inputs that need more than three.
fn beyond() -> Vec<(&'static str, Vec<String>)> {
    let of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    vec![
        ("restart-by-group", of(&["group=web"])),
        ("exec-on", of(&["group=web", "command=uptime"])),
        ("scale-group", of(&["group=web", "count=20"])),
        ("scale-group", of(&["group=web", "count=1"])),
        ("deploy-rolling", vec![image(NEW)]),
        ("deploy-immediate", vec![image(NEW)]),
        ("deploy-bluegreen", vec![image(NEW)]),
    ]
}

/// The user's own policy.
fn policy(world: &World, text: &str) -> Result<()> {
    let path = world.configuration().with_file_name("policy.toml");
    Ok(std::fs::write(path, text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_that_the_policy_would_not_let_end() -> Result<()> {
    let world = watched(24, 1, 60.0).await?;
    let three = "[grant.machines]\nmax_machines = 3\n";
    policy(&world, three)?;
    let before = world.writes();
    for (runbook, inputs) in beyond() {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let said = run(&world, "run", runbook, &inputs).await?;
        ensure!(said.code == 1, "{runbook}: {said:?}");
        let all = format!("{}{}", said.out, said.err);
        ensure!(
            all.contains(
                "allows writes on at most 3 Machines; 0 have been written to, and this would be"
            ),
            "{runbook}: {said:?}"
        );
        ensure!(world.writes() == before, "{runbook}: {said:?}");
    }
    // As many as are allowed.
    let said = run(
        &world,
        "run",
        "restart-by-group",
        &["group=web", "max_machines=3"],
    )
    .await?;
    ensure!(said.code == 1 && world.writes() == before, "{said:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_does_not_allow_is_no_run() -> Result<()> {
    let world = watched(12, 2, 60.0).await?;
    for (limit, inputs, shown) in [
        (
            "verbs = [\"list\", \"lease\", \"wait\"]",
            &["group=web"][..],
            "does not allow `restart` of `machines`",
        ),
        (
            "apps = [\"api\"]",
            &["group=web"],
            "does not cover the app `web`",
        ),
        (
            "groups = [\"worker\"]",
            &["group=web"],
            "does not cover the process group `web`",
        ),
    ] {
        let text = format!("[grant.machines]\n{limit}\n");
        policy(&world, &text)?;
        let said = run(&world, "run", "restart-by-group", inputs).await?;
        ensure!(
            said.code == 4 && said.err.contains(shown),
            "{limit}: {said:?}"
        );
    }
    ensure!(world.writes() == 0);
    Ok(())
}
