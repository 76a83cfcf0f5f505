//! What performs effects, in whichever world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Cover, EffectId, Outcome, Request, Row};
use crate::clock::BoxFuture;
use crate::contract::Failure;

/// An effect on its way.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Goes out with every request that the effect causes.
    pub id: EffectId,
    /// What is asked for.
    pub request: Arc<Request>,
    /// What [`Executor::prepare`] found.
    pub baseline: Option<Value>,
    /// What of the answer may be seen.
    pub cover: Cover,
    /// Fires when the effect should end early. Waits obey; what has been sent is not unsent.
    pub cancel: CancellationToken,
}

/// Something the host does of its own accord when a step ends.
#[derive(Debug, Clone)]
pub struct Afterwards {
    /// What is done.
    pub request: Request,
}

/// What became of something that an abandoned run held.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// What it was held on: `app/id`.
    pub on: String,
    /// True: it was the run's and is given back. False: it is not the run's any more.
    pub outcome: Result<bool, Failure>,
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

/// Something that an earlier process of the run asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked for, and by whose grant it is covered.
    pub effect: Effect,
    /// What it was answered, as JSON; none if it failed or was never answered.
    pub answer: Option<Arc<str>>,
}

/// What has become of a fork.
#[derive(Debug, Clone, Default)]
pub struct Forked {
    /// How many things there are, by app.
    pub apps: BTreeMap<String, Population>,
    /// What is different.
    pub changes: Vec<Difference>,
}

/// Performs effects. One per capability and run; effects of all steps run concurrently.
pub trait Executor: Send + Sync + 'static {
    /// What an effect is within by the scope that is looked up ([`crate::Scope`]), for grants that name
    /// such: what its subject belongs to first, then what else it reaches, such as what it copies. None
    /// if the capability has no such scope.
    fn within<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        let _ = effect;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What a subject belongs to by that scope, if it is known without asking.
    fn belongs(&self, app: &str, subject: &str) -> Option<String> {
        let _ = (app, subject);
        None
    }

    /// How many there are within what was looked up, in the app, if that is known: for grants of a
    /// share.
    fn population(&self, app: &str, within: &str) -> Option<usize> {
        let _ = (app, within);
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

    /// Gives back what a run holds that nobody goes on with: `done` has the housekeeping that it did,
    /// `perhaps` what it may have done, in order. Called instead of everything else.
    fn let_go(&self, done: Vec<Effect>, perhaps: Vec<Effect>) -> BoxFuture<'_, Vec<GivenUp>> {
        let _ = (done, perhaps);
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

    /// What others have changed of what a run rests on since its earlier process was gone; `asked` has
    /// everything that it asked for, in order. Its own writes are no such change.
    fn changed_since(&self, asked: Vec<Asked>) -> BoxFuture<'_, Result<Vec<Difference>, Failure>> {
        let _ = asked;
        Box::pin(async { Ok(Vec::new()) })
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

/// How many Machines an app has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// On the target.
    pub before: usize,
    /// At most, on the way.
    pub peak: usize,
    /// In the end.
    pub after: usize,
    /// Who serves, by process group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service: BTreeMap<String, InService>,
}

/// How many Machines of a process group serve: started, in service, their checks passing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InService {
    /// On the target.
    pub before: u64,
    /// At least, on the way.
    pub least: u64,
    /// The longest time during which none does, in milliseconds, by the times that are assumed.
    pub gap_ms: u64,
}

/// A field that will be different, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `app/id`.
    pub subject: String,
    /// Its name; empty if the whole thing is new, or gone.
    pub field: String,
    /// Before; null if it is new.
    pub before: Value,
    /// Afterwards; null if it is gone.
    pub after: Value,
}
