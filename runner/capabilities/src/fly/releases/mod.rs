//! The capability `releases`: the record of what was deployed.
//!
//! flyctl keeps it with Fly's web application, not with the Machines API, and so do we. A fork
//! copies an app's releases at the first touch and keeps its own from then on.

mod contract;

use std::collections::BTreeSet;
use std::sync::Arc;

use groundcrew::service::LazyService;
use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::Trouble;
use groundcrew::{
    BoxFuture, Capability, Effect, EffectId, Executor, Failure, Found, Linking, Name, Outcome,
    Request, Row, Scope, Setting, arguments,
};
use groundcrew_fleet::api::{
    NewRelease as Asked, Release as Shown, ReleaseEnvelope, ReleaseList, ReleasePatch,
};
use groundcrew_fleet::{Caller, Fleet};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::fly::marks::Marks;
use crate::fly::names::{self, App};
use crate::fly::scopes::APPS;
use crate::fly::target::RELEASES_API;
use crate::fly::world::Fly;
use contract::{NewRelease, Release, Status, word};

/// No answer may be larger. A release carries its app's configuration.
const ANSWER_BYTES: usize = 16 << 20;

/// How many releases may be asked for, and how many of the newest a lost one is looked for among.
const MOST: u32 = 100;

const API: Name<'_> = Name::fixed("api");
const V1: Name<'_> = Name::fixed("v1");
const RELEASES: Name<'_> = Name::fixed("releases");

/// What a request names.
fn sound(request: &Request) -> Result<(), String> {
    names::app(request)?;
    let id = request.subject.as_deref();
    id.map_or(Ok(()), |id| Name::of("a release's id", id).map(drop))
}

/// The rows of the operations table.
static ROWS: [Row; 5] = [
    Row {
        name: "releases.list",
        sound,
        fork: "answered by the fork, exact once they are copied",
        ..Row::READ
    },
    Row {
        name: "releases.current",
        sound,
        fork: "answered by the fork, exact once they are copied",
        ..Row::READ
    },
    Row {
        name: "releases.definition",
        sound,
        verb: "read-config",
        fork: "answered by the fork, exact once they are copied",
        ..Row::READ
    },
    Row {
        name: "releases.create",
        sound,
        verb: "create",
        idempotent: false,
        in_doubt: "a release newer than the newest before the intent, of the same image and strategy; if there is none it is sent again",
        undo: Some("releases.set-status"),
        creates: Some("/id"),
        ..Row::WRITE
    },
    Row {
        name: "releases.set-status",
        sound,
        verb: "status",
        in_doubt: "the status",
        ..Row::WRITE
    },
];

fn row(operation: &str) -> &'static Row {
    Row::named(&ROWS, operation)
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Releases;

impl Capability for Releases {
    fn name(&self) -> &'static str {
        "releases"
    }

    fn interface(&self) -> &'static str {
        "groundcrew:host/releases@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[APPS]
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.operation::<(String, u32), Vec<Release>>("list", |(app, limit)| {
            let request = Request::new(row("list")).in_app(app);
            request.with(limit.clamp(1, MOST).into())
        })?;
        linking.operation::<(String,), Release>("current", |(app,)| {
            Request::new(row("current")).in_app(app)
        })?;
        linking.operation::<(String, String), Option<String>>("definition", |(app, id)| {
            Request::new(row("definition")).on(app, id)
        })?;
        linking.operation::<(String, NewRelease), Release>("create", |(app, release)| {
            let request = Request::new(row("create")).in_app(app);
            request.with(arguments(&release))
        })?;
        linking.operation::<(String, String, Status), ()>("set-status", |(app, id, status)| {
            let request = Request::new(row("set-status")).on(app, id);
            request.with(arguments(&status))
        })
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Executing {
            fly: Fly::of(setting)?,
            retries: Retries::live(setting),
            service: LazyService::new(setting, RELEASES_API, crate::fly::refusals::refusal),
            copied: Mutex::default(),
            marks: Marks::default(),
        }))
    }
}

struct Executing {
    fly: Arc<Fly>,
    retries: Retries,
    service: LazyService,
    /// The apps whose releases a fork has.
    copied: Mutex<BTreeSet<String>>,
    marks: Marks,
}

impl Executing {
    /// As plugins see it in a list.
    fn release(&self, shown: Shown) -> Release {
        release(Shown {
            definition: self.marks.without_values(shown.definition),
            ..shown
        })
    }

    /// The newest releases on the target itself, newest first.
    async fn on_target(
        &self,
        effect: &EffectId,
        app: App<'_>,
        limit: u32,
    ) -> Result<Vec<Shown>, Trouble> {
        let path = [API, V1, Name::fixed("apps"), app.name(), RELEASES];
        let service = self.service.get()?;
        let request = service.request(Method::GET, &path, effect)?;
        let request = request.query(&[("limit", limit)]);
        let listed: ReleaseList = service.read(request, ANSWER_BYTES).await?;
        Ok(listed.releases)
    }

