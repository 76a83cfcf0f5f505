//! What commands answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lax;

/// `{"ok": true}`
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// Always true in an answer.
    pub ok: bool,
}

impl Default for Done {
    fn default() -> Done {
        Done { ok: true }
    }
}

/// The answer to a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartResponse {
    /// The state before.
    #[serde(deserialize_with = "lax")]
    pub previous_state: String,
    /// Whether it moved to another host.
    #[serde(deserialize_with = "lax")]
    pub migrated: bool,
    /// The host it moved to.
    #[serde(deserialize_with = "lax")]
    pub new_host: String,
    /// `error` is a failure in spite of the 200.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to a wait that was satisfied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitResponse {
    /// True.
    #[serde(deserialize_with = "lax")]
    pub ok: bool,
    /// The state that was reached.
    #[serde(deserialize_with = "lax")]
    pub state: String,
    /// The version that reached it.
    #[serde(deserialize_with = "lax")]
    pub version: String,
    /// The event that reached it.
    #[serde(deserialize_with = "lax")]
    pub event_id: String,
}

/// One version of a Machine's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineVersion {
    /// Its instance id.
    #[serde(deserialize_with = "lax")]
    pub version: String,
    /// The configuration that was sent.
    #[serde(deserialize_with = "lax")]
    pub user_config: Value,
}

/// The answer to an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecResponse {
    /// How the command ended.
    #[serde(deserialize_with = "lax")]
    pub exit_code: i32,
    /// The signal that ended it, or 0.
    #[serde(deserialize_with = "lax")]
    pub exit_signal: i32,
    /// What it printed.
    #[serde(deserialize_with = "lax")]
    pub stdout: String,
    /// What it complained.
    #[serde(deserialize_with = "lax")]
    pub stderr: String,
}

/// One process of a Machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its number.
    #[serde(deserialize_with = "lax")]
    pub pid: u64,
    /// Its command line.
    #[serde(deserialize_with = "lax")]
    pub command: String,
    /// Its directory.
    #[serde(deserialize_with = "lax")]
    pub directory: String,
}
