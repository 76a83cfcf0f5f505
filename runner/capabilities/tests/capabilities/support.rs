//! What the tests share: a simulator, and processes of runs that act on it or rehearse on a fork of
//! it. Executors are asked as the engine's gate asks them: what prepares first, then performs, with the
//! virtual clock held meanwhile.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use groundcrew::{
    Busy, Capability, Clock, Commons, Cover, CredentialSource, Deadline, Effect, EffectId,
    Executor, Failure, Found, Kind, Mode, Outcome, RealClock, Request, Row, Secret, Setting,
    Target, VirtualClock, arguments,
};
use groundcrew_capabilities::{all, fly};
use groundcrew_fleet::{
    Applied, Behaviour, Caller, FaultRule, Fleet, Generated, Settings, api, generate,
};
use groundcrew_simulator::{DEFAULT_READ_TOKEN, DEFAULT_TOKEN, Pace, Running, SimulatorConfig};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Both worlds.
pub(crate) const WORLDS: [Mode; 2] = [Mode::Perform, Mode::Rehearsal];

/// So many seconds of the simulator and of the runs pass in one of the wall.
pub(crate) const SCALE: f64 = 50.0;

/// Runs and simulators have seeds of their own: with the same one a fork would give what it makes the
/// ids that the simulator gave.
const RUN_SEED: u64 = 11;

/// Somebody else.
pub(crate) const ANN: Caller<'static> = Caller {
    nonce: None,
    effect: None,
    owner: "ann@example.com",
};

struct Token(&'static str);

impl CredentialSource for Token {
    fn reference(&self) -> String {
        "test".to_owned()
    }

    fn resolve(&self) -> Result<Secret, String> {
        Ok(Secret::new(self.0))
    }
}

/// A fleet of two apps, `web` and `web-2`, with eight Machines each: six of the group `web`, and two
/// `worker`.
pub(crate) fn fleet(behaviour: Behaviour) -> Fleet {
    let settings = Settings {
        seed: 7,
        behaviour,
        ..Settings::default()
    };
    let wanted = Generated {
        machines: 16,
        apps: 2,
        idle_ones: false,
    };
    generate(settings, &wanted)
}

/// A simulator.
pub(crate) struct World {
    pub(crate) simulator: Running,
    mode: Mode,
    started: Timestamp,
}

impl World {
    /// With a fleet whose restarts take one to three seconds of its own time.
    pub(crate) async fn start(mode: Mode) -> Self {
        let behaviour = Behaviour::seeded().with_restart_total(1000, 3000);
        Self::serve(mode, fleet(behaviour), Pace::Scaled(SCALE)).await
    }

    pub(crate) async fn serve(mode: Mode, fleet: Fleet, pace: Pace) -> Self {
        let now = i64::try_from(fleet.now().as_millis()).unwrap();
        let config = SimulatorConfig {
            // Where time stands still, so does every limit.
            rate_limits: pace != Pace::ByHand,
            pace,
            ..SimulatorConfig::new(fleet)
        };
        Self {
            simulator: config.start().await.unwrap(),
            mode,
            started: Timestamp::from_millisecond(now).unwrap(),
        }
    }

    /// Where a run acts. What rehearses has a token that may only read.
    pub(crate) fn target(&self, metrics_api: Option<&str>) -> Target {
        let token = match self.mode {
            Mode::Perform => Token(DEFAULT_TOKEN),
            Mode::Rehearsal => Token(DEFAULT_READ_TOKEN),
        };
        let address = self.simulator.base_url();
        let addresses = fly::Addresses {
            machines_api: Some(&address),
            metrics_api,
            ..fly::Addresses::default()
        };
        let organisation = Some("groundcrew");
        let scale = groundcrew::Scale::new(SCALE).unwrap();
        fly::target("test", organisation, scale, addresses, Some(&token), &[]).unwrap()
    }

    /// A process of a run, in the world that this one was started for.
    pub(crate) fn run(&self, run: &str) -> Process {
        Process::start(run, self.target(None), self.mode, self.started)
    }

    /// The same with metrics from elsewhere.
    pub(crate) fn run_with_metrics(&self, address: &str) -> Process {
        Process::start("run", self.target(Some(address)), self.mode, self.started)
    }

    pub(crate) fn is_rehearsal(&self) -> bool {
        self.mode == Mode::Rehearsal
    }

    /// The id of a Machine of `web`.
    pub(crate) fn id(&self, place: usize) -> String {
        self.simulator.act(|fleet| fleet.machine_ids("web"))[place].clone()
    }

    /// A Machine of `web` as it is there.
    pub(crate) fn machine(&self, id: &str) -> api::Machine {
        self.simulator.act(|fleet| fleet.get("web", id)).unwrap()
    }

    /// What goes wrong from now on.
    pub(crate) fn faults(&self, rules: &[&str]) {
        let rules = rules.iter().map(|rule| rule.parse().unwrap());
        self.simulator.set_faults(rules.collect::<Vec<FaultRule>>());
    }

    /// Every write that changed the world.
    pub(crate) fn applied(&self) -> Vec<Applied> {
        let all = |fleet: &mut Fleet| fleet.applied().entries().cloned().collect();
        self.simulator.act(all)
    }

    /// What an effect really did.
    pub(crate) fn done_by(&self, effect: &Effect) -> Vec<&'static str> {
        let id = effect.id.to_string();
        let all = self.applied().into_iter();
        all.filter(|write| write.effect.as_ref() == Some(&id))
            .map(|write| write.command)
            .collect()
    }

    /// The requests of a route that an effect caused. Those that came too early for the simulator are
    /// left out: its clock and the run's do not agree on a second to the millisecond.
    pub(crate) fn sent_by(&self, effect: &Effect, route: &str) -> Vec<groundcrew_fleet::Request> {
        let id = effect.id.to_string();
        let early =
            |request: &groundcrew_fleet::Request| request.status == 429 && request.fault.is_none();
        let mut all = self.requests();
        all.retain(|request| {
            request.route == route && request.effect.as_ref() == Some(&id) && !early(request)
        });
        all
    }

    pub(crate) fn requests(&self) -> Vec<groundcrew_fleet::Request> {
        let all = |fleet: &mut Fleet| fleet.requests().entries().cloned().collect();
        self.simulator.act(all)
    }

    /// Nothing but reads has arrived.
    pub(crate) fn only_read(&self) {
        const READ_BY_POST: [&str; 2] = ["platform.placements", "metrics.query"];
        for request in self.requests() {
            let reads = request.method == "GET" || READ_BY_POST.contains(&request.route);
            assert!(reads && request.status != 403, "{request:?}");
        }
        assert_eq!(self.applied(), []);
    }

    /// Nothing of these routes has changed anything.
    pub(crate) fn nothing_done(&self, family: &str) {
        let applied = self.applied();
        let done = applied
            .iter()
            .find(|write| write.command.starts_with(family));
        assert_eq!(done, None);
    }

    /// Returns once something holds there.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&mut Fleet) -> bool) {
        let come = async {
            while !self.simulator.act(&holds) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), come).await;
        in_time.unwrap_or_else(|_| panic!("it never came about: {what}"));
    }
}

