//! What it costs to go on with a run, and to prove what it did.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use groundcrew::audit::{self, AuditLog, Key, Leaf, NOTHING, link};
use groundcrew::journal::{Actor, EntryKind, Mode, Record, RunState, RunStatus};
use groundcrew::store::{Append, Claim, MemoryStore, NewRun, SqliteStore, Store, bundle};
use groundcrew::{Policy, ResumeRequest, Target, Unobserved};
use jiff::Timestamp;

use crate::effects::Stage;
use crate::process::{Home, Setting, run};
use crate::report::{Report, Row, median, shown};
use crate::restart::serve;
use crate::startup::Door;

pub(crate) async fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    replay(setting, report).await?;
    takeover(setting, report)?;
    batch(setting, report)?;
    verify(setting, report)?;
    restart(setting, report)
}

/// A journal of so many effects, whose run died before its step ended, gone on with.
async fn replay(setting: &Setting, report: &mut Report) -> Result<()> {
    let batches = if setting.quick { 2 } else { 200 };
    let stage = |store: Arc<dyn Store>| Stage::new(store, 500, batches, Duration::ZERO);
    let memory = Arc::new(MemoryStore::default());
    stage(memory.clone()).await?.run().await?;
    let runs = memory.runs(Timestamp::now(), 1)?;
    let run = &runs.first().context("no run")?.run;
    let whole = bundle::export(&*memory, run, &Key::generate("bench"))?;
    let entries = whole.lines().count() - 3;
    let mut lines: Vec<String> = whole.lines().take(entries + 1).map(str::to_owned).collect();
    let all = entries + 2;
    lines[0] = lines[0].replace(
        &format!("\"entries\":{all}"),
        &format!("\"entries\":{entries}"),
    );
    let open = lines.join("\n");
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..setting.times(3) {
        let directory = tempfile::tempdir_in(&setting.directory)?;
        let store = Arc::new(SqliteStore::open(&directory.path().join("state"))?);
        let bundle = bundle::read(&open)?;
        store.take_in(&bundle.arrival(), Timestamp::now())?;
        let run = bundle.run().to_owned();
        let began = Instant::now();
        RunState::fold(&store.read(&run, 0, usize::MAX)?)?;
        bare.push(began.elapsed());
        let engine = stage(store).await?.engine;
        let request = ResumeRequest {
            run,
            target: Target::new("bench", None, groundcrew::Scale::REAL),
            policy: Policy::default(),
            actor: Actor::default(),
            answers: std::collections::BTreeMap::new(),
            secrets: serde_json::Value::Null,
            accepted_drift: Vec::new(),
            gone: None,
        };
        let began = Instant::now();
        let resumed = engine.resume(request, Arc::new(Unobserved)).await;
        let ended = resumed.map_err(|e| anyhow!("{e}"))?.finished().await;
        took.push(began.elapsed());
        ensure!(ended.status == Some(RunStatus::Succeeded), "{ended:?}");
    }
    let (took, bare) = (median(took), median(bare));
    report.add(Row {
        what: format!(
            "resume of a run with {} journalled effects, to its end",
            batches * 500
        ),
        target: "<= 1 s".to_owned(),
        measured: shown(took),
        baseline: format!("{}: reading and folding the journal alone", shown(bare)),
        reached: Some(took <= Duration::from_secs(1)),
    });
    Ok(())
}

/// From the start of `resume` to its first request, of a run that was killed in its first one.
fn takeover(setting: &Setting, report: &mut Report) -> Result<()> {
    let door = Door::open()?;
    let home = Home::new(setting, &door.address, false)?;
    let begin = || home.command(&["run", "restart-by-group", "-i", "app=web", "--yes"]);
    // Compiles the plugin.
    door.first_request(begin())?;
    let mut taken = Vec::new();
    for _ in 0..setting.times(11) {
        let mut child = begin().spawn()?;
        let held = door.knock(&mut child)?;
        child.kill()?;
        child.wait()?;
        drop(held);
        let list = home
            .command(&["runs", "list", "--max", "1", "--json"])
            .stdout(Stdio::piped())
            .output()?;
        let line: serde_json::Value = serde_json::from_slice(&list.stdout)?;
        let run = line["run"].as_str().context("no run")?;
        taken.push(door.first_request(home.command(&["resume", run]))?);
    }
    let taken = median(taken);
    report.add(Row {
        what: "takeover of one's own dead run on the same host: start of `resume` to its first request".to_owned(),
        target: "<= 1 s".to_owned(),
        measured: shown(taken),
        baseline: "a claim would expire after 30 s".to_owned(),
        reached: Some(taken <= Duration::from_secs(1)),
    });
    Ok(())
}

