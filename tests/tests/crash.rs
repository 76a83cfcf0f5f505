//! Stopped at every point and resumed, nothing is done twice and nothing is left out.
//!
//! The engine runs in a runtime of its own, which is torn down where the process would have died: at
//! the k-th commit of its store, applied or not, or at the k-th write that reaches the simulator, done
//! or not. Another engine resumes the run on the same store, and the simulator's own log of what it
//! applied is compared with a run that nobody stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use groundcrew::ResumeError;
use groundcrew::journal::{Actor, RunState, RunStatus};
use groundcrew::store::Store;
use groundcrew_fleet::{
    Behaviour, FaultRule, Fleet, Generated, Settings, Span, Time, api, generate,
};
use groundcrew_simulator::{Pace, SimulatorConfig};
use groundcrew_tests::mortal::Point;
use groundcrew_tests::processes::Processes;
use jiff::Timestamp;

/// So fast that a run takes a fraction of a second; slow enough that order stays what it is.
const SCALE: f64 = 60.0;

/// What a sweep goes through.
#[derive(Debug, Clone, Copy)]
struct Course {
    machines: usize,
    /// How long a Machine takes from its restart to its exit, in milliseconds of the fleet's time.
    stop: Span,
    faults: &'static [&'static str],
    /// Every so many points.
    stride: usize,
}

const PLAIN: Course = Course {
    machines: 40,
    stop: Span::between(150, 450),
    faults: &[],
    stride: 1,
};

const RUNBOOK: &str = include_str!("../../runbooks/restart-by-group.toml");

fn fleet(course: Course) -> Fleet {
    let settings = Settings {
        seed: 7,
        start: Time::from(Timestamp::now()),
        behaviour: Behaviour {
            stop: course.stop,
            ..Behaviour::seeded().with_restart_total(600, 1800)
        },
        ..Settings::default()
    };
    let wanted = Generated {
        machines: course.machines,
        apps: 1,
        idle_ones: true,
    };
    generate(settings, &wanted)
}

/// A world, and the processes that work on it.
struct World(Processes);

impl std::ops::Deref for World {
    type Target = Processes;

    fn deref(&self) -> &Processes {
        &self.0
    }
}

impl World {
    async fn start(course: Course) -> Result<Self> {
        let rules = course.faults.iter().map(|rule| rule.parse());
        let rules: Result<Vec<FaultRule>, _> = rules.collect();
        let config = SimulatorConfig {
            pace: Pace::Scaled(SCALE),
            faults: rules.map_err(|e| anyhow!("{e}"))?,
            ..SimulatorConfig::new(fleet(course))
        };
        let inputs = [
            ("app", "web"),
            ("group", ""),
            ("parallel", "10"),
            ("max_failures", "5"),
        ];
        Ok(Self(Processes {
            simulator: config.start().await?,
            disk: Arc::default(),
            runbook: RUNBOOK,
            inputs: inputs.map(|(k, v)| (k, v.to_owned())).to_vec(),
            scale: SCALE,
        }))
    }

    /// Goes on until the run has ended.
    async fn finish(&self) -> Result<()> {
        let Some(run) = self.run()? else {
            // It died before anything was on the disk: as if it had never been called.
            let report = self.process(None, None).await?.context("it died")?;
            ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
            return Ok(());
        };
        let state = RunState::fold(&self.disk.read(&run, 0, usize::MAX)?)?;
        if state.closed.is_some() {
            return Ok(());
        }
        if state.header.is_none() {
            // Opened, and not one entry: nothing to go on with.
            let now = Timestamp::now();
            let gone = Some(self.disk.run(&run, now)?.token);
            let claim = self.disk.claim(&run, &Actor::default(), now, now, gone)?;
            return Ok(self.disk.release(&claim)?);
        }
        match self.process(None, Some(run)).await {
            Ok(Some(report)) => {
                ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
                Ok(())
            }
            Ok(None) => bail!("nobody stopped it, and it died"),
            Err(e) => match e.downcast_ref::<ResumeError>() {
                Some(ResumeError::Unknown(questions)) => bail!("asked {questions:?}"),
                _ => Err(e),
            },
        }
    }

    /// What is there in the end: of each Machine its state and how often it was started.
    fn outcome(&self) -> BTreeMap<String, (String, usize)> {
        self.simulator.act(|fleet| {
            let machines = fleet.list("web", &api::ListQuery::default());
            let machines = machines.unwrap_or_default();
            let of = |machine: api::Machine| {
                let starts = machine.events.iter().filter(|e| e.kind == "start").count();
                (machine.id.clone(), (machine.state, starts))
            };
            machines.into_iter().map(of).collect()
        })
    }

