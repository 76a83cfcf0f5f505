//! Disks that fail: the run stops at once, what the journal holds stays good, and the run is resumed
//! when the disk is well again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use groundcrew::journal::{Actor, EntryKind, Mode, Record};
use groundcrew::store::{Append, NewRun, SqliteStore, Store};
use groundcrew_tests::{Said, World, fleet};
use jiff::Timestamp;
use tokio::process::Command;

const RESTART: [&str; 9] = [
    "run",
    "restart-by-group",
    "-i",
    "app=web",
    "-i",
    "group=",
    "-i",
    "parallel=5",
    "--yes",
];

/// Counts syncs, and lets those after the first so many fail as a broken disk does. Each leaves a
/// byte in the file `SYNC_LOG`.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
static atomic_int calls;
static int broken(void) {
    const char *log = getenv("SYNC_LOG");
    if (log) {
        int file = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (file < 0 || write(file, "s", 1) != 1) abort();
        close(file);
    }
    const char *good = getenv("GOOD_SYNCS");
    return good && atomic_fetch_add(&calls, 1) >= atoi(good);
}
int fsync(int fd) {
    if (broken()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
    if (broken()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"#;

fn shim(directory: &Path) -> Result<String> {
    let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
    std::fs::write(&source, SHIM)?;
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .context("no C compiler")?;
    ensure!(built.success(), "the shim does not compile");
    Ok(library.display().to_string())
}

fn machines(world: &World) -> Result<usize> {
    Ok(world.started("web", "web")?.len() + world.started("web", "worker")?.len())
}

async fn interrupted(world: &World) -> Result<String> {
    let newest = world.newest().await?;
    ensure!(newest["status"] == "interrupted", "{newest}");
    world.newest_run().await
}

/// Everything is restarted once, by the run that failed and whoever went on with it.
async fn resumed(world: &World, machines: usize, failed: &Said) -> Result<()> {
    let before = world.applied("machines.restart").len();
    ensure!(failed.code == 5, "{failed:?}");
    ensure!(failed.err.contains("the run was stopped"), "{failed:?}");
    ensure!(failed.err.contains("groundcrew resume"), "{failed:?}");
    ensure!(
        before > 0 && before < machines,
        "{before} of {machines}: it failed too early or late"
    );
    let run = interrupted(world).await?;
    let said = world.run(&["resume", &run]).await?;
    ensure!(said.code == 0, "{said:?}");
    let done = world.applied("machines.restart").len();
    ensure!(done == machines, "{done} of {machines}");
    world.verify()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_final() -> Result<()> {
    let world = World::start(fleet(60, 7), 10.0).await?;
    let machines = machines(&world)?;
    let shim = shim(&world.project())?;
    let mut command = world.command(&RESTART)?;
    command.env("LD_PRELOAD", shim).env("GOOD_SYNCS", "40");
    let failed = world.finish(command.spawn()?).await?;
    ensure!(failed.err.contains("disk I/O error"), "{failed:?}");
    resumed(&world, machines, &failed).await
}

/// The bytes that the state directory may hold: less than the journal of the run wants.
const DISK: u32 = 700 * 1024;

/// `command` on a full disk: a small one of its own (a tmpfs in a namespace of its own, whose
/// files are copied to the state directory afterwards) where that is permitted, elsewhere with a
/// bound on the size of a file.
fn on_a_small_disk(world: &World, command: &Command) -> Result<Command> {
    let own_mounts = ["--map-root-user", "--mount"];
    let permitted = std::process::Command::new("unshare")
        .args(own_mounts)
        .args(["mount", "-t", "tmpfs", "tmpfs"])
        .arg(world.project())
        .output()
        .is_ok_and(|tried| tried.status.success());
    let whole = command.as_std();
    let mut small = if permitted {
        let disk = world.project().join("disk");
        std::fs::create_dir_all(&disk)?;
        std::fs::create_dir_all(world.state())?;
        let mut small = Command::new("unshare");
        let script = "mount -t tmpfs -o size=$1,mode=700 tmpfs \"$2\" || exit 99; disk=$2; state=$3; shift 3; \
            mount --bind \"$disk\" \"$state\" || exit 99; \"$@\"; code=$?; \
            umount \"$state\" && cp -a \"$disk\"/. \"$state\" || exit 99; exit $code";
        small.args(own_mounts).args(["sh", "-c", script, "sh"]);
        small.arg(DISK.to_string()).arg(disk).arg(world.state());
        small
    } else {
        let mut small = Command::new("sh");
        // The signal that a program gets at the bound is ignored, so that the write fails.
        let script = "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"";
        small.args(["-c", script, "sh"]);
        small.arg((DISK / 512).to_string());
        small
    };
    small
        .arg(whole.get_program())
        .args(whole.get_args())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for (name, value) in whole.get_envs() {
        small.env(name, value.unwrap_or_default());
    }
    Ok(small)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_run() -> Result<()> {
    let world = World::start(fleet(120, 7), 20.0).await?;
    let machines = machines(&world)?;
    let mut command = on_a_small_disk(&world, &world.command(&RESTART)?)?;
    let failed = world.finish(command.spawn()?).await?;
    ensure!(
        failed.err.contains("the journal cannot be written"),
        "{failed:?}"
    );
    // What it holds is readable, before anybody goes on with it.
    let run = interrupted(&world).await?;
    let shown = world.run(&["runs", "show", &run]).await?;
    ensure!(shown.code == 0, "{shown:?}");
    resumed(&world, machines, &failed).await
}

/// 500 intents of a batch, with their leaves, as the journal's writer hands them to the store.
fn one_batch(store: &SqliteStore) -> Result<()> {
    let new = NewRun {
        run: "batch".to_owned(),
        runbook: "batch".to_owned(),
        target: "test".to_owned(),
        mode: Mode::Perform,
        locks: Vec::new(),
        holder: Actor::default(),
    };
    let now = Timestamp::now();
    let claim = store.open(&new, now, now)?;
    let payload = r#"{"step":"restart","effect":1,"decision":"allowed","request":{"operation":"machines.restart","app":"web","subject":"148e0123456789","arguments":{"force_stop":false,"signal":null,"timeout_ms":null}}}"#;
    let records: Vec<Record> = (0..500)
        .map(|sequence| Record {
            sequence,
            at: now,
            kind: EntryKind::Intended,
            payload: payload.into(),
        })
        .collect();
    let before = syncs()?;
    store.append(&Append {
        claim: &claim,
        records: &records,
        closing: None,
    })?;
    let after = syncs()?;
    ensure!(before > 0, "the shim counts nothing");
    ensure!(after == before + 1, "{} syncs", after - before);
    Ok(())
}

/// How often this process has synced a file.
fn syncs() -> Result<usize> {
    let log = std::env::var_os("SYNC_LOG").context("no shim")?;
    Ok(std::fs::read(log)?.len())
}

#[test]
fn a_batch_is_one_sync() -> Result<()> {
    const DIRECTORY: &str = "BATCH_DIRECTORY";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return one_batch(&SqliteStore::open(Path::new(&directory))?);
    }
    // Once more, in a process with the shim.
    let directory = tempfile::tempdir()?;
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "a_batch_is_one_sync", "--nocapture"])
        .env("LD_PRELOAD", shim(directory.path())?)
        .env("SYNC_LOG", directory.path().join("syncs"))
        .env(DIRECTORY, directory.path().join("state"))
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(std::fs::read(directory.path().join("syncs"))?.len() > 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stays_locked_stops_the_run() -> Result<()> {
    let world = World::start(fleet(60, 7), 4.0).await?;
    let machines = machines(&world)?;
    let running = world.command(&RESTART)?.spawn()?;
    world.until_applied("machines.restart", 3).await?;
    let path = world.state().join("groundcrew.sqlite");
    // Longer than a change waits for another one.
    let holder = tokio::task::spawn_blocking(move || -> Result<()> {
        let connection = rusqlite::Connection::open(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        std::thread::sleep(Duration::from_secs(7));
        Ok(connection.execute_batch("ROLLBACK")?)
    });
    let failed = world.finish(running).await?;
    holder.await??;
    ensure!(failed.err.contains("database is locked"), "{failed:?}");
    resumed(&world, machines, &failed).await
}
