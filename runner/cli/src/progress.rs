//! Live progress: a reader of the journal's entries. On a terminal a bar with totals and the items
//! in flight; otherwise a plain line per event; with `--json` one entry per line; annotations
//! under GitHub Actions.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use groundcrew::journal::{Entry, Mode, Note, NoteBody, Record, StepStatus};
use groundcrew::{ItemState, Level, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::{applies, mark, outcome_line};

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
    bar: Option<ProgressBar>,
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
        } else if crate::context::on_github() {
            Look::GitHub
        } else if std::io::stderr().is_terminal() {
            Look::Bar
        } else {
            Look::Lines
        };
        let bar = (look == Look::Bar).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{prefix} {bar:32} {pos}/{len} {elapsed} {wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(if mode == Mode::Rehearsal {
                "rehearsing"
            } else {
                "running"
            });
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
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
            bar.finish_and_clear();
        }
    }

    fn say(&self, steps: &Steps, line: &str) {
        match &steps.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn note(&self, steps: &mut Steps, note: Note) {
        let key = note.step.clone().unwrap_or_default();
        match note.note {
            NoteBody::Text { level, message } => {
                let line = match level {
                    Level::Debug => return,
                    Level::Info => format!("  {message}"),
                    Level::Warning => format!("warning: {message}"),
                    Level::Error => format!("error: {message}"),
                };
                self.annotate(level, &message);
                self.say(steps, &line);
            }
            NoteBody::Expect { total, unit } => {
                let step = steps.steps.entry(key.clone()).or_default();
                (step.total, step.unit) = (total, unit.clone());
                if self.look != Look::Bar {
                    self.say(steps, &format!("step `{key}`: {total} {unit}"));
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
                (self.look != Look::Bar).then(|| format!("  ok      {name}  {detail}"))
            }
            ItemState::Failed(why) => {
                self.annotate(Level::Error, &format!("{name}: {why}"));
                Some(format!("  failed  {name}  {why}"))
            }
            ItemState::Skipped(why) => {
                (self.look != Look::Bar).then(|| format!("  skipped {name}  {why}"))
            }
        };
        if let Some(line) = line {
            self.say(steps, &line);
        }
    }

    fn draw(&self, steps: &Steps) {
        let Some(bar) = &steps.bar else { return };
        let total: u32 = steps.steps.values().map(|s| s.total).sum();
        let done: u32 = steps.steps.values().map(|s| s.done).sum();
        let failed: u32 = steps.steps.values().map(|s| s.failed).sum();
        let working: Vec<&String> = steps
            .steps
            .values()
            .flat_map(|s| s.working.keys())
            .collect();
        bar.set_length(u64::from(total));
        bar.set_position(u64::from(done));
        let mut message = format!("{} in flight", working.len());
        if failed > 0 {
            message = format!("{failed} failed, {message}");
        }
        for name in working.iter().take(NAMED) {
            message = format!("{message} {name}");
        }
        bar.set_message(message);
    }

    /// A workflow command, so that GitHub shows it at the job. (GitHub: workflow commands)
    fn annotate(&self, level: Level, message: &str) {
        if self.look != Look::GitHub {
            return;
        }
        let word = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug | Level::Info => return,
        };
        println!("::{word} title=groundcrew::{}", escaped(message));
    }

    fn group(&self, text: &str) {
        if self.look == Look::GitHub {
            println!("{text}");
        }
    }
}

/// As the value of a workflow command.
pub(crate) fn escaped(message: &str) -> String {
    message
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

impl Observer for Progress {
    fn entry(&self, run: &str, record: &Record) {
        if self.look == Look::Json {
            let line = crate::render::entry_json(run, record);
            let _ = writeln!(std::io::stdout().lock(), "{line}");
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
                    &format!(
                        "{what} `{}` on `{target}`: run {run}{}",
                        header.runbook,
                        header.plan.as_ref().map_or_else(String::new, applies)
                    ),
                );
            }
            Ok(Entry::StepBegan(began)) => self.group(&format!("::group::step {}", began.step)),
            Ok(Entry::StepEnded(ended)) => {
                self.group("::endgroup::");
                if ended.status != StepStatus::Succeeded || self.look != Look::Bar {
                    self.say(
                        &steps,
                        &format!("{} {}", mark(ended.status), outcome_line(&ended)),
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
