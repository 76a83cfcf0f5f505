//! Waiting for a Machine: for a state, by Fly's long polls; for its health, by reading it.
//!
//! Both fail fast. A Machine that has failed, that exits by itself or starts over and over, or
//! whose host is gone will not become what was asked for; nobody has to wait until the timeout.

use std::time::Duration;

use groundcrew::{Effect, Failure, after, between};
use groundcrew_fleet::api::{CheckResult, Event, Machine, WaitQuery};
use groundcrew_fleet::{State, Time};
use jiff::Timestamp;

use super::reach::Executing;
use crate::fly::contract::{Healthy, HealthyOptions, WaitOptions, Waited};
use crate::fly::world::api::At;
use crate::fly::world::live::LONGEST_WAIT;

/// No wait may be longer. (The contract.)
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The first long polls are short, so that a Machine that has failed is noticed soon; then they
/// grow to what Fly allows.
const FIRST_POLL: Duration = Duration::from_secs(2);

/// How often a Machine is read for its health: often at first (Fly allows five reads a second),
/// then once in two seconds.
const FIRST_LOOK: Duration = Duration::from_millis(300);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What the newest events say of a Machine, since `baseline`.
struct Since<'a> {
    start: Option<&'a Event>,
    /// The newest exit that nobody asked for, after the newest command.
    own_exit: Option<&'a Event>,
    own_exits: usize,
    /// Something has happened at all.
    any: bool,
}

fn since<'a>(machine: &'a Machine, baseline: Option<&str>) -> Since<'a> {
    let newer = || {
        machine
            .events
            .iter()
            .filter(|e| baseline.is_none_or(|b| e.id.as_str() > b))
    };
    // A Machine may have exited between the reading of the baseline and the command that is waited
    // for: what it did before somebody's newest command says nothing of what it does after.
    let command = newer()
        .filter(|e| e.source == "user" && e.kind != "exit")
        .max_by(|a, b| a.id.cmp(&b.id));
    let own = || {
        newer()
            .filter(|e| e.kind == "exit" && !e.requested_stop())
            .filter(|e| command.is_none_or(|command| e.id > command.id))
    };
    Since {
        start: newer()
            .filter(|e| e.kind == "start")
            .max_by(|a, b| a.id.cmp(&b.id)),
        own_exit: own().max_by(|a, b| a.id.cmp(&b.id)),
        own_exits: own().count(),
        any: newer().next().is_some(),
    }
}

/// Why a Machine will not get there, in the version that is asked for.
fn hopeless(
    machine: &Machine,
    since: &Since<'_>,
    wanted: &[String],
    version: Option<&str>,
) -> Option<Failure> {
    let wants = |state: &str| wanted.iter().any(|w| w == state);
    if machine.host_status == "unreachable" {
        return Some(Failure::Unavailable(
            "the Machine's host is unreachable".to_owned(),
        ));
    }
    // Under way its version may be either one, and so it may in an answer from before.
    let settled = State::parse(&machine.state).is_none_or(State::settled);
    if let (Some(version), true) = (version, settled && since.any)
        && machine.instance_id != version
    {
        return Some(Failure::Application(format!(
            "the Machine is back at version {}: version {version} could not be started, most likely because its image cannot be pulled{}",
            machine.instance_id,
            how(since.own_exit)
        )));
    }
    if wants("settled") || wants(&machine.state) {
        return None;
    }
    if machine.state == "failed" {
        return Some(Failure::Application(format!(
            "the Machine has failed{}",
            how(since.own_exit)
        )));
    }
    if matches!(machine.state.as_str(), "destroyed" | "destroying") {
        let text = match vanished(&machine.events) {
            true => {
                "the Machine was gone before it ever started, most likely because its image cannot be pulled"
            }
            false => "the Machine has been destroyed",
        };
        return Some(Failure::NotFound(text.to_owned()));
    }
    if let Some(exit) = since.own_exit {
        if machine.state == "stopped" {
            return Some(Failure::Application(format!(
                "the Machine exited and stays stopped{}",
                how(Some(exit))
            )));
        }
        if since.own_exits >= 2 {
            return Some(Failure::Application(format!(
                "the Machine exits again and again ({} times so far){}",
                since.own_exits,
                how(Some(exit))
            )));
        }
    }
    None
}

/// Whether a Machine that is destroyed was made, did not start, and was not destroyed by anybody.
fn vanished(events: &[Event]) -> bool {
    let any = |kind: &str| events.iter().any(|e| e.kind == kind);
    let by_somebody = |e: &Event| e.kind == "destroy" && e.source == "user";
    any("launch") && !any("start") && !events.iter().any(by_somebody)
}