/// A process that acts for a run, with an executor of each capability.
pub(crate) struct Process {
    pub(crate) setting: Setting,
    executors: HashMap<&'static str, Arc<dyn Executor>>,
    numbers: AtomicU64,
}

impl Process {
    pub(crate) fn start(run: &str, target: Target, mode: Mode, now: Timestamp) -> Self {
        let clock: Arc<dyn Clock> = match mode {
            Mode::Perform => Arc::new(RealClock::new(now, target.time_scale)),
            Mode::Rehearsal => Arc::new(VirtualClock::new(now)),
        };
        Self::of(Setting {
            run: run.into(),
            target,
            mode,
            clock: clock.clone(),
            seed: RUN_SEED,
            deadline: Deadline::never(clock),
            commons: Commons::default(),
            sealed: groundcrew::Sealed::default(),
        })
    }

    pub(crate) fn of(setting: Setting) -> Self {
        let executor = |capability: Arc<dyn Capability>| {
            (capability.name(), capability.executor(&setting).unwrap())
        };
        Self {
            executors: all().into_iter().map(executor).collect(),
            setting,
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn executor(&self, capability: &str) -> &dyn Executor {
        &*self.executors[capability]
    }

    /// A request on its way, of a step.
    pub(crate) fn effect_of(&self, step: &str, request: Request) -> Effect {
        names_what_grants_cover(&request);
        Effect {
            id: EffectId {
                run: self.setting.run.clone(),
                step: step.into(),
                number: self.numbers.fetch_add(1, Ordering::SeqCst) + 1,
            },
            request: Arc::new(request),
            baseline: None,
            cover: Cover::all(),
            cancel: CancellationToken::new(),
        }
    }

    /// The same, whatever the gate would say of it.
    pub(crate) fn unchecked(&self, request: Request) -> Effect {
        let mut effect = self.effect(Request::new(row("apps.list")));
        effect.request = Arc::new(request);
        effect
    }

    pub(crate) fn effect(&self, request: Request) -> Effect {
        self.effect_of("step", request)
    }

    /// The same with what its executor reads before the intent.
    pub(crate) async fn prepared(&self, request: Request) -> Result<Effect, Failure> {
        let mut effect = self.effect(request);
        let executor = self.executor(effect.request.row.capability());
        if executor.prepares(effect.request.row) {
            let _busy = self.busy();
            effect.baseline = executor.prepare(&effect).await?;
        }
        Ok(effect)
    }

    /// In a rehearsal: holds its clock.
    pub(crate) fn busy(&self) -> Option<Busy> {
        self.setting.clock.as_virtual().map(VirtualClock::busy)
    }

    pub(crate) async fn perform(&self, effect: &Effect) -> Outcome {
        let _busy = self.busy();
        let executor = self.executor(effect.request.row.capability());
        executor.perform(effect.clone()).await
    }

    pub(crate) async fn find_out(&self, effect: &Effect, age: Duration) -> Found {
        let _busy = self.busy();
        let executor = self.executor(effect.request.row.capability());
        executor.find_out(effect, age).await
    }

    /// What becomes of a request, of which no doubt may be left.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Failure> {
        let effect = self.prepared(request).await?;
        answer(&self.perform(&effect).await)
    }

    /// Performs a request that has to succeed, and gives the effect.
    pub(crate) async fn done(&self, request: Request) -> Effect {
        let effect = self.prepared(request).await.unwrap();
        let outcome = self.perform(&effect).await;
        answer::<Value>(&outcome).unwrap_or_else(|e| panic!("{}: {e}", effect.request));
        effect
    }
}

/// The answer of an outcome that is in no doubt.
pub(crate) fn answer<T: DeserializeOwned>(outcome: &Outcome) -> Result<T, Failure> {
    assert!(!outcome.in_doubt, "{outcome:?}");
    let json = outcome.result.clone()?;
    Ok(serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}")))
}

/// The text of a failure of this kind.
pub(crate) fn failed<T: Debug>(kind: &str, result: Result<T, Failure>) -> String {
    let failure = result.unwrap_err();
    assert_eq!(failure.parts().0, kind, "{failure}");
    failure.parts().1.to_owned()
}

/// A row of the operations table.
pub(crate) fn row(name: &str) -> &'static Row {
    let rows = all().into_iter().flat_map(|each| each.operations());
    let mut named = rows.filter(|row| row.name == name);
    named.next().unwrap_or_else(|| panic!("no row `{name}`"))
}

