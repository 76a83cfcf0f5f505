//! Records a deploy in the app's releases as flyctl does, so that Fly's dashboard and
//! `fly releases` show it. It is no more than a record: no Machine changes. `end-release` says later
//! how the deploy went.
//!
//! Whoever deploys the same app at the same time shows there too: a release of somebody else that is
//! under way is a conflict, found before anything is recorded. It is no lock; two that begin at the
//! same moment do not see each other.

use groundcrew_plugin::{Error, Host, Kind, Release, Releases, Result, Status, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many of the newest releases are looked at. What is still under way below them was not ended
/// by whoever began it, and nobody waits for it.
const NEWEST: u32 = 10;

/// What is being deployed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The app.
    #[schemars(length(min = 1))]
    pub app: String,
    /// How it is deployed.
    pub strategy: Strategy,
    /// The image: what a rollback goes back to.
    #[schemars(length(min = 1))]
    pub image: String,
    /// Fail if another release is under way; otherwise that is only a warning.
    #[serde(default = "yes")]
    pub refuse_running: bool,
}

/// How an app is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Some Machines after the others.
    Rolling,
    /// New Machines in the place of the old ones.
    Bluegreen,
    /// One Machine, then the others.
    Canary,
    /// All Machines at once.
    Immediate,
}

impl Strategy {
    /// As Fly spells it.
    fn word(self) -> &'static str {
        match self {
            Self::Rolling => "ROLLING",
            Self::Bluegreen => "BLUEGREEN",
            Self::Canary => "CANARY",
            Self::Immediate => "IMMEDIATE",
        }
    }
}

fn yes() -> bool {
    true
}

/// What was recorded.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Begun {
    /// The release's id, for `end-release`.
    pub id: String,
    /// Its version in the app.
    pub version: u32,
    /// The version of another release that was under way.
    pub already_running: Option<u32>,
}

/// Record a deploy in the app's releases, as running.
#[plugin(releases(
    list,
    create,
    status,
    reason = "sees whether another deploy is under way, records this one and says that it runs"
))]
pub async fn begin_release(input: Input, host: Host) -> Result<Begun> {
    if input.image.trim().is_empty() {
        return Err(Error::invalid("`image` is empty"));
    }
    let releases = host.releases(&input.app);
    let newest = releases.list(NEWEST).await?;
    let running = newest.iter().find(|release| release.in_progress);
    if let Some(running) = running {
        let found = found(&input.app, running);
        if input.refuse_running {
            return Err(Error::new(Kind::Conflict, found));
        }
        host.warn(&found);
    }
    let release = releases.create(input.strategy.word(), &input.image).await?;
    let begun = Begun {
        id: release.id.clone(),
        version: release.version,
        already_running: running.map(|release| release.version),
    };
    match releases.set_status(&release, Status::Running).await {
        Ok(()) => Ok(begun),
        Err(error) => {
            give_up(&host, &releases, &release).await;
            Err(Error::new(error.kind(), error.message()).with_output(&begun))
        }
    }
}

/// A release that is under way, in words.
fn found(app: &str, running: &Release) -> String {
    format!(
        "version {} of `{app}` is {}: {} began it at {}",
        running.version, running.status, running.user, running.created_at
    )
}

/// Nobody is going to end a release of which the next step does not know.
async fn give_up(host: &Host, releases: &Releases, release: &Release) {
    if let Err(error) = releases.set_status(release, Status::Interrupted).await {
        host.warn(&format!(
            "version {} stays under way in the app's releases: {error}",
            release.version
        ));
    }
}

#[cfg(test)]
mod tests;