fn how(exit: Option<&Event>) -> String {
    match exit {
        Some(event) if event.oom_killed() => ": it ran out of memory".to_owned(),
        Some(event) => event
            .exit_code()
            .map_or_else(String::new, |code| format!(": exit code {code}")),
        None => String::new(),
    }
}

fn deadline(now: Timestamp, timeout_ms: u64) -> Timestamp {
    after(now, Duration::from_millis(timeout_ms).min(LONGEST))
}

fn ended() -> Failure {
    Failure::Cancelled("the wait was ended early".to_owned())
}

/// Waits for one of some states.
pub(super) async fn state(
    by: &Executing,
    effect: &Effect,
    at: At<'_>,
    options: &WaitOptions,
) -> Result<Waited, Failure> {
    if options.states.is_empty() {
        return Err(Failure::Invalid(
            "a wait needs at least one state".to_owned(),
        ));
    }
    let query = WaitQuery {
        states: options.states.clone(),
        version: options.version.clone(),
        from_event_id: options.from_event.clone(),
    };
    let until = deadline(by.clock.now(), options.timeout_ms);
    let mut poll = FIRST_POLL;
    loop {
        let left = between(by.clock.now(), until);
        by.rates.action(effect, "wait", at.id.text()).await?;
        let wait = async || {
            let answer = by.api.wait(at, &query, poll.min(left)).await;
            answer.map_err(|trouble| by.young(at, trouble))
        };
        let answer = tokio::select! {
            biased;
            () = effect.cancel.cancelled() => return Err(ended()),
            answer = by.read(effect, wait) => answer?,
        };
        if let Some(reached) = answer {
            let event = (!reached.event_id.is_empty()).then_some(reached.event_id);
            return Ok(Waited {
                state: reached.state,
                version: reached.version,
                event,
            });
        }
        let machine = by.get(effect, at).await?;
        if let Some(failure) = hopeless(
            &machine,
            &since(&machine, options.from_event.as_deref()),
            &options.states,
            options.version.as_deref(),
        ) {
            return Err(failure);
        }
        if by.clock.now() >= until {
            let wanted = options.states.join("` or `");
            return Err(Failure::Timeout(format!(
                "the Machine is `{}`, not `{wanted}`, after {}",
                machine.state,
                seconds(options.timeout_ms)
            )));
        }
        poll = (poll * 2).min(LONGEST_WAIT);
    }
}

/// Waits until every check has passed since the start.
pub(super) async fn health(
    by: &Executing,
    effect: &Effect,
    at: At<'_>,
    options: &HealthyOptions,
) -> Result<Healthy, Failure> {
    let mut watch = Watch {
        options,
        until: deadline(by.clock.now(), options.timeout_ms),
        seen: None,
    };
    let mut pause = FIRST_LOOK;
    let mut looks = 0u32;
    loop {
        // What was read is not kept while nothing happens: thousands may be waited for at once.
        if let Some(healthy) = watch.look(&by.get(effect, at).await?, by.clock.now())? {
            return Ok(healthy);
        }
        let left = between(by.clock.now(), watch.until);
        tokio::select! {
            biased;
            () = effect.cancel.cancelled() => return Err(ended()),
            () = by.clock.sleep(pause.min(left.max(Duration::from_millis(50)))) => {}
        }
        looks += 1;
        if looks > 20 {
            pause = (pause * 3 / 2).min(LAST_LOOK);
        }
    }
}

/// What is known of a Machine whose health is waited for.
struct Watch<'a> {
    options: &'a HealthyOptions,
    until: Timestamp,
    /// When we first saw the present start: grace is counted by our own clock, which need not
    /// agree with Fly's.
    seen: Option<(String, Timestamp)>,
}

