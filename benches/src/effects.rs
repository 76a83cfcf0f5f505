//! Effects from one plugin through the gate, with nothing behind it but a timer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use groundcrew::journal::{Actor, Mode, RunStatus};
use groundcrew::store::{MemoryStore, SqliteStore, Store};
use groundcrew::{
    BoxFuture, Capability, Covers, Effect, Engine, EngineParts, Executor, Kind, Limits, Linking,
    Outcome, PluginSource, Policy, RealClock, Request, Row as TableRow, RunRequest, Scale, Scope,
    Setting as RunSetting, Target, Unobserved, Unsaid, runbook,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::process::Setting;
use crate::report::{Report, Row, median, shown};

/// Effects of one batch, and how long each takes.
const BATCH: u32 = 500;
const EACH: Duration = Duration::from_millis(5);

pub(crate) async fn measure(setting: &Setting, report: &mut Report) -> Result<()> {
    let times = setting.times(31);
    let directory = tempfile::tempdir_in(&setting.directory)?;
    let sync = fsync(directory.path(), setting.times(101))?;
    let memory = Stage::new(Arc::new(MemoryStore::default()), BATCH, 1, EACH).await?;
    let disk = Stage::new(
        Arc::new(SqliteStore::open(&directory.path().join("state"))?),
        BATCH,
        1,
        EACH,
    )
    .await?;
    // The first runs of a process also start threads and touch memory for the first time.
    memory.run().await?;
    disk.run().await?;
    let (mut in_memory, mut durable, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        in_memory.push(memory.run().await?);
        durable.push(disk.run().await?);
        bare.push(timers().await);
    }
    let (in_memory, durable, bare) = (median(in_memory), median(durable), median(bare));
    report.add(Row {
        what: format!("{BATCH} effects of 5 ms each from one plugin, in-memory journal (start of the run to its end; median of {times})"),
        target: "<= 10 ms".to_owned(),
        measured: shown(in_memory),
        baseline: format!("{}: {BATCH} bare timers", shown(bare)),
        reached: Some(in_memory <= Duration::from_millis(10)),
    });
    report.add(Row {
        what: "the same with a durable journal".to_owned(),
        target: "<= 3 x in memory".to_owned(),
        measured: format!(
            "{}: {:.2} x",
            shown(durable),
            durable.as_secs_f64() / in_memory.as_secs_f64()
        ),
        baseline: format!("bare fsync {} (median)", shown(sync)),
        reached: Some(durable <= in_memory * 3),
    });

    let batches = if setting.quick { 2 } else { 200 };
    let effects = BATCH * batches;
    let stage = Stage::new(
        Arc::new(MemoryStore::default()),
        BATCH,
        batches,
        Duration::ZERO,
    )
    .await?;
    let (mut through, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..setting.times(5) {
        through.push(stage.run().await? / effects);
        bare.push(tasks(effects).await? / effects);
    }
    let (through, bare) = (median(through), median(bare));
    report.add(Row {
        what: format!("host cost of one effect, granted and journalled in memory (mean of {effects}, {BATCH} at once, guest included)"),
        target: "<= 5 us".to_owned(),
        measured: shown(through),
        baseline: format!("{}: a bare task of the runtime", shown(bare)),
        reached: Some(through <= Duration::from_micros(5)),
    });
    Ok(())
}

async fn timers() -> Duration {
    let began = Instant::now();
    futures_util::future::join_all((0..BATCH).map(|_| tokio::time::sleep(EACH))).await;
    began.elapsed()
}

/// As many tasks, as many at once.
async fn tasks(effects: u32) -> Result<Duration> {
    let began = Instant::now();
    for _ in 0..effects / BATCH {
        let tasks = (0..BATCH).map(|n| tokio::spawn(async move { n }));
        for done in futures_util::future::join_all(tasks).await {
            done?;
        }
    }
    Ok(began.elapsed())
}

/// One write of 4 KiB and its sync: what nobody who is durable can save.
fn fsync(directory: &Path, times: usize) -> Result<Duration> {
    use std::io::Write;
    let mut file = std::fs::File::create(directory.join("fsync"))?;
    let mut taken = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        taken.push(began.elapsed());
    }
    Ok(median(taken))
}

pub(crate) struct Stage {
    pub(crate) engine: Arc<Engine>,
    seed: std::sync::atomic::AtomicU64,
}

const RUNBOOK: &str = r#"
name = "bench"
summary = "Works."
[[step]]
id = "work"
plugin = "worker"
[step.grant.work]
apps = ["web"]
verbs = ["do"]
"#;

impl Stage {
    pub(crate) async fn new(
        store: Arc<dyn Store>,
        at_once: u32,
        batches: u32,
        each: Duration,
    ) -> Result<Self> {
        let engine = Engine::new(EngineParts {
            capabilities: vec![Arc::new(Work)],
            plugins: vec![Box::new(Worker(worker(at_once, batches, each)?))],
            store,
            wall: Arc::new(RealClock::new(jiff::Timestamp::now(), Scale::REAL)),
            limits: Limits::default(),
            cache: None,
        })?;
        Ok(Self {
            engine: Arc::new(engine),
            seed: 0.into(),
        })
    }

    /// One run: admitted first, then timed from its start to its end.
    pub(crate) async fn run(&self) -> Result<Duration> {
        let checked = runbook::check(RUNBOOK).map_err(|wrong| anyhow!("{wrong:?}"))?;
        let request = RunRequest {
            inputs: checked
                .bind_inputs(&[])
                .map_err(|wrong| anyhow!("{wrong:?}"))?,
            runbook: checked,
            text: RUNBOOK.to_owned(),
            secrets: serde_json::Value::Null,
            target: Target::new("bench", None, Scale::REAL),
            mode: Mode::Perform,
            actor: Actor::default(),
            policy: Policy::default(),
            seed: self.seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            faults: Vec::new(),
            plan: None,
            accepted_drift: Vec::new(),
        };
        let admitted = self
            .engine
            .admit(request)
            .await
            .map_err(|no| anyhow!("{no:?}"))?;
        let began = Instant::now();
        let handle = self.engine.start(admitted, Arc::new(Unobserved)).await?;
        let report = handle.finished().await;
        let took = began.elapsed();
        ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
        Ok(took)
    }
}

static DO: TableRow = TableRow {
    assumes: "",
    name: "work.do",
    kind: Kind::Write,
    verb: "do",
    idempotent: false,
    housekeeping: false,
    waits: false,
    in_doubt: "cannot be found out",
    undo: None,
    creates: None,
    fork: "takes as long",
    projection: &[],
    ..TableRow::READ
};

struct Work;

impl Capability for Work {
    fn name(&self) -> &'static str {
        "work"
    }
    fn interface(&self) -> &'static str {
        "bench:work/work@0.1.0"
    }
    fn operations(&self) -> &'static [TableRow] {
        std::slice::from_ref(&DO)
    }
    fn scopes(&self) -> &'static [Scope] {
        &[Scope {
            key: "apps",
            one: "app",
            covers: Covers::Pattern,
            unsaid: Unsaid::Nothing,
            looked_up: false,
            about: "Apps, as names or patterns.",
        }]
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.operation::<(u32,), u32>("do", |(ms,)| {
            Request::new(&DO)
                .on("web".to_owned(), "machine".to_owned())
                .with(ms.into())
        })
    }
    fn executor(&self, _: &RunSetting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Doer))
    }
}

