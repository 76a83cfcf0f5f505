//! Performs the effects of `machines` in either world: rate limits, retries, reconciliation.
//!
//! A request is repeated blindly only if it surely had no effect, or if repeating it is harmless.
//! After anything else (a reset, a cut-off, a 408, a 5xx) it is *found out* first whether the
//! write happened, by its row's rule (`find_out.rs`). What cannot be found out is said to be in doubt.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::{Value, json};

use super::api::{Api, At, Command};
use super::find_out::late;
use super::fork::Fork;
use super::leases::Leases;
use super::limiter::Limits;
use super::trouble::Trouble;
use super::{ListArguments, Listing, row, summary, watch};
use crate::bindings::Failure;
use crate::bindings::machines::{
    Done, Filter, HealthyOptions, Machine, RestartOptions, Scope, StopOptions, WaitOptions,
};
use crate::capability::{Afterwards, Effect, Executor, Forked, Found, Setting};
use crate::clock::{BoxFuture, Clock};
use crate::effect::{Outcome, Request, Row};

/// Tries of one request before its failure is final, beyond the first.
const RETRIES: usize = 6;

pub(super) struct Executing {
    pub(super) api: Arc<dyn Api>,
    /// The same, if it is a fork.
    pub(super) fork: Option<Arc<Fork>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) leases: Arc<Leases>,
    seed: u64,
    /// Process groups of Machines that have been read: a grant may name groups.
    groups: Mutex<HashMap<(String, String), String>>,
}

impl Executing {
    pub(super) fn start(
        api: Arc<dyn Api>,
        fork: Option<Arc<Fork>>,
        setting: &Setting,
    ) -> Arc<dyn Executor> {
        let leases = Leases::new(api.clone(), setting.clock.clone(), setting.run.clone());
        let limits = Limits::new(setting.clock.clone());
        Arc::new(Self {
            api,
            fork,
            clock: setting.clock.clone(),
            limits,
            leases,
            seed: setting.seed,
            groups: Mutex::default(),
        })
    }