impl Watch<'_> {
    /// Whether it is healthy; an error, if it will not be, or the time is over.
    fn look(&mut self, machine: &Machine, now: Timestamp) -> Result<Option<Healthy>, Failure> {
        let options = self.options;
        let since = since(machine, options.from_event.as_deref());
        let wanted = ["started".to_owned()];
        if let Some(failure) = hopeless(machine, &since, &wanted, options.version.as_deref()) {
            return Err(failure);
        }
        if let (Some(exit), Some(start)) = (since.own_exit, since.start)
            && options.from_event.is_some()
        {
            let again = if start.id > exit.id {
                " and was started again"
            } else {
                ""
            };
            return Err(Failure::Application(format!(
                "the Machine exited by itself{again}{}",
                how(Some(exit))
            )));
        }
        let version = options.version.as_ref();
        let right = version.is_none_or(|version| machine.instance_id == *version);
        let begun = since.start.is_some() || options.from_event.is_none();
        if machine.state == "started" && right && begun {
            return self.started(machine, since.start, now);
        }
        if now >= self.until {
            return Err(Failure::Timeout(format!(
                "the Machine is `{}`, not started, after {}",
                machine.state,
                seconds(options.timeout_ms)
            )));
        }
        Ok(None)
    }

    /// The same of one that has started, and how long its checks may take.
    fn started(
        &mut self,
        machine: &Machine,
        event: Option<&Event>,
        now: Timestamp,
    ) -> Result<Option<Healthy>, Failure> {
        let options = self.options;
        let start = event.map_or_else(
            || Time::parse(&machine.updated_at).unwrap_or(Time::from_millis(0)),
            Event::at,
        );
        let key = event.map_or_else(String::new, |event| event.id.clone());
        let first = match &self.seen {
            Some((id, first)) if *id == key => *first,
            _ => now,
        };
        self.seen = Some((key, first));
        let late = now >= self.until;
        match checks(machine, options.from_event.as_ref().map(|_| start)) {
            Checks::Passing { count, last } => Ok(Some(Healthy {
                checks: count,
                started_at: start.as_millis(),
                healthy_at: last.unwrap_or(start).as_millis(),
            })),
            Checks::Failing {
                name,
                output,
                grace_ms,
            } => {
                let critical = options.critical_after_ms;
                let patience = Duration::from_millis(critical.saturating_add(grace_ms));
                if critical > 0 && between(first, now) >= patience {
                    return Err(Failure::Application(format!(
                        "check `{name}` stays critical {}",
                        detail(&output)
                    )));
                }
                if late {
                    return Err(Failure::Application(format!(
                        "check `{name}` is still failing after {} {}",
                        seconds(options.timeout_ms),
                        detail(&output)
                    )));
                }
                Ok(None)
            }
            Checks::Waiting { name } if late => Err(Failure::Timeout(format!(
                "check `{name}` has not reported since the start, after {}",
                seconds(options.timeout_ms)
            ))),
            Checks::Waiting { .. } => Ok(None),
        }
    }
}

fn detail(output: &str) -> String {
    let line = output.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        String::new()
    } else {
        format!("({})", line.chars().take(120).collect::<String>())
    }
}

fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1000) {
        format!("{} s", ms / 1000)
    } else {
        format!("{ms} ms")
    }
}

enum Checks {
    /// All of them, since the start; `last` is when the last of them first did, as far as shown.
    Passing {
        count: u32,
        last: Option<Time>,
    },
    Failing {
        name: String,
        output: String,
        grace_ms: u64,
    },
    Waiting {
        name: String,
    },
}

/// Where the checks stand, counting only results from after `start`.
fn checks(machine: &Machine, start: Option<Time>) -> Checks {
    let configured = machine.config_view().configured_checks();
    let mut last = None;
    let mut failing = None;
    let mut waiting = None;
    let mut count = 0u32;
    for check in machine.real_checks() {
        let fresh = match (start, check.updated()) {
            (Some(start), Some(updated)) => updated > start,
            (Some(_), None) => false,
            (None, _) => true,
        };
        match check.result() {
            _ if !fresh => waiting = Some(check.name.clone()),
            CheckResult::Passing => {
                count += 1;
                last = last.max(check.updated());
            }
            CheckResult::Unknown => waiting = Some(check.name.clone()),
            CheckResult::Warning | CheckResult::Critical => {
                let grace_ms = configured
                    .iter()
                    .find(|c| c.name == check.name)
                    .map_or(0, |c| c.grace_ms);
                failing = Some(Checks::Failing {
                    name: check.name.clone(),
                    output: check.output.clone(),
                    grace_ms,
                });
            }
        }
    }
    // Fly shows no entry for a check that has never run: the configuration tells how many there
    // have to be.
    let missing = configured.len() > machine.real_checks().count();
    match (failing, waiting) {
        (Some(failing), _) => failing,
        (None, Some(name)) => Checks::Waiting { name },
        (None, None) if missing => {
            let name = configured
                .iter()
                .find(|c| !machine.real_checks().any(|r| r.name == c.name));
            Checks::Waiting {
                name: name.map_or_else(|| "a check".to_owned(), |c| c.name.clone()),
            }
        }
        (None, None) => Checks::Passing { count, last },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_by_itself_is_told_from_what_was_destroyed() {
        let of = |events: &[(&str, &str)]| {
            let event = |(kind, source): &(&str, &str)| Event {
                kind: (*kind).to_owned(),
                source: (*source).to_owned(),
                ..Event::default()
            };
            vanished(&events.iter().map(event).collect::<Vec<_>>())
        };
        let (made, gone) = (("launch", "user"), ("destroy", "flyd"));
        assert!(of(&[made, gone]) && of(&[made]));
        assert!(!of(&[made, ("start", "flyd"), gone]));
        assert!(!of(&[made, ("destroy", "user"), gone]));
        // Of one that is old only the newest events are shown.
        assert!(!of(&[gone]) && !of(&[]));
    }
}
