//! The commands that only read, and the ways in which output is asked for.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use groundcrew_fleet::{Fate, api};
use groundcrew_tests::{Said, World, binary, fleet};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const RESTART: [&str; 7] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=web",
    "--yes",
];

/// Every line is JSON, and there is one at least.
fn json_lines(text: &str) -> Result<Vec<Value>> {
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.with_context(|| text.to_owned())?;
    ensure!(!lines.is_empty(), "nothing was printed");
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_read_print_what_there_is() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    let said = world.run(&RESTART).await?;
    ensure!(said.code == 0, "{said:?}");
    let list = world.run(&["runs", "list", "--json"]).await?;
    let run = json_lines(&list.out)?[0]["run"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let table: [(&[&str], &str); 13] = [
        (&["plugin", "list"], "restart-by-group"),
        (&["plugin", "show", "count-machines"], "machines"),
        (&["plugin", "capabilities"], "machines.restart"),
        (&["machines", "web"], "started"),
        (&["runs", "list"], "restart-by-group"),
        (&["runs", "show", &run], "succeeded"),
        (&["audit", "list"], &run),
        (&["audit", "show", &run], "machines.restart"),
        (&["audit", "verify"], "are as they were logged"),
        (&["audit", "checkpoint"], "groundcrew/"),
        (&["schema"], "\"$schema\""),
        (&["completions", "bash"], "groundcrew"),
        (&["doctor"], "ok"),
    ];
    for (arguments, text) in table {
        let said = world.run(arguments).await?;
        ensure!(
            said.code == 0 && said.out.contains(text),
            "{arguments:?}: {said:?}"
        );
        let prints_text_only = matches!(arguments[0], "completions");
        if !prints_text_only {
            let json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
            let said = world.run(&json).await?;
            let whole = serde_json::from_str::<Value>(&said.out).is_ok();
            ensure!(whole || json_lines(&said.out).is_ok(), "{json:?}: {said:?}");
        }
    }
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn github_gets_groups_and_annotations() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    let id = world
        .started("web", "web")?
        .into_iter()
        .next()
        .context("no Machine")?;
    world
        .simulator
        .act(|fleet| fleet.set_fate("web", &id, Fate::NeverStarts));
    let mut command = world.command(&RESTART)?;
    command.env("GITHUB_ACTIONS", "true");
    let said = world.finish(command.spawn()?).await?;
    ensure!(said.code == 1, "{said:?}");
    let annotation = format!("::error title=groundcrew::{id}: ");
    ensure!(said.out.contains(&annotation), "{said:?}");
    let groups = said.out.lines().filter(|l| l.starts_with("::group::"));
    let ends = said.out.lines().filter(|l| *l == "::endgroup::");
    ensure!(groups.count() == 1 && ends.count() == 1, "{said:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_fleet_can_be_loaded_and_rehearsed_on() -> Result<()> {
    let world = World::start(fleet(40, 7), 20.0).await?;
    let machines = world
        .simulator
        .act(|fleet| fleet.list("web", &api::ListQuery::default()))
        .map_err(|e| anyhow::anyhow!("{}", e.body.wording()))?;
    let file = world.project().join("machines.json");
    // As `fly machine list --json` prints it.
    std::fs::write(&file, serde_json::to_vec_pretty(&machines)?)?;
    let file = file.display().to_string();
    let loaded = [
        "sim",
        "--from",
        &file,
        "--app",
        "web",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut simulator = world.command(&loaded)?.spawn()?;
    let out = simulator.stdout.take().context("no output")?;
    let mut address = String::new();
    BufReader::new(out).read_line(&mut address).await?;
    let config = format!(
        "default_target = \"loaded\"\n[target.loaded]\nmachines_api = \"{}\"\ncredential = \"sim://\"\n",
        address.trim()
    );
    std::fs::write(world.project().join("groundcrew.toml"), config)?;
    let said = world.run(&["machines", "web", "--json"]).await?;
    let listed = serde_json::from_str::<Value>(&said.out)
        .map_or_else(|_| json_lines(&said.out), |all| Ok(vec![all]))?;
    for machine in &machines {
        let shown = listed
            .iter()
            .any(|line| line.to_string().contains(&machine.id));
        ensure!(shown, "{} is missing: {said:?}", machine.id);
    }
    let rehearsed = world.run(&[&RESTART[..], &["--dry-run"]].concat()).await?;
    ensure!(rehearsed.code == 0, "{rehearsed:?}");
    simulator.kill().await?;
    std::fs::write(world.project().join("machines.json"), "{}")?;
    let said = world.run(&loaded).await?;
    ensure!(
        said.code == 2 && said.err.contains("fly machine list --json"),
        "{said:?}"
    );
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_may_only_be_read() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    // Somebody who is not root, and cannot see into root's directories: the binary is taken along.
    let place = tempfile::tempdir()?;
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755))?;
    let program = place.path().join("groundcrew");
    std::fs::copy(binary()?, &program)?;
    let state = place.path().join("state");
    std::fs::create_dir(&state)?;
    let mut command = Command::new(&program);
    if nobody_can_be() {
        std::os::unix::fs::chown(&state, Some(NOBODY), Some(NOBODY))?;
        command.uid(NOBODY).gid(NOBODY);
    }
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o500))?;
    command
        .args(["--project"])
        .arg(place.path())
        .arg("--state-dir")
        .arg(&state)
        .args(["runs", "list"])
        .env_clear()
        .env("HOME", place.path())
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let said = world.finish(command.spawn()?).await?;
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700))?;
    ensure!(said.code == 5, "{said:?}");
    ensure!(
        said.err.contains(&state.display().to_string()) && said.err.contains("written"),
        "{said:?}"
    );
    Ok(())
}