    fn backoff(&self, effect: &Effect) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(8))
            .with_max_times(RETRIES)
            .with_jitter()
            .with_jitter_seed(self.seed ^ effect.id.number)
            .build()
    }

    /// Sends a read until it is answered, or its failure is final.
    pub(super) async fn read<T, F>(
        &self,
        effect: &Effect,
        mut send: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut backoff = self.backoff(effect);
        loop {
            match send().await {
                Ok(value) => return Ok(value),
                Err(trouble) => match backoff.next() {
                    Some(delay) if trouble.transient => {
                        self.pause(effect, delay, trouble.retry_after).await?
                    }
                    Some(_) | None => return Err(trouble.failure),
                },
            }
        }
    }

    async fn pause(
        &self,
        effect: &Effect,
        delay: Duration,
        asked: Option<Duration>,
    ) -> Result<(), Failure> {
        // A service may ask for patience, but not for more than a minute of it.
        let delay = asked.map_or(delay, |asked| asked.max(delay).min(Duration::from_secs(60)));
        tokio::select! {
            biased;
            () = effect.cancel.cancelled() => Err(Failure::Cancelled("ended while waiting to try again".to_owned())),
            () = self.clock.sleep(delay) => Ok(()),
        }
    }

    pub(super) async fn get(
        &self,
        effect: &Effect,
        at: At<'_>,
    ) -> Result<groundcrew_fleet::api::Machine, Failure> {
        self.limits.read(at.id).await;
        let machine = self.read(effect, || self.api.get(at)).await?;
        self.note_group(at.app, at.id, machine.process_group());
        Ok(machine)
    }

    fn note_group(&self, app: &str, id: &str, group: &str) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert((app.to_owned(), id.to_owned()), group.to_owned());
    }

    /// What is made of each Machine of an app. Notes the groups of all of them.
    async fn list_app<T: Send>(
        &self,
        effect: &Effect,
        app: &str,
        made: impl Fn(&groundcrew_fleet::api::Machine) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Failure> {
        self.limits.action("list", app).await;
        let all = Mutex::new(Vec::new());
        let all_of = || all.lock().unwrap_or_else(PoisonError::into_inner);
        let each = |machine: groundcrew_fleet::api::Machine| {
            self.note_group(app, &machine.id, machine.process_group());
            all_of().extend(made(&machine));
        };
        self.read(effect, || {
            // What an earlier try left.
            all_of().clear();
            self.api.list(&effect.id, app, &each)
        })
        .await?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn list(&self, effect: &Effect) -> Outcome {
        let arguments: ListArguments = match effect.request.arguments() {
            Ok(arguments) => arguments,
            Err(failure) => return failure.into(),
        };
        let filter = &arguments.filter;
        let listed = match &arguments.scope {
            Scope::App(app) => {
                let wanted = |machine: &_| {
                    let machine = summary::machine(app, machine);
                    keeps(filter, &machine).then_some(machine)
                };
                let machines = self.list_app(effect, app, wanted).await;
                machines.map(|machines| Listing {
                    machines,
                    missing_regions: Vec::new(),
                })
            }
            Scope::Organisation => {
                self.limits.action("list", "*").await;
                self.read(effect, || self.api.list_organisation(&effect.id))
                    .await
                    .map(|all| Listing {
                        machines: all
                            .machines
                            .iter()
                            .map(summary::listed)
                            .filter(|m| keeps(filter, m))
                            .collect(),
                        missing_regions: all.missing_regions,
                    })
            }
        };
        self.limits.tidy();
        listed.into()
    }

    /// Sends a write until it is known what became of it, or known that this cannot be known.
    async fn write(&self, effect: &Effect, at: At<'_>, command: &Command) -> Outcome {
        let mut backoff = self.backoff(effect);
        loop {
            self.limits.action(effect.request.row.name, at.id).await;
            let nonce = self.leases.nonce(at.app, at.id);
            let trouble = match self.api.command(at, command, nonce.as_deref()).await {
                Ok(()) => return self.happened(effect),
                Err(trouble) => trouble,
            };
            if !trouble.may_have_happened {
                match backoff.next() {
                    Some(delay) if trouble.transient => {
                        if self
                            .pause(effect, delay, trouble.retry_after)
                            .await
                            .is_err()
                        {
                            return trouble.failure.into();
                        }
                        continue;
                    }
                    Some(_) | None => {
                        return Box::pin(self.explain(at, trouble.failure)).await.into();
                    }
                }
            }
            // Boxed, as what is rare and large below: thousands of effects wait here at once.
            match Box::pin(self.found(effect, at, command, late(self.clock.now()))).await {
                Found::Happened(outcome) => return outcome,
                Found::DidNot => match backoff.next() {
                    Some(delay) => self.clock.sleep(trouble.retry_after.unwrap_or(delay)).await,
                    None => return said(&trouble.failure, "it did not happen").into(),
                },
                Found::Unknown(why) => {
                    return Outcome::in_doubt(said(
                        &trouble.failure,
                        &format!("it may have happened: {why}"),
                    ));
                }
            }
        }
    }

    /// A conflict says who is in the way.
    async fn explain(&self, at: At<'_>, failure: Failure) -> Failure {
        match failure {
            Failure::Conflict(text) if self.leases.nonce(at.app, at.id).is_none() => {
                match self.api.held_lease(at).await {
                    Ok(Some(lease)) => Failure::Conflict(format!(
                        "Machine {} is leased by {}: {text}",
                        at.id, lease.owner
                    )),
                    Ok(None) | Err(_) => Failure::Conflict(text),
                }
            }
            other => other,
        }
    }

    async fn lease(&self, effect: &Effect, at: At<'_>) -> Outcome {
        let mut backoff = self.backoff(effect);
        loop {
            self.limits.action("lease", at.id).await;
            let trouble = match self.leases.acquire(at).await {
                Ok(()) => return Outcome::ok(&()),
                Err(trouble) => trouble,
            };
            let held = trouble.may_have_happened || matches!(trouble.failure, Failure::Conflict(_));
            if held {
                match self.leases.look(at).await {
                    Ok(Ok(())) => return Outcome::ok(&()),
                    Ok(Err(Some(holder))) => {
                        return Failure::Conflict(format!(
                            "Machine {} is leased by {holder}",
                            at.id
                        ))
                        .into();
                    }
                    Ok(Err(None)) => {}
                    Err(unseen) if trouble.may_have_happened && !unseen.transient => {
                        return Outcome::in_doubt(said(
                            &trouble.failure,
                            "the lease may be ours; it ends by itself",
                        ));
                    }
                    Err(_) => {}
                }
            }
            match backoff.next() {
                Some(delay) if trouble.transient || held => {
                    if let Err(cancelled) = self.pause(effect, delay, trouble.retry_after).await {
                        return cancelled.into();
                    }
                }
                Some(_) | None => return trouble.failure.into(),
            }
        }
    }

    async fn release(&self, effect: &Effect, at: At<'_>) -> Outcome {
        // Giving back twice is giving back once: not found means done.
        let result = self.read(effect, || self.leases.release(at)).await;
        result.into()
    }

    async fn events(&self, effect: &Effect, at: At<'_>) -> Outcome {
        self.limits.action("events", at.id).await;
        let limit: u32 = effect.request.arguments().unwrap_or(20);
        let events = self.read(effect, || self.api.events(at, limit)).await;
        events
            .map(|all| all.iter().map(summary::event).collect::<Vec<_>>())
            .into()
    }
}

pub(super) fn keeps(filter: &Filter, machine: &Machine) -> bool {
    let within = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    within(&filter.groups, &machine.group)
        && within(&filter.regions, &machine.region)
        && within(&filter.states, &machine.state)
}

/// A failure's text with a few words behind it.
fn said(failure: &Failure, more: &str) -> Failure {
    Failure::Unavailable(format!("{}; {more}", failure.parts().1))
}

/// The write that a request asks for; none if it asks for something else.
pub(super) fn command(request: &Request) -> Result<Option<Command>, Failure> {
    Ok(Some(match request.row.operation() {
        "start" => Command::Start,
        "suspend" => Command::Suspend,
        "cordon" => Command::Cordon,
        "uncordon" => Command::Uncordon,
        "stop" => Command::Stop(request.arguments::<StopOptions>()?),
        "restart" => Command::Restart(request.arguments::<RestartOptions>()?),
        "signal" => Command::Signal(request.arguments()?),
        _ => return Ok(None),
    }))
}

impl Executor for Executing {
    fn group<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(async move {
            let (Some(app), Some(id)) = (&effect.request.app, &effect.request.subject) else {
                return Ok(None);
            };
            let known = self
                .groups
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&(app.clone(), id.clone()))
                .cloned();
            if known.is_some() {
                return Ok(known);
            }
            // One listing tells all groups, and how large each is.
            self.list_app(effect, app, |_| None::<()>).await?;
            let known = self
                .groups
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&(app.clone(), id.clone()))
                .cloned();
            known
                .map(Some)
                .ok_or_else(|| Failure::NotFound(format!("app `{app}` has no Machine `{id}`")))
        })
    }

    fn population(&self, app: &str, group: &str) -> Option<usize> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Some(
            groups
                .iter()
                .filter(|((a, _), g)| a == app && *g == group)
                .count(),
        )
    }

    fn prepares(&self, row_asked: &Row) -> bool {
        row_asked.name == row("restart").name
    }

    fn prepare<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<Value>, Failure>> {
        Box::pin(async move {
            let Some(at) = At::of(effect) else {
                return Ok(None);
            };
            let machine = self.get(effect, at).await?;
            Ok(Some(
                json!({ "event": machine.newest_event().unwrap_or_default(), "instance": machine.instance_id }),
            ))
        })
    }

    fn take_over(&self, done: Vec<Effect>) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.adopt_all(done))
    }

    fn find_out<'a>(&'a self, effect: &'a Effect, age: Duration) -> BoxFuture<'a, Found> {
        Box::pin(self.find_out_later(effect, age))
    }

    fn happened(&self, effect: &Effect) -> Outcome {
        if matches!(effect.request.row.operation(), "lease" | "release") {
            return Outcome::ok(&());
        }
        let event = effect.baseline.as_ref().and_then(|b| b["event"].as_str());
        Outcome::ok(&Done {
            baseline_event: event.map(str::to_owned),
        })
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let operation = effect.request.row.operation();
            if operation == "list" {
                return Box::pin(self.list(&effect)).await;
            }
            let Some(at) = At::of(&effect) else {
                return Failure::Invalid(format!(
                    "`{}` needs an app and a Machine",
                    effect.request.row.name
                ))
                .into();
            };
            match command(&effect.request) {
                Ok(Some(command)) => return Box::pin(self.write(&effect, at, &command)).await,
                Ok(None) => {}
                Err(failure) => return failure.into(),
            }
            match operation {
                "get" => self
                    .get(&effect, at)
                    .await
                    .map(|m| summary::machine(at.app, &m))
                    .into(),
                "events" => Box::pin(self.events(&effect, at)).await,
                "lease" => Box::pin(self.lease(&effect, at)).await,
                "release" => self.release(&effect, at).await,
                "wait" => match effect.request.arguments::<WaitOptions>() {
                    Ok(options) => watch::state(self, &effect, at, &options).await.into(),
                    Err(failure) => failure.into(),
                },
                "wait-healthy" => match effect.request.arguments::<HealthyOptions>() {
                    Ok(options) => watch::health(self, &effect, at, &options).await.into(),
                    Err(failure) => failure.into(),
                },
                other => Failure::other(
                    "no-executor",
                    format!("nothing performs `machines.{other}`"),
                )
                .into(),
            }
        })
    }

    fn original<'a>(
        &'a self,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Value>, Failure>> {
        Box::pin(self.original_of(effect))
    }

    fn forked(&self) -> Forked {
        self.fork
            .as_ref()
            .map(|fork| fork.forked())
            .unwrap_or_default()
    }

    fn left_behind(&self, step: &str) -> Vec<Afterwards> {
        let held = self.leases.of_step(step);
        held.into_iter()
            .map(|(app, id)| Afterwards {
                request: Request::new(row("release")).on(app, id),
            })
            .collect()
    }
}
