//! A Machine inside the model, and how the API sees it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{self, ConfigView, HostStatus, ImageRef, RestartPolicy};
use crate::fate::{Course, Fate};
use crate::image;
use crate::state::State;
use crate::time::Time;

/// Events kept of a Machine: the most that the API ever gives.
pub(crate) const EVENTS_KEPT: usize = 50;

/// Events shown inside a Machine. Not documented; a Machine with more shows its newest.
const EVENTS_SHOWN: usize = 20;

/// A Machine by its app and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineKey {
    /// The app's name.
    pub app: Arc<str>,
    /// The Machine's id.
    pub id: Arc<str>,
}

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
    /// The proxy has had no requests for it long enough.
    Idle,
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
    /// Whether that result is of the present run: one that was adopted with the Machine, or from
    /// before its fate changed.
    pub(crate) fresh: bool,
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
    /// Its process is about to end by itself.
    pub(crate) doomed: bool,
    /// From when its checks fail in this run, if it sickens.
    pub(crate) sick_from: Option<Time>,
    /// When its process started: earlier than `running_since` in one that was adopted running.
    pub(crate) run_began: Time,
    /// It was not serving before: the last uncordon, or change of its fate for the better.
    pub(crate) eligible_after: Time,
    /// From when until when the proxy goes on with what was cordoned meanwhile.
    pub(crate) trailing: Vec<(Time, Time)>,
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

    /// Whether its image cannot be pulled.
    pub(crate) fn unpullable(&self) -> bool {
        self.fate == Fate::ImagePullFails || image::unpullable(self.view().image())
    }

    pub(crate) fn course(&self) -> Course {
        let view = self.view();
        let course = Course::of(self.fate, view.image());
        // A command that is given, in a Machine that does not start again, is one that ends.
        let command = view.command();
        let ends = view.restart_policy() == RestartPolicy::No && !command.is_empty();
        match course {
            Course::Sound if ends => Course::Exits(exit_code(&command.join(" "))),
            course => course,
        }
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

/// The N of a command that ends in `exit N`, also inside quotes; 0 otherwise. Of a larger N only the
/// lowest byte is left, as everywhere on Unix.
pub(crate) fn exit_code(line: &str) -> i32 {
    let mut words = line.split_whitespace().rev();
    let quotes = ['\'', '"'];
    let code = words.next().map(|word| word.trim_end_matches(quotes));
    let code = code.and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    match words.next().map(|word| word.trim_start_matches(quotes)) {
        Some("exit") => i32::from(code.to_le_bytes()[0]),
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn a_command_says_how_it_ends() {
        let cases = [
            ("exit 3", 3),
            ("sh -c 'exit 4'", 4),
            ("sh -c echo hi; exit 5", 5),
            ("exit 256", 0),
            ("exit", 0),
            ("exit three", 0),
            ("exit 3 now", 0),
            ("noexit 3", 0),
            ("3", 0),
            ("", 0),
        ];
        for (line, code) in cases {
            assert_eq!(exit_code(line), code, "{line}");
        }
    }
}
