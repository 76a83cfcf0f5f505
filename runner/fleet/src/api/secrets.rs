//! Secrets of apps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lax;

/// One secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSecret {
    /// Its name, which is its variable's.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// What its value is told apart by.
    #[serde(deserialize_with = "lax")]
    pub digest: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub updated_at: String,
    /// Only where it was asked for.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The answer of `GET /v1/apps/{app}/secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSecrets {
    /// By name.
    #[serde(deserialize_with = "lax")]
    pub secrets: Vec<AppSecret>,
}

/// The body of a change of several; `null` unsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretsUpdate {
    /// Values by name.
    #[serde(deserialize_with = "lax")]
    pub values: BTreeMap<String, Option<String>>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretsUpdated {
    /// Those that were set.
    #[serde(deserialize_with = "lax")]
    pub secrets: Vec<AppSecret>,
    /// The version that they are in.
    #[serde(deserialize_with = "lax")]
    pub version: u64,
}

/// The body of a change of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretValue {
    /// The value.
    #[serde(deserialize_with = "lax")]
    pub value: String,
}

/// The answer to that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretSet {
    /// The secret.
    #[serde(flatten)]
    pub secret: AppSecret,
    /// The version that it is in.
    #[serde(deserialize_with = "lax")]
    pub version: u64,
}

/// The answer to an unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretsVersion {
    /// The version without it.
    #[serde(deserialize_with = "lax")]
    pub version: u64,
}
