//! What happened to a Machine.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lax;
use crate::Time;

/// One event. Ids are ULIDs: later events have greater ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// 26 characters.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// `launch`, `start`, `exit`, `stop`, `restart`, `update`, … as Fly spells them.
    #[serde(rename = "type", deserialize_with = "lax")]
    pub kind: String,
    /// The state that the event led to.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// `user`, `flyd`, …
    #[serde(deserialize_with = "lax")]
    pub source: String,
    /// Milliseconds since the Unix epoch.
    #[serde(deserialize_with = "lax")]
    pub timestamp: i64,
    /// Details, whose shape depends on the kind; read it through the accessors.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub request: Value,
}

/// How a Machine's main process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExitEvent {
    /// The exit code that the platform reports.
    #[serde(deserialize_with = "lax")]
    pub exit_code: i32,
    /// The exit code of the process inside.
    #[serde(deserialize_with = "lax")]
    pub guest_exit_code: i32,
    /// The signal that ended it, or -1.
    #[serde(deserialize_with = "lax")]
    pub signal: i32,
    /// The signal inside, or -1.
    #[serde(deserialize_with = "lax")]
    pub guest_signal: i32,
    /// It was killed because the Machine had no memory left.
    #[serde(deserialize_with = "lax")]
    pub oom_killed: bool,
    /// Somebody asked for it: a stop, a restart or an update.
    #[serde(deserialize_with = "lax")]
    pub requested_stop: bool,
    /// The platform will start it again by itself.
    #[serde(deserialize_with = "lax")]
    pub restarting: bool,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub exited_at: String,
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Time {
        Time::from_millis(u64::try_from(self.timestamp).unwrap_or(0))
    }

    /// How the process ended, if the event says so: `request.exit_event`, or
    /// `request.MonitorEvent.exit_event` as older hosts write it.
    pub fn exit_event(&self) -> Option<ExitEvent> {
        let direct = self
            .request
            .get("exit_event")
            .filter(|value| value.is_object());
        let value = match direct {
            Some(value) => value,
            None => self.request.get("MonitorEvent")?.get("exit_event")?,
        };
        ExitEvent::deserialize(value).ok()
    }

    /// The exit code, if the event says so.
    pub fn exit_code(&self) -> Option<i32> {
        self.exit_event().map(|exit| exit.exit_code)
    }

    /// Whether the process was killed for want of memory.
    pub fn oom_killed(&self) -> bool {
        self.exit_event().is_some_and(|exit| exit.oom_killed)
    }

    /// Whether the exit was asked for.
    pub fn requested_stop(&self) -> bool {
        self.exit_event().is_some_and(|exit| exit.requested_stop)
    }

    /// Whether the platform starts the Machine again after this exit.
    pub fn restarting(&self) -> bool {
        self.exit_event().is_some_and(|exit| exit.restarting)
    }

    /// How often the restart policy has started the Machine again.
    pub fn restart_count(&self) -> u32 {
        let count = self.request.get("restart_count").and_then(Value::as_u64);
        u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// The `request` of an exit.
    pub(crate) fn exit_request(exit: &ExitEvent, restart_count: u32) -> Value {
        json!({ "exit_event": exit, "restart_count": restart_count })
    }
}