    /// Each write of the plugin has been applied at most once, and what is on the disk is a journal.
    fn check(&self) -> Result<()> {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        self.simulator.act(|fleet| {
            for applied in fleet.applied().entries() {
                if applied.command == "machines.restart" {
                    *times
                        .entry(applied.effect.clone().unwrap_or_default())
                        .or_default() += 1;
                }
            }
        });
        for (effect, count) in times {
            ensure!(count == 1, "{effect} was applied {count} times");
        }
        if let Some(run) = self.run()? {
            let state = RunState::fold(&self.disk.read(&run, 0, usize::MAX)?)?;
            ensure!(state.closed.is_some() || state.header.is_none());
        }
        let held = self.simulator.act(|fleet| {
            let ids = fleet.machine_ids("web");
            let held = ids
                .into_iter()
                .filter(|id| fleet.lease_get("web", id).is_ok());
            held.collect::<Vec<_>>()
        });
        ensure!(held.is_empty(), "leases are left behind: {held:?}");
        Ok(())
    }
}

/// What is there after a run that nobody stopped.
async fn undisturbed(course: Course) -> Result<BTreeMap<String, (String, usize)>> {
    let calm = Course {
        faults: &[],
        ..course
    };
    let world = World::start(calm).await?;
    let report = world.process(None, None).await?.context("it died")?;
    ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
    world.check()?;
    Ok(world.outcome())
}

/// Stops at one point, resumes, compares. False: the run ended before it got there.
async fn stopped_at(
    point: Point,
    course: Course,
    wanted: &BTreeMap<String, (String, usize)>,
) -> Result<bool> {
    let world = World::start(course).await?;
    if let Some(report) = world.process(Some(point), None).await? {
        ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
        return Ok(false);
    }
    world.finish().await?;
    if world.run()?.is_some() {
        world.check()?;
        let header = world
            .run()?
            .map(|run| world.disk.read(&run, 0, 1))
            .transpose()?
            .is_some_and(|first| !first.is_empty());
        if header {
            let outcome = world.outcome();
            ensure!(outcome == *wanted, "{outcome:#?} is not {wanted:#?}");
        }
    }
    Ok(true)
}

/// Every point of a kind, from the first to the end of the run.
async fn every(kind: fn(usize) -> Point, course: Course) -> Result<()> {
    let wanted = undisturbed(course).await?;
    let (mut k, mut points) = (0, 0);
    loop {
        k += course.stride;
        let point = kind(k);
        let reached = stopped_at(point, course, &wanted).await;
        if !reached.with_context(|| format!("{point:?}"))? {
            break;
        }
        points += 1;
    }
    eprintln!("{points} points");
    let least = 30 / course.stride;
    ensure!(points >= least, "only {points} points were reached");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn before_every_commit() -> Result<()> {
    every(Point::BeforeCommit, PLAIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_commit() -> Result<()> {
    every(Point::AfterCommit, PLAIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn before_every_send() -> Result<()> {
    every(Point::BeforeSend, PLAIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_send() -> Result<()> {
    every(Point::AfterSend, PLAIN).await
}

const FAULTS: Course = Course {
    faults: &[
        "machines.restart@10%:reply-lost",
        "machines.restart@10%:late(2s)",
        "machines.lease@10%:unavailable",
    ],
    ..PLAIN
};

#[tokio::test(flavor = "multi_thread")]
async fn after_every_commit_with_faults() -> Result<()> {
    every(Point::AfterCommit, FAULTS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_send_with_faults() -> Result<()> {
    every(Point::AfterSend, FAULTS).await
}

/// A process that dies as it gives a lease back leaves a run that takes it again, and then gives it back:
/// also if nobody tells it that it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn after_every_send_with_leases_that_nobody_confirms() -> Result<()> {
    let unconfirmed = Course {
        machines: 14,
        faults: &["machines.lease@50%:reply-lost"],
        ..PLAIN
    };
    every(Point::AfterSend, unconfirmed).await
}

/// A Machine that is still stopping has no exit yet, and is not one that was not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn after_every_send_to_machines_that_stop_slowly() -> Result<()> {
    let slow = Course {
        machines: 14,
        stop: Span::between(20_000, 30_000),
        faults: &["machines.restart@30%:reply-lost"],
        stride: 3,
    };
    every(Point::AfterSend, slow).await
}

/// Stopped again and again, each process after a few commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_over_and_over_comes_to_its_end() -> Result<()> {
    let wanted = undisturbed(PLAIN).await?;
    let world = World::start(PLAIN).await?;
    let mut processes = 0;
    loop {
        processes += 1;
        ensure!(processes < 200, "it does not get on");
        if world.closed()? {
            break;
        }
        let point = Some(Point::AfterCommit(4 + processes % 5));
        if let Some(report) = world.process(point, world.run()?).await? {
            ensure!(report.status == Some(RunStatus::Succeeded), "{report:?}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(processes > 5, "{processes} processes");
    world.check()?;
    ensure!(world.outcome() == wanted, "{:#?}", world.outcome());
    Ok(())
}
