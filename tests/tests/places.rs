//! A policy binds places, not names, and what a project says of places and credentials goes no further
//! than its user lets it.

use anyhow::{Result, ensure};
use groundcrew::Key;
use groundcrew_tests::{Said, World, fleet};

const RESTART: [&str; 8] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
    "--yes",
    "-t",
];

fn says(said: &Said, code: i32, text: &str) -> Result<()> {
    ensure!(
        said.code == code && said.err.contains(text),
        "{text}: {said:?}"
    );
    Ok(())
}

fn policy(world: &World, text: &str) -> Result<()> {
    let path = world.configuration().with_file_name("policy.toml");
    Ok(std::fs::write(path, text)?)
}

/// A project that calls the simulator something of its own.
fn project(world: &World, more: &str) -> Result<()> {
    let text = format!(
        "[target.staging]\norganisation = \"elsewhere\"\nmachines_api = \"{}\"\n{more}",
        world.simulator.base_url()
    );
    Ok(std::fs::write(
        world.project().join("groundcrew.toml"),
        text,
    )?)
}

async fn restart(world: &World, target: &str) -> Result<Said> {
    world.run(&[&RESTART[..], &[target]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_cannot_rename_its_way_out_of_a_policy() -> Result<()> {
    let world = World::start(fleet(6, 1), 20.0).await?;
    let approvals = |table: &str| {
        let key = Key::generate("ann").public().to_owned();
        format!("{table}[target.test.approvals]\nrequired = 1\nkeys = [\"{key}\"]\n")
    };
    project(&world, "credential = \"sim://\"\n")?;
    let wanted = "wants what writes to `test` planned";
    let at = format!(
        "[target.test]\naddress = \"{}\"\n",
        world.simulator.base_url()
    );
    let organisation = format!("{at}organisation = \"groundcrew\"\n");
    for table in ["", &at, &organisation] {
        policy(&world, &approvals(table))?;
        says(&restart(&world, "test").await?, 4, wanted)?;
        says(&restart(&world, "staging").await?, 4, wanted)?;
    }
    // Of a place that nobody has spoken of it is not known what it is; not on this machine either.
    policy(
        &world,
        &approvals("[target.test]\naddress = \"https://api.machines.dev\"\n"),
    )?;
    says(
        &restart(&world, "staging").await?,
        4,
        "does not know the project's target `staging`",
    )?;
    // A limit holds under every name, of the host's as well.
    policy(&world, "[target.test.grant.machines]\nverbs = [\"list\"]\n")?;
    let here = std::fs::read_to_string(world.project().join("groundcrew.toml"))?;
    let other = here.replace("127.0.0.1", "localhost");
    std::fs::write(world.project().join("groundcrew.toml"), other)?;
    for target in ["test", "staging"] {
        let said = restart(&world, target).await?;
        ensure!(said.code != 0, "{said:?}");
    }
    ensure!(world.applied("machines.restart").is_empty());
    // One that this project does not use is no error.
    policy(
        &world,
        "[target.other]\naddress = \"https://api.machines.dev\"\n",
    )?;
    says(&restart(&world, "test").await?, 0, "")?;
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_kept_is_an_error() -> Result<()> {
    let world = World::start(fleet(2, 1), 20.0).await?;
    let key = Key::generate("ann").public().to_owned();
    project(&world, "credential = \"sim://\"\n")?;
    for (text, why) in [
        ("[target.tset.grant.machines]\n", "did you mean `test`?"),
        (
            "[target.staging.grant.machines]\n",
            "speaks of the target `staging`, which your own configuration does not have",
        ),
        (
            "[target.test.approvals]\nrequired = 1\nkeys = [\"no key\"]\n",
            "the operator's policy: `test`",
        ),
        (
            &format!("[target.test.approvals]\nrequired = 2\nkeys = [\"{key}\", \"{key}\"]\n"),
            "2 approvals are wanted, and there are 1 keys",
        ),
        ("plan_authors = [\"no key\"]\n", "the operator's policy"),
        (
            "[grant.machines]\nverbs = [\"list\", \"restrat\"]\n",
            "did you mean `restart`?",
        ),
        (
            "[target.test]\naddress = \"nowhere\"\n",
            "is not an address",
        ),
    ] {
        policy(&world, text)?;
        let said = restart(&world, "test").await?;
        ensure!(said.code == 4 || said.code == 2, "{said:?}");
        ensure!(said.err.contains(why), "{why}: {said:?}");
    }
    ensure!(world.applied("machines.restart").is_empty());
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_credentials_stay_where_its_user_lets_them() -> Result<()> {
    let world = World::start(fleet(2, 1), 20.0).await?;
    let token = world.project().join("token");
    std::fs::write(&token, "x")?;
    let file = format!("credential = \"file://{}\"\n", token.display());
    for (more, why) in [
        (
            "credential = \"env://TEST_TOKEN\"\n",
            "to which it is not bound",
        ),
        ("", "to which it is not bound"),
        (file.as_str(), "only your own configuration may"),
        (
            "credential = \"sim://\"\nmetrics_api = \"https://evil.example\"\n",
            "puts `metrics_api` of target `staging` at `https://evil.example/`",
        ),
        (
            "credential = \"sim://\"\nreleases_api = \"http://10.0.0.1\"\n",
            "puts `releases_api` of target `staging`",
        ),
    ] {
        project(&world, more)?;
        says(&restart(&world, "staging").await?, 4, why)?;
    }
    ensure!(
        world
            .simulator
            .act(|fleet| fleet.requests().entries().count())
            == 0
    );
    // One line of the user's own, and it may.
    let own = std::fs::read_to_string(world.configuration())?;
    let trusted = format!("trusted_origins = [\"{}\"]\n", world.simulator.base_url());
    std::fs::write(world.configuration(), format!("{trusted}{own}"))?;
    project(&world, "credential = \"env://TEST_TOKEN\"\n")?;
    says(
        &world.run(&["machines", "web", "-t", "staging"]).await?,
        0,
        "",
    )?;
    let inside = "[target.staging]\nmachines_api = \"http://_api.internal:4280\"\ncredential = \"env://TEST_TOKEN\"\n";
    std::fs::write(world.project().join("groundcrew.toml"), inside)?;
    says(
        &restart(&world, "staging").await?,
        4,
        "to which it is not bound",
    )?;
    world.verify()
}
