//! Brings a deploy that failed half-way to its end, by the procedure of those who did it by hand.
//!
//! It looks first how far the deploy got and says so: nothing was updated: one Machine of the workers'
//! group is restarted, so that work goes on, and the deploy is done again; a minority was: it is done
//! again; a majority was: those that were left behind are updated one by one, and what is stuck is
//! replaced. A rehearsal or a plan shows which case it is before anything happens.

use std::time::Duration;

use groundcrew_deploy::one::{both, made};
use groundcrew_deploy::survey::{Stuck, stuck};
use groundcrew_deploy::{Bounds, Change, How, Report, Scope, Select, Target, Verify, defaults};
use groundcrew_plugin::{Error, Host, Machine, Portion, Result, State, Timespan, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which deploy, and how carefully.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which Machines.
    pub select: Select,
    /// What the deploy that failed was to change: its image at least.
    pub change: Change,
    /// The process group of which one Machine is restarted if nothing was updated.
    #[serde(default)]
    pub workers: Option<String>,
    /// How many Machines of a process group may be away at once when the deploy is done again.
    #[serde(default = "groundcrew_deploy::defaults::unavailable")]
    pub max_unavailable: Portion,
    /// How long the proxy gets to notice that a Machine has left its service before it is stopped.
    #[serde(default = "groundcrew_deploy::defaults::drain")]
    pub drain: Timespan,
    /// How long a Machine may take to start, and then again for its checks to pass.
    #[serde(default = "groundcrew_deploy::defaults::wait")]
    pub wait_timeout: Timespan,
}

/// What was found, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Recovery {
    /// How far the deploy had got.
    pub case: Case,
    /// The counts behind that.
    pub why: String,
    /// Stuck Machines that were replaced.
    pub replaced: Vec<Replaced>,
    /// What became of every Machine in the end.
    pub report: Option<Report>,
}

/// How far a deploy had got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Every Machine has it.
    Done,
    /// No Machine has it.
    Nothing,
    /// At most half of them have it.
    Minority,
    /// More than half of them have it.
    Majority,
}

/// A Machine that was stuck, and the one in its place.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Replaced {
    /// What was stuck.
    pub stuck: Stuck,
    /// The id of the new one.
    pub by: String,
}

/// Find out how far a failed deploy got, and bring it to its end.
#[plugin(
    machines(
        list,
        lease,
        restart,
        update,
        cordon,
        create,
        destroy,
        start,
        stop,
        wait,
        reason = "updates what a failed deploy left behind, replaces what is stuck, restarts one worker"
    ),
    releases(
        list,
        read_config,
        reason = "reads the definition of the release that is named"
    )
)]
pub async fn recover_deploy(input: Input, host: Host) -> Result<Recovery> {
    let mut scope = Scope::of(&host, &input.select, input.change.clone()).await?;
    let later = "that is for the deploy itself, once this has brought its Machines there";
    scope.leave_new(later);
    scope.leave_gone(later);
    let (target, chosen) = (&scope.target, &scope.selection.chosen);
    let (case, why) = case(chosen, target);
    host.note(&format!("{}: {why}", case.words()));
    let mut recovery = Recovery {
        case,
        why,
        replaced: Vec::new(),
        report: None,
    };
    let how = how(&input);
    let all_unavailable = match case {
        Case::Done => return Ok(recovery),
        Case::Nothing => {
            restart_a_worker(&host, &input, chosen).await?;
            input.max_unavailable
        }
        Case::Minority => input.max_unavailable,
        // One by one: what is left is what did not want to.
        Case::Majority => Portion::Count(1),
    };
    let chosen = std::mem::take(&mut scope.selection.chosen);
    let (stuck, others) = part(chosen, &scope.target, host.now());
    for (machine, found) in stuck {
        match replace(&host, &scope.target, &how, &machine).await {
            Ok(by) => recovery.replaced.push(Replaced { stuck: found, by }),
            Err(error) => {
                let text = format!("{} cannot be replaced: {error}", machine.id);
                return Err(Error::new(error.kind(), text).with_output(&recovery));
            }
        }
    }
    scope.selection.chosen = others;
    let bounds = Bounds {
        max_unavailable: all_unavailable,
        parallel: 100,
        max_failures: 0,
        first_alone: true,
        hold: std::time::Duration::ZERO,
    };
    match scope.roll(&host, &how, bounds).await {
        Ok(report) => {
            recovery.report = Some(report);
            Ok(recovery)
        }
        Err(error) => Err(error),
    }
}

fn how(input: &Input) -> How {
    How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(defaults::critical().duration()),
        verify: Verify {
            checks: true,
            stopped: false,
        },
        // On the way forward: what is there already stays there.
        rollback: false,
        replace: true,
    }
}

impl Case {
    fn words(self) -> &'static str {
        match self {
            Self::Done => "the deploy is done",
            Self::Nothing => {
                "nothing was updated: a worker is restarted, then the deploy is done again"
            }
            Self::Minority => "a minority was updated: the deploy is done again",
            Self::Majority => "a majority was updated: the others follow one by one",
        }
    }
}

