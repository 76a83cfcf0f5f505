//! What comes from outside is shown and not obeyed: whatever says it and wherever it is shown, a text
//! moves no cursor, begins no line, turns no letter round and is no command of GitHub's.

use anyhow::{Context, Result, ensure};
use groundcrew_tests::{Said, World, fleet};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Each kind of what a terminal or a log obeys; `MARK` shows that the text came through.
const HOSTILE: &str = "MARK\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\rx\n::add-mask::y\n  ::error::z\n##[add-mask]w\u{85}\u{2028}::stop-commands::v\u{2029}\u{202e}b\u{2066}c\u{200b}\u{feff}\u{e0041}\u{7f}\u{8}\u{ad}";

/// What this command itself tells GitHub.
const COMMANDS: [&str; 5] = [
    "::group::step ",
    "::endgroup::",
    "::error title=groundcrew::",
    "::warning title=groundcrew::",
    "::notice title=groundcrew::",
];

fn obeyed(c: char) -> bool {
    c != '\n'
        && (c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'))
}

fn harmless(place: &str, said: &Said) -> Result<()> {
    for text in [&said.out, &said.err] {
        ensure!(!text.contains(obeyed), "{place}: {text:?}");
        ensure!(!text.contains("##["), "{place}: {text:?}");
        for line in text.lines().map(str::trim_start) {
            let ours = COMMANDS.iter().any(|command| line.starts_with(command));
            ensure!(ours || !line.starts_with("::"), "{place}: {line:?}");
        }
    }
    Ok(())
}

/// Whether each line is a value; all of them.
fn values(place: &str, said: &Said) -> Result<Vec<Value>> {
    let read = |line| serde_json::from_str(line).with_context(|| format!("{place}: {line}"));
    said.out.lines().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_prints_and_a_person_is_called() -> Result<()> {
    let world = World::start(fleet(4, 1), 60.0).await?;
    let command = format!("command={}", json!(["printf", HOSTILE]));
    let run = [
        "exec-on",
        "-i",
        "app=web",
        "-i",
        "group=web",
        "-i",
        &command,
    ];
    let run = |verb: &[&'static str]| {
        let mut all: Vec<String> = vec![verb[0].to_owned()];
        all.extend(run.iter().map(|part| (*part).to_owned()));
        all.extend(verb[1..].iter().map(|part| (*part).to_owned()));
        all
    };
    let plan = world.project().join("a.plan").display().to_string();
    let mut made = run(&["plan"]);
    made.extend(["-o".to_owned(), plan.clone()]);
    let all = [
        run(&["run", "--yes"]),
        run(&["run", "--dry-run"]),
        run(&["run", "--yes", "--json"]),
        run(&["run"]),
        made,
        vec!["plan".into(), "--show".into(), plan.clone()],
        vec![
            "plan".into(),
            "--show".into(),
            plan.clone(),
            "--json".into(),
        ],
        vec!["runs".into(), "list".into()],
        vec!["runs".into(), "list".into(), "--json".into()],
        vec!["audit".into(), "list".into()],
        vec!["audit".into(), "list".into(), "--json".into()],
        vec!["audit".into(), "export".into()],
        vec!["keys".into(), "show".into()],
        vec!["apply".into(), plan],
    ];
    let mut marked = 0;
    for github in ["", "true"] {
        for arguments in &all {
            let place = format!("{github} {arguments:?}");
            let mut command =
                world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
            command.env("USER", HOSTILE).env("GITHUB_ACTIONS", github);
            let said = world.finish(command.spawn()?).await?;
            harmless(&place, &said)?;
            marked += usize::from(format!("{}{}", said.out, said.err).contains("MARK"));
            if arguments
                .iter()
                .any(|part| part == "--json" || part == "export")
            {
                ensure!(!values(&place, &said)?.is_empty(), "{place}: {said:?}");
            }
        }
    }
    ensure!(marked >= 20, "the text came through {marked} times only");
    // The person has a name that a key and a journal can have.
    let newest = world.run(&["audit", "list", "--json"]).await?;
    let by = values("audit list", &newest)?;
    let by = by
        .iter()
        .find_map(|row| row["by"].as_str())
        .context("nobody")?;
    ensure!(
        by.starts_with("MARK[2J]0;t31mx::add-mask::y") && !by.contains(obeyed),
        "{by:?}"
    );
    let run = world.newest_run().await?;
    for arguments in [
        &["runs", "show", &run][..],
        &["runs", "show", &run, "--json"],
        &["audit", "show", &run],
        &["audit", "show", &run, "--json"],
        &["audit", "prove", &run, "--payloads"],
    ] {
        let said = world.run(arguments).await?;
        ensure!(said.code == 0 && said.out.contains("MARK"), "{said:?}");
        harmless(&format!("{arguments:?}"), &said)?;
    }
    // A receipt is the same for who reads it.
    let receipt = world.project().join("receipt.json");
    let proved = world.run(&["audit", "prove", &run, "--payloads"]).await?;
    std::fs::write(&receipt, &proved.out)?;
    let key = world.state().join("audit/key.pub").display().to_string();
    let receipt = receipt.display().to_string();
    let checked = world
        .run(&["audit", "check", &receipt, "--key", &key])
        .await?;
    ensure!(checked.code == 0, "{checked:?}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_and_what_files_are_called_and_say() -> Result<()> {
    let world = World::start(fleet(2, 1), 60.0).await?;
    let typed = HOSTILE.replace('/', "");
    let file = world.project().join(&typed);
    let named = |text: &str, end: &str| -> Result<String> {
        let path = file.with_extension(end);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let broken = named(&format!("name = \"x\"\n{HOSTILE} = 1\n"), "toml")?;
    let quoted: Vec<char> = HOSTILE.chars().filter(|c| !c.is_control()).collect();
    let quoted: String = quoted.into_iter().collect();
    let wrong = file.with_file_name("wrong.toml");
    std::fs::write(
        &wrong,
        format!(
            "name = \"a\"\nsummary = \"{quoted}\"\n\"{quoted}\" = 1\n[[step]]\nid = \"{quoted}\"\nplugin = \"{quoted}\"\nwhen = \"{quoted}\"\n"
        ),
    )?;
    let wrong = wrong.display().to_string();
    let absent = file.with_extension("none.toml").display().to_string();
    let bundle = named(
        &format!("{{\"bundle\":2,\"run\":{}}}", json!(HOSTILE)),
        "bundle",
    )?;
    let policy = named(&format!("[grant.machines]\n\"{quoted}\" = 1\n"), "policy")?;
    let plan = named(&format!("{{\"{quoted}\":1}}"), "plan")?;
    for arguments in [
        &["check", &broken][..],
        &["check", &wrong],
        &["check", &wrong, "--json"],
        &["check", &absent],
        &["check", &typed],
        &["run", &typed],
        &["run", "count-machines", "-t", &typed],
        &["run", "count-machines", "-i", &typed],
        &["run", "count-machines", "-i", &format!("{typed}=1")],
        &["run", "count-machines", "--policy", &policy],
        &["plugin", "show", &typed],
        &["runs", "show", &typed],
        &["resume", &typed],
        &["resume", "--from", &bundle],
        &["apply", &plan],
        &["approve", &plan],
        &["audit", "check", &plan, "--key", &typed],
        &["machines", &typed],
        &["keys", "new", "--name", &typed],
        &[&typed],
        &["run", "x", &format!("--{typed}")],
        &[
            "--state-dir",
            &file.join("x").display().to_string(),
            "runs",
            "list",
        ],
    ] {
        let mut command = world.command(arguments)?;
        command.env("GITHUB_ACTIONS", "true");
        let said = world.finish(command.spawn()?).await?;
        ensure!(said.code != 0, "{arguments:?}: {said:?}");
        harmless(&format!("{arguments:?}"), &said)?;
    }
    Ok(())
}

/// Answers every request like that, for ever; gives its address.
async fn service(status: u16, body: Value) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let mut request = [0; 4096];
            let _ = peer.read(&mut request).await;
            let _ = peer.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

/// A Machine of which this one field says it.
fn machine(field: &str) -> Value {
    let mut machine = json!({
        "id": "148e21ea7d9389", "name": "n", "state": "started", "region": "ams",
        "instance_id": "01J", "private_ip": "fdaa::1", "host_status": "ok",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "config": { "image": "i", "metadata": { "fly_process_group": "web" } },
        "image_ref": { "registry": "r", "repository": "p", "tag": "t", "digest": "sha256:00" },
        "checks": [{ "name": "c", "status": "passing", "output": "o" }],
        "events": [],
    });
    if let Some(place) = machine.pointer_mut(field) {
        *place = HOSTILE.into();
    }
    machine
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_says() -> Result<()> {
    let world = World::start(fleet(2, 1), 60.0).await?;
    let path = world.configuration();
    let config = std::fs::read_to_string(&path)?;
    let mut answers = vec![
        (422, json!({ "error": HOSTILE })),
        (404, json!({ "error": HOSTILE, "message": HOSTILE })),
        (500, json!(HOSTILE)),
        (200, json!(HOSTILE)),
    ];
    for field in [
        "/id",
        "/name",
        "/state",
        "/region",
        "/instance_id",
        "/private_ip",
        "/config/image",
        "/config/metadata/fly_process_group",
        "/image_ref/tag",
        "/image_ref/digest",
        "/checks/0/name",
        "/checks/0/output",
        "/checks/0/status",
        "/host_status",
        "/created_at",
    ] {
        answers.push((200, json!([machine(field)])));
    }
    let mut marked = 0;
    for (status, body) in answers {
        let address = service(status, body.clone()).await?;
        std::fs::write(&path, config.replace(&world.simulator.base_url(), &address))?;
        for arguments in [
            &["machines", "web"][..],
            &["machines", "web", "148e21ea7d9389"],
            &["machines", "web", "--json"],
            &["run", "count-machines", "-i", "app=web"],
            &["run", "count-machines", "-i", "app=web", "--json"],
            &["doctor"],
        ] {
            // Retries of what may be well in a moment would take a while.
            if status == 500 && arguments[0] == "run" {
                continue;
            }
            let place = format!("{status} {body} {arguments:?}");
            let mut command = world.command(arguments)?;
            command.env("GITHUB_ACTIONS", "true");
            let said = world.finish(command.spawn()?).await?;
            harmless(&place, &said)?;
            marked += usize::from(format!("{}{}", said.out, said.err).contains("MARK"));
            if arguments.contains(&"--json") {
                values(&place, &said)?;
            }
        }
    }
    ensure!(marked >= 20, "the text came through {marked} times only");
    Ok(())
}
