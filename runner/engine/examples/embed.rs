//! Embeds the engine with a capability of one's own: a bell that plugins may ring.
//!
//!     cargo run -p groundcrew --example embed
//!
//! The four parts of a capability are in `impl Capability for Bell` and `impl Executor for Ringer`;
//! everything below `main` is the plugin, which would usually be a crate of its own.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use groundcrew::journal::{Actor, Mode};
use groundcrew::store::MemoryStore;
use groundcrew::{
    BoxFuture, Capability, Effect, Engine, EngineParts, Executor, Kind, Limits, Linking, Outcome,
    PluginSource, Policy, RealClock, Request, Row, RunRequest, Scale, Setting, Target, Unobserved,
    runbook,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

static RING: Row = Row {
    name: "bell.ring",
    kind: Kind::Write,
    verb: "ring",
    idempotent: false,
    housekeeping: false,
    waits: false,
    in_doubt: "cannot be found out",
    undo: None,
    creates: None,
    announces: None,
    fork: "nobody hears it",
    assumes: "",
    projection: &[],
    ..Row::READ
};

struct Bell;

impl Capability for Bell {
    fn name(&self) -> &'static str {
        "bell"
    }
    fn interface(&self) -> &'static str {
        "acme:bell/bell@0.1.0"
    }
    fn operations(&self) -> &'static [Row] {
        std::slice::from_ref(&RING)
    }
    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        // Links `ring`, which submits, and `take-ring`, which takes a `u32`.
        linking.operation::<(u32,), u32>("ring", |(times,)| Request::new(&RING).with(times.into()))
    }
    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Ringer { mode: setting.mode }))
    }
}

struct Ringer {
    mode: Mode,
}

impl Executor for Ringer {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let times = effect.request.arguments::<u32>();
            if let (Mode::Perform, Ok(times)) = (self.mode, &times) {
                println!("{}for {}", "ding! ".repeat(*times as usize), effect.id);
            }
            times.into()
        })
    }
}

const RUNBOOK: &str = r#"
name = "dinner"
summary = "Rings the bell."
[[step]]
id = "ring"
plugin = "ringer"
[step.grant.bell]
verbs = ["ring"]
"#;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = Arc::new(Engine::new(EngineParts {
        capabilities: vec![Arc::new(Bell)],
        plugins: vec![Box::new(Plugins(ringer()?))],
        store: Arc::new(MemoryStore::default()),
        wall: Arc::new(RealClock::new(jiff::Timestamp::now(), Scale::REAL)),
        limits: Limits::default(),
        cache: None,
    })?);
    for mode in [Mode::Rehearsal, Mode::Perform] {
        let runbook = runbook::check(RUNBOOK).map_err(|wrong| wrong[0].message.clone())?;
        let request = RunRequest {
            inputs: runbook
                .bind_inputs(&[])
                .map_err(|wrong| wrong[0].to_string())?,
            runbook,
            text: RUNBOOK.to_owned(),
            secrets: serde_json::Value::Null,
            target: Target::new("home", None, Scale::REAL),
            mode,
            actor: Actor {
                user: "cook".to_owned(),
                ..Actor::default()
            },
            policy: Policy::default(),
            seed: 1 + mode as u64,
            faults: Vec::new(),
            plan: None,
            accepted_drift: Vec::new(),
        };
        let admitted = engine
            .admit(request)
            .await
            .map_err(|no| no[0].to_string())?;
        let report = engine
            .start(admitted, Arc::new(Unobserved))
            .await?
            .finished()
            .await;
        let output = report.steps.first().and_then(|step| step.output.clone());
        println!("{mode:?}: {:?}, output {output:?}", report.status);
    }
    Ok(())
}

/// Plugins from memory.
struct Plugins(Vec<u8>);

impl PluginSource for Plugins {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok((name == "ringer").then(|| self.0.clone()))
    }
    fn names(&self) -> Vec<String> {
        vec!["ringer".to_owned()]
    }
}

const WORLD: &str = r"
package acme:bell@0.1.0;
interface bell {
  use groundcrew:host/operations@0.1.0.{op-id, failure};
  ring: func(times: u32) -> op-id;
  take-ring: func(op: op-id) -> result<u32, failure>;
}
world ringer {
  include groundcrew:host/plugin@0.1.0;
  import bell;
}
";

/// A plugin that rings three times, as WebAssembly text: `describe` gives the record at 512, `run`
/// submits, waits, takes, and returns the JSON text at 256.
fn ringer() -> Result<Vec<u8>, Box<dyn Error>> {
    let module = r#"(module
      (import "groundcrew:host/operations@0.1.0" "next" (func $next (param i32 i32)))
      (import "acme:bell/bell@0.1.0" "ring" (func $ring (param i32) (result i64)))
      (import "acme:bell/bell@0.1.0" "take-ring" (func $take (param i64 i32)))
      (memory (export "memory") 2)
      (global $heap (mut i32) (i32.const 65536))
      (data (i32.const 256) "\"done\"ringer1.0.0Rings the bell.{}bellringto call people to dinner")
      ;; name, version, summary, input schema, output schema, capabilities
      (data (i32.const 512) "\06\01\00\00\06\00\00\00" "\0c\01\00\00\05\00\00\00" "\11\01\00\00\0f\00\00\00"
                            "\20\01\00\00\02\00\00\00" "\20\01\00\00\02\00\00\00" "\40\02\00\00\01\00\00\00")
      ;; one capability: name, verbs, reason; then its one verb
      (data (i32.const 576) "\22\01\00\00\04\00\00\00" "\60\02\00\00\01\00\00\00" "\2a\01\00\00\18\00\00\00")
      (data (i32.const 608) "\26\01\00\00\04\00\00\00")
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
        (global.get $heap)
        (global.set $heap (i32.add (global.get $heap) (local.get 3))))
      (func (export "describe") (result i32) (i32.const 512))
      (func (export "run") (param i32 i32) (result i32) (local $op i64)
        (local.set $op (call $ring (i32.const 3)))
        (call $next (i32.const 1) (i32.const 1024))
        (call $take (local.get $op) (i32.const 1040))
        (i32.store8 (i32.const 1100) (i32.const 0))
        (i32.store (i32.const 1104) (i32.const 256))
        (i32.store (i32.const 1108) (i32.const 6))
        (i32.const 1100)))"#;
    let mut module = wat::parse_str(module)?;
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"))?;
    let package = resolve.push_str("bell.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("ringer"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    Ok(ComponentEncoder::default().module(&module)?.encode()?)
}