struct Doer;

impl Executor for Doer {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let ms = effect.request.arguments::<u32>();
            if let Ok(ms @ 1..) = ms {
                tokio::time::sleep(Duration::from_millis(ms.into())).await;
            }
            ms.into()
        })
    }
}

struct Worker(Vec<u8>);

impl PluginSource for Worker {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok((name == "worker").then(|| self.0.clone()))
    }
    fn names(&self) -> Vec<String> {
        vec!["worker".to_owned()]
    }
}

const WORLD: &str = r"
package bench:work@0.1.0;
interface work {
  use groundcrew:host/operations@0.1.0.{op-id, failure};
  do: func(ms: u32) -> op-id;
  take-do: func(op: op-id) -> result<u32, failure>;
}
world worker {
  include groundcrew:host/plugin@0.1.0;
  import work;
}
";

/// A plugin that submits a batch, takes all of it, and begins again. A list of ids comes to the
/// heap, which is emptied before each `next`; a failure traps.
fn worker(at_once: u32, batches: u32, each: Duration) -> Result<Vec<u8>> {
    let ms = each.as_millis();
    let module = format!(
        r#"(module
      (import "groundcrew:host/operations@0.1.0" "next" (func $next (param i32 i32)))
      (import "bench:work/work@0.1.0" "do" (func $do (param i32) (result i64)))
      (import "bench:work/work@0.1.0" "take-do" (func $take (param i64 i32)))
      (memory (export "memory") 4)
      (global $heap (mut i32) (i32.const 65536))
      (data (i32.const 256) "\"done\"worker1.0.0Works.{{}}workdoto be measured")
      ;; name, version, summary, input schema, output schema, capabilities
      (data (i32.const 512) "\06\01\00\00\06\00\00\00" "\0c\01\00\00\05\00\00\00" "\11\01\00\00\06\00\00\00"
                            "\17\01\00\00\02\00\00\00" "\17\01\00\00\02\00\00\00" "\40\02\00\00\01\00\00\00")
      ;; one capability: name, verbs, reason; then its one verb
      (data (i32.const 576) "\19\01\00\00\04\00\00\00" "\60\02\00\00\01\00\00\00" "\1f\01\00\00\0e\00\00\00")
      (data (i32.const 608) "\1d\01\00\00\02\00\00\00")
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
        (global.get $heap)
        (global.set $heap (i32.add (global.get $heap) (local.get 3))))
      (func (export "describe") (result i32) (i32.const 512))
      (func $batch (local $n i32) (local $at i32) (local $got i32)
        (local.set $n (i32.const {at_once}))
        (loop $submit
          (drop (call $do (i32.const {ms})))
          (br_if $submit (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.set $n (i32.const {at_once}))
        (loop $deliver
          (global.set $heap (i32.const 65536))
          (call $next (i32.const {at_once}) (i32.const 1024))
          (local.set $at (i32.load (i32.const 1024)))
          (local.set $got (i32.load (i32.const 1028)))
          (local.set $n (i32.sub (local.get $n) (local.get $got)))
          (loop $each
            (if (local.get $got) (then
              (call $take (i64.load (local.get $at)) (i32.const 1040))
              (if (i32.load8_u (i32.const 1040)) (then unreachable))
              (local.set $at (i32.add (local.get $at) (i32.const 8)))
              (local.set $got (i32.sub (local.get $got) (i32.const 1)))
              (br $each))))
          (br_if $deliver (local.get $n))))
      (func (export "run") (param i32 i32) (result i32) (local $batches i32)
        (local.set $batches (i32.const {batches}))
        (loop $again
          (call $batch)
          (br_if $again (local.tee $batches (i32.sub (local.get $batches) (i32.const 1)))))
        (i32.store8 (i32.const 1100) (i32.const 0))
        (i32.store (i32.const 1104) (i32.const 256))
        (i32.store (i32.const 1108) (i32.const 6))
        (i32.const 1100)))"#
    );
    let mut module = wat::parse_str(module)?;
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit"))?;
    let package = resolve.push_str("work.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("worker"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    ComponentEncoder::default()
        .module(&module)?
        .encode()
        .context("no component")
}
