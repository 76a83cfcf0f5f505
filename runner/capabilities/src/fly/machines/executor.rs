//! Performs the effects of `machines` in either world: rate limits, retries (`retry.rs` of the
//! engine), and reconciliation by each row's rule (`find_out.rs`).

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use groundcrew::service::retry::said;
use groundcrew::service::trouble::Trouble;
use groundcrew::{
    Afterwards, Asked, BoxFuture, Difference, Effect, Executor, Failure, Forked, Found, GivenUp,
    Kind, Outcome, Request, Row,
};
use groundcrew_fleet::api::ConfigView;
use serde_json::{Value, json};

use super::find_out::late;
use super::reach::{Executing, keeps, sees};
use super::{ListArguments, Listing, change, commands, row, watch};
use crate::fly::contract::{Done, HealthyOptions, Machine, Scope, WaitOptions};
use crate::fly::names::App;
use crate::fly::world::api::At;
use crate::fly::world::summary;

impl Executing {
    async fn list(&self, effect: &Effect) -> Outcome {
        let arguments: ListArguments = match effect.request.arguments() {
            Ok(arguments) => arguments,
            Err(failure) => return failure.into(),
        };
        let filter = &arguments.filter;
        let left_out = AtomicUsize::new(0);
        // What no grant covers is left out, and counted.
        let seen = |machine: &Machine| {
            let seen = sees(&effect.cover, machine);
            left_out.fetch_add(usize::from(!seen), Ordering::Relaxed);
            seen
        };
        let listed = match &arguments.scope {
            Scope::App(app) => {
                let wanted = |machine: &_| {
                    let machine = summary::machine(app, machine);
                    (keeps(filter, &machine) && seen(&machine)).then_some(machine)
                };
                let name = App::read(app).map_err(Failure::Invalid);
                let machines = match name {
                    Ok(name) => self.list_app(effect, name, wanted).await,
                    Err(failure) => Err(failure),
                };
                machines.map(|machines| Listing {
                    machines,
                    missing_regions: Vec::new(),
                    left_out: 0,
                })
            }
            Scope::Organisation => {
                let all = async {
                    self.rates.action(effect, "list", "*").await?;
                    self.read(effect, || self.api.list_organisation(&effect.id))
                        .await
                };
                all.await.map(|all| Listing {
                    machines: all
                        .machines
                        .iter()
                        .map(summary::listed)
                        .filter(|m| keeps(filter, m) && seen(m))
                        .collect(),
                    missing_regions: all.missing_regions,
                    left_out: 0,
                })
            }
        };
        self.rates.tidy();
        let left_out = left_out.into_inner();
        let listed = listed.map(|listing| Listing {
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            ..listing
        });
        Outcome {
            left_out,
            ..listed.into()
        }
    }

    /// Sends one request of a write.
    async fn send(&self, effect: &Effect, at: At<'_>) -> Result<Outcome, Trouble> {
        let operation = effect.request.row.operation();
        let turn = self
            .rates
            .action(effect, effect.request.row.name, at.id.text());
        turn.await.map_err(Trouble::refused)?;
        match operation {
            "update" | "restore" => Box::pin(self.send_update(effect, at)).await,
            "exec" => Box::pin(self.send_exec(effect, at)).await,
            _ => {
                let row = effect.request.row;
                let known = commands::of(row).ok_or_else(|| Trouble::refused(row.unperformed()))?;
                let command = (known.made)(&effect.request).map_err(Trouble::refused)?;
                if let Some(sets) = known.sets {
                    let values = sets(&effect.request).map_err(Trouble::refused)?;
                    Box::pin(self.keeps_group(effect, at, &values)).await?;
                }
                let nonce = self.leases.nonce(at);
                let sent = self.api.command(at, command, nonce.as_deref()).await;
                match sent.map_err(|trouble| self.young(at, trouble)) {
                    // What is gone is destroyed; what is not seen yet is not.
                    Err(trouble)
                        if known.gone_is_done
                            && matches!(trouble.failure, Failure::NotFound(_))
                            && !trouble.transient => {}
                    sent => sent?,
                }
                Ok(self.happened(effect))
            }
        }
    }

    /// Makes a Machine: its limit counts by region, so it has a way of its own.
    async fn create(&self, effect: &Effect) -> Outcome {
        let app = match App::of(&effect.request) {
            Ok(app) => app,
            Err(failure) => return failure.into(),
        };
        let send = || Box::pin(self.send_create(effect, app));
        let find_out = || self.find_create(effect, app);
        self.retries.write(effect, send, find_out).await
    }

    async fn keeps_group(
        &self,
        effect: &Effect,
        at: At<'_>,
        values: &[(String, Option<String>)],
    ) -> Result<(), Trouble> {
        let machine = self.get(effect, at).await.map_err(Trouble::refused)?;
        change::keeps_group(values, machine.process_group()).map_err(Trouble::refused)
    }

