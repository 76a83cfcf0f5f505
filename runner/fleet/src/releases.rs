//! Releases: what was deployed, and how that went. A record beside the Machines, which it does not
//! touch: who deploys writes both.

use crate::api::{self, ApiError, ReleaseStatus};
use crate::fleet::{Caller, Fleet};
use groundcrew_faults as random;

/// Releases kept of each app; older ones are forgotten. Our own bound.
const KEPT: usize = 1000;

impl Fleet {
    /// Records a release, pending.
    pub fn release_create(
        &mut self,
        caller: &Caller<'_>,
        request: &api::NewRelease,
    ) -> Result<api::Release, ApiError> {
        let app = request.app_name.as_str();
        let last = self.app(app)?.releases.back();
        let version = last.map_or(0, |release| release.version) + 1;
        self.released += 1;
        let drawn = random::draw(self.settings.seed, "release", app, self.released);
        let mut release = api::Release {
            id: format!("{drawn:016x}"),
            version,
            strategy: request.strategy.clone(),
            image_ref: request.image.clone(),
            user: caller.owner.to_owned(),
            created_at: self.now.rfc3339(),
            definition: request.definition.clone(),
            ..api::Release::default()
        };
        put_status(&mut release, ReleaseStatus::Pending);
        if let Some(app) = self.apps.get_mut(app) {
            app.releases.push_back(release.clone());
            let surplus = app.releases.len().saturating_sub(KEPT);
            app.releases.drain(..surplus);
        }
        self.log_applied(caller, "releases.create", app, &release.id);
        Ok(release)
    }

    /// Says how far a release is. One that has ended refuses.
    pub fn release_update(
        &mut self,
        caller: &Caller<'_>,
        id: &str,
        patch: &api::ReleasePatch,
    ) -> Result<api::Release, ApiError> {
        let not_found = || ApiError::new(404, format!("release '{id}' not found"));
        let found = self.apps.values_mut().find_map(|app| {
            let release = app.releases.iter_mut().find(|release| release.id == id)?;
            Some((app.name.clone(), release))
        });
        let (app, release) = found.ok_or_else(not_found)?;
        let next = next_status(release, &patch.status)?;
        put_status(release, next);
        if !patch.metadata.is_null() {
            release.metadata = patch.metadata.clone();
        }
        let release = release.clone();
        self.log_applied(caller, "releases.status", &app, id);
        Ok(release)
    }

    /// An app's releases, newest first: so many of them, or all.
    pub fn releases(&self, app: &str, limit: Option<usize>) -> Result<Vec<api::Release>, ApiError> {
        let newest = self.app(app)?.releases.iter().rev();
        Ok(newest.take(limit.unwrap_or(KEPT)).cloned().collect())
    }

    /// An app's newest release, whatever became of it: fly-autoscaler, too, finds a running one
    /// there.
    pub fn release_current(&self, app: &str) -> Result<api::Release, ApiError> {
        let newest = self.app(app)?.releases.back().cloned();
        newest.ok_or_else(|| ApiError::new(404, format!("app '{app}' has no release")))
    }

    /// The app of a release.
    pub fn release_app(&self, id: &str) -> Option<&str> {
        let of = |releases: &std::collections::VecDeque<api::Release>| {
            releases.iter().any(|release| release.id == id)
        };
        let app = self.apps.values().find(|app| of(&app.releases))?;
        Some(&app.name)
    }
}

/// The wordings are assumed.
fn next_status(release: &api::Release, word: &str) -> Result<ReleaseStatus, ApiError> {
    let now = release.known_status().unwrap_or(ReleaseStatus::Pending);
    let wanted = if word.is_empty() {
        Some(now)
    } else {
        ReleaseStatus::parse(word)
    };
    let Some(next) = wanted else {
        return Err(ApiError::new(
            422,
            format!("invalid_argument: unknown release status '{word}'"),
        ));
    };
    if now.may_become(next) {
        return Ok(next);
    }
    let words = format!(
        "failed_precondition: a release that is '{}' cannot become '{}'",
        now.as_str(),
        next.as_str()
    );
    Err(ApiError::new(422, words))
}

fn put_status(release: &mut api::Release, status: ReleaseStatus) {
    release.status = status.as_str().into();
    release.in_progress = !status.finished();
    release.stable = status == ReleaseStatus::Complete;
}
