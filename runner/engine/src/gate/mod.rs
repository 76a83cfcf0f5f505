//! The gate: the one door that every effect passes, in this order:
//!
//! **granted? → within limits? → write down the intent → which world? → do it → write down the
//! outcome → deliver.**
//!
//! There is one gate per attempt of a step. It holds the step's grant; the world (the target, or
//! a fork of it) is chosen once per run, by the executors that [`RunShared`] carries, so nothing
//! here or in a plugin can tell a rehearsal from the real thing. Deliberately absent: any request
//! to the outside, any retry, any knowledge of what an operation means.
//!
//! An interrupt is answered here, too: *forward* writes are refused from then on as `cancelled`,
//! waits end early, what was sent is seen to its end, and housekeeping, undo and the steps of
//! `finally` still pass.
//!
//! This file is longer than others because it is one door: whoever reviews it should see the whole
//! order in one piece. What can be told apart is in `past.rs` and `repeat.rs` (a step that is done
//! again), `writes.rs` (what a run may still write) and `shared.rs` (what all gates of a run share).

pub(crate) mod past;
pub(crate) mod radius;
mod repeat;
pub(crate) mod shared;
pub(crate) mod writes;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::{Parked, millis};
use crate::contract::{Failure, Level};
use crate::effect::{Effect, EffectId, Kind, Outcome, Request, Row};
use crate::gate::past::Past;
use crate::gate::shared::{Halt, RunShared};
use crate::grant::effective::{Effective, step_cover};
use crate::journal::{Decision, Draft, NoteBody, step_id};
use crate::store::JournalError;
use repeat::Repeat;
use writes::{Part, Refused};

/// See the module.
pub(crate) struct Gate {
    run: Arc<RunShared>,
    step: Arc<str>,
    part: Part,
    grants: BTreeMap<&'static str, Effective>,
    state: Mutex<State>,
    arrived: Notify,
    /// Ends this step's waits, by an interrupt or by the step's own end.
    ending: CancellationToken,
    /// Stops what is still under way when the step is left: nothing is sent, or written down, after it.
    given_up: CancellationToken,
    /// Each effect under way has a permit of it.
    under_way: Arc<Semaphore>,
}

/// More than may be under way of one step (`operations_in_flight`, at its widest).
const UNDER_WAY: u32 = 1 << 24;

/// An effect under way.
struct Underway {
    cancel: CancellationToken,
    /// It writes to something other than this run's own bookkeeping.
    forward: bool,
}

#[derive(Default)]
struct State {
    /// Effects under way.
    running: HashMap<u64, Underway>,
    /// Settled, not yet delivered, in the order in which they settled.
    ready: VecDeque<(u64, Outcome)>,
    /// Operations whose answers left something out, which is said once.
    left_out: BTreeSet<&'static str>,
    in_doubt: Vec<u64>,
    parked: Option<Parked>,
    last: u64,
    /// What the step did before and has not repeated yet.
    past: Option<Past>,
}

/// What a request acts on, by app and id; what it makes has a name of its own until it is made.
fn target(step: &str, number: u64, request: &Request) -> Option<(String, String)> {
    let app = request.app.clone()?;
    match (&request.subject, request.row.creates) {
        (Some(subject), _) => Some((app, subject.clone())),
        (None, Some(_)) => Some((app, unmade(step, number))),
        (None, None) => None,
    }
}

fn unmade(step: &str, number: u64) -> String {
    format!("#{step}/{number}")
}

