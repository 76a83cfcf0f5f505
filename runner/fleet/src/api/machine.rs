//! A Machine as the API shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::ConfigView;
use super::{CheckStatus, Event, is_fake_check, lax, unset};
use crate::{State, Time};

/// Whether the platform can reach a Machine's host.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostStatus {
    /// It can.
    Ok,
    /// It does not know.
    Unknown,
    /// It cannot.
    Unreachable,
}

impl HostStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            HostStatus::Ok => "ok",
            HostStatus::Unknown => "unknown",
            HostStatus::Unreachable => "unreachable",
        }
    }
}

/// An image by its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageRef {
    /// `registry.fly.io`
    #[serde(deserialize_with = "lax")]
    pub registry: String,
    /// The app's name, as a rule.
    #[serde(deserialize_with = "lax")]
    pub repository: String,
    /// `deployment-01H…`
    #[serde(deserialize_with = "lax")]
    pub tag: String,
    /// `sha256:…`
    #[serde(deserialize_with = "lax")]
    pub digest: String,
    /// The image's labels.
    #[serde(deserialize_with = "lax")]
    pub labels: BTreeMap<String, String>,
}

/// One Machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// 14 hexadecimal digits.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Unique in its app.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// As Fly spells it; see [`Machine::known_state`].
    #[serde(deserialize_with = "lax")]
    pub state: String,
    /// A code such as `fra`.
    #[serde(deserialize_with = "lax")]
    pub region: String,
    /// Identifies this version of the configuration; a restart does not change it.
    #[serde(deserialize_with = "lax")]
    pub instance_id: String,
    /// The same, under its older name.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its private IPv6 address.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub private_ip: String,
    /// The image it runs.
    #[serde(deserialize_with = "lax")]
    pub image_ref: ImageRef,
    /// The configuration, whole: fields that nobody here knows survive a round trip.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// What is known of the configuration while the host is not `ok`.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub incomplete_config: Value,
    /// Newest first.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// As sent, fake ones included; see [`Machine::real_checks`].
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub updated_at: String,
    /// The nonce of the lease that a create or update asked for with `lease_ttl`.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// `ok`, `unknown` or `unreachable`; empty in summaries.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub host_status: String,
    /// Taken out of the proxy's service.
    #[serde(deserialize_with = "lax", skip_serializing_if = "unset")]
    pub cordoned: bool,
    /// Its lease, in listings that were asked for leases.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub lease: Option<super::Lease>,
}

impl Machine {
    /// The configuration that is known: `config`, or `incomplete_config` where the host is gone.
    pub fn config_view(&self) -> ConfigView<'_> {
        let whole = self.config.is_object();
        ConfigView::new(if whole {
            &self.config
        } else {
            &self.incomplete_config
        })
    }

    /// The process group; `app` if the Machine names none.
    pub fn process_group(&self) -> &str {
        self.config_view().process_group()
    }

    /// The state, if this version knows it.
    pub fn known_state(&self) -> Option<State> {
        State::parse(&self.state)
    }

    /// The host's status; an empty or new word is [`HostStatus::Unknown`].
    pub fn host(&self) -> HostStatus {
        match self.host_status.as_str() {
            "ok" => HostStatus::Ok,
            "unreachable" => HostStatus::Unreachable,
            _ => HostStatus::Unknown,
        }
    }

    /// The checks without those that Fly makes up.
    pub fn real_checks(&self) -> impl Iterator<Item = &CheckStatus> {
        self.checks
            .iter()
            .filter(|check| !is_fake_check(&check.name))
    }

    /// The newest event's id.
    pub fn newest_event(&self) -> Option<&str> {
        self.events.iter().map(|event| event.id.as_str()).max()
    }

    /// When it was created.
    pub fn created(&self) -> Option<Time> {
        Time::parse(&self.created_at)
    }

    /// When it last changed.
    pub fn updated(&self) -> Option<Time> {
        Time::parse(&self.updated_at)
    }
}