/// An operation on one Machine of `web`.
pub(crate) fn on(name: &str, id: &str) -> Request {
    Request::new(row(name)).on("web".to_owned(), id.to_owned())
}

/// The same with arguments.
pub(crate) fn on_with<T: Serialize>(name: &str, id: &str, with: &T) -> Request {
    on(name, id).with(arguments(with))
}

/// An operation in an app.
pub(crate) fn within<T: Serialize>(name: &str, app: &str, with: &T) -> Request {
    let request = Request::new(row(name)).in_app(app.to_owned());
    request.with(arguments(with))
}

/// Whatever a request names has to be something that a grant of its capability can say, and all that is
/// not looked up has to be named by every write.
fn names_what_grants_cover(request: &Request) {
    let capability = request.row.capability();
    let capability = all().into_iter().find(|each| each.name() == capability);
    let scopes = capability.unwrap().scopes();
    let named = || scopes.iter().filter(|scope| !scope.looked_up);
    for (one, _) in request.names() {
        assert!(named().any(|scope| scope.one == one), "{request}: {one}");
    }
    if request.row.kind == Kind::Write {
        for scope in named() {
            let mut names = request.names();
            assert!(names.any(|(one, _)| one == scope.one), "{request}");
        }
    }
}

/// A server on loopback, which keeps the requests that it got. It ends with the test.
pub(crate) struct Web {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Web {
    /// Gives each request, head and body, the answer that `answers` makes of it and of its number,
    /// from 0.
    pub(crate) async fn serve(
        answers: impl Fn(&str, usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = whole(&mut stream).await;
                let number = {
                    let mut seen = keep.lock().unwrap();
                    seen.push(request.clone());
                    seen.len() - 1
                };
                let answer = answers(&request, number);
                // Whoever has gone does not want it.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, seen, serving }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A request with as much of a body as it announces.
async fn whole(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
        }
    }
}

/// An answer of one request a connection.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
    )
}
