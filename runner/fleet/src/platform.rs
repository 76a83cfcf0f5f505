//! How time passes, and what the platform does by itself when something falls due: boots, exits,
//! crashes, and the restart policy. Every change of state asks [`transition`].

use std::cmp::Reverse;

use serde_json::{Value, json};

use crate::api::{Event, ExitEvent, HostStatus, RestartPolicy};
use crate::behaviour::Phase;
use crate::fate::{Course, Fate};
use crate::fleet::{Due, Falls, Fleet};
use crate::machine::{Machine, Pending};
use crate::state::{Next, State, Stimulus, transition};
use crate::time::Time;

/// The window of `max_retries`. Fly's restart policy page: 10 in 5 minutes.
const RETRY_WINDOW: u64 = 5 * 60 * 1000;

/// The exit code of a process killed by SIGKILL, as the kernel's out-of-memory killer does.
const KILLED: i32 = 137;

impl Fleet {
    /// The moment of the next transition, if any is scheduled. A stale entry may name a moment at
    /// which nothing changes.
    pub fn next_due(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(due)| due.at)
    }

    /// Moves time to `to` (never back), doing everything that falls due on the way, in order.
    pub fn advance_to(&mut self, to: Time) {
        while let Some(at) = self.next_due().filter(|at| *at <= to) {
            self.watch_until(at);
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(due.at);
            self.fall_due(&due);
        }
        self.watch_until(to);
        self.now = self.now.max(to);
    }

    /// Starts the boot of a Machine that is `starting`.
    pub(crate) fn schedule_boot(&mut self, app: &str, id: &str) {
        let Some(machine) = self.apps.get(app).and_then(|app| app.machines.get(id)) else {
            return;
        };
        let at = self.now.after(self.boot_time(machine));
        self.schedule(app, id, at, Pending::Boot);
        if let Some(machine) = self.machine_mut(app, id)
            && machine.fate == Fate::HostDiesOnRestart
        {
            machine.host = HostStatus::Unreachable;
        }
    }

    pub(crate) fn boot_time(&self, machine: &Machine) -> u64 {
        let (id, boots) = (&machine.id, machine.boots);
        match machine.course() {
            Course::SlowBoot { boot_ms } => {
                boot_ms.unwrap_or_else(|| self.take(Phase::SlowBoot, id, boots))
            }
            Course::Sound
            | Course::Exits(_)
            | Course::Unhealthy
            | Course::Sickens
            | Course::OutOfMemory { .. }
            | Course::Idle { .. } => self.take(Phase::Boot, id, boots),
        }
    }

    pub(crate) fn fall_due(&mut self, due: &Due) {
        let (app, id) = (due.key.app.clone(), due.key.id.clone());
        let Some(machine) = self.machine_mut(&app, &id) else {
            return;
        };
        match due.what {
            Falls::HostDeath => {
                if matches!(machine.fate, Fate::HostDiesAt { at } if at <= due.at.as_millis()) {
                    machine.host = HostStatus::Unreachable;
                    self.mark(due.key.clone());
                }
            }
            Falls::Transition(generation) => {
                // On a dead host nothing moves; the pending one is kept for its return.
                if machine.generation != generation || machine.unreachable() {
                    return;
                }
                if let Some((_, what)) = machine.pending.take() {
                    self.finish(&app, &id, what);
                }
            }
        }
    }

    fn finish(&mut self, app: &str, id: &str, what: Pending) {
        match what {
            Pending::Made { launch } => self.finish_made(app, id, launch),
            Pending::Updated { launch } => self.finish_update(app, id, launch),
            Pending::Boot => self.finish_boot(app, id),
            Pending::Stop => {
                self.count_stop(app, id);
                self.exit(
                    app,
                    id,
                    Stimulus::Exited,
                    &ExitEvent {
                        requested_stop: true,
                        ..clean_exit(self.now)
                    },
                );
            }
            Pending::RestartStop => {
                self.count_stop(app, id);
                self.exit(
                    app,
                    id,
                    Stimulus::ExitedToStart,
                    &ExitEvent {
                        requested_stop: true,
                        ..clean_exit(self.now)
                    },
                );
            }
            Pending::Suspend => self.step(app, id, Stimulus::Saved, "suspend", json!(null)),
            Pending::Destroy => {
                self.step(app, id, Stimulus::Removed, "destroy", json!(null));
                self.forget_name(app, id);
            }
            Pending::Idle => self.autostop(app, id),
            Pending::Crash {
                code,
                out_of_memory,
            } => self.finish_crash(app, id, code, out_of_memory),
        }
    }

    fn step(&mut self, app: &str, id: &str, stimulus: Stimulus, kind: &str, request: Value) {
        let Some(state) = self.machine_mut(app, id).map(|machine| machine.state) else {
            return;
        };
        if let Next::To(next) = transition(state, stimulus) {
            self.enter(app, id, next, kind, "flyd", request);
        }
    }

    fn finish_made(&mut self, app: &str, id: &str, launch: bool) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let unpullable = machine.unpullable();
        // A standby rests until it is needed.
        let standby = !machine.view().standbys().is_empty();
        if unpullable {
            self.step(app, id, Stimulus::NotMade, "launch", json!(null));
            let at = self.now.after(self.take(Phase::Destroy, id, 0));
            self.schedule(app, id, at, Pending::Destroy);
        } else if launch && !standby {
            self.step(app, id, Stimulus::Launched, "launch", json!(null));
            self.schedule_boot(app, id);
        } else {
            self.step(app, id, Stimulus::Made, "launch", json!(null));
        }
    }

    fn finish_update(&mut self, app: &str, id: &str, launch: bool) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let unpullable = machine.unpullable();
        let previous = machine.previous.take();
        // Of one that was adopted on its way nobody knows what it was.
        let ran = previous
            .as_ref()
            .map_or(launch, |previous| previous.was_running);
        let mut launch = launch;
        if let Some(previous) = previous.filter(|_| unpullable) {
            machine.instance_id = previous.instance_id;
            machine.config = previous.config;
            machine.image_ref = previous.image_ref;
            machine.versions.pop();
            machine.renew_checks();
            launch = previous.was_running;
        }
        if ran {
            self.count_stop(app, id);
            let exit = ExitEvent {
                requested_stop: true,
                ..clean_exit(self.now)
            };
            let stimulus = if launch {
                Stimulus::Launched
            } else {
                Stimulus::Exited
            };
            self.exit(app, id, stimulus, &exit);
        } else {
            // A new version of what was not started is left stopped, whatever was asked for.
            self.step(app, id, Stimulus::Made, "update", json!(null));
        }
    }

    fn finish_boot(&mut self, app: &str, id: &str) {
        let count = match self.machine_mut(app, id) {
            Some(machine) => machine.retries.len(),
            None => return,
        };
        self.step(
            app,
            id,
            Stimulus::Booted,
            "start",
            json!({ "restart_count": count }),
        );
        let boots = self.machine_mut(app, id).map_or(0, |machine| machine.boots);
        let first_check_ms = self.take(Phase::FirstCheck, id, boots);
        let now = self.now;
        let sick_from = now.after(self.take(Phase::HealthyFor, id, boots));
        if let Some(machine) = self.machine_mut(app, id) {
            machine.boots += 1;
            machine.first_check_ms = first_check_ms;
            machine.running_since = Some(now);
            machine.sick_from = Some(sick_from);
            machine.run_began = now;
        }
        self.schedule_fate(app, id);
        let key = self.key(app, id);
        self.reckon(&key);
    }

    /// What a started Machine comes to by itself.
    pub(crate) fn schedule_fate(&mut self, app: &str, id: &str) {
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        let boots = machine.boots;
        let (after, what) = match machine.course() {
            Course::Exits(code) => {
                machine.doomed = true;
                let crash = Pending::Crash {
                    code,
                    out_of_memory: false,
                };
                (self.take(Phase::Crash, id, boots), crash)
            }
            Course::OutOfMemory { after_ms } => {
                let crash = Pending::Crash {
                    code: KILLED,
                    out_of_memory: true,
                };
                (after_ms, crash)
            }
            Course::Idle { after_ms } if machine.left_to_the_proxy() => (after_ms, Pending::Idle),
            Course::Idle { .. }
            | Course::Sound
            | Course::Unhealthy
            | Course::Sickens
            | Course::SlowBoot { .. } => return,
        };
        let at = self.now.after(after);
        self.schedule(app, id, at, what);
    }

    /// The process ended by itself: the restart policy decides, and where it stays down the
    /// Machine is destroyed if its configuration says so.
    pub(crate) fn finish_crash(&mut self, app: &str, id: &str, code: i32, out_of_memory: bool) {
        let now = self.now;
        let Some(machine) = self.machine_mut(app, id) else {
            return;
        };
        while machine
            .retries
            .front()
            .is_some_and(|at| now.since(*at) > RETRY_WINDOW)
        {
            machine.retries.pop_front();
        }
        let used = u32::try_from(machine.retries.len()).unwrap_or(u32::MAX);
        let restarting = match machine.view().restart_policy() {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure { max_retries } => code != 0 && used < max_retries,
        };
        if restarting {
            machine.retries.push_back(now);
        }
        let exit = ExitEvent {
            exit_code: code,
            guest_exit_code: code,
            oom_killed: out_of_memory,
            restarting,
            ..clean_exit(now)
        };
        let stimulus = if restarting {
            Stimulus::ExitedToStart
        } else {
            Stimulus::Exited
        };
        let destroyed = !restarting && machine.view().auto_destroy();
        self.exit(app, id, stimulus, &exit);
        if destroyed {
            self.step(app, id, Stimulus::Destroy, "destroy", json!(null));
            let at = now.after(self.take(Phase::Destroy, id, 0));
            self.schedule(app, id, at, Pending::Destroy);
        }
    }

    /// Writes the `exit`, and boots the Machine again if that is where it leads.
    fn exit(&mut self, app: &str, id: &str, stimulus: Stimulus, exit: &ExitEvent) {
        let count = self
            .machine_mut(app, id)
            .map_or(0, |machine| machine.retries.len());
        let request = Event::exit_request(exit, u32::try_from(count).unwrap_or(u32::MAX));
        self.step(app, id, stimulus, "exit", request);
        if self
            .machine_mut(app, id)
            .is_some_and(|machine| machine.state == State::Starting)
        {
            self.schedule_boot(app, id);
        }
    }

    fn count_stop(&mut self, app: &str, id: &str) {
        if let Some(machine) = self.machine_mut(app, id) {
            machine.stops += 1;
        }
    }

    fn forget_name(&mut self, app: &str, id: &str) {
        if let Some(app) = self.apps.get_mut(app) {
            app.names.retain(|_, named| &**named != id);
        }
    }
}

/// An exit with code 0, of nobody's asking.
fn clean_exit(now: Time) -> ExitEvent {
    ExitEvent {
        signal: -1,
        guest_signal: -1,
        exited_at: now.rfc3339(),
        ..ExitEvent::default()
    }
}
