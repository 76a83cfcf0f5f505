//! A capability: one interface that plugins may import, in four parts. Ours and an embedder's own
//! go through this one trait.
//!
//! 1. its interface and how it is linked ([`Capability::link`]);
//! 2. its rows in the operations table ([`Capability::operations`]);
//! 3. and 4. its executor, live and on a fork ([`Capability::executor`]).

pub(crate) mod guest;
pub(crate) mod operations;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower};

use crate::capability::guest::Guest;
use crate::clock::{BoxFuture, Clock};
use crate::contract::Failure;
use crate::deadline::Deadline;
use crate::effect::{EffectId, Outcome, Request, Row};
use crate::journal::Mode;
use crate::plan::{Change, Population};
use crate::target::Target;

/// One capability of the host.
pub trait Capability: Send + Sync + 'static {
    /// Its name in grants: `machines`.
    fn name(&self) -> &'static str;

    /// Its interface with the version: `groundcrew:host/machines@0.1.0`.
    fn interface(&self) -> &'static str;

    /// Its rows in the operations table. Each name starts with the capability's.
    fn operations(&self) -> &'static [Row];

    /// Links the interface's functions.
    ///
    /// # Errors
    /// If a name is linked twice.
    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()>;

    /// What performs the capability's effects for one run.
    ///
    /// # Errors
    /// Why the run cannot be admitted: the target lacks something. Nothing has happened.
    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String>;
}

/// What an executor is made for.
#[derive(Clone)]
pub struct Setting {
    /// The run's id.
    pub run: Arc<str>,
    /// Where it acts.
    pub target: Target,
    /// On the target itself, or on a fork of it.
    pub mode: Mode,
    /// The run's clock; virtual on a fork.
    pub clock: Arc<dyn Clock>,
    /// Seeds every jitter.
    pub seed: u64,
    /// To be checked right before each write is sent.
    pub deadline: Deadline,
    /// What the capabilities of the run share.
    pub commons: Commons,
}

/// What the capabilities of one run share, such as one fork of the fleet: one value of each type,
/// made by whoever asks first.
#[derive(Clone, Default)]
pub struct Commons(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Commons {
    /// The value of a type; `make` makes it if nobody has.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn share<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, String>,
    ) -> Result<Arc<T>, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&TypeId::of::<T>()).cloned();
        if let Some(value) = known.and_then(|value| value.downcast::<T>().ok()) {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        all.insert(TypeId::of::<T>(), value.clone());
        Ok(value)
    }
}

/// An effect on its way.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Goes out with every request that the effect causes.
    pub id: EffectId,
    /// What is asked for.
    pub request: Arc<Request>,
    /// What [`Executor::prepare`] found.
    pub baseline: Option<Value>,
    /// Fires when the effect should end early. Waits obey; what has been sent is not unsent.
    pub cancel: CancellationToken,
}

/// Something the host does of its own accord when a step ends.
#[derive(Debug, Clone)]
pub struct Afterwards {
    /// What is done.
    pub request: Request,
}

/// What became of a write of which only the intent is known.
#[derive(Debug, Clone)]
pub enum Found {
    /// It happened, with this outcome.
    Happened(Outcome),
    /// It did not, and cannot any more; or it does no harm to do it again.
    DidNot,
    /// Nobody can tell, and why.
    Unknown(String),
}

/// What has become of a fork.
#[derive(Debug, Clone, Default)]
pub struct Forked {
    /// How many things there are, by app.
    pub apps: BTreeMap<String, Population>,
    /// What is different.
    pub changes: Vec<Change>,
}

