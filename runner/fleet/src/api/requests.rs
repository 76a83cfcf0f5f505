//! What clients send: bodies and queries.

use std::collections::BTreeMap;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::go_duration::go_duration_text;
use super::{lax, unset};
use crate::Time;

/// The body of a create.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// The configuration.
    pub config: Value,
    /// Unique in the app; one is made up if none.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A region code; one is chosen if none.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Do not start it.
    #[serde(deserialize_with = "lax", skip_serializing_if = "unset")]
    pub skip_launch: bool,
    /// Create it cordoned.
    #[serde(deserialize_with = "lax", skip_serializing_if = "unset")]
    pub skip_service_registration: bool,
    /// Seconds of a lease to take with it; its nonce comes back in the Machine.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub lease_ttl: Option<u64>,
    /// The version of the app's secrets that it must at least see.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// The body of an update: the whole configuration, no part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateRequest {
    /// The whole new configuration.
    pub config: Value,
    /// Cannot be changed; a different one is refused.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cannot be changed; a different one is refused.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The instance id that must still be current: compare and set.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// Leave it stopped.
    #[serde(deserialize_with = "lax", skip_serializing_if = "unset")]
    pub skip_launch: bool,
    /// Leave it cordoned.
    #[serde(deserialize_with = "lax", skip_serializing_if = "unset")]
    pub skip_service_registration: bool,
    /// Seconds of a lease to take with it.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub lease_ttl: Option<u64>,
    /// The version of the app's secrets that it must at least see.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// The body of a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopRequest {
    /// Such as `SIGTERM`.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// A Go duration; a number is one of nanoseconds, as fly-go reads it.
    #[serde(
        deserialize_with = "go_duration_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<String>,
}

/// The query of a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartQuery {
    /// Do not wait for it to stop by itself.
    #[serde(skip_serializing_if = "unset")]
    pub force_stop: bool,
    /// A Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Such as `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// The body of a signal. The wire knows names and, from fly-go's `Kill`, integers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalRequest {
    /// A name; an integer is read as its decimal digits.
    #[serde(deserialize_with = "name_or_number")]
    pub signal: String,
}

/// The body of an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecRequest {
    /// A command line.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub cmd: String,
    /// A command by its words.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What it reads.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Seconds.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The body of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseRequest {
    /// Seconds.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Why.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The body of a change of metadata; `null` and `""` delete a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataPatch {
    /// Keys and their new values.
    #[serde(deserialize_with = "lax")]
    pub metadata: BTreeMap<String, Option<String>>,
    /// The instance id that must still be current.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub machine_version: Option<String>,
}

/// One metadata value, sent or answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataValue {
    /// The value.
    #[serde(deserialize_with = "lax")]
    pub value: String,
}

/// The query of an app's listing. Empty lists and maps narrow nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only this region.
    pub region: Option<String>,
    /// Only these states.
    pub states: Vec<String>,
    /// Destroyed ones too.
    pub include_deleted: bool,
    /// Without config, checks, events, host status and nonce.
    pub summary: bool,
    /// Only those with these metadata.
    pub metadata: BTreeMap<String, String>,
    /// With their leases.
    pub include_leases: bool,
}

/// The query of an organisation's listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrgQuery {
    /// Only this region.
    pub region: Option<String>,
    /// Only these states.
    pub states: Vec<String>,
    /// Destroyed ones too.
    pub include_deleted: bool,
    /// Without configurations.
    pub summary: bool,
    /// Only those that changed after this moment.
    pub updated_after: Option<Time>,
    /// Where the page begins, from the page before.
    pub cursor: Option<String>,
    /// At most so many; 1,000 at most.
    pub limit: Option<usize>,
}

/// What a wait waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitQuery {
    /// `started`, `stopped`, `suspended`, `destroyed`, `failed` or `settled`; `started` if none.
    pub states: Vec<String>,
    /// Only this version.
    pub version: Option<String>,
    /// Only a state reached by an event newer than this one.
    pub from_event_id: Option<String>,
}

fn name_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    struct NameOrNumber;
    impl Visitor<'_> for NameOrNumber {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a signal's name or number")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
            Ok(name.to_owned())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    from.deserialize_any(NameOrNumber)
}
