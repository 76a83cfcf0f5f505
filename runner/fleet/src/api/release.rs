//! Releases, as flyctl records them with Fly's web application: not part of the Machines API.
//!
//! Source: `internal/uiex/releases.go` of `superfly/flyctl`; `definition` and `metadata` are
//! answered here as they were sent, which flyctl does not read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lax;
use crate::Time;

/// How far a release is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseStatus {
    /// It is recorded, and nothing has been done.
    Pending,
    /// Machines are being changed.
    Running,
    /// It is done.
    Complete,
    /// It went wrong.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}

/// Every status, for tests and tables.
pub const RELEASE_STATUSES: [ReleaseStatus; 5] = [
    ReleaseStatus::Pending,
    ReleaseStatus::Running,
    ReleaseStatus::Complete,
    ReleaseStatus::Failed,
    ReleaseStatus::Interrupted,
];

impl ReleaseStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReleaseStatus::Pending => "pending",
            ReleaseStatus::Running => "running",
            ReleaseStatus::Complete => "complete",
            ReleaseStatus::Failed => "failed",
            ReleaseStatus::Interrupted => "interrupted",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(word: &str) -> Option<ReleaseStatus> {
        let mut all = RELEASE_STATUSES.into_iter();
        all.find(|status| status.as_str() == word)
    }

    /// Whether it has ended, well or not.
    pub const fn finished(self) -> bool {
        match self {
            ReleaseStatus::Complete | ReleaseStatus::Failed | ReleaseStatus::Interrupted => true,
            ReleaseStatus::Pending | ReleaseStatus::Running => false,
        }
    }

    /// Whether a release of this status may be given that one. What goes on may be said again.
    pub const fn may_become(self, next: ReleaseStatus) -> bool {
        match self {
            ReleaseStatus::Pending => match next {
                ReleaseStatus::Pending | ReleaseStatus::Running => true,
                ReleaseStatus::Complete | ReleaseStatus::Failed | ReleaseStatus::Interrupted => {
                    false
                }
            },
            ReleaseStatus::Running => match next {
                ReleaseStatus::Pending => false,
                ReleaseStatus::Running
                | ReleaseStatus::Complete
                | ReleaseStatus::Failed
                | ReleaseStatus::Interrupted => true,
            },
            ReleaseStatus::Complete | ReleaseStatus::Failed | ReleaseStatus::Interrupted => false,
        }
    }
}

/// One release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Its id.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Counted for each app, from 1.
    #[serde(deserialize_with = "lax")]
    pub version: u64,
    /// As Fly spells it; see [`Release::known_status`].
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// `ROLLING`, `BLUEGREEN`, … as it was sent.
    #[serde(deserialize_with = "lax")]
    pub strategy: String,
    /// The image: what a rollback goes back to.
    #[serde(deserialize_with = "lax")]
    pub image_ref: String,
    /// Whose it is.
    #[serde(deserialize_with = "lax")]
    pub user: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// Whether it has not ended.
    #[serde(deserialize_with = "lax")]
    pub in_progress: bool,
    /// Whether it was completed. That this is what Fly means by the word is assumed.
    #[serde(deserialize_with = "lax")]
    pub stable: bool,
    /// The app's configuration, whole.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub definition: Value,
    /// What was last sent with a status.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
}

impl Release {
    /// The status, if this version knows it.
    pub fn known_status(&self) -> Option<ReleaseStatus> {
        ReleaseStatus::parse(&self.status)
    }

    /// When it was recorded.
    pub fn created(&self) -> Option<Time> {
        Time::parse(&self.created_at)
    }
}

/// The body that records a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewRelease {
    /// The app.
    #[serde(deserialize_with = "lax")]
    pub app_name: String,
    /// `ROLLING`, `BLUEGREEN`, `CANARY`, `IMMEDIATE`, …
    #[serde(deserialize_with = "lax")]
    pub strategy: String,
    /// The app's configuration, whole.
    #[serde(deserialize_with = "lax")]
    pub definition: Value,
    /// The image.
    #[serde(deserialize_with = "lax")]
    pub image: String,
    /// The build that made the image; 0 if none did.
    #[serde(deserialize_with = "lax")]
    pub build_id: i64,
}

/// The body that says how far a release is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleasePatch {
    /// `running`, `complete`, `failed` or `interrupted`; empty leaves it.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// Anything; `null` leaves it.
    #[serde(deserialize_with = "lax")]
    pub metadata: Value,
}

/// How a release that was just recorded is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseEnvelope {
    /// The release.
    #[serde(deserialize_with = "lax")]
    pub release: Release,
}

/// An app's releases, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseList {
    /// The releases.
    #[serde(deserialize_with = "lax")]
    pub releases: Vec<Release>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for status in RELEASE_STATUSES {
            assert_eq!(ReleaseStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(ReleaseStatus::parse("confused"), None);
    }

    #[test]
    fn what_has_ended_stays_as_it_is_and_nothing_begins_anew() {
        for from in RELEASE_STATUSES {
            for to in RELEASE_STATUSES {
                let may = from.may_become(to);
                assert!(!(from.finished() && may), "{from:?} to {to:?}");
                let back = to == ReleaseStatus::Pending && from != to;
                assert!(!(back && may), "{from:?} to {to:?}");
            }
        }
    }
}
