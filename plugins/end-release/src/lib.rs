//! Says in the app's releases how a deploy went that `begin-release` recorded. It is no more than a
//! record: no Machine changes.
//!
//! What has ended stays as it ended: the same again is fine, as a `finally` step may come after the
//! step that did it; anything else is a failure, as somebody is mistaken about that deploy.

use groundcrew_plugin::{Error, Host, Kind, Release, Result, Status, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The release is looked for among so many of the newest. (The contract gives no more.)
const NEWEST: u32 = 100;

/// Which deploy, and how it went.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app.
    #[schemars(length(min = 1))]
    pub app: String,
    /// The release's id, as `begin-release` gives it.
    #[schemars(length(min = 1))]
    pub id: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a deploy went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Well.
    Complete,
    /// It failed.
    Failed,
    /// It was not brought to its end.
    Interrupted,
}

impl Outcome {
    /// As Fly spells it.
    fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    fn status(self) -> Status {
        match self {
            Self::Complete => Status::Complete,
            Self::Failed => Status::Failed,
            Self::Interrupted => Status::Interrupted,
        }
    }
}

/// How the release stands.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ended {
    /// Its version in the app.
    pub version: u32,
    /// How it went.
    pub outcome: Outcome,
    /// It had ended like that before.
    pub already: bool,
}

/// Say in the app's releases how a deploy went.
#[plugin(releases(
    list,
    status,
    reason = "finds the deploy's release and says how it went"
))]
pub async fn end_release(input: Input, host: Host) -> Result<Ended> {
    let releases = host.releases(&input.app);
    let newest = releases.list(NEWEST).await?;
    let found = newest.iter().find(|release| release.id == input.id);
    let release = found.ok_or_else(|| missing(&input, newest.len()))?;
    let already = has_ended(release, input.outcome)?;
    if !already {
        // Only what runs can end.
        if release.status == "pending" {
            releases.set_status(release, Status::Running).await?;
        }
        releases.set_status(release, input.outcome.status()).await?;
    }
    Ok(Ended {
        version: release.version,
        outcome: input.outcome,
        already,
    })
}

/// Whether it has ended, in the way that is wanted.
///
/// # Errors
/// If it has ended in another.
fn has_ended(release: &Release, outcome: Outcome) -> Result<bool> {
    if release.status == outcome.word() {
        return Ok(true);
    }
    if release.in_progress {
        return Ok(false);
    }
    // Not a conflict, which might pass.
    Err(Error::new(
        Kind::Other,
        format!(
            "version {} has ended as `{}` already, and cannot become `{}`",
            release.version,
            release.status,
            outcome.word()
        ),
    ))
}

fn missing(input: &Input, looked_at: usize) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "none of the newest {looked_at} releases of `{}` is `{}`",
            input.app, input.id
        ),
    )
}

#[cfg(test)]
mod tests;
