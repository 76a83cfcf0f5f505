//! A Machine inside the model, and how the API sees it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, CheckResult, ConfigView, HostStatus, ImageRef};
use crate::behaviour::Fate;
use crate::{State, Time};

/// Events kept of a Machine: the most that the API ever gives.
pub(crate) const EVENTS_KEPT: usize = 50;

/// Events shown inside a Machine. Not documented; a Machine with more shows its newest.
const EVENTS_SHOWN: usize = 20;

/// What is to happen to a Machine in a transient state.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// It was made; start it or not.
    Made { launch: bool },
    /// It has the new configuration; start it or not.
    Updated { launch: bool },
    /// Its process runs.
    Boot,
    /// Its process has ended as asked.
    Stop,
    /// Its process has ended as asked, and starts again.
    RestartStop,
    /// Its memory is saved.
    Suspend,
    /// It is gone.
    Destroy,
    /// Its process ends by itself.
    Crash { code: i32, out_of_memory: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct HeldLease {
    pub(crate) nonce: String,
    pub(crate) expires: Time,
    pub(crate) owner: String,
    pub(crate) description: String,
}

/// A check, its rhythm, and the last result of earlier runs of the Machine.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) configured: api::ConfiguredCheck,
    pub(crate) last: api::CheckStatus,
}

/// The version before an update whose image cannot be pulled.
#[derive(Clone, Debug)]
pub(crate) struct Previous {
    pub(crate) instance_id: String,
    pub(crate) config: Arc<Value>,
    pub(crate) image_ref: ImageRef,
    pub(crate) was_running: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) id: Arc<str>,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) state: State,
    pub(crate) instance_id: String,
    pub(crate) private_ip: String,
    pub(crate) image_ref: ImageRef,
    pub(crate) config: Arc<Value>,
    /// Newest first.
    pub(crate) events: VecDeque<api::Event>,
    pub(crate) checks: Vec<Check>,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    pub(crate) cordoned: bool,
    pub(crate) lease: Option<HeldLease>,
    pub(crate) fate: Fate,
    pub(crate) host: HostStatus,
    /// Raised with each change of state: what was scheduled before no longer counts.
    pub(crate) generation: u64,
    pub(crate) pending: Option<(Time, Pending)>,
    /// How often it was stopped and booted; part of what is drawn.
    pub(crate) stops: u64,
    pub(crate) boots: u64,
    pub(crate) commands: u64,
    /// When it last reached `started`, while it still is.
    pub(crate) running_since: Option<Time>,
    pub(crate) first_check_ms: u64,
    /// Starts by the restart policy, within its window.
    pub(crate) retries: VecDeque<Time>,
    pub(crate) visible_from: Time,
    pub(crate) versions: Vec<(String, Arc<Value>)>,
    pub(crate) previous: Option<Previous>,
}

impl Machine {
    pub(crate) fn view(&self) -> ConfigView<'_> {
        ConfigView::new(&self.config)
    }

    /// Whether its image cannot be pulled. The marker in the name is mudflaps' convention.
    pub(crate) fn unpullable(&self) -> bool {
        self.fate == Fate::ImagePullFails || self.view().image().contains("unpullable")
    }

    pub(crate) fn unreachable(&self) -> bool {
        self.host == HostStatus::Unreachable
    }

    /// The lease, if it has not expired.
    pub(crate) fn held(&self, now: Time) -> Option<&HeldLease> {
        self.lease.as_ref().filter(|lease| lease.expires > now)
    }

    pub(crate) fn lease_view(&self, now: Time) -> Option<api::Lease> {
        self.held(now).map(|lease| api::Lease {
            nonce: lease.nonce.clone(),
            expires_at: i64::try_from(lease.expires.as_seconds()).unwrap_or(i64::MAX),
            owner: lease.owner.clone(),
            description: lease.description.clone(),
            version: self.instance_id.clone(),
        })
    }

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
            Check { configured, last }
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
        let grace = if self.checks_fail() {
            check.configured.grace_ms
        } else {
            0
        };
        Some(self.running_since?.after(self.first_check_ms.max(grace)))
    }

    /// One that is about to exit never gets as far as answering a check.
    fn checks_fail(&self) -> bool {
        match self.fate {
            Fate::ChecksFail => true,
            Fate::NeverStarts => self.pending.is_some(),
            Fate::Normal
            | Fate::HostUnreachable
            | Fate::HostDiesAt { .. }
            | Fate::HostDiesOnRestart
            | Fate::OutOfMemory { .. }
            | Fate::SlowStart { .. }
            | Fate::ImagePullFails => false,
        }
    }

    fn check_view(&self, check: &Check, now: Time) -> api::CheckStatus {
        let Some(at) = self.newest_result(check, now) else {
            return check.last.clone();
        };
        let failing = self.checks_fail();
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

    /// Writes down the results of this run: from now on they are stale, as Fly's are.
    pub(crate) fn freeze_checks(&mut self, now: Time) {
        let views: Vec<_> = self
            .checks
            .iter()
            .map(|check| self.check_view(check, now))
            .collect();
        for (check, view) in self.checks.iter_mut().zip(views) {
            check.last = view;
        }
        self.running_since = None;
    }

    /// The Machine as `GET` shows it.
    pub(crate) fn to_api(&self, now: Time, summary: bool) -> api::Machine {
        let mut shown = api::Machine {
            id: self.id.to_string(),
            name: self.name.clone(),
            state: self.state.as_str().into(),
            region: self.region.clone(),
            instance_id: self.instance_id.clone(),
            private_ip: self.private_ip.clone(),
            image_ref: self.image_ref.clone(),
            created_at: self.created.rfc3339(),
            updated_at: self.updated.rfc3339(),
            cordoned: self.cordoned,
            ..api::Machine::default()
        };
        if summary {
            return shown;
        }
        shown.host_status = self.host.as_str().into();
        if self.host == HostStatus::Ok {
            shown.config = Value::clone(&self.config);
        } else {
            shown.incomplete_config = self.overview();
        }
        shown.events = self.events.iter().take(EVENTS_SHOWN).cloned().collect();
        shown.checks = self
            .checks
            .iter()
            .map(|check| self.check_view(check, now))
            .collect();
        shown
    }

    /// `image`, `guest` and `metadata`: what is known without the host.
    pub(crate) fn overview(&self) -> Value {
        let part = |key: &str| self.config.get(key).cloned().unwrap_or_else(|| json!({}));
        json!({ "image": self.view().image(), "guest": part("guest"), "metadata": part("metadata") })
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

/// The parts of an image's name, `registry/repository:tag@digest`.
pub(crate) fn image_ref(image: &str) -> ImageRef {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let (registry, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains('.') => (host, rest),
        Some(_) | None => ("docker-hub-mirror.fly.io", name),
    };
    let (repository, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
    ImageRef {
        registry: registry.into(),
        repository: repository.into(),
        tag: tag.into(),
        digest: digest.into(),
        labels: Default::default(),
    }
}
