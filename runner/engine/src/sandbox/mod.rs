//! Plugins in wasmtime: compiling, checking, describing and running them.
//!
//! A component is untrusted. It is compiled (or its compiled form is taken from the private
//! cache), its imports are checked against what the host links, and its `describe` runs under
//! tight limits with every import trapping. The schemas that it declares may not refer outside
//! themselves, nor ask for more work than `cost.rs` allows. Each attempt of a step has a wasmtime store of its own, without WASI and without
//! threads.

pub(crate) mod cache;
pub(crate) mod compiled;
mod cost;
pub(crate) mod schema;

use std::sync::Arc;

use thiserror::Error;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, OptLevel, Store};

use crate::capability::guest::{Guest, Stop};
use crate::capability::operations::Operations;
use crate::capability::{Capability, Linking};
use crate::contract::{PluginInfo, Problem, RunInfo};
use crate::digest::digest;
use crate::journal::StepProblem;
use crate::limits::Limits;
use crate::sandbox::cache::CompiledCache;
use crate::sandbox::compiled::load_compiled;
use crate::sandbox::schema::Schema;

/// Why a plugin is not admitted.
#[derive(Debug, Error)]
#[error("plugin `{name}` {reason}")]
pub struct PluginError {
    /// What the runbook calls it.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A plugin that can be run.
#[derive(Clone)]
pub struct Plugin {
    /// What it says about itself.
    pub info: PluginInfo,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The functions that it imports, as `interface#function`: the upper bound of its powers.
    pub imports: Vec<String>,
    input: Arc<Schema>,
    output: Arc<Schema>,
    pub(crate) instance: Arc<wasmtime::component::InstancePre<Guest>>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("info", &self.info)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// What is wrong with an input, each with the place in it.
    pub async fn input_faults(&self, input: &serde_json::Value) -> Vec<String> {
        judged(&self.input, input).await
    }

    /// What is wrong with an output.
    pub async fn output_faults(&self, output: &serde_json::Value) -> Vec<String> {
        judged(&self.output, output).await
    }

    /// The verbs that it asks for of a capability.
    pub fn requested(&self, capability: &str) -> Vec<String> {
        self.info
            .capabilities
            .iter()
            .filter(|c| c.name == capability)
            .flat_map(|c| c.verbs.iter().cloned())
            .collect()
    }
}

/// Asks a schema; not on this thread if that takes a while, because this thread shows that the run is alive.
async fn judged(schema: &Arc<Schema>, value: &serde_json::Value) -> Vec<String> {
    if !schema.is_heavy(value) {
        return schema.faults(value);
    }
    let (schema, value) = (schema.clone(), value.clone());
    let judged = tokio::task::spawn_blocking(move || schema.faults(&value)).await;
    judged.unwrap_or_else(|e| vec![format!("it could not be compared with its schema: {e}")])
}

fn compiled(
    engine: &Engine,
    cache: Option<&CompiledCache>,
    bytes: &[u8],
    digest: &str,
) -> wasmtime::Result<Component> {
    let Some(cache) = cache else {
        return Component::from_binary(engine, bytes);
    };
    let key = format!("{digest}-{:016x}", compatibility(engine));
    if let Some(code) = cache.get(&key)
        && let Ok(component) = load_compiled(engine, &code)
    {
        return Ok(component);
    }
    let code = engine.precompile_component(bytes)?;
    cache.put(&key, &code);
    load_compiled(engine, &code)
}

/// Loads plugins for one set of capabilities.
pub(crate) struct Sandbox {
    engine: Engine,
    linker: Linker<Guest>,
    limits: Limits,
    cache: Option<Arc<CompiledCache>>,
    /// What can be imported, by name and version.
    interfaces: Vec<String>,
}

/// How much fuel a plugin burns before it lets others run (and a timeout strike). About 5 ms.
const YIELD_FUEL: u64 = 5_000_000;

/// wasmtime needs its own stack beside the plugin's: its default difference is 1.5 MiB.
const HOST_STACK: usize = 1536 << 10;

impl Sandbox {
    pub(crate) fn new(
        capabilities: &[Arc<dyn Capability>],
        limits: Limits,
        cache: Option<CompiledCache>,
    ) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .max_wasm_stack(limits.stack_bytes)
            .async_stack_size(limits.stack_bytes + HOST_STACK)
            // The same program gives the same bits everywhere: a replay depends on it.
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            // Plugins order work, they do not compute: what counts is the time to compile them.
            .cranelift_opt_level(OptLevel::None)
            // Nobody reads the backtrace of a plugin that trapped; its code is smaller without.
            .generate_address_map(false);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        crate::capability::operations::link(&mut linker)?;
        let mut interfaces = crate::capability::operations::interfaces();
        for capability in
            std::iter::once(&(Arc::new(Operations) as Arc<dyn Capability>)).chain(capabilities)
        {
            interfaces.push(capability.interface().to_owned());
            capability.link(&mut Linking::new(&mut linker, capability.interface())?)?;
        }
        Ok(Self {
            engine,
            linker,
            limits,
            cache: cache.map(Arc::new),
            interfaces,
        })
    }