/// Journals are where they are whatever a project says: who reads them is told that its file is broken,
/// and who needs the file is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_said_whether_it_is_needed_or_not() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    let said = world.run(&RESTART).await?;
    ensure!(said.code == 0, "{said:?}");
    let run = world.newest_run().await?;
    std::fs::write(
        world.project().join("groundcrew.toml"),
        "default_target = [",
    )?;
    let broken = "groundcrew.toml` does not read";
    let does_without: [&[&str]; 4] = [
        &["runs", "list"],
        &["runs", "show", &run],
        &["audit", "list"],
        &["audit", "show", &run],
    ];
    for arguments in does_without {
        let said = world.run(arguments).await?;
        ensure!(
            said.code == 0 && !said.out.is_empty(),
            "{arguments:?}: {said:?}"
        );
        ensure!(
            said.err.contains("this command does without it") && said.err.contains(broken),
            "{arguments:?}: {said:?}"
        );
    }
    let needs_it: [&[&str]; 5] = [
        &RESTART,
        &["resume", &run],
        &["runs", "cancel", &run],
        &["audit", "verify"],
        &["machines", "web"],
    ];
    for arguments in needs_it {
        let said = world.run(arguments).await?;
        ensure!(
            said.code == 2 && said.err.starts_with("error: ") && said.err.contains(broken),
            "{arguments:?}: {said:?}"
        );
    }
    Ok(())
}

/// The user and group `nobody` of most systems; any number that owns nothing would do.
const NOBODY: u32 = 65_534;

fn nobody_can_be() -> bool {
    use std::os::unix::fs::MetadataExt;
    // What we make belongs to whom we are.
    tempfile::tempfile()
        .and_then(|file| file.metadata())
        .is_ok_and(|made| made.uid() == 0)
}

/// Takes one request, as a webhook does; gives all of it.
async fn taken(webhook: &TcpListener) -> Result<String> {
    let (mut stream, _) = webhook.accept().await?;
    let mut request = Vec::new();
    loop {
        let before = request.len();
        stream.read_buf(&mut request).await?;
        let text = String::from_utf8_lossy(&request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or("1").parse()?;
        if body.len() >= length || request.len() == before {
            break;
        }
    }
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
        .await?;
    Ok(String::from_utf8(request)?.trim_end().to_owned())
}

/// Jobs that a scheduler starts on a machine that has never seen the program: each makes what is not
/// there, and they go on with the same store and the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_at_once_share_what_they_make() -> Result<()> {
    for round in 0..5 {
        let world = World::start(fleet(2, round), 20.0).await?;
        let mut logs = BTreeSet::new();
        for said in world.at_once(12, &["audit", "checkpoint"]).await? {
            ensure!(said.code == 0, "{said:?}");
            logs.insert(said.out.lines().next().unwrap_or_default().to_owned());
        }
        ensure!(logs.len() == 1, "{logs:?}");
        let made = world.at_once(12, &["keys", "new"]).await?;
        let (new, refused): (Vec<_>, Vec<_>) = made.iter().partition(|said| said.code == 0);
        ensure!(new.len() == 1, "{made:?}");
        let there = |said: &&Said| said.code == 4 && said.err.contains("there is a key in");
        ensure!(refused.iter().all(there), "{refused:?}");
        let shown = world.run(&["keys", "show"]).await?;
        ensure!(shown.out == new[0].out, "{shown:?}");
        world.verify()?;
    }
    Ok(())
}

