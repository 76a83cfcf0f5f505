//! Live progress: a reader of the journal's entries. On a terminal a bar with totals and the items
//! in flight; otherwise a plain line per event; with `--json` one entry per line; annotations
//! under GitHub Actions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use groundcrew::journal::{Entry, Mode, Note, NoteBody, Record, StepStatus};
use groundcrew::{ItemState, Level, Observer};

use crate::render::{applies, entry_json, mark, outcome_line};
use crate::shown::{Shown, as_json, put, shown};
use crate::terminal::{self, Bar, data, is_watched, on_github};

/// How many items in flight are named.
const NAMED: usize = 6;

pub(crate) struct Progress {
    look: Look,
    inner: Mutex<Steps>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Entries as JSON lines on standard output.
    Json,
    Bar,
    Lines,
    /// Lines with GitHub's workflow commands.
    GitHub,
}

#[derive(Default)]
struct Steps {
    bar: Option<Bar>,
    steps: BTreeMap<String, Step>,
}

#[derive(Default)]
struct Step {
    total: u32,
    unit: String,
    done: u32,
    failed: u32,
    working: BTreeMap<String, String>,
}

impl Step {
    fn item(&mut self, name: &str, at: &ItemState) {
        if let ItemState::Working(what) = at {
            self.working.insert(name.to_owned(), what.clone());
            return;
        }
        self.done += 1;
        self.failed += u32::from(matches!(at, ItemState::Failed(_)));
        self.working.remove(name);
    }
}

impl Progress {
    pub(crate) fn new(json: bool, mode: Mode) -> Self {
        let look = if json {
            Look::Json
        } else if on_github() {
            Look::GitHub
        } else if is_watched() {
            Look::Bar
        } else {
            Look::Lines
        };
        let bar = (look == Look::Bar).then(|| {
            Bar::new(match mode {
                Mode::Rehearsal => "rehearsing",
                Mode::Perform => "running",
            })
        });
        Self {
            look,
            inner: Mutex::new(Steps {
                bar,
                steps: BTreeMap::new(),
            }),
        }
    }

    /// What an earlier process has said of its work, without saying it again.
    pub(crate) fn recall(&self, records: &[Record]) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let Ok(Entry::Note(note)) = record.entry() else {
                continue;
            };
            let step = inner
                .steps
                .entry(note.step.unwrap_or_default())
                .or_default();
            match note.note {
                NoteBody::Expect { total, unit } => (step.total, step.unit) = (total, unit),
                NoteBody::Item { name, at } => step.item(&name, &at),
                NoteBody::Text { .. }
                | NoteBody::Interrupted
                | NoteBody::Resumed { .. }
                | NoteBody::TakenIn { .. } => {}
            }
        }
    }

    pub(crate) fn finish(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &inner.bar {
            bar.finish();
        }
    }

    fn say(&self, steps: &Steps, line: &Shown) {
        match &steps.bar {
            Some(bar) => bar.line(line),
            None => terminal::line(line),
        }
    }

    fn note(&self, steps: &mut Steps, note: Note) {
        let key = note.step.clone().unwrap_or_default();
        match note.note {
            NoteBody::Text { level, message } => {
                let line = match level {
                    Level::Debug => return,
                    Level::Info => shown!("  {}", message),
                    Level::Warning => shown!("warning: {}", message),
                    Level::Error => shown!("error: {}", message),
                };
                self.annotate(level, &shown!("{}", message));
                self.say(steps, &line);
            }
            NoteBody::Expect { total, unit } => {
                let step = steps.steps.entry(key.clone()).or_default();
                (step.total, step.unit) = (total, unit.clone());
                if self.look != Look::Bar {
                    self.say(steps, &shown!("step `{}`: {} {}", key, total, unit));
                }
            }
            NoteBody::Item { name, at } => self.item(steps, &key, &name, &at),
            // Who interrupts or resumes says so.
            NoteBody::Interrupted | NoteBody::Resumed { .. } | NoteBody::TakenIn { .. } => {}
        }
        self.draw(steps);
    }

    fn item(&self, steps: &mut Steps, key: &str, name: &str, at: &ItemState) {
        steps
            .steps
            .entry(key.to_owned())
            .or_default()
            .item(name, at);
        let line = match at {
            ItemState::Working(_) => None,
            ItemState::Succeeded(detail) => {
                (self.look != Look::Bar).then(|| shown!("  ok      {}  {}", name, detail))
            }
            ItemState::Failed(why) => {
                self.annotate(Level::Error, &shown!("{}: {}", name, why));
                Some(shown!("  failed  {}  {}", name, why))
            }
            ItemState::Skipped(why) => {
                (self.look != Look::Bar).then(|| shown!("  skipped {}  {}", name, why))
            }
        };
        if let Some(line) = line {
            self.say(steps, &line);
        }
    }

    fn draw(&self, steps: &Steps) {
        let Some(bar) = &steps.bar else { return };
        // Plugins say how many there are: the sum of what several say may be more than each can.
        let sum = |of: fn(&Step) -> u32| steps.steps.values().map(of).map(u64::from).sum();
        let (total, done, failed): (u64, u64, u64) =
            (sum(|s| s.total), sum(|s| s.done), sum(|s| s.failed));
        let in_flight: usize = steps.steps.values().map(|s| s.working.len()).sum();
        let working = steps.steps.values().flat_map(|s| s.working.keys());
        let mut message = Shown::default();
        if failed > 0 {
            put!(message, "{} failed, ", failed);
        }
        put!(message, "{} in flight", in_flight);
        for name in working.take(NAMED) {
            put!(message, " {}", name);
        }
        bar.stands(done, total, &message);
    }

    /// A workflow command, so that GitHub shows it at the job. (GitHub: workflow commands)
    fn annotate(&self, level: Level, message: &Shown) {
        let command = match level {
            Level::Error => "error title=groundcrew",
            Level::Warning => "warning title=groundcrew",
            Level::Debug | Level::Info => return,
        };
        self.command(command, message);
    }

    fn command(&self, command: &'static str, message: &Shown) {
        if self.look == Look::GitHub {
            terminal::command(command, message);
        }
    }
}

impl Observer for Progress {
    fn entry(&self, run: &str, record: &Record) {
        if self.look == Look::Json {
            data!("{}", as_json(&entry_json(run, record)));
            return;
        }
        let mut steps = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match record.entry() {
            Ok(Entry::Note(note)) => self.note(&mut steps, note),
            Ok(Entry::RunOpened(header)) => {
                let what = if header.mode == Mode::Rehearsal {
                    "rehearsing"
                } else {
                    "running"
                };
                let target = header.target["name"].as_str().unwrap_or_default();
                self.say(
                    &steps,
                    &shown!(
                        "{} `{}` on `{}`: run {}{}",
                        what,
                        header.runbook,
                        target,
                        run,
                        header.plan.as_ref().map_or_else(String::new, applies)
                    ),
                );
            }
            Ok(Entry::StepBegan(began)) => self.command("group", &shown!("step {}", began.step)),
            Ok(Entry::StepEnded(ended)) => {
                self.command("endgroup", &Shown::default());
                if ended.status != StepStatus::Succeeded || self.look != Look::Bar {
                    self.say(
                        &steps,
                        &shown!("{} {}", mark(ended.status), outcome_line(&ended)),
                    );
                }
            }
            Ok(
                Entry::Intended(_) | Entry::Settled(_) | Entry::Delivered(_) | Entry::RunClosed(_),
            )
            | Err(_) => {}
        }
    }
}