    /// Compiles, checks and describes a component.
    pub(crate) async fn load(&self, name: &str, bytes: &[u8]) -> Result<Plugin, PluginError> {
        let refuse = |reason: String, hint: Option<&str>| PluginError {
            name: name.to_owned(),
            reason,
            hint: hint.map(str::to_owned),
        };
        if bytes.len() > self.limits.component_bytes {
            return Err(refuse(
                format!(
                    "is {} bytes; at most {} are allowed",
                    bytes.len(),
                    self.limits.component_bytes
                ),
                None,
            ));
        }
        kind_of(bytes).map_err(|(reason, hint)| refuse(reason.to_owned(), hint))?;
        let digest = digest(bytes);
        // Not on this thread, which may have to show that a run is alive.
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        let (owned, of) = (bytes.to_vec(), digest.clone());
        let compiling = move || compiled(&engine, cache.as_deref(), &owned, &of);
        let component = tokio::task::spawn_blocking(compiling)
            .await
            .map_err(|e| refuse(format!("could not be compiled: {e}"), None))?
            .map_err(|e| refuse(format!("is not a valid component: {}", root(&e)), None))?;
        let imports = self.imports(&component, name)?;
        let instance = self.linker.instantiate_pre(&component).map_err(|e| {
            refuse(
                format!("does not fit this host's contract: {}", root(&e)),
                Some("it may have been built for another version of `groundcrew:host`"),
            )
        })?;
        let instance = Arc::new(instance);
        let info = self.describe(&instance).await.map_err(|problem| {
            refuse(
                format!("could not describe itself: {}", problem.message),
                None,
            )
        })?;
        let schema = |what: &str, text: &str| {
            Schema::compile(text).map(Arc::new).map_err(|unfit| {
                refuse(
                    format!("has an {what} schema that {}", unfit.reason),
                    unfit.hint,
                )
            })
        };
        let input = schema("input", &info.input_schema)?;
        let output = schema("output", &info.output_schema)?;
        Ok(Plugin {
            info,
            digest,
            imports,
            input,
            output,
            instance,
        })
    }