/// What an auditor does who trusts neither the machine nor its operator: keeps a checkpoint, gets a
/// receipt, and checks both elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_proven_elsewhere() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    let kept = world.project().join("kept");
    let config = world.project().join(".config").join("groundcrew");
    std::fs::create_dir_all(&config)?;
    let webhook = TcpListener::bind("127.0.0.1:0").await?;
    let to = format!(
        "[audit]\ncheckpoint_to = [\"file://{}\", \"http://{}/checkpoints\", \"http://example.com\"]\n",
        kept.display(),
        webhook.local_addr()?
    );
    world.configure(&to)?;
    let (said, posted) = tokio::join!(world.run(&RESTART), taken(&webhook));
    let (said, posted) = (said?, posted?);
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        said.err
            .contains("a webhook has `https`, or is on loopback"),
        "{said:?}"
    );
    let first = std::fs::read_to_string(&kept)?;
    ensure!(
        posted.starts_with("POST /checkpoints ") && posted.ends_with(first.trim_end()),
        "{posted}"
    );
    drop(webhook);
    let list = world.run(&["runs", "list", "--json"]).await?;
    let run = json_lines(&list.out)?[0]["run"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(world.run(&RESTART).await?.code == 0);
    let notes = std::fs::read_to_string(&kept)?;
    ensure!(
        notes.starts_with(&first) && notes.len() > first.len(),
        "{notes}"
    );

    let receipt = world.project().join("receipt.json").display().to_string();
    let proven = world
        .run(&["audit", "prove", &run, "--payloads", "-o", &receipt])
        .await?;
    ensure!(proven.code == 0, "{proven:?}");
    let key = world
        .state()
        .join("audit")
        .join("key.pub")
        .display()
        .to_string();
    let elsewhere = world.project().join("elsewhere").display().to_string();
    let check = [
        "audit",
        "check",
        &receipt,
        "--key",
        &key,
        "--state-dir",
        &elsewhere,
    ];
    let checked = world.run(&check).await?;
    ensure!(
        checked.code == 0 && checked.out.contains(&run),
        "{checked:?}"
    );
    ensure!(
        !std::path::Path::new(&elsewhere).exists(),
        "checking needs no state"
    );

    let earlier = world.project().join("earlier");
    std::fs::write(&earlier, first.trim_end().to_owned() + "\n")?;
    let earlier = earlier.display().to_string();
    let verified = world.run(&["audit", "verify", "--since", &earlier]).await?;
    ensure!(verified.code == 0, "{verified:?}");

    let text = std::fs::read_to_string(&receipt)?.replace("requested", "rEquested");
    std::fs::write(
        &receipt,
        text.replace("\\\"app\\\":\\\"web\\\"", "\\\"app\\\":\\\"wEb\\\""),
    )?;
    let replayed = world.run(&["audit", "replay", &run]).await?;
    ensure!(
        replayed.code == 0 && replayed.out.contains("the same"),
        "{replayed:?}"
    );
    let forged = world.run(&check).await?;
    ensure!(
        forged.code == 5 && forged.err.contains("not what was logged"),
        "{forged:?}"
    );
    world.verify()
}

/// A copy of the store from before is not taken for the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_refused() -> Result<()> {
    let world = World::start(fleet(20, 7), 20.0).await?;
    let dry = [&RESTART[..], &["--dry-run"]].concat();
    ensure!(world.run(&dry).await?.code == 0);
    let (store, backup) = (
        world.state().join("groundcrew.sqlite"),
        world.project().join("backup"),
    );
    std::fs::copy(&store, &backup)?;
    ensure!(world.run(&dry).await?.code == 0);
    std::fs::copy(&backup, &store)?;
    let refused = world.run(&RESTART).await?;
    ensure!(
        refused.code == 5 && refused.err.contains("older copy of the store"),
        "{refused:?}"
    );
    let verified = world.run(&["audit", "verify"]).await?;
    ensure!(verified.code == 5, "{verified:?}");
    ensure!(world.applied("machines.restart").is_empty());
    Ok(())
}