impl Gate {
    pub(crate) fn new(
        run: Arc<RunShared>,
        step: Arc<str>,
        part: Part,
        grants: BTreeMap<&'static str, Effective>,
        past: Option<Past>,
    ) -> Arc<Self> {
        let ending = run.interrupt.child_token();
        Arc::new(Self {
            run,
            step,
            part,
            grants,
            state: Mutex::new(State {
                past,
                ..State::default()
            }),
            arrived: Notify::new(),
            ending,
            given_up: CancellationToken::new(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY as usize)),
        })
    }

    pub(crate) fn step(&self) -> &str {
        &self.step
    }

    pub(crate) fn run(&self) -> &RunShared {
        &self.run
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything that the plugin submitted since it last blocked. Intents that need
    /// nothing to be read first are committed together; then the effects are under way.
    pub(crate) async fn submit(self: &Arc<Self>, batch: Vec<(u64, Request)>) -> Result<(), Halt> {
        if let Some(past) = &mut self.state().past {
            for (number, request) in batch {
                past.ask(number, request)?;
            }
            return Ok(());
        }
        self.go(batch).await
    }

    async fn go(self: &Arc<Self>, batch: Vec<(u64, Request)>) -> Result<(), Halt> {
        let mut drafts = Vec::with_capacity(batch.len());
        let (mut go, mut denied, mut ask) = (Vec::new(), Vec::new(), Vec::new());
        let mut durable = false;
        for (number, request) in batch {
            let effect = self.effect(number, request);
            let granted = self.may_go_on(&effect.request);
            if granted.is_ok() && self.asks_first(&effect) {
                ask.push(effect);
                continue;
            }
            let request = &effect.request;
            match self.decided(number, granted.map(|()| Vec::new()), request) {
                Err(refused) => {
                    let (drafted, outcome) = self.denial(number, request, refused);
                    drafts.extend(drafted);
                    denied.push((number, outcome));
                }
                Ok(()) => {
                    durable |= request.row.kind == Kind::Write;
                    let decision = Decision::Allowed;
                    let intent =
                        Draft::intended(&self.step, number, decision, false, request, None);
                    drafts.push(intent);
                    go.push(effect);
                }
            }
        }
        self.write_down(drafts, durable).await?;
        for (number, outcome) in denied {
            self.arrive(number, outcome);
        }
        for effect in go {
            self.spawn(effect, Gate::perform);
        }
        for effect in ask {
            self.spawn(effect, Gate::ask_then_perform);
        }
        Ok(())
    }

    /// Blocks until something is settled, journals what is about to be delivered, and returns it
    /// with the plugin's new `now`. Empty when nothing is under way; no time passes then.
    pub(crate) async fn next(
        self: &Arc<Self>,
        max: usize,
    ) -> Result<(Vec<(u64, Outcome)>, u64), Halt> {
        loop {
            match self.repeat(true)? {
                Repeat::Delivered(delivery) => return Ok(delivery),
                Repeat::Idle => return Ok((Vec::new(), 0)),
                Repeat::Left(past) => self.leave(past).await?,
                Repeat::Nothing => {}
            }
            let parked = {
                let mut state = self.state();
                let idle = state.running.is_empty() && state.ready.is_empty();
                match self.run.clock.as_virtual() {
                    // In a rehearsal the guest always comes last at an instant, so that it sees
                    // all that happened then, whatever order threads ran in.
                    Some(clock) if !idle => {
                        let (parked, sleep) = clock.park(!state.ready.is_empty());
                        state.parked = Some(parked);
                        Some(sleep)
                    }
                    Some(_) | None => None,
                }
            };
            if let Some(sleep) = parked {
                sleep.await;
            }
            if let Some(failure) = self.run.journal.failure() {
                return Err(failure.into());
            }
            let (batch, idle) = {
                let mut state = self.state();
                state.parked = None;
                let count = state.ready.len().min(max.max(1));
                let batch: Vec<_> = state.ready.drain(..count).collect();
                (batch, state.running.is_empty())
            };
            let now = millis(self.run.clock.now());
            if !batch.is_empty() {
                let effects = batch.iter().map(|(number, _)| *number).collect();
                // Not waited for: no later intent can become durable before this.
                self.run
                    .journal
                    .append(vec![Draft::delivered(&self.step, effects, now)]);
                return Ok((batch, now));
            }
            if idle {
                return Ok((batch, now));
            }
            self.arrived.notified().await;
            // Whatever else is settled at this moment is delivered with it: each delivery costs the
            // plugin a turn, and whoever settles a wake-up.
            tokio::task::yield_now().await;
        }
    }

    /// Asks for one effect to end early.
    pub(crate) fn cancel(&self, number: u64) {
        let mut state = self.state();
        if let Some(past) = &mut state.past {
            past.cancel(number);
        } else if let Some(underway) = state.running.get(&number) {
            underway.cancel.cancel();
        }
    }

    /// Ends the step: waits end early, what was sent is seen to its end, and what the step still
    /// holds is given back, under the host's own name.
    pub(crate) async fn finish(self: &Arc<Self>) -> Result<Vec<u64>, Halt> {
        self.ending.cancel();
        loop {
            match self.repeat(false)? {
                Repeat::Delivered(_) | Repeat::Idle => {}
                Repeat::Left(past) => self.leave(past).await?,
                Repeat::Nothing => break,
            }
        }
        loop {
            let (batch, _) = self.next(usize::MAX).await?;
            if batch.is_empty() {
                break;
            }
        }
        let mut drafts = Vec::new();
        let mut effects = Vec::new();
        for executor in self.run.executors.values() {
            for left in executor.left_behind(&self.step) {
                let number = self.state().last + 1;
                let mut effect = self.effect(number, left.request);
                effect.cancel = CancellationToken::new();
                drafts.push(Draft::intended(
                    &self.step,
                    number,
                    Decision::Allowed,
                    true,
                    &effect.request,
                    None,
                ));
                effects.push(effect);
            }
        }
        if !drafts.is_empty() {
            self.write_down(drafts, true).await?;
            for effect in effects {
                self.spawn(effect, Gate::perform);
            }
            while !self.next(usize::MAX).await?.0.is_empty() {}
        }
        Ok(self.in_doubt())
    }

    /// Leaves the step though something is under way: that stops where it is, in doubt if it is a write.
    /// An entry after the end of its step would make the journal one that does not fold.
    pub(crate) async fn give_up(&self) -> Vec<u64> {
        self.given_up.cancel();
        // All of them are gone once all permits are back.
        let _ = self.under_way.acquire_many(UNDER_WAY).await;
        self.in_doubt()
    }

    /// The writes of which it is not known, at this moment, whether they happened.
    pub(crate) fn in_doubt(&self) -> Vec<u64> {
        let state = self.state();
        let unsettled = state
            .running
            .iter()
            .filter(|(_, u)| u.forward)
            .map(|(n, _)| *n);
        let mut all: Vec<u64> = state.in_doubt.iter().copied().chain(unsettled).collect();
        all.sort_unstable();
        all
    }

    fn effect(&self, number: u64, request: Request) -> Effect {
        let waits = request.row.waits;
        let cancel = if waits {
            self.ending.child_token()
        } else {
            self.given_up.child_token()
        };
        let mut state = self.state();
        state.last = state.last.max(number);
        let forward = request.counts();
        let underway = Underway {
            cancel: cancel.clone(),
            forward,
        };
        state.running.insert(number, underway);
        drop(state);
        Effect {
            id: self.id(number),
            cover: step_cover(&self.run.covers, step_id(&self.step), request.row),
            request: Arc::new(request),
            baseline: None,
            cancel,
        }
    }

    fn id(&self, number: u64) -> EffectId {
        EffectId {
            run: self.run.id.clone(),
            step: self.step.clone(),
            number,
        }
    }

    /// A denial is an intent that is not performed, and its outcome.
    fn denial(&self, number: u64, request: &Request, refused: Refused) -> ([Draft; 2], Outcome) {
        let outcome = Outcome::failed(refused.failure);
        let decision = refused.decision;
        let drafts = [
            Draft::intended(&self.step, number, decision, false, request, None),
            Draft::settled(&self.step, number, &outcome),
        ];
        (drafts, outcome)
    }

    /// Whether a request may go on to the limits.
    fn may_go_on(&self, request: &Request) -> Result<(), Failure> {
        (request.row.sound)(request).map_err(Failure::Invalid)?;
        self.granted(request)?;
        self.interrupted(request)
    }

    /// **Granted?** By the step's grant as met with the plugin's request and the policy.
    fn granted(&self, request: &Request) -> Result<(), Failure> {
        let row = request.row;
        if !row.verb.is_empty() {
            let capability = row.capability();
            let grant = self.grants.get(capability).ok_or_else(|| {
                Failure::Denied(format!("the step has no grant for `{capability}`"))
            })?;
            grant.allows(request).map_err(Failure::Denied)?;
        }
        Ok(())
    }

    /// No forward write begins while the run is being interrupted, but in `finally`, and to take back
    /// what the run wrote.
    fn interrupted(&self, request: &Request) -> Result<(), Failure> {
        if request.counts()
            && self.run.interrupt.is_cancelled()
            && self.part != Part::Finally
            && !self.run.writes().takes_back(request)
        {
            return Err(Failure::Cancelled(
                "the run is being interrupted; nothing more is sent".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether something has to be read before the request can be decided or written down.
    fn asks_first(&self, effect: &Effect) -> bool {
        let row = effect.request.row;
        let capability = row.capability();
        let asks = |grant: &Effective| {
            grant.looks_up() || (grant.asks_share() && effect.request.reaches())
        };
        let on_something = target("", 0, &effect.request).is_some();
        let executor = self.run.executors.get(capability);
        on_something && self.grants.get(capability).is_some_and(asks)
            || executor.is_some_and(|executor| executor.prepares(row))
    }

    /// **Within limits?** The blast radius, what is made counting as one more; and the plan that is
    /// applied, if one is. Whatever is refused has used up nothing.
    fn decided(
        &self,
        number: u64,
        granted: Result<Vec<String>, Failure>,
        request: &Request,
    ) -> Result<(), Refused> {
        let within = granted?.into_iter().next();
        let capability = request.row.capability();
        let thing = radius::thing(&self.step, number, request);
        let mut radius = self.run.radius();
        let executor = self.run.executors.get(capability);
        let executor = executor.map(|executor| &**executor);
        if let (Some(announced), Some(grant)) = (request.row.announces, self.grants.get(capability))
        {
            let announced = announced(request)?;
            radius
                .allows_all(&self.step, request, announced, grant, executor)
                .map_err(Failure::Denied)?;
        }
        if let (Some(thing), Some(grant)) = (&thing, self.grants.get(capability)) {
            radius
                .allows(&self.step, thing, grant, executor, within.as_deref())
                .map_err(Failure::Denied)?;
        }
        self.run
            .writes()
            .decide(&self.step, self.part, number, request)?;
        if let Some(thing) = thing {
            radius.add(&self.step, thing, within);
        }
        Ok(())
    }

    /// **Write down** the intent or the outcome. Reads need no sync of their own.
    async fn write_down(&self, drafts: Vec<Draft>, durable: bool) -> Result<(), JournalError> {
        if durable {
            self.run.journal.commit(drafts).await
        } else {
            self.run.journal.append(drafts);
            Ok(())
        }
    }

    fn spawn<F>(self: &Arc<Self>, effect: Effect, work: fn(Arc<Self>, Effect) -> F)
    where
        F: Future<Output = Result<(), JournalError>> + Send + 'static,
    {
        // A place in the present instant's order is taken here, in the order of submission.
        let ticket = self
            .run
            .clock
            .as_virtual()
            .map(crate::clock::VirtualClock::ticket);
        let gate = self.clone();
        let permit = self.under_way.clone().try_acquire_owned();
        // Made once, and not moved: thousands may be under way.
        let work = Box::pin(work(gate.clone(), effect));
        tokio::spawn(async move {
            let worked = async {
                let _busy = match ticket {
                    Some(ticket) => Some(ticket.turn().await),
                    None => None,
                };
                work.await
            };
            tokio::select! {
                biased;
                () = gate.given_up.cancelled() => {}
                worked = worked => if worked.is_err() {
                    // Everyone who waits finds the journal's failure when woken.
                    gate.wake();
                }
            }
            drop(permit);
        });
    }

    /// What could not be decided at once: what it belongs to is looked up, the baseline is read; then the
    /// intent, alone or with whatever else is written at that moment.
    async fn ask_then_perform(self: Arc<Self>, mut effect: Effect) -> Result<(), JournalError> {
        let number = effect.id.number;
        let decided = self.ask(&mut effect).await;
        let decided = decided.and_then(|found| self.may_go_on(&effect.request).map(|()| found));
        match self.decided(number, decided, &effect.request) {
            Ok(()) => {
                let intent = Draft::intended(
                    &self.step,
                    number,
                    Decision::Allowed,
                    false,
                    &effect.request,
                    effect.baseline.as_ref(),
                );
                self.write_down(vec![intent], effect.request.row.kind == Kind::Write)
                    .await?;
                self.perform(effect).await
            }
            Err(refused) => {
                let (drafts, outcome) = self.denial(number, &effect.request, refused);
                self.run.journal.append(drafts.into());
                self.arrive(number, outcome);
                Ok(())
            }
        }
    }

    async fn ask(&self, effect: &mut Effect) -> Result<Vec<String>, Failure> {
        let capability = effect.request.row.capability();
        let Some(executor) = self.run.executors.get(capability) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        if let Some(grant) = self.grants.get(capability)
            && (grant.looks_up() || grant.asks_share())
            && target("", 0, &effect.request).is_some()
        {
            found = executor.within(effect).await?;
            for found in &found {
                grant.allows_found(found).map_err(Failure::Denied)?;
            }
        }
        if executor.prepares(effect.request.row) {
            effect.baseline = executor.prepare(effect).await?;
        }
        Ok(found)
    }

    /// **Which world?** The executor's. **Do it. Write down the outcome.**
    async fn perform(self: Arc<Self>, effect: Effect) -> Result<(), JournalError> {
        let number = effect.id.number;
        let (row, request) = (effect.request.row, effect.request.clone());
        let fault = self.run.fault(&effect.request);
        let outcome = match (fault, self.run.executors.get(row.capability())) {
            (Some(fault), _) => Outcome::failed(fault.failure()),
            (None, Some(executor)) => executor.perform(effect).await,
            (None, None) => row.unperformed().into(),
        };
        self.write_down(
            vec![Draft::settled(&self.step, number, &outcome)],
            row.kind == Kind::Write,
        )
        .await?;
        // After that: what it opens must not be on the disk before it.
        self.run.writes().settled(&self.step, number, row, &outcome);
        self.run
            .radius()
            .settled(&self.step, number, &request, &outcome);
        self.say_what_is_left_out(row, &outcome);
        self.arrive(number, outcome);
        Ok(())
    }

    /// An answer that leaves something out must not look like the whole. Said once of each operation.
    fn say_what_is_left_out(&self, row: &'static Row, outcome: &Outcome) {
        if outcome.left_out == 0 || !self.state().left_out.insert(row.name) {
            return;
        }
        let message = format!(
            "`{}` shows only what is granted: {} more are left out",
            row.name, outcome.left_out
        );
        let level = Level::Warning;
        let note = NoteBody::Text { level, message };
        self.run
            .journal
            .append(vec![Draft::note(Some(&self.step), note)]);
    }

    /// **Deliver**, when the plugin asks next.
    fn arrive(&self, number: u64, outcome: Outcome) {
        let mut state = self.state();
        state.running.remove(&number);
        if outcome.in_doubt {
            state.in_doubt.push(number);
        }
        state.ready.push_back((number, outcome));
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        let parked = self.state().parked.clone();
        match parked {
            Some(parked) => parked.wake(),
            None => self.arrived.notify_one(),
        }
    }
}
