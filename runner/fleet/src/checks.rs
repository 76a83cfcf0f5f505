//! What a Machine's health checks say, and when: computed, not stored. A result is a function of
//! when the Machine began to run, of the check's rhythm and of what is wrong with it, so that
//! thousands of checks cost nothing while time passes.

use crate::api::{self, CheckResult};
use crate::fate::Course;
use crate::machine::{Check, Machine};
use crate::time::Time;

impl Machine {
    /// The checks that the configuration names; results of those that remain are kept.
    pub(crate) fn renew_checks(&mut self) {
        let old = std::mem::take(&mut self.checks);
        let configured = self.view().configured_checks();
        let created = self.created;
        let renewed = configured.into_iter().map(|configured| {
            let kept = old
                .iter()
                .find(|check| check.configured.name == configured.name);
            let last = kept.map_or_else(
                || never_run(&configured.name, created),
                |check| check.last.clone(),
            );
            Check {
                configured,
                last,
                fresh: false,
            }
        });
        self.checks = renewed.collect();
    }

    /// When the newest result of a check was written in this run of the Machine, if one was.
    fn newest_result(&self, check: &Check, now: Time) -> Option<Time> {
        let first = self.first_result(check)?;
        let runs = if now < first {
            return None;
        } else {
            now.since(first) / check.configured.interval_ms
        };
        Some(first.after(runs.saturating_mul(check.configured.interval_ms)))
    }

    /// Failures within the grace period do not count, so a failing check shows its first result
    /// after it.
    fn first_result(&self, check: &Check) -> Option<Time> {
        let since = self.running_since?;
        let first = since.after(self.first_check_ms);
        Some(if self.fails_at(check, first) {
            first.max(since.after(check.configured.grace_ms))
        } else {
            first
        })
    }

    /// Whether a run of this check at `at` fails.
    fn fails_at(&self, check: &Check, at: Time) -> bool {
        match self.course() {
            Course::Unhealthy => true,
            // One that is about to exit never gets as far as answering a check.
            Course::Exits(_) => self.doomed,
            Course::Sickens => self.sickened(check, at),
            Course::Sound
            | Course::OutOfMemory { .. }
            | Course::Idle { .. }
            | Course::SlowBoot { .. } => false,
        }
    }

    /// Whether what sickens has done so, counting no failure within the grace period; one that was
    /// sick before this model knew it has none.
    fn sickened(&self, check: &Check, at: Time) -> bool {
        let (Some(sick), Some(since)) = (self.sick_from, self.running_since) else {
            return false;
        };
        let grace = since.after(check.configured.grace_ms);
        at >= sick && (sick < since || at >= grace)
    }

    pub(crate) fn check_view(&self, check: &Check, now: Time) -> api::CheckStatus {
        let Some(at) = self.newest_result(check, now) else {
            return check.last.clone();
        };
        let failing = self.fails_at(check, at);
        let http = check.configured.kind == "http";
        let (result, output) = match (failing, http) {
            (false, true) => (CheckResult::Passing, "200 OK"),
            (false, false) => (CheckResult::Passing, "Success"),
            (true, true) => (CheckResult::Critical, "500 Internal Server Error"),
            (true, false) => (CheckResult::Critical, "connect: connection refused"),
        };
        api::CheckStatus {
            name: check.configured.name.clone(),
            status: result.as_str().into(),
            output: output.into(),
            updated_at: at.rfc3339(),
        }
    }

    /// When a check next writes a result.
    pub(crate) fn next_result(&self, now: Time) -> Option<Time> {
        let each = self
            .checks
            .iter()
            .filter_map(|check| match self.newest_result(check, now) {
                Some(newest) => Some(newest.after(check.configured.interval_ms)),
                None => self.first_result(check),
            });
        each.min()
    }

    /// Writes down the results of this run, before something changes what they would be.
    pub(crate) fn freeze_checks(&mut self, now: Time) {
        let views: Vec<_> = self
            .checks
            .iter()
            .map(|check| self.check_view(check, now))
            .collect();
        let written: Vec<_> = self
            .checks
            .iter()
            .map(|check| self.newest_result(check, now).is_some())
            .collect();
        for ((check, view), written) in self.checks.iter_mut().zip(views).zip(written) {
            check.last = view;
            check.fresh |= written;
        }
    }

    /// Ends this run: its results stay, and are stale.
    pub(crate) fn end_run(&mut self, now: Time) {
        self.freeze_checks(now);
        for check in &mut self.checks {
            check.fresh = false;
        }
        self.running_since = None;
        self.trailing.clear();
    }

    /// Whether every check passed in this run, as far as it says by now.
    pub(crate) fn all_pass(&self, now: Time) -> bool {
        self.checks.iter().all(|check| self.passes(check, now))
    }

    fn passes(&self, check: &Check, now: Time) -> bool {
        match self.newest_result(check, now) {
            Some(at) => !self.fails_at(check, at),
            None => check.fresh && check.last.result() == CheckResult::Passing,
        }
    }

    /// Since when every check has passed that passes now; what was adopted did from the start.
    pub(crate) fn passing_since(&self, now: Time) -> Time {
        let since = self.checks.iter().filter_map(|check| {
            let adopted = check.fresh && check.last.result() == CheckResult::Passing;
            let first = self.first_result(check).filter(|_| !adopted);
            first.filter(|first| *first <= now)
        });
        since.max().unwrap_or_default()
    }

    /// When a check may next turn by itself, with its first result or by sickening.
    pub(crate) fn next_turn(&self, now: Time) -> Option<Time> {
        let sickens = self.course() == Course::Sickens;
        let each = self
            .checks
            .iter()
            .filter_map(|check| match self.newest_result(check, now) {
                None => self.first_result(check),
                Some(newest) if sickens && !self.fails_at(check, newest) => {
                    Some(newest.after(check.configured.interval_ms))
                }
                Some(_) => None,
            });
        each.filter(|at| *at > now).min()
    }
}

/// What a check shows before it first ran. Assumed.
fn never_run(name: &str, created: Time) -> api::CheckStatus {
    api::CheckStatus {
        name: name.to_owned(),
        status: CheckResult::Warning.as_str().into(),
        output: "the machine hasn't started".into(),
        updated_at: created.rfc3339(),
    }
}
