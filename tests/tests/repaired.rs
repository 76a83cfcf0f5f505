//! A run is killed, somebody else puts things right in the meantime, and the run is resumed: what others
//! have changed is named and asked about, and nothing is sent until that is answered.

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Caller, Fleet, api};
use groundcrew_tests::deploys::{self, NEW, machines, watched};
use groundcrew_tests::{Said, World};

const THEIRS: &str = "registry.fly.io/web:deployment-repaired";

/// One thing that a colleague does, and what is said of it.
struct Change {
    does: fn(&mut Fleet, &str) -> Result<(), api::ApiError>,
    said: &'static str,
}

const COLLEAGUE: Caller<'_> = Caller {
    nonce: None,
    effect: None,
    owner: "a colleague",
};

const CHANGES: [Change; 6] = [
    Change {
        does: |fleet, id| {
            let mut config = fleet.get("web", id)?.config;
            config["image"] = THEIRS.into();
            let request = api::UpdateRequest {
                config,
                ..api::UpdateRequest::default()
            };
            fleet.update(&COLLEAGUE, "web", id, &request).map(drop)
        },
        said: ".instance_id: ",
    },
    Change {
        does: |fleet, id| {
            // A value of the environment alone: no other image.
            let mut config = fleet.get("web", id)?.config;
            config["env"]["REPAIRED"] = "yes".into();
            let request = api::UpdateRequest {
                config,
                ..api::UpdateRequest::default()
            };
            fleet.update(&COLLEAGUE, "web", id, &request).map(drop)
        },
        said: ".instance_id: ",
    },
    Change {
        does: |fleet, id| fleet.destroy(&COLLEAGUE, "web", id, true).map(drop),
        said: " is gone",
    },
    Change {
        does: |fleet, id| {
            let request = api::CreateRequest {
                config: fleet.get("web", id)?.config,
                ..api::CreateRequest::default()
            };
            fleet.create(&COLLEAGUE, "web", &request).map(drop)
        },
        said: " is new",
    },
    Change {
        does: |fleet, id| fleet.cordon(&COLLEAGUE, "web", id).map(drop),
        said: ".cordoned: false is now true",
    },
    Change {
        does: |fleet, id| {
            let request = api::StopRequest::default();
            fleet.stop(&COLLEAGUE, "web", id, &request).map(drop)
        },
        said: ".state: \"started\" is now \"stopped\"",
    },
];

/// A deploy that was killed, in a world; and its id.
async fn killed(seed: u64) -> Result<(World, String)> {
    let world = watched(24, seed, 8.0).await?;
    let run = deploys::killed(&world, &[]).await?;
    Ok((world, run))
}

/// A Machine that the run has not come to.
fn untouched(world: &World) -> Result<String> {
    let all = machines(world)?;
    let rests = all.iter().find(|(id, is)| {
        let leased = world
            .simulator
            .act(|fleet| fleet.lease_get("web", id).is_ok());
        is.group == "web" && is.state == "started" && is.image != NEW && !leased
    });
    rests
        .map(|(id, _)| id.clone())
        .context("the run has come to all of them")
}

fn says(said: &Said, text: &str) -> Result<()> {
    ensure!(said.err.contains(text), "`{text}`: {said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_changed_is_named_and_asked_about() -> Result<()> {
    for (seed, change) in (1..).zip(&CHANGES) {
        let (world, run) = killed(seed).await?;
        let id = untouched(&world)?;
        let done = world.simulator.act(|fleet| (change.does)(fleet, &id));
        done.map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
        // As long as it takes to stop.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let sent = world.applied("machines.update").len();
        let asked = world.run(&["resume", &run]).await?;
        ensure!(asked.code == 7, "{}: {asked:?}", change.said);
        says(&asked, change.said)?;
        says(&asked, "--accept-drift")?;
        ensure!(change.said == " is new" || asked.err.contains(&id));
        ensure!(world.applied("machines.update").len() == sent, "{asked:?}");
        // It is asked again, and the answer is written down.
        let again = world.run(&["resume", &run]).await?;
        ensure!(again.code == 7, "{again:?}");
        let words = again.err.split_whitespace();
        let named = words.skip_while(|word| *word != "--accept-drift").nth(1);
        let named = named
            .context("nothing is named")?
            .trim_matches('`')
            .to_owned();
        let subject = named.split('.').next().unwrap_or_default();
        let on = world
            .run(&["resume", &run, "--accept-drift", subject])
            .await?;
        says(&on, "going on with run")?;
        ensure!(![4, 7].contains(&on.code), "{on:?}");
        let shown = world.run(&["audit", "show", &run]).await?;
        ensure!(shown.out.contains("who accepted"), "{shown:?}");
        ensure!(world.applied("machines.update").len() > sent, "{on:?}");
        world.verify()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_deploy_is_left_alone() -> Result<()> {
    let (world, run) = killed(11).await?;
    // The lease that the dead process holds ends.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let all = machines(&world)?;
    let web = all.iter().filter(|(_, is)| is.group == "web");
    let web: Vec<&String> = web.map(|(id, _)| id).collect();
    for id in &web {
        let done = world.simulator.act(|fleet| (CHANGES[0].does)(fleet, id));
        done.map_err(|e| anyhow::anyhow!("{id}: {}", e.body.wording()))?;
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let asked = world.run(&["resume", &run, "--json"]).await?;
    ensure!(asked.code == 7, "{asked:?}");
    for id in &web {
        says(&asked, &format!("web/{id}.instance_id"))?;
    }
    let drift: serde_json::Value =
        serde_json::from_str(asked.out.lines().last().unwrap_or_default())?;
    ensure!(
        drift["drift"].as_array().map_or(0, Vec::len) >= web.len(),
        "{drift}"
    );
    let ended = world.run(&["runs", "cancel", &run]).await?;
    ensure!([0, 6].contains(&ended.code), "{ended:?}");
    for (id, is) in machines(&world)? {
        ensure!(is.group != "web" || is.image == THEIRS, "{id}: {is:?}");
    }
    Ok(())
}