/// Performs effects. One per capability and run; effects of all steps run concurrently.
pub trait Executor: Send + Sync + 'static {
    /// The process group that an effect's subject belongs to, for grants that name groups; none
    /// if the capability has no such thing.
    fn group<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        let _ = effect;
        Box::pin(async { Ok(None) })
    }

    /// How many there are of what `group` names, in the app, if that is known: for grants of a
    /// share.
    fn population(&self, app: &str, group: &str) -> Option<usize> {
        let _ = (app, group);
        None
    }

    /// Whether [`Executor::prepare`] has something to read first.
    fn prepares(&self, row: &Row) -> bool {
        let _ = row;
        false
    }

    /// Reads what makes it possible to find out later whether a write happened. Before the intent.
    fn prepare<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<Value>, Failure>> {
        let _ = effect;
        Box::pin(async { Ok(None) })
    }

    /// Takes over what an earlier process of this run holds: `done` has the housekeeping that it
    /// did for steps which have not ended, in order. Called once, before anything else is. Gives
    /// what could not be taken over, a sentence each.
    fn take_over(&self, done: Vec<Effect>) -> BoxFuture<'_, Vec<String>> {
        let _ = done;
        Box::pin(async { Vec::new() })
    }

    /// Finds out what became of a write that was written down `age` ago, by the wall, by a process
    /// that is gone before it could write down the outcome. What does no harm twice has not happened.
    fn find_out<'a>(&'a self, effect: &'a Effect, age: Duration) -> BoxFuture<'a, Found> {
        let _ = age;
        let found = if effect.request.row.idempotent {
            Found::DidNot
        } else {
            Found::Unknown(effect.request.row.in_doubt.to_owned())
        };
        Box::pin(async { found })
    }

    /// What a plugin is answered when a write is known to have happened.
    fn happened(&self, effect: &Effect) -> Outcome {
        let _ = effect;
        Outcome::ok(&())
    }

    /// Performs one effect, with whatever retries and reconciliation it takes.
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome>;

    /// Of a fork: what a request reads, or the thing that it writes to, as it was on the target
    /// before anything was done to the fork; whole, by subject (`app/id`). Elsewhere nothing.
    fn original<'a>(
        &'a self,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Value>, Failure>> {
        let _ = effect;
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    /// Of a fork: what has become of it. Elsewhere nothing.
    fn forked(&self) -> Forked {
        Forked::default()
    }

    /// What a step still holds and has to give back when it ends.
    fn left_behind(&self, step: &str) -> Vec<Afterwards> {
        let _ = step;
        Vec::new()
    }
}

/// Links the functions of one interface.
pub struct Linking<'a> {
    instance: LinkerInstance<'a, Guest>,
}

impl<'a> Linking<'a> {
    pub(crate) fn new(linker: &'a mut Linker<Guest>, interface: &str) -> wasmtime::Result<Self> {
        Ok(Self {
            instance: linker.instance(interface)?,
        })
    }

    /// Links `name`, which submits what `request` makes of its arguments and returns an operation
    /// id, and `take-<name>`, which takes the answer as a `T`.
    ///
    /// # Errors
    /// If one of the two is linked already.
    pub fn operation<P, T>(
        &mut self,
        name: &str,
        request: impl Fn(P) -> Request + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        T: ComponentType + Lower + DeserializeOwned + Send + Sync + 'static,
    {
        self.submission(name, request)?;
        let operation = name.to_owned();
        self.function(&format!("take-{name}"), move |guest, (number,): (u64,)| {
            let taken: Result<T, Failure> = guest.take(number, &operation)?;
            Ok((taken,))
        })
    }

    /// Links `name` alone: submits, and returns an operation id.
    ///
    /// # Errors
    /// If it is linked already.
    pub fn submission<P>(
        &mut self,
        name: &str,
        request: impl Fn(P) -> Request + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
    {
        self.function(name, move |guest, arguments: P| {
            Ok((guest.submit(request(arguments))?,))
        })
    }

    /// Links a function that has no effect on the world.
    ///
    /// # Errors
    /// If it is linked already.
    pub fn function<P, R>(
        &mut self,
        name: &str,
        body: impl Fn(&mut Guest, P) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + 'static,
        R: ComponentNamedList + Lower + 'static,
    {
        let called = name.to_owned();
        self.instance.func_wrap(
            name,
            move |mut store: wasmtime::StoreContextMut<'_, Guest>, arguments: P| {
                store.data().performs(&called)?;
                body(store.data_mut(), arguments)
            },
        )
    }

    pub(crate) fn instance(&mut self) -> &mut LinkerInstance<'a, Guest> {
        &mut self.instance
    }
}

/// A typed argument list as the arguments of a request.
pub fn arguments<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
