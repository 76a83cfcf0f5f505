//! Performs the effects of `machines` in either world: rate limits, retries, reconciliation.
//!
//! A request is repeated blindly only if it surely had no effect, or if repeating it is harmless.
//! After anything else (a reset, a cut-off, a 408, a 5xx) it is *found out* first whether the
//! write happened, by its row's rule. What cannot be found out is said to be in doubt.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, At, Command};
use super::leases::Leases;
use super::limiter::Limits;
use super::trouble::Trouble;
use super::{ListArguments, Listing, row, summary, watch};
use crate::bindings::Failure;
use crate::bindings::machines::{
    Done, Filter, HealthyOptions, Machine, RestartOptions, Scope, StopOptions, WaitOptions,
};
use crate::capability::{Afterwards, Effect, Executor, Found, Setting};
use crate::clock::{BoxFuture, Clock, after};
use crate::effect::{Outcome, Request, Row};

/// Tries of one request before its failure is final, beyond the first.
const RETRIES: usize = 6;

/// How long a restart that was not confirmed is looked for before we take its absence for a fact.
/// Longer than Fly holds a request for a host that does not answer.
const LATE: Duration = Duration::from_secs(8);

/// How long a Machine that is stopping is looked at: the longest kill timeout that Fly allows is five
/// minutes. (Documentation)
const STOPPING: Duration = Duration::from_secs(330);

pub(super) struct Executing {
    pub(super) api: Arc<dyn Api>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    leases: Arc<Leases>,
    seed: u64,
    /// Process groups of Machines that have been read: a grant may name groups.
    groups: Mutex<HashMap<(String, String), String>>,
}