    /// Asks the fork, which has the app's releases from the first time on.
    async fn on_fork<T>(
        &self,
        effect: &EffectId,
        app: App<'_>,
        act: impl FnOnce(&mut Fleet, &Caller<'_>) -> Result<T, groundcrew_fleet::api::ApiError> + Send,
    ) -> Option<Result<T, Trouble>> {
        let fork = self.fly.fork.as_ref()?;
        let copy = async {
            let mut copied = self.copied.lock().await;
            if !copied.contains(app.text()) {
                let releases = self.on_target(effect, app, MOST).await?;
                let adopt = |fleet: &mut Fleet, _: &Caller<'_>| {
                    fleet.adopt_releases(app.text(), releases);
                    Ok(())
                };
                fork.in_app(effect, app.text(), adopt).await?;
                copied.insert(app.text().to_owned());
            }
            Ok(())
        };
        Some(match copy.await {
            Ok(()) => fork.in_app(effect, app.text(), act).await,
            Err(trouble) => Err(trouble),
        })
    }

    async fn newest(
        &self,
        effect: &Effect,
        app: App<'_>,
        limit: u32,
    ) -> Result<Vec<Shown>, Trouble> {
        let newest =
            |fleet: &mut Fleet, _: &Caller<'_>| fleet.releases(app.text(), Some(limit as usize));
        match self.on_fork(&effect.id, app, newest).await {
            Some(answer) => answer,
            None => self.on_target(&effect.id, app, limit).await,
        }
    }

    async fn list(
        &self,
        effect: &Effect,
        app: App<'_>,
        limit: u32,
    ) -> Result<Vec<Release>, Trouble> {
        let newest = self.newest(effect, app, limit).await?.into_iter();
        Ok(newest.map(|shown| self.release(shown)).collect())
    }

    /// What a release was deployed with, as it is.
    async fn definition(&self, effect: &Effect, app: App<'_>) -> Result<Option<String>, Trouble> {
        let id = effect.request.subject.as_deref().unwrap_or_default();
        let id = Name::of("a release's id", id);
        let id = id.map_err(|why| Trouble::refused(Failure::Invalid(why)))?;
        let mut all = self.newest(effect, app, MOST).await?.into_iter();
        let found = all.find(|shown| shown.id == id.text()).ok_or_else(|| {
            let why = format!("release `{id}` of `{app}` is not among the newest {MOST}");
            Trouble::refused(Failure::NotFound(why))
        })?;
        Ok(release(found).definition)
    }

    async fn current(&self, effect: &Effect, app: App<'_>) -> Result<Release, Trouble> {
        let current = |fleet: &mut Fleet, _: &Caller<'_>| fleet.release_current(app.text());
        if let Some(answer) = self.on_fork(&effect.id, app, current).await {
            return Ok(self.release(answer?));
        }
        let path = [
            API,
            V1,
            Name::fixed("apps"),
            app.name(),
            RELEASES,
            Name::fixed("current"),
        ];
        let service = self.service.get()?;
        let request = service.request(Method::GET, &path, &effect.id)?;
        Ok(self.release(service.read(request, ANSWER_BYTES).await?))
    }

    async fn create(
        &self,
        effect: &Effect,
        app: App<'_>,
        new: &NewRelease,
    ) -> Result<Outcome, Trouble> {
        let asked = Asked {
            app_name: app.text().to_owned(),
            strategy: new.strategy.clone(),
            image: new.image.clone(),
            definition: definition(new)?,
            ..Asked::default()
        };
        let make = |fleet: &mut Fleet, by: &Caller<'_>| fleet.release_create(by, &asked);
        if let Some(answer) = self.on_fork(&effect.id, app, make).await {
            return Ok(Outcome::ok(&self.release(answer?)));
        }
        let service = self.service.get()?;
        let path = [API, V1, RELEASES];
        let request = service.request(Method::POST, &path, &effect.id)?;
        let made: ReleaseEnvelope = service.read(request.json(&asked), ANSWER_BYTES).await?;
        Ok(Outcome::ok(&self.release(made.release)))
    }

