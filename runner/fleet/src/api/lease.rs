//! Leases: the exclusion that Fly itself offers.

use serde::{Deserialize, Serialize};

use super::lax;

/// A lease of a Machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// 12 hexadecimal digits; whoever knows them may write.
    #[serde(deserialize_with = "lax")]
    pub nonce: String,
    /// Seconds since the Unix epoch.
    #[serde(deserialize_with = "lax")]
    pub expires_at: i64,
    /// Who took it: an e-mail address or a token's name.
    #[serde(deserialize_with = "lax")]
    pub owner: String,
    /// What the taker wrote.
    #[serde(deserialize_with = "lax")]
    pub description: String,
    /// The Machine's instance id.
    #[serde(deserialize_with = "lax")]
    pub version: String,
}

/// How the answer to a release is wrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleasedLease {
    /// `success`.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// That it is done.
    #[serde(deserialize_with = "lax")]
    pub data: super::Done,
}

/// How a lease is wrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseEnvelope {
    /// `success`, or `error`.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// The lease.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub data: Option<Lease>,
    /// What went wrong.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A code for it.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl LeaseEnvelope {
    /// The envelope of a lease that was taken, refreshed or read.
    pub fn success(lease: Lease) -> LeaseEnvelope {
        LeaseEnvelope {
            status: "success".into(),
            data: Some(lease),
            ..LeaseEnvelope::default()
        }
    }
}
