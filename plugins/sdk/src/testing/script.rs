//! The state of a scripted run: what is in flight, and the virtual time. It knows no capability; each
//! keeps a value of its own here, and asks for it by its type.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::Error;
use crate::bindings::groundcrew::host::operations::Failure;

use super::{LATENCY, Submission, Tested};

/// An operation that is being submitted.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// As in `machines.wait-healthy`.
    pub(crate) operation: &'static str,
    /// What it is about, as in [`Submission::subject`].
    pub(crate) subject: &'a str,
    /// Its options, as `Debug` prints them.
    pub(crate) options: String,
    /// How long it takes, unless the test says otherwise.
    pub(crate) takes: Duration,
    /// Why it fails although the test does not say so.
    pub(crate) refusal: Option<Failure>,
    /// It is there to wait: an interrupt ends it.
    pub(crate) waits: bool,
    /// It takes something back: an interrupt lets it through.
    pub(crate) cleans_up: bool,
}

impl<'a> Call<'a> {
    /// One that succeeds, waits for nothing and takes nothing back.
    pub(crate) fn new(operation: &'static str, subject: &'a str) -> Self {
        Self {
            operation,
            subject,
            options: String::new(),
            takes: LATENCY,
            refusal: None,
            waits: false,
            cleans_up: false,
        }
    }

    /// With these options.
    pub(crate) fn options(self, options: impl std::fmt::Debug) -> Self {
        let options = format!("{options:?}");
        Self { options, ..self }
    }
}

/// A value of each capability's own.
#[derive(Debug, Default)]
pub(super) struct Own(HashMap<TypeId, Box<dyn Any>>);

impl Own {
    pub(super) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub(super) fn get_or_default<T: Default + 'static>(&mut self) -> &mut T {
        let value = self.0.entry(TypeId::of::<T>());
        let value = value.or_insert_with(|| Box::new(T::default()));
        value.downcast_mut().expect("it is kept by its type")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(super) failures: HashMap<(String, String), Failure>,
    pub(super) delays: HashMap<(String, String), Duration>,
    pub(super) interrupt: Option<Duration>,
    pub(super) notes: Vec<String>,
    own: Own,
    now: Duration,
    submitted: Vec<Submission>,
    /// In flight, by the time of its end and its id.
    in_flight: BTreeSet<(Duration, u64)>,
    answers: BTreeMap<u64, Answer>,
    max_in_flight: usize,
}

/// The answer to an operation, known when it is submitted and taken when it is delivered.
#[derive(Debug)]
struct Answer {
    result: Result<(), Failure>,
    delivered: bool,
}

thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
}

pub(super) fn install(script: Script) {
    SCRIPT.set(Some(script));
}

pub(super) fn uninstall() -> Script {
    SCRIPT.take().expect("a test host runs on this thread")
}

/// Works on the script of the test that runs on this thread.
pub(crate) fn with<R>(work: impl FnOnce(&mut Script) -> R) -> R {
    SCRIPT.with_borrow_mut(|script| {
        work(
            script
                .as_mut()
                .expect("run the plugin with `TestHost::run`"),
        )
    })
}

/// Like [`with`], and does nothing when the test is over: futures may be dropped after it.
pub(super) fn try_with(work: impl FnOnce(&mut Script)) {
    SCRIPT.with_borrow_mut(|script| script.as_mut().map(work));
}

/// Submits an operation of whose answer nothing else has to be known.
pub(crate) fn submit(call: Call<'_>) -> u64 {
    with(|script| script.submit(call))
}

/// Takes an answer that says nothing.
pub(crate) fn take(id: u64) -> Result<(), Failure> {
    with(|script| script.take(id))
}

/// The next answer of several; the last one stays.
pub(crate) fn in_turn<T: Clone>(all: &mut HashMap<String, Vec<T>>, of: &str) -> Option<T> {
    let answers = all.get_mut(of)?;
    match answers.len() {
        0 | 1 => answers.first().cloned(),
        _ => Some(answers.remove(0)),
    }
}

impl Script {
    /// The value of this type, which is its capability's alone.
    pub(crate) fn own<T: Default + 'static>(&mut self) -> &mut T {
        self.own.get_or_default()
    }

    pub(crate) fn submit(&mut self, call: Call<'_>) -> u64 {
        let key = (call.operation.to_owned(), call.subject.to_owned());
        let delay = self.delays.get(&key).copied().unwrap_or(call.takes);
        let scripted = self.failures.get(&key).cloned();
        let mut result = scripted.or(call.refusal).map_or(Ok(()), Err);
        let mut end = self.now + delay;
        if let Some(interrupt) = self.interrupt
            && !call.cleans_up
            && (self.now >= interrupt || (call.waits && end > interrupt))
        {
            end = end.min(interrupt.max(self.now));
            let why = "the run is being interrupted".to_owned();
            result = Err(Failure::Cancelled(why));
        }
        self.submitted.push(Submission {
            operation: call.operation,
            subject: call.subject.to_owned(),
            options: call.options,
            at: self.now,
        });
        let id = self.submitted.len() as u64;
        self.in_flight.insert((end, id));
        self.max_in_flight = self.max_in_flight.max(self.in_flight.len());
        let delivered = false;
        self.answers.insert(id, Answer { result, delivered });
        id
    }

    /// Whether an operation that was just submitted is going to succeed.
    pub(crate) fn succeeds(&self, id: u64) -> bool {
        self.answers[&id].result.is_ok()
    }

    /// Moves time to the next end, and delivers everything that ends then.
    pub(super) fn next(&mut self, max: u32) -> Vec<u64> {
        let Some(&(end, _)) = self.in_flight.first() else {
            return Vec::new();
        };
        self.now = end;
        let most = if max == 0 { usize::MAX } else { max as usize };
        let ended: Vec<_> = self
            .in_flight
            .iter()
            .take_while(|(time, _)| *time == end)
            .take(most)
            .copied()
            .collect();
        for key in &ended {
            self.in_flight.remove(key);
            self.answers
                .get_mut(&key.1)
                .expect("every operation has an answer")
                .delivered = true;
        }
        ended.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn take(&mut self, id: u64) -> Result<(), Failure> {
        let answer = self
            .answers
            .remove(&id)
            .expect("an operation is taken once");
        assert!(
            answer.delivered,
            "operation {id} was taken before `next` delivered it"
        );
        answer.result
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.answers.remove(&id);
        self.in_flight.retain(|(_, in_flight)| *in_flight != id);
    }

    /// What an operation is about.
    pub(crate) fn subject(&self, id: u64) -> String {
        self.submitted[usize::try_from(id).expect("ids are small") - 1]
            .subject
            .clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn tested<T>(self, result: Result<T, Error>) -> Tested<T> {
        Tested {
            result,
            submitted: self.submitted,
            max_in_flight: self.max_in_flight,
            notes: self.notes,
            took: self.now,
            own: self.own,
        }
    }
}
