//! Secret inputs: what is given as a value of an environment gets to the Machines and nowhere else.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::api;
use groundcrew_tests::deploys::{NEW, image, killed, run, watched};
use groundcrew_tests::{Said, World};

const VALUE: &str = "correct-horse-battery-staple";

const ENV: &str = "env=LABEL=correct-horse-battery-staple,OTHER=plain";

/// What the Machines of the group `web` have as `LABEL`.
fn labels(world: &World) -> Result<Vec<Option<String>>> {
    let listed = world
        .simulator
        .act(|fleet| fleet.list("web", &api::ListQuery::default()))
        .map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
    let label = |machine: &api::Machine| machine.config["env"]["LABEL"].as_str().map(str::to_owned);
    let web = listed.iter().filter(|m| m.process_group() == "web");
    Ok(web.map(label).collect())
}

/// No file that was written here has it.
fn is_kept_nowhere(directory: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += is_kept_nowhere(&entry.path())?;
            continue;
        }
        let bytes = std::fs::read(entry.path())?;
        let found = bytes.windows(VALUE.len()).any(|at| at == VALUE.as_bytes());
        ensure!(!found, "{} has it", entry.path().display());
        files += 1;
    }
    Ok(files)
}

fn says(said: &Said, code: i32, text: &str) -> Result<()> {
    let all = format!("{}{}", said.out, said.err);
    ensure!(
        said.code == code && all.contains(text),
        "`{text}`: {said:?}"
    );
    ensure!(!all.contains(VALUE), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_gets_to_the_machines_and_nowhere_else() -> Result<()> {
    let world = watched(12, 1, 60.0).await?;
    let deploy = [&image(NEW), "groups=web", ENV];
    for strategy in ["deploy-rolling", "deploy-bluegreen"] {
        let said = run(&world, "run", strategy, &deploy).await?;
        says(&said, 0, "")?;
        let labels = labels(&world)?;
        ensure!(
            labels.iter().flatten().any(|label| label == VALUE),
            "{strategy}: {labels:?}"
        );
        let marked = |label: &String| label.contains("sealed:");
        ensure!(!labels.iter().flatten().any(marked), "{labels:?}");
    }
    let run = world.newest_run().await?;
    for show in [
        &["audit", "show", &run][..],
        &["audit", "show", &run, "--json"],
        &["runs", "show", &run],
    ] {
        says(&world.run(show).await?, 0, "sealed:")?;
    }
    let bundle = world.project().join("run.bundle").display().to_string();
    world.run(&["audit", "export", &run, "-o", &bundle]).await?;
    ensure!(is_kept_nowhere(&world.project())? > 5);
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_applies_a_plan_gives_it_again() -> Result<()> {
    let world = watched(12, 2, 60.0).await?;
    let plan = world.project().join("web.plan").display().to_string();
    let image = image(NEW);
    let made = world
        .run(&[
            "plan",
            "deploy-rolling",
            "-i",
            "app=web",
            "-i",
            &image,
            "-i",
            "groups=web",
            "-i",
            ENV,
            "-o",
            &plan,
        ])
        .await?;
    says(&made, 0, "LABEL=sealed:")?;
    let writes = world.writes();
    let again = "the value of `LABEL` in input `env` is kept nowhere, and has to be given again";
    says(&world.run(&["apply", &plan]).await?, 4, again)?;
    let other = [
        "apply",
        &plan,
        "-i",
        "env=LABEL=correct-horse-battery,OTHER=plain",
    ];
    let another = "the value given for `LABEL` in input `env` is another than before";
    says(&world.run(&other).await?, 4, another)?;
    let known = ["apply", &plan, "-i", "app=web-2"];
    says(&world.run(&known).await?, 2, "input `app` is known already")?;
    ensure!(world.writes() == writes, "nothing has happened");
    says(&world.run(&["apply", &plan, "-i", ENV]).await?, 0, "")?;
    let labels = labels(&world)?;
    ensure!(
        labels.iter().flatten().any(|label| label == VALUE),
        "{labels:?}"
    );
    is_kept_nowhere(&world.project())?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_resumes_a_run_gives_it_again() -> Result<()> {
    let world = watched(24, 3, 8.0).await?;
    let run = killed(&world, &[ENV]).await?;
    let sent = world.applied("machines.update").len();
    says(
        &world.run(&["resume", &run]).await?,
        4,
        "has to be given again",
    )?;
    ensure!(world.applied("machines.update").len() == sent);
    says(
        &world.run(&["resume", &run, "-i", ENV]).await?,
        0,
        "going on with run",
    )?;
    let labels = labels(&world)?;
    let all = labels.iter().all(|label| label.as_deref() == Some(VALUE));
    ensure!(all && labels.len() > 4, "{labels:?}");
    is_kept_nowhere(&world.project())?;
    let shown = world.run(&["runs", "show", &run]).await?;
    shown.out.lines().next().context("nothing is shown")?;
    world.verify()
}