impl Executing {
    pub(super) fn start(api: Arc<dyn Api>, setting: &Setting) -> Arc<dyn Executor> {
        let leases = Leases::new(api.clone(), setting.clock.clone(), setting.run.clone());
        let limits = Limits::new(setting.clock.clone());
        Arc::new(Self {
            api,
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
                    Some(_) | None => return self.explain(at, trouble.failure).await.into(),
                }
            }
            let until = after(self.clock.now(), LATE);
            match self.found(effect, at, command, until).await {
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

    /// By the rule of the row.
    /// `until` is when what has been sent would have been seen, if it ever arrived.
    async fn found(
        &self,
        effect: &Effect,
        at: At<'_>,
        command: &Command,
        until: Timestamp,
    ) -> Found {
        let wanted: &[&str] = match command {
            Command::Restart(_) => return self.find_restart(effect, at, until).await,
            Command::Signal(_) => return Found::Unknown("a signal leaves no trace".to_owned()),
            // Sent again they do no harm.
            Command::Cordon | Command::Uncordon => return Found::DidNot,
            Command::Start => &["starting", "started"],
            Command::Stop(_) => &["stopping", "stopped"],
            Command::Suspend => &["suspending", "suspended"],
        };
        match self.get(effect, at).await {
            Ok(machine) if machine.host_status == "unreachable" => {
                Found::Unknown("its host is unreachable".to_owned())
            }
            Ok(machine) if wanted.contains(&machine.state.as_str()) => {
                Found::Happened(self.happened(effect))
            }
            Ok(_) => Found::DidNot,
            Err(failure) => Found::Unknown(format!("its state cannot be read ({failure})")),
        }
    }

    async fn find_restart(&self, effect: &Effect, at: At<'_>, until: Timestamp) -> Found {
        let Some(baseline) = effect
            .baseline
            .as_ref()
            .map(|b| b["event"].as_str().unwrap_or_default().to_owned())
        else {
            return Found::Unknown("its events before the restart are not known".to_owned());
        };
        let patience = after(self.clock.now(), STOPPING);
        let mut sure = false;
        loop {
            match self.get(effect, at).await {
                Ok(machine) if machine.host_status == "unreachable" => {
                    return Found::Unknown("its host is unreachable".to_owned());
                }
                Ok(machine) => {
                    let restarted = machine
                        .events
                        .iter()
                        .any(|e| e.id > baseline && e.kind == "exit" && e.requested_stop());
                    if restarted
                        || machine
                            .events
                            .iter()
                            .any(|e| e.id > baseline && e.kind == "start")
                    {
                        return Found::Happened(self.happened(effect));
                    }
                    // Under way is neither: an exit may take as long as the Machine's own timeout.
                    if ["restarting", "stopping", "starting"].contains(&machine.state.as_str()) {
                        if self.clock.now() >= patience {
                            return Found::Unknown(format!("it is still `{}`", machine.state));
                        }
                        self.clock.sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                    if sure {
                        return Found::DidNot;
                    }
                }
                Err(failure) => {
                    return Found::Unknown(format!("its events cannot be read ({failure})"));
                }
            }
            if self.clock.now() >= until {
                if self.leases.nonce(at.app, at.id).is_none() {
                    return Found::Unknown(
                        "no restart is seen, but without a lease it may still come".to_owned(),
                    );
                }
                // From here on the request that is in doubt carries a nonce that is refused.
                if let Err(failure) = self.take_anew(effect, at).await {
                    return Found::Unknown(format!("the lease cannot be taken anew ({failure})"));
                }
                sure = true;
            } else {
                self.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Gives the lease up and takes it again. Each half may be sent again: what is released twice
    /// is released, and a lease that is ours already carries a new nonce.
    async fn take_anew(&self, effect: &Effect, at: At<'_>) -> Result<(), Failure> {
        self.limits.action("lease", at.id).await;
        match self.read(effect, || self.leases.renew(at)).await {
            Err(Failure::Conflict(text)) => match self.leases.look(at).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Failure::Conflict(text)),
            },
            other => other,
        }
    }

    /// Makes a lease of an earlier process of this run ours, with another nonce: what that process
    /// has sent and is still on its way is refused from then on. Says why it is not, if so.
    async fn adopt(&self, effect: &Effect) -> Option<String> {
        let (Some(app), Some(id)) = (&effect.request.app, &effect.request.subject) else {
            return None;
        };
        let at = At {
            effect: &effect.id,
            app,
            id,
        };
        self.limits.action("lease", at.id).await;
        let taken = match self.read(effect, || self.leases.look(at)).await {
            Ok(Ok(())) => self.take_anew(effect, at).await,
            Ok(Err(None)) => self.read(effect, || self.leases.acquire(at)).await,
            Ok(Err(Some(holder))) => Err(Failure::Conflict(format!("it is leased by {holder}"))),
            Err(failure) => Err(failure),
        };
        taken
            .err()
            .map(|failure| format!("Machine {id}: its lease is not ours any more: {failure}"))
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

fn keeps(filter: &Filter, machine: &Machine) -> bool {
    let within = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    within(&filter.groups, &machine.group)
        && within(&filter.regions, &machine.region)
        && within(&filter.states, &machine.state)
}

/// A failure's text with a few words behind it.
fn said(failure: &Failure, more: &str) -> Failure {
    Failure::Unavailable(format!("{}; {more}", failure.parts().1))
}

fn command(request: &Request) -> Result<Option<Command>, Failure> {
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
            let (Some(app), Some(id)) = (&effect.request.app, &effect.request.subject) else {
                return Ok(None);
            };
            let machine = self
                .get(
                    effect,
                    At {
                        effect: &effect.id,
                        app,
                        id,
                    },
                )
                .await?;
            Ok(Some(
                json!({ "event": machine.newest_event().unwrap_or_default(), "instance": machine.instance_id }),
            ))
        })
    }

    fn take_over(&self, done: Vec<Effect>) -> BoxFuture<'_, Vec<String>> {
        let mut held = BTreeMap::new();
        for effect in done {
            let key = (effect.request.app.clone(), effect.request.subject.clone());
            match effect.request.row.operation() {
                "lease" => held.insert(key, effect),
                "release" => held.remove(&key),
                _ => None,
            };
        }
        Box::pin(async move {
            let adopted = held.values().map(|effect| self.adopt(effect));
            let adopted = futures_util::future::join_all(adopted).await;
            adopted.into_iter().flatten().collect()
        })
    }

    fn find_out<'a>(&'a self, effect: &'a Effect, age: Duration) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            let (Some(app), Some(id)) = (&effect.request.app, &effect.request.subject) else {
                return Found::Unknown("it names no Machine".to_owned());
            };
            let at = At {
                effect: &effect.id,
                app,
                id,
            };
            match (command(&effect.request), effect.request.row.operation()) {
                (Ok(Some(command)), _) => {
                    let passed = age.mul_f64(self.clock.scale());
                    let until = after(self.clock.now(), LATE.saturating_sub(passed));
                    self.found(effect, at, &command, until).await
                }
                // Taken: it becomes ours again. Not taken: it is asked for again.
                (_, "lease") => match self.read(effect, || self.leases.look(at)).await {
                    Ok(Ok(())) => match self.take_anew(effect, at).await {
                        Ok(()) => Found::Happened(Outcome::ok(&())),
                        Err(_) => Found::DidNot,
                    },
                    Ok(Err(_)) | Err(_) => Found::DidNot,
                },
                // Given back twice is given back.
                _ => Found::DidNot,
            }
        })
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
                return self.list(&effect).await;
            }
            let (Some(app), Some(id)) =
                (effect.request.app.clone(), effect.request.subject.clone())
            else {
                return Failure::Invalid(format!(
                    "`{}` needs an app and a Machine",
                    effect.request.row.name
                ))
                .into();
            };
            let at = At {
                effect: &effect.id,
                app: &app,
                id: &id,
            };
            match command(&effect.request) {
                Ok(Some(command)) => return self.write(&effect, at, &command).await,
                Ok(None) => {}
                Err(failure) => return failure.into(),
            }
            match operation {
                "get" => self
                    .get(&effect, at)
                    .await
                    .map(|m| summary::machine(&app, &m))
                    .into(),
                "events" => self.events(&effect, at).await,
                "lease" => self.lease(&effect, at).await,
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

    fn left_behind(&self, step: &str) -> Vec<Afterwards> {
        let held = self.leases.of_step(step);
        held.into_iter()
            .map(|(app, id)| Afterwards {
                request: Request::new(row("release")).on(app, id),
            })
            .collect()
    }
}
