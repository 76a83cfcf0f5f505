//! The state of a scripted run: what is in flight, and the virtual time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::Error;
use crate::bindings::groundcrew::host::apps::{App, CapacityQuery};
use crate::bindings::groundcrew::host::http::Checked;
use crate::bindings::groundcrew::host::machines::{
    Event, Executed, Filter, Machine as Summary, Scope,
};
use crate::bindings::groundcrew::host::metrics::Sample;
use crate::bindings::groundcrew::host::operations::Failure;
use crate::bindings::groundcrew::host::releases::Release;

use super::{LATENCY, Submission, Tested};

/// How the ids of Machines begin that plugins make.
pub(super) const MADE: &str = "new-";

/// What an interrupt still lets through.
const CLEANUP: [&str; 3] = [
    "machines.release",
    "machines.uncordon",
    "releases.set-status",
];

#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) machines: Vec<Summary>,
    pub(super) failures: HashMap<(String, String), Failure>,
    pub(super) delays: HashMap<(String, String), Duration>,
    pub(super) events: HashMap<String, Vec<Event>>,
    pub(super) executed: HashMap<String, Executed>,
    /// Where the Machines go that are being made, by operation.
    pub(super) regions: HashMap<u64, String>,
    pub(super) keeps_track: bool,
    pub(super) missing_regions: Vec<String>,
    pub(super) apps: Vec<App>,
    /// By region; every other one has room.
    pub(super) rooms: HashMap<String, u32>,
    pub(super) releases: Vec<Release>,
    /// Answers to a query, one after the other; the last stays.
    pub(super) samples: HashMap<String, Vec<Vec<Sample>>>,
    /// Answers of a URL, likewise.
    pub(super) checked: HashMap<String, Vec<Checked>>,
    /// What was asked about capacity.
    pub(super) asked: HashMap<u64, CapacityQuery>,
    pub(super) interrupt: Option<Duration>,
    pub(super) notes: Vec<String>,
    now: Duration,
    submitted: Vec<Submission>,
    /// In flight, by the time of its end and its id.
    in_flight: BTreeSet<(Duration, u64)>,
    answers: BTreeMap<u64, Answer>,
    leases: BTreeSet<String>,
    max_in_flight: usize,
    max_leased: usize,
}