    async fn set_status(
        &self,
        effect: &Effect,
        app: App<'_>,
        id: Name<'_>,
        status: Status,
    ) -> Result<Outcome, Trouble> {
        let patch = ReleasePatch {
            status: word(status).to_owned(),
            ..ReleasePatch::default()
        };
        let set = |fleet: &mut Fleet, by: &Caller<'_>| {
            fleet.release_update(by, id.text(), &patch).map(drop)
        };
        // A release is named without its app, and the grant speaks of apps.
        let of_app = self.list(effect, app, MOST).await?;
        if !of_app.iter().any(|release| release.id == id.text()) {
            let text = format!("`{id}` is none of the {MOST} newest releases of `{app}`");
            return Err(Trouble::refused(Failure::NotFound(text)));
        }
        if let Some(answer) = self.on_fork(&effect.id, app, set).await {
            answer?;
            return Ok(Outcome::ok(&()));
        }
        let service = self.service.get()?;
        let path = [API, V1, RELEASES, id];
        let request = service.request(Method::PATCH, &path, &effect.id)?;
        service.send(request.json(&patch)).await?;
        Ok(Outcome::ok(&()))
    }

    /// Whether a write that nobody confirmed happened, by the rule of its row.
    async fn found(&self, effect: &Effect) -> Found {
        let request = &effect.request;
        let app = match App::of(request) {
            Ok(app) => app,
            Err(failure) => return Found::Unknown(failure.to_string()),
        };
        let newest = self.retries.read(effect, || self.list(effect, app, MOST));
        let releases = match newest.await {
            Ok(releases) => releases,
            Err(failure) => return Found::Unknown(format!("its app's releases: {failure}")),
        };
        if request.row.operation() == "create" {
            let before = effect
                .baseline
                .as_ref()
                .and_then(Value::as_u64)
                .unwrap_or(0);
            let Ok(new) = request.arguments::<NewRelease>() else {
                return Found::DidNot;
            };
            // The newest last: a later one of the same kind is somebody else's.
            let mut newer = releases.into_iter().rev();
            let ours = newer.find(|release| {
                u64::from(release.version) > before
                    && release.image == new.image
                    && release.strategy == new.strategy
            });
            return ours.map_or(Found::DidNot, |ours| Found::Happened(Outcome::ok(&ours)));
        }
        let wanted = request.arguments::<Status>().map(word).unwrap_or_default();
        let id = request.subject.as_deref().unwrap_or_default();
        match releases.iter().find(|release| release.id == id) {
            Some(release) if release.status == wanted => Found::Happened(Outcome::ok(&())),
            Some(_) | None => Found::DidNot,
        }
    }
}

fn definition(new: &NewRelease) -> Result<Value, Trouble> {
    let parsed = new.definition.as_deref().map(serde_json::from_str);
    let wrong = |e| Failure::Invalid(format!("the release's definition is no JSON: {e}"));
    let parsed: Option<Value> = parsed
        .transpose()
        .map_err(wrong)
        .map_err(Trouble::refused)?;
    Ok(parsed.unwrap_or_else(|| json!({})))
}

fn release(shown: Shown) -> Release {
    let defined = shown
        .definition
        .as_object()
        .is_some_and(|it| !it.is_empty());
    Release {
        id: shown.id,
        version: u32::try_from(shown.version).unwrap_or(u32::MAX),
        status: shown.status,
        strategy: shown.strategy,
        image: shown.image_ref,
        user: shown.user,
        created_at: shown.created_at,
        in_progress: shown.in_progress,
        definition: defined.then(|| shown.definition.to_string()),
    }
}

impl Executor for Executing {
    fn prepares(&self, row: &Row) -> bool {
        row.operation() == "create"
    }

    /// The newest release's version.
    fn prepare<'a>(&'a self, effect: &'a Effect) -> BoxFuture<'a, Result<Option<Value>, Failure>> {
        Box::pin(async move {
            let app = App::of(&effect.request)?;
            let newest = || self.list(effect, app, 1);
            let newest = self.retries.read(effect, newest).await?;
            let version = newest.first().map_or(0, |release| release.version);
            Ok(Some(version.into()))
        })
    }

    fn find_out<'a>(
        &'a self,
        effect: &'a Effect,
        _age: std::time::Duration,
    ) -> BoxFuture<'a, Found> {
        Box::pin(self.found(effect))
    }

    fn happened(&self, effect: &Effect) -> Outcome {
        match effect.request.row.operation() {
            "create" => {
                let text = "it happened, and its answer is lost: look at the app's releases";
                Failure::other("answer-lost", text).into()
            }
            _ => Outcome::ok(&()),
        }
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let effect = &effect;
            let request = &effect.request;
            let app = match App::of(request) {
                Ok(app) => app,
                Err(failure) => return failure.into(),
            };
            let find_out = || self.found(effect);
            match request.row.operation() {
                "list" => match request.arguments::<u32>() {
                    Ok(limit) => {
                        let list = || self.list(effect, app, limit);
                        self.retries.read(effect, list).await.into()
                    }
                    Err(failure) => failure.into(),
                },
                "current" => {
                    let current = || self.current(effect, app);
                    self.retries.read(effect, current).await.into()
                }
                "definition" => {
                    let definition = || self.definition(effect, app);
                    self.retries.read(effect, definition).await.into()
                }
                "create" => match request.arguments::<NewRelease>() {
                    Ok(new) => {
                        let send = || self.create(effect, app, &new);
                        self.retries.write(effect, send, find_out).await
                    }
                    Err(failure) => failure.into(),
                },
                "set-status" => match request.arguments::<Status>() {
                    Ok(status) => {
                        let id = request.subject.as_deref().unwrap_or_default();
                        let id = match Name::of("a release's id", id) {
                            Ok(id) => id,
                            Err(why) => return Failure::Invalid(why).into(),
                        };
                        let send = || self.set_status(effect, app, id, status);
                        self.retries.write(effect, send, find_out).await
                    }
                    Err(failure) => failure.into(),
                },
                _ => request.row.unperformed().into(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_row() {
        for name in ["list", "current", "definition", "create", "set-status"] {
            assert_eq!(row(name).name, format!("releases.{name}"));
        }
        assert_eq!(ROWS.len(), 5);
    }
}