    /// Sends a write until it is known what became of it, or known that this cannot be known.
    async fn write(&self, effect: &Effect, at: At<'_>) -> Outcome {
        let send = || self.send(effect, at);
        let find_out = || self.found(effect, at, late(self.clock.now()));
        let outcome = self.retries.write(effect, send, find_out).await;
        match outcome.result {
            Err(failure @ Failure::Conflict(_)) if !outcome.in_doubt => {
                Box::pin(self.explain(at, failure)).await.into()
            }
            result => Outcome { result, ..outcome },
        }
    }

    /// A conflict says who is in the way.
    async fn explain(&self, at: At<'_>, failure: Failure) -> Failure {
        match failure {
            Failure::Conflict(text) if self.leases.nonce(at).is_none() => {
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
        let mut delays = self.retries.delays(&effect.id);
        loop {
            if let Err(cancelled) = self.rates.action(effect, "lease", at.id.text()).await {
                return cancelled.into();
            }
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
            match delays.next() {
                Some(delay) if trouble.transient || held => {
                    if let Err(cancelled) = self
                        .retries
                        .pause(&effect.cancel, delay, trouble.retry_after)
                        .await
                    {
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
        let limit: u32 = effect.request.arguments().unwrap_or(20);
        let events = async {
            self.rates.action(effect, "events", at.id.text()).await?;
            self.read(effect, || self.api.events(at, limit)).await
        };
        events
            .await
            .map(|all| all.iter().map(summary::event).collect::<Vec<_>>())
            .into()
    }
}

impl Executor for Executing {
    fn within<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            if let (Some(app), true) = (&effect.request.app, effect.request.row.creates.is_some()) {
                let app = App::read(app).map_err(Failure::Invalid)?;
                let made = Box::pin(self.pattern_of(effect, app)).await?;
                let group = ConfigView::new(&made.config).process_group();
                let mut groups = vec![group.to_owned()];
                groups.extend(made.copied);
                return Ok(groups);
            }
            let (Some(app), Some(id)) = (&effect.request.app, &effect.request.subject) else {
                return Ok(Vec::new());
            };
            if let Some(known) = self.belongs(app, id) {
                return Ok(vec![known]);
            }
            // One listing tells all groups, and how large each is.
            let name = App::read(app).map_err(Failure::Invalid)?;
            self.list_app(effect, name, |_| None::<()>).await?;
            let known = self.belongs(app, id);
            known
                .map(|group| vec![group])
                .ok_or_else(|| Failure::NotFound(format!("app `{app}` has no Machine `{id}`")))
        })
    }

    fn belongs(&self, app: &str, id: &str) -> Option<String> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(&(app.to_owned(), id.to_owned())).cloned()
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

    fn prepares(&self, row: &Row) -> bool {
        matches!(row.operation(), "update" | "restore")
            || commands::of(row).is_some_and(|command| command.baseline)
    }

    fn prepare<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<Value>, Failure>> {
        Box::pin(async move {
            let at = At::of(effect)?;
            let machine = self.get(effect, at).await?;
            Ok(Some(
                json!({ "event": machine.newest_event().unwrap_or_default(), "instance": machine.instance_id }),
            ))
        })
    }

    fn take_over(&self, done: Vec<Effect>) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.adopt_all(done))
    }

    fn let_go(&self, done: Vec<Effect>, perhaps: Vec<Effect>) -> BoxFuture<'_, Vec<GivenUp>> {
        Box::pin(self.give_up(done, perhaps))
    }

    fn find_out<'a>(&'a self, effect: &'a Effect, age: Duration) -> BoxFuture<'a, Found> {
        Box::pin(self.find_out_later(effect, age))
    }

    fn changed_since(&self, asked: Vec<Asked>) -> BoxFuture<'_, Result<Vec<Difference>, Failure>> {
        Box::pin(self.changed_by_others(asked))
    }

    fn happened(&self, effect: &Effect) -> Outcome {
        match effect.request.row.operation() {
            "lease" | "release" => return Outcome::ok(&()),
            // Somebody knows that it happened; what was answered nobody knows.
            "create" | "update" | "restore" | "exec" => {
                let text = "it happened, and its answer is lost: look at the Machines";
                return Failure::other("answer-lost", text).into();
            }
            _ => {}
        }
        let event = effect.baseline.as_ref().and_then(|b| b["event"].as_str());
        Outcome::ok(&Done {
            baseline_event: event.map(str::to_owned),
        })
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let row = effect.request.row;
            let operation = row.operation();
            if operation == "list" {
                return Box::pin(self.list(&effect)).await;
            }
            if row.creates.is_some() {
                return Box::pin(self.create(&effect)).await;
            }
            // It was for the gate.
            if row.announces.is_some() {
                return Outcome::ok(&());
            }
            let at = match At::of(&effect) {
                Ok(at) => at,
                Err(failure) => return failure.into(),
            };
            if row.kind == Kind::Write && !row.housekeeping {
                return Box::pin(self.write(&effect, at)).await;
            }
            match operation {
                "versions" => Box::pin(self.versions(&effect, at)).await,
                "get" => self
                    .get(&effect, at)
                    .await
                    .map(|m| summary::machine(at.app.text(), &m))
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
                _ => row.unperformed().into(),
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