/// The answer to an operation, known when it is submitted and taken when it is delivered.
#[derive(Debug)]
struct Answer {
    result: Result<(), Failure>,
    listed: Vec<Summary>,
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
pub(super) fn with<R>(work: impl FnOnce(&mut Script) -> R) -> R {
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

/// What was made here may be destroyed whatever happens: it takes back what was done.
fn cleans_up(operation: &str, machine: &str) -> bool {
    let own = operation == "machines.destroy" && machine.starts_with(MADE);
    own || CLEANUP.contains(&operation)
}

/// The next answer of several; the last one stays.
pub(super) fn in_turn<T: Clone>(all: &mut HashMap<String, Vec<T>>, of: &str) -> Option<T> {
    let answers = all.get_mut(of)?;
    match answers.len() {
        0 | 1 => answers.first().cloned(),
        _ => Some(answers.remove(0)),
    }
}

impl Script {
    pub(super) fn submit(
        &mut self,
        operation: &'static str,
        machine: &str,
        options: String,
    ) -> u64 {
        let key = (operation.to_owned(), machine.to_owned());
        let delay = self.delays.get(&key).copied().unwrap_or(LATENCY);
        let result = match self.failures.get(&key) {
            Some(failure) => Err(failure.clone()),
            None => self.refusal(operation, machine).map_or(Ok(()), Err),
        };
        self.answer_after(operation, machine, options, delay, result)
    }

    pub(super) fn submit_sleep(&mut self, duration: Duration) -> u64 {
        self.answer_after(
            "operations.sleep",
            "",
            format!("{duration:?}"),
            duration,
            Ok(()),
        )
    }

    pub(super) fn submit_list(&mut self, scope: &Scope, filter: &Filter) -> u64 {
        let id = self.submit("machines.list", "", format!("{scope:?} {filter:?}"));
        let kept = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        let listed = self.machines.iter().filter(|machine| {
            let in_scope = match scope {
                Scope::App(app) => machine.app == *app,
                Scope::Organisation => true,
            };
            in_scope
                && kept(&filter.groups, &machine.group)
                && kept(&filter.regions, &machine.region)
                && kept(&filter.states, &machine.state)
                && !self.missing_regions.contains(&machine.region)
        });
        let listed = listed.cloned().collect();
        self.answers.get_mut(&id).expect("just submitted").listed = listed;
        id
    }

    /// Why the world refuses an operation without being told to by the test.
    fn refusal(&mut self, operation: &str, machine: &str) -> Option<Failure> {
        let holder = self
            .machines
            .iter()
            .find(|it| it.id == machine)?
            .lease_owner
            .clone();
        match operation {
            "machines.lease" => match holder {
                Some(holder) => Some(Failure::Conflict(format!("{holder} holds the lease"))),
                None => {
                    self.leases.insert(machine.to_owned());
                    self.max_leased = self.max_leased.max(self.leases.len());
                    None
                }
            },
            "machines.release" => {
                self.leases.remove(machine);
                None
            }
            _ => None,
        }
    }

    fn answer_after(
        &mut self,
        operation: &'static str,
        machine: &str,
        options: String,
        delay: Duration,
        mut result: Result<(), Failure>,
    ) -> u64 {
        let mut end = self.now + delay;
        let waits = operation.contains("wait") || operation.ends_with("sleep");
        if let Some(interrupt) = self.interrupt
            && !cleans_up(operation, machine)
            && (self.now >= interrupt || (waits && end > interrupt))
        {
            end = end.min(interrupt.max(self.now));
            result = Err(Failure::Cancelled(
                "the run is being interrupted".to_owned(),
            ));
            if operation == "machines.lease" {
                self.leases.remove(machine);
            }
        }
        let at = self.now;
        self.submitted.push(Submission {
            operation,
            machine: machine.to_owned(),
            options,
            at,
        });
        let id = self.submitted.len() as u64;
        self.in_flight.insert((end, id));
        self.max_in_flight = self.max_in_flight.max(self.in_flight.len());
        self.answers.insert(
            id,
            Answer {
                result,
                listed: Vec::new(),
                delivered: false,
            },
        );
        id
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

    pub(super) fn take(&mut self, id: u64) -> Result<(), Failure> {
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

    /// A page of a listing, and its total.
    pub(super) fn take_page(
        &mut self,
        id: u64,
        offset: u32,
        max: u32,
    ) -> Result<(Vec<Summary>, u32), Failure> {
        let answer = self
            .answers
            .get(&id)
            .expect("a listing is taken to its end once");
        assert!(
            answer.delivered,
            "operation {id} was taken before `next` delivered it"
        );
        answer.result.clone()?;
        let total = answer.listed.len();
        let page: Vec<_> = answer
            .listed
            .iter()
            .skip(offset as usize)
            .take(max as usize)
            .cloned()
            .collect();
        if offset as usize + page.len() >= total {
            self.answers.remove(&id);
        }
        Ok((page, u32::try_from(total).expect("a test lists fewer")))
    }

    /// The world after a create or a destroy, if listings are to show it.
    pub(super) fn track(&mut self, made: Option<Summary>, gone: Option<&str>) {
        if self.keeps_track {
            self.machines.retain(|it| gone != Some(it.id.as_str()));
            // A lease goes with its Machine.
            self.leases.retain(|id| gone != Some(id.as_str()));
            self.machines.extend(made);
        }
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.answers.remove(&id);
        self.in_flight.retain(|(_, in_flight)| *in_flight != id);
    }

    pub(super) fn machine_of(&self, id: u64) -> String {
        self.submitted[usize::try_from(id).expect("ids are small") - 1]
            .machine
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
            max_leased: self.max_leased,
            leases_left: self.leases.into_iter().collect(),
            notes: self.notes,
            took: self.now,
        }
    }
}