fn records(first: u64, count: u64) -> Vec<Record> {
    let of = |sequence: u64| {
        Record {
        sequence,
        at: Timestamp::now(),
        kind: EntryKind::Intended,
        payload: format!(
            "{{\"step\":\"restart\",\"effect\":{sequence},\"decision\":\"allowed\",\"request\":{{\"operation\":\"machines.restart\",\"app\":\"web\",\"subject\":\"{sequence:014x}\",\"arguments\":{{}}}}}}"
        )
        .into(),
    }
    };
    (first..first + count).map(of).collect()
}

fn open(store: &dyn Store, run: &str) -> Result<Claim> {
    let new = NewRun {
        run: run.to_owned(),
        runbook: "bench".to_owned(),
        target: "bench".to_owned(),
        mode: Mode::Perform,
        locks: Vec::new(),
        holder: Actor::default(),
    };
    Ok(store.open(&new, Timestamp::now(), Timestamp::now())?)
}

/// 500 intents in one commit, beside a bare commit of the same bytes.
fn batch(setting: &Setting, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir_in(&setting.directory)?;
    let store = SqliteStore::open(&directory.path().join("state"))?;
    let claim = open(&store, "batch")?;
    let bare = rusqlite::Connection::open(directory.path().join("bare"))?;
    bare.pragma_update(None, "journal_mode", "WAL")?;
    bare.pragma_update(None, "synchronous", "FULL")?;
    bare.execute_batch("CREATE TABLE entry (number INTEGER PRIMARY KEY, payload TEXT)")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..setting.times(31) as u64 {
        let records = records(round * 500, 500);
        let began = Instant::now();
        store.append(&Append {
            claim: &claim,
            records: &records,
            closing: None,
        })?;
        ours.push(began.elapsed());
        let began = Instant::now();
        bare.execute_batch("BEGIN IMMEDIATE")?;
        for record in &records {
            bare.prepare_cached("INSERT INTO entry (payload) VALUES (?1)")?
                .execute([&*record.payload])?;
        }
        bare.execute_batch("COMMIT")?;
        theirs.push(began.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    report.add(Row {
        what: "one durable batch of 500 intents, with their leaves".to_owned(),
        target: "<= 10 ms beyond a bare commit".to_owned(),
        measured: shown(ours),
        baseline: format!(
            "{}: a bare SQLite commit of the same payloads",
            shown(theirs)
        ),
        reached: Some(ours <= theirs + Duration::from_millis(10)),
    });
    Ok(())
}

/// Many runs of a thousand entries.
fn verify(setting: &Setting, report: &mut Report) -> Result<()> {
    let runs = if setting.quick { 2 } else { 1000 };
    let directory = tempfile::tempdir_in(&setting.directory)?;
    let store = SqliteStore::open(&directory.path().join("state"))?;
    let files = Dir::open_ambient_dir(directory.path(), ambient_authority())?;
    let log = AuditLog::new(files, Key::generate("groundcrew/bench"));
    for run in 0..runs {
        let run = format!("run-{run:04}");
        let claim = open(&store, &run)?;
        let mut records = records(0, 1000);
        fit(&run, &mut records);
        store.append(&Append {
            claim: &claim,
            records: &records,
            closing: None,
        })?;
    }
    log.advance(&store)?;
    let began = Instant::now();
    let verified =
        audit::verify(&store, &log, None).map_err(|faults| anyhow!("{:?}", faults.first()))?;
    let took = began.elapsed();
    ensure!(verified.signed == runs * 1000, "{verified:?}");
    let began = Instant::now();
    let mut read = 0;
    while let Some(last) = store.logged(read, 10_000)?.last() {
        read = last.index + 1;
    }
    let bare = began.elapsed();
    report.add(Row {
        what: format!("`audit verify` of {} entries", runs * 1000),
        target: "<= 10 s".to_owned(),
        measured: shown(took),
        baseline: format!("{}: reading them alone", shown(bare)),
        reached: Some(took <= Duration::from_secs(10)),
    });
    let mut taken = Vec::new();
    for run in 0..setting.times(31) {
        let run = format!("run-{:04}", run * 7 % runs as usize);
        let began = Instant::now();
        let receipt = audit::prove(&store, &log, &run, false)?;
        taken.push(began.elapsed());
        audit::check(&receipt, log.key())?;
    }
    let taken = median(taken);
    report.add(Row {
        what: "inclusion proof in that log, with the run's 1,000 leaves".to_owned(),
        target: "<= 5 ms".to_owned(),
        measured: shown(taken),
        baseline: String::new(),
        reached: Some(taken <= Duration::from_millis(5)),
    });
    Ok(())
}

/// The first two of a run's entries have to be what a run begins with.
fn fit(run: &str, records: &mut [Record]) {
    let header = serde_json::json!({
        "format": groundcrew::journal::FORMAT, "run": run, "engine": "0", "mode": "perform",
        "started_at": Timestamp::UNIX_EPOCH, "runbook": "bench", "runbook_digest": "", "runbook_text": "",
        "inputs": {}, "target": { "name": "bench" }, "actor": Actor::default(), "seed": 1, "plugins": [],
        "policy_digest": null, "limits": groundcrew::Limits::default(), "locks": [],
    });
    let began = serde_json::json!({ "step": "restart", "plugin": "p", "attempt": 1, "input": {}, "grant": {}, "now": 0 });
    for (record, (kind, payload)) in records.iter_mut().zip([
        (EntryKind::RunOpened, header),
        (EntryKind::StepBegan, began),
    ]) {
        record.kind = kind;
        record.payload = payload.to_string().into();
    }
}

/// A rehearsal of a whole fleet; and what the log costs beside the real thing.
fn restart(setting: &Setting, report: &mut Report) -> Result<()> {
    let machines = if setting.quick { 20 } else { 500 };
    let server = serve(machines)?;
    let home = Home::new(setting, &server.address, true)?;
    run(home.command(&["plugin", "show", "restart-by-group"]))?;
    let parallel = format!("parallel={machines}");
    let arguments = [
        "run",
        "restart-by-group",
        "-i",
        "app=web",
        "-i",
        "group=",
        "-i",
        "canary=false",
        "-i",
        &parallel,
    ];
    let rehearsal = [&arguments[..], &["--dry-run"]].concat();
    let mut taken = Vec::new();
    for _ in 0..setting.times(5) {
        taken.push(run(home.command(&rehearsal))?.took);
    }
    let taken = median(taken);
    report.add(Row {
        what: format!("rehearsal of a restart of {machines} Machines (process start to end)"),
        target: "<= 1 s".to_owned(),
        measured: shown(taken),
        baseline: String::new(),
        reached: Some(taken <= Duration::from_secs(1)),
    });
    // In a home of its own, whose store has nothing else.
    let home = Home::new(setting, &server.address, true)?;
    run(home.command(&["plugin", "show", "restart-by-group"]))?;
    let real = run(home.command(&[&arguments[..], &["--yes"]].concat()))?;
    let store = SqliteStore::open(&home.path().join("state"))?;
    let newest = store.runs(Timestamp::now(), 1)?;
    let run = &newest.first().context("no run")?.run;
    let records = store.read(run, 0, usize::MAX)?;
    let began = Instant::now();
    let mut chain = NOTHING.to_owned();
    for record in &records {
        chain = link(&Leaf::of(run, record, &chain).text());
    }
    let chained = began.elapsed();
    let directory = tempfile::tempdir_in(&setting.directory)?;
    let files = Dir::open_ambient_dir(directory.path(), ambient_authority())?;
    let began = Instant::now();
    AuditLog::new(files, Key::generate("groundcrew/bench")).advance(&store)?;
    let advanced = began.elapsed();
    let share = (chained + advanced).as_secs_f64() / real.took.as_secs_f64();
    report.add(Row {
        what: format!(
            "audit cost of a restart of {machines} Machines: its {} leaves, and the tree over them",
            records.len()
        ),
        target: "<= 3 % of its wall time".to_owned(),
        measured: format!(
            "{} + {}: {:.2} %",
            shown(chained),
            shown(advanced),
            share * 100.0
        ),
        baseline: format!("{}: the restart", shown(real.took)),
        reached: Some(share <= 0.03),
    });
    Ok(())
}
