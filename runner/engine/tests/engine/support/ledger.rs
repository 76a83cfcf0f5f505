//! An embedder's capability, through the public trait: a ledger that logs what is done to it, by
//! effect id.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use groundcrew::journal::Mode;
use groundcrew::{
    Afterwards, BoxFuture, Capability, Clock, Covers, Effect, Executor, Failure, Kind, Linking,
    Outcome, Radius, Request, Row, Scope, Setting, Unsaid,
};
use serde_json::json;

/// Everything that it can be granted.
pub(crate) const VERBS: [&str; 4] = ["write", "read", "wait", "keep"];

const fn row(
    name: &'static str,
    kind: Kind,
    verb: &'static str,
    housekeeping: bool,
    waits: bool,
) -> Row {
    Row {
        name,
        kind,
        verb,
        idempotent: false,
        housekeeping,
        waits,
        in_doubt: "",
        undo: None,
        creates: None,
        announces: None,
        fork: "",
        assumes: "",
        projection: &[],
        ..Row::READ
    }
}

static ROWS: [Row; 9] = [
    Row {
        undo: Some("ledger.unwrite"),
        ..row("ledger.write", Kind::Write, "write", false, false)
    },
    row("ledger.linger", Kind::Write, "write", false, false),
    row("ledger.read", Kind::Read, "read", false, false),
    row("ledger.big", Kind::Read, "read", false, false),
    row("ledger.slow", Kind::Read, "wait", false, true),
    Row {
        undo: Some("ledger.drop"),
        ..row("ledger.keep", Kind::Write, "keep", true, false)
    },
    row("ledger.drop", Kind::Write, "keep", true, false),
    row("ledger.unwrite", Kind::Write, "write", false, false),
    Row {
        creates: Some(""),
        announces: None,
        undo: Some("ledger.unwrite"),
        ..row("ledger.make", Kind::Write, "write", false, false)
    },
];

/// What happened, in the order in which it did: shared with the store's wrapper.
pub(crate) type Log = Arc<Mutex<Vec<Event>>>;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The store has an entry: kind and payload.
    Stored(&'static str, String),
    /// The executor was asked to perform an effect: its id and operation.
    Performed(String, &'static str),
}

/// As the golden journals say it.
const APPS: Scope = Scope {
    key: "apps",
    one: "app",
    covers: Covers::Pattern,
    unsaid: Unsaid::Nothing,
    looked_up: false,
    about: "Books.",
};

const GROUPS: Scope = Scope {
    key: "groups",
    one: "group",
    covers: Covers::Name,
    unsaid: Unsaid::Anything,
    looked_up: true,
    about: "Odd or even accounts.",
};

const ACCOUNTS: Radius = Radius {
    most: "max_accounts",
    share: Some("max_share"),
    many: "accounts",
};

/// The capability.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) log: Log,
}

impl Ledger {
    /// What was performed: `step/number operation`.
    pub(crate) fn performed(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let of = |event: &Event| match event {
            Event::Performed(id, operation) => Some(format!(
                "{} {operation}",
                id.split_once('/').map_or("", |(_, rest)| rest)
            )),
            Event::Stored(..) => None,
        };
        log.iter().filter_map(of).collect()
    }
}

impl Capability for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn interface(&self) -> &'static str {
        "test:host/ledger@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[APPS, GROUPS]
    }

    fn radius(&self) -> Option<&'static Radius> {
        Some(&ACCOUNTS)
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        let on = |row: usize| {
            move |(key,): (String,)| Request::new(&ROWS[row]).on("app".to_owned(), key)
        };
        let during = |row: usize| {
            move |(key, ms): (String, u64)| {
                Request::new(&ROWS[row])
                    .on("app".to_owned(), key)
                    .with(json!(ms))
            }
        };
        linking.operation::<(String,), String>("write", on(0))?;
        linking.operation::<(String, u64), String>("linger", during(1))?;
        linking.operation::<(String,), String>("read", on(2))?;
        linking.operation::<(u32,), String>("big", |(bytes,)| {
            Request::new(&ROWS[3])
                .in_app("app".to_owned())
                .with(json!(bytes))
        })?;
        linking.operation::<(String, u64), String>("slow", during(4))?;
        linking.operation::<(String,), String>("keep", on(5))?;
        linking.operation::<(String,), String>("unwrite", on(7))?;
        linking.operation::<(String,), String>("make", |(kind,)| {
            Request::new(&ROWS[8])
                .in_app("app".to_owned())
                .with(json!(kind))
        })
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Clerk {
            log: self.log.clone(),
            clock: setting.clock.clone(),
            kept: Mutex::default(),
            // What is made has other ids each time.
            next: AtomicU64::new(match setting.mode {
                Mode::Rehearsal => 60_000,
                Mode::Perform => 70_000,
            }),
        }))
    }
}