    /// Every function that the component imports; refuses those that the host does not have.
    fn imports(&self, component: &Component, name: &str) -> Result<Vec<String>, PluginError> {
        let mut found = Vec::new();
        for (interface, item) in component.component_type().imports(&self.engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                return Err(PluginError {
                    name: name.to_owned(),
                    reason: format!("imports `{interface}`, which this host does not have"),
                    hint: None,
                });
            };
            if !self
                .interfaces
                .iter()
                .any(|known| same_line(known, interface))
            {
                let hint = interface.starts_with("wasi:").then(|| "build it for `wasm32-unknown-unknown`: plugins reach the world only through the host's capabilities".to_owned());
                return Err(PluginError {
                    name: name.to_owned(),
                    reason: format!("imports `{interface}`, which this host does not have"),
                    hint,
                });
            }
            for (function, item) in instance.exports(&self.engine) {
                if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                    found.push(format!("{interface}#{function}"));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    async fn describe(
        &self,
        instance: &wasmtime::component::InstancePre<Guest>,
    ) -> Result<PluginInfo, StepProblem> {
        let nobody = RunInfo {
            id: String::new(),
            runbook: String::new(),
            step: String::new(),
            attempt: 0,
            target: String::new(),
        };
        let guest = Guest::new(None, self.limits, nobody, rand_pcg::Pcg64::new(0, 0), 0);
        let mut store = self.store(guest, self.limits.describe_fuel);
        let result = async {
            let running = instance.instantiate_async(&mut store).await?;
            let describe = running.get_typed_func::<(), (PluginInfo,)>(&mut store, "describe")?;
            let (info,) = describe.call_async(&mut store, ()).await?;
            Ok(info)
        }
        .await;
        let info: PluginInfo = result.map_err(|e| {
            stopped(
                &e,
                &Limits {
                    fuel: self.limits.describe_fuel,
                    ..self.limits
                },
            )
        })?;
        let asked = info.capabilities.iter().map(|capability| {
            let verbs: usize = capability.verbs.iter().map(String::len).sum();
            capability.name.len() + capability.reason.len() + verbs
        });
        let size = info.name.len()
            + info.version.len()
            + info.summary.len()
            + info.input_schema.len()
            + info.output_schema.len()
            + asked.sum::<usize>();
        if size > DESCRIPTION_BYTES {
            return Err(crate::sandbox::problem(
                "output",
                format!(
                    "its description has {size} bytes; at most {DESCRIPTION_BYTES} are allowed"
                ),
            ));
        }
        Ok(info)
    }

    fn store(&self, guest: Guest, fuel: u64) -> Store<Guest> {
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.memory);
        // Neither can fail: fuel is switched on above.
        let _ = store.set_fuel(fuel);
        let _ = store.fuel_async_yield_interval(Some(YIELD_FUEL));
        store
    }

    /// Runs a plugin once.
    pub(crate) async fn run(
        &self,
        plugin: &Plugin,
        guest: Guest,
        input: String,
    ) -> Result<Result<String, Problem>, Stopped> {
        let mut store = self.store(guest, self.limits.fuel);
        let result = async {
            let running = plugin.instance.instantiate_async(&mut store).await?;
            let run = running
                .get_typed_func::<(String,), (Result<String, Problem>,)>(&mut store, "run")?;
            let (result,) = run.call_async(&mut store, (input,)).await?;
            Ok(result)
        }
        .await;
        match result {
            Ok(result) => {
                let size = match &result {
                    Ok(output) => output.len(),
                    Err(problem) => {
                        problem.message.len() + problem.output.as_ref().map_or(0, String::len)
                    }
                };
                if size > self.limits.output_bytes {
                    return Err(Stopped::Problem(problem(
                        "output",
                        format!(
                            "the plugin returned {size} bytes; at most {} are allowed",
                            self.limits.output_bytes
                        ),
                    )));
                }
                Ok(result)
            }
            Err(e) => {
                let e: wasmtime::Error = e;
                match e.downcast_ref::<Stop>() {
                    Some(Stop::Halt(halt)) => Err(Stopped::Halt(halt.clone())),
                    Some(Stop::Bound { .. }) | None => {
                        Err(Stopped::Problem(stopped(&e, &self.limits)))
                    }
                }
            }
        }
    }
}

/// Name, version, summary, both schemas and what it asks for, together.
const DESCRIPTION_BYTES: usize = 256 << 10;

/// Why a plugin did not come to its own end.
pub(crate) enum Stopped {
    Problem(StepProblem),
    Halt(crate::gate::shared::Halt),
}

pub(crate) fn problem(code: &str, message: String) -> StepProblem {
    StepProblem {
        kind: crate::contract::ProblemKind::Other,
        code: Some(code.to_owned()),
        message,
    }
}

/// Says in words what stopped a plugin.
fn stopped(e: &wasmtime::Error, limits: &Limits) -> StepProblem {
    if let Some(Stop::Bound { code, message }) = e.downcast_ref::<Stop>() {
        return problem(code, message.clone());
    }
    match e.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => problem(
            "fuel",
            format!(
                "the plugin computed without end: it used up its {} units of fuel",
                limits.fuel
            ),
        ),
        Some(wasmtime::Trap::StackOverflow) => problem(
            "stack",
            format!(
                "the plugin recursed without end: its stack of {} bytes is full",
                limits.stack_bytes
            ),
        ),
        Some(trap) => problem("trap", format!("the plugin broke down: {trap}")),
        None => {
            let text = root(e);
            if text.contains("forcing trap when growing memory")
                || text.contains("memory minimum size")
            {
                problem(
                    "memory",
                    format!(
                        "the plugin wanted more than its {} bytes of memory",
                        limits.memory_bytes
                    ),
                )
            } else {
                problem("trap", format!("the plugin broke down: {text}"))
            }
        }
    }
}

fn root(e: &wasmtime::Error) -> String {
    e.chain()
        .last()
        .map_or_else(|| e.to_string(), ToString::to_string)
}

/// Tells what a file is that is no component, before a compiler's message would.
fn kind_of(bytes: &[u8]) -> Result<(), (&'static str, Option<&'static str>)> {
    // The binary formats' preamble: magic, version, layer.
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err((
            "is a core WebAssembly module, not a component",
            Some("make a component of it with `wasm-tools component new`"),
        )),
        Some([0, b'a', b's', b'm', ..]) => Err((
            "is WebAssembly of a version that this host does not know",
            None,
        )),
        Some(_) | None => Err(("is not WebAssembly", None)),
    }
}

/// Whether a component that imports `wanted` may find `known`: the same interface, and a version
/// that the linker resolves (the same minor one, while the major one is 0). The linker decides in
/// the end; this decides which message is given.
fn same_line(known: &str, wanted: &str) -> bool {
    let split = |name: &str| {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let line: Vec<String> = version.split('.').take(2).map(str::to_owned).collect();
        (interface.to_owned(), line)
    };
    split(known) == split(wanted)
}

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
