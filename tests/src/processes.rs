//! Processes that share a disk and a simulator, one after the other: each begins a run or goes on with
//! it, in a runtime of its own, which is torn down where the process dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow, ensure};
use groundcrew::journal::{Actor, RunState};
use groundcrew::store::{MemoryStore, Store};
use groundcrew::{Answer, Policy, ResumeRequest, RunReport, Unobserved};
use groundcrew_simulator::{Moment, Running};
use jiff::Timestamp;

use crate::embedded::{self, engine, target};
use crate::mortal::{Life, Mortal, Point};

/// A world, and the disk of the machine that works on it.
pub struct Processes {
    /// The world.
    pub simulator: Running,
    /// The disk.
    pub disk: Arc<MemoryStore>,
    /// What is run.
    pub runbook: &'static str,
    /// With which inputs.
    pub inputs: Vec<(&'static str, String)>,
    /// How fast the world's time passes.
    pub scale: f64,
}

impl Processes {
    /// One process: begins the run, or goes on with it, until its end or its death. None: it died.
    ///
    /// # Errors
    ///
    /// If it cannot begin.
    pub async fn process(
        &self,
        point: Option<Point>,
        resume: Option<String>,
    ) -> Result<Option<RunReport>> {
        let life = Arc::new(Life::default());
        let store = Arc::new(Mortal::new(self.disk.clone(), life.clone(), point));
        self.watch(point, &life);
        let address = self.simulator.base_url();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let inputs: Vec<(&str, &str)> = self.inputs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let target = target(&address, self.scale)?;
        let request = embedded::request(self.runbook, &inputs, target.clone(), 1);
        let disk = self.disk.clone();
        let work = runtime.spawn(async move {
            let engine = engine(store)?;
            let handle = match resume {
                None => {
                    let admitted = engine.admit(request?).await;
                    let admitted = admitted.map_err(|no| anyhow!("{no:?}"))?;
                    engine.start(admitted, Arc::new(Unobserved)).await?
                }
                Some(run) => {
                    let gone = Some(disk.run(&run, Timestamp::now())?.token);
                    let request = ResumeRequest {
                        run,
                        target,
                        policy: Policy::default(),
                        actor: Actor::default(),
                        answers: BTreeMap::from([("0".to_owned(), Answer::Retry)]),
                        secrets: serde_json::Value::Null,
                        accepted_drift: Vec::new(),
                        gone,
                    };
                    engine.resume(request, Arc::new(Unobserved)).await?
                }
            };
            anyhow::Ok(handle.finished().await)
        });
        let ended = tokio::select! {
            biased;
            () = life.died() => None,
            ended = work => Some(ended?),
        };
        // Whatever is still under way in it ends here, in the middle of whatever it does.
        runtime.shutdown_background();
        self.simulator.untap();
        match ended {
            // The death may be seen as a failure of the store before it is seen here.
            _ if life.over() => Ok(None),
            None => Ok(None),
            Some(report) => report.map(Some),
        }
    }

    fn watch(&self, point: Option<Point>, life: &Arc<Life>) {
        let (moment, k) = match point {
            Some(Point::BeforeSend(k)) => (Moment::Arrived, k),
            Some(Point::AfterSend(k)) => (Moment::Done, k),
            Some(Point::BeforeCommit(_) | Point::AfterCommit(_)) | None => return,
        };
        let (life, sends) = (life.clone(), AtomicUsize::new(0));
        self.simulator.tap(move |at, request| {
            if request.method == "GET" || at != moment || life.over() {
                return !(life.over() && request.method != "GET" && at == Moment::Arrived);
            }
            if sends.fetch_add(1, Ordering::SeqCst) + 1 == k {
                life.end();
                return false;
            }
            true
        });
    }

    /// The run on the disk, if there is one.
    ///
    /// # Errors
    ///
    /// If there are several.
    pub fn run(&self) -> Result<Option<String>> {
        let runs = self.disk.index()?;
        ensure!(runs.len() <= 1, "{runs:?}");
        Ok(runs.into_iter().next().map(|run| run.summary.run))
    }

    /// Whether the run has ended, as the disk tells.
    ///
    /// # Errors
    ///
    /// If its journal does not fold.
    pub fn closed(&self) -> Result<bool> {
        let Some(run) = self.run()? else {
            return Ok(false);
        };
        let state = RunState::fold(&self.disk.read(&run, 0, usize::MAX)?)?;
        Ok(state.closed.is_some())
    }
}