struct Clerk {
    log: Log,
    clock: Arc<dyn Clock>,
    /// What each step has kept and not dropped.
    kept: Mutex<BTreeMap<String, Vec<String>>>,
    next: AtomicU64,
}

impl Executor for Clerk {
    fn within<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        let even = effect
            .request
            .subject
            .as_ref()
            .is_some_and(|key| key.ends_with(['0', '2', '4', '6', '8']));
        Box::pin(async move { Ok(vec![if even { "even" } else { "odd" }.to_owned()]) })
    }

    fn belongs(&self, _app: &str, subject: &str) -> Option<String> {
        let even = subject.ends_with(['0', '2', '4', '6', '8']);
        Some(if even { "even" } else { "odd" }.to_owned())
    }

    fn population(&self, _app: &str, _within: &str) -> Option<usize> {
        Some(10)
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let operation = effect.request.row.operation();
            self.log
                .lock()
                .unwrap()
                .push(Event::Performed(effect.id.to_string(), operation));
            let key = effect.request.subject.clone().unwrap_or_default();
            let step = effect.id.step.to_string();
            match operation {
                "big" => Outcome::ok(&"x".repeat(effect.request.arguments().unwrap())),
                "linger" => {
                    self.clock
                        .sleep(Duration::from_millis(effect.request.arguments().unwrap()))
                        .await;
                    Outcome::ok(&key)
                }
                "slow" => tokio::select! {
                    biased;
                    () = effect.cancel.cancelled() => Failure::Cancelled("ended early".to_owned()).into(),
                    () = self.clock.sleep(Duration::from_millis(effect.request.arguments().unwrap())) => Outcome::ok(&key),
                },
                "keep" => {
                    self.kept
                        .lock()
                        .unwrap()
                        .entry(step)
                        .or_default()
                        .push(key.clone());
                    Outcome::ok(&key)
                }
                "drop" => {
                    if let Some(kept) = self.kept.lock().unwrap().get_mut(&step) {
                        kept.retain(|k| *k != key);
                    }
                    Outcome::ok(&key)
                }
                "make" => Outcome::ok(&format!("m{}", self.next.fetch_add(1, Ordering::SeqCst))),
                "read" if key == "m88888" => Failure::Application("it fails".to_owned()).into(),
                _ if key == "m99999" => Outcome::in_doubt(Failure::Unavailable(
                    "no answer; it may have happened".to_owned(),
                )),
                _ => Outcome::ok(&key),
            }
        })
    }

    fn happened(&self, effect: &Effect) -> Outcome {
        Outcome::ok(&effect.request.subject)
    }

    fn take_over(&self, done: Vec<Effect>) -> BoxFuture<'_, Vec<String>> {
        let mut kept = self.kept.lock().unwrap();
        for effect in done {
            let key = effect.request.subject.clone().unwrap_or_default();
            kept.entry(effect.id.step.to_string())
                .or_default()
                .push(key);
        }
        Box::pin(async { Vec::new() })
    }

    fn left_behind(&self, step: &str) -> Vec<Afterwards> {
        let kept = self
            .kept
            .lock()
            .unwrap()
            .get(step)
            .cloned()
            .unwrap_or_default();
        kept.into_iter()
            .map(|key| Afterwards {
                request: Request::new(&ROWS[6]).on("app".to_owned(), key),
            })
            .collect()
    }
}