/// How far a deploy got: by the Machines that have its configuration.
fn case(machines: &[Machine], target: &Target) -> (Case, String) {
    let updated = machines
        .iter()
        .filter(|machine| target.has(machine))
        .count();
    let all = machines.len();
    let why = format!("{updated} of {all} Machines have the new version");
    let case = match updated {
        _ if machines.iter().all(|machine| target.is_met(machine)) => Case::Done,
        0 => Case::Nothing,
        updated if updated * 2 <= all => Case::Minority,
        _ => Case::Majority,
    };
    (case, why)
}

/// Those that are stuck, and all others. What has no volume can be replaced, and nothing else; nor
/// what is on a host that is not reached, which takes no request to destroy it either.
fn part(
    machines: Vec<Machine>,
    target: &Target,
    now: Duration,
) -> (Vec<(Machine, Stuck)>, Vec<Machine>) {
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for machine in machines {
        match stuck(&machine, now) {
            Some(_) if !machine.is_reachable() => good.push(machine),
            // One that is only ill is helped by the update that it lacks.
            Some(found) if machine.mounts.is_empty() && !machine.is(State::Started) => {
                bad.push((machine, found));
            }
            Some(found) if machine.mounts.is_empty() && target.has(&machine) => {
                bad.push((machine, found));
            }
            Some(_) | None => good.push(machine),
        }
    }
    (bad, good)
}

/// Makes a Machine at the target in the place of one that is stuck, and destroys that.
async fn replace(host: &Host, target: &Target, how: &How, machine: &Machine) -> Result<String> {
    host.item(&machine.id).working("being replaced");
    let change = target.change_for(machine)?;
    let new = made(host, target, how, machine, change, true).await?;
    if !machine.cordoned {
        new.uncordon().await?;
    }
    if let Err(error) = machine.destroy().await {
        // Both would be one too many, and the next attempt would make another.
        return Err(match new.destroy().await {
            Ok(()) => error,
            Err(also) => both(&error, &also),
        });
    }
    host.item(&machine.id)
        .succeeded(format!("replaced by {}", new.id));
    Ok(new.id.clone())
}

/// Restarts the first Machine of the workers, and waits until it works.
async fn restart_a_worker(host: &Host, input: &Input, machines: &[Machine]) -> Result<()> {
    let Some(group) = &input.workers else {
        return Ok(());
    };
    let mut workers = machines
        .iter()
        .filter(|machine| machine.group == *group && machine.is_reachable());
    let worker = workers.next().ok_or_else(|| {
        Error::invalid(format!(
            "the process group `{group}` has no Machine to restart"
        ))
    })?;
    host.item(&worker.id)
        .working("restarting, so that work goes on");
    let lease = worker.lease().await?;
    let restarted = worker.restart().await?;
    let since = restarted.baseline.as_deref();
    let healthy = worker.wait_healthy().since(since);
    healthy.within(input.wait_timeout.duration()).await?;
    lease.release().await?;
    host.item(&worker.id).succeeded("restarted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::{Summary, testing::machine};

    use super::*;

    fn target() -> Target {
        let change = Change {
            release: Some("r2".to_owned()),
            ..Change::default()
        };
        change.target().unwrap()
    }

    fn fleet(updated: usize, all: usize) -> Vec<Machine> {
        let of = |number: usize| Summary {
            release: (number < updated).then(|| "r2".to_owned()),
            configured_checks: 0,
            ..machine("web", &format!("{number:02}"))
        };
        (0..all).map(|number| Machine::from(of(number))).collect()
    }

    #[test]
    fn the_case_is_told_by_the_numbers() {
        for (updated, expected) in [
            (0, Case::Nothing),
            (1, Case::Minority),
            (5, Case::Minority),
            (6, Case::Majority),
            (9, Case::Majority),
            (10, Case::Done),
        ] {
            let (case, why) = case(&fleet(updated, 10), &target());
            assert_eq!(case, expected, "{updated}");
            assert!(why.starts_with(&format!("{updated} of 10")));
        }
    }

    #[test]
    fn what_is_stuck_is_replaced_unless_it_has_a_volume() {
        let now = Duration::from_secs(10_000);
        let failed = |id: &str| Summary {
            state: "failed".to_owned(),
            ..machine("web", id)
        };
        let mount = groundcrew_plugin::Mount {
            volume: "v".to_owned(),
            path: "/d".to_owned(),
        };
        let volume = Summary {
            mounts: vec![mount],
            ..failed("b")
        };
        let mut machines = vec![
            failed("a").into(),
            volume.into(),
            machine("web", "c").into(),
        ];
        machines.push(
            Summary {
                host_status: groundcrew_plugin::HostStatus::Unreachable,
                ..failed("d")
            }
            .into(),
        );
        let (bad, good) = part(machines, &target(), now);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].0.id, "a");
        assert_eq!(good.len(), 3);
    }
}
