//! The capability `apps`: Fly apps, and whether there is room for their Machines.
//!
//! On a fork an app is what was copied of it: its Machines are the model's, and one that was deleted
//! is gone. Whether there is room only Fly knows; what the rehearsal has made or destroyed meanwhile
//! is taken into account.

use std::sync::Arc;

use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::Trouble;
use groundcrew::{
    BoxFuture, Capability, Effect, Executor, Failure, Found, Linking, Name, Outcome, Request, Row,
    Scope, Setting, arguments,
};
use groundcrew_fleet::api::{App as Shown, AppList, PlacementRequest, Placements};
use groundcrew_fleet::{Caller, Fleet};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::fly::names::{self, App as AppName};
use crate::fly::scopes::APPS;
use crate::fly::world::Fly;

/// No answer may be larger. An app takes about 400 bytes.
const ANSWER_BYTES: usize = 16 << 20;

const V1: Name<'_> = Name::fixed("v1");

const APPS_PATH: [Name<'_>; 2] = [V1, Name::fixed("apps")];

/// The rows of the operations table.
static ROWS: [Row; 4] = [
    Row {
        name: "apps.list",
        fork: "answered by the target, overlaid with the apps that are copied",
        ..Row::READ
    },
    Row {
        name: "apps.get",
        sound: names::app,
        fork: "answered by the target; its Machines are the fork's",
        ..Row::READ
    },
    Row {
        name: "apps.capacity",
        sound: capacity,
        verb: "capacity",
        fork: "answered by the target, less what the fork has made",
        assumes: "nobody else takes the room",
        ..Row::READ
    },
    Row {
        name: "apps.delete",
        sound: names::app,
        verb: "delete",
        in_doubt: "sent again; an app that is gone is deleted",
        ..Row::WRITE
    },
];

/// What a question for room names.
fn capacity(request: &Request) -> Result<(), String> {
    names::app(request)?;
    let query: CapacityQuery = request.arguments().map_err(|f| f.to_string())?;
    if let Some(like) = &query.like {
        names::MachineId::read(like)?;
    }
    names::regions(&query.regions)
}

fn row(operation: &str) -> &'static Row {
    Row::named(&ROWS, operation)
}

/// `apps.app`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) organisation: String,
    pub(crate) status: String,
    pub(crate) machines: u32,
    pub(crate) volumes: u32,
}

/// `apps.capacity-query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct CapacityQuery {
    pub(crate) like: Option<String>,
    pub(crate) regions: Vec<String>,
    pub(crate) count: u32,
}

/// `apps.room`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Room {
    pub(crate) region: String,
    pub(crate) machines: u32,
    #[component(name = "at-once")]
    pub(crate) at_once: u32,
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Apps;

impl Capability for Apps {
    fn name(&self) -> &'static str {
        "apps"
    }

    fn interface(&self) -> &'static str {
        "groundcrew:host/apps@0.1.0"
    }

    fn operations(&self) -> &'static [Row] {
        &ROWS
    }

    fn scopes(&self) -> &'static [Scope] {
        &[APPS]
    }

    fn link(&self, linking: &mut Linking<'_>) -> wasmtime::Result<()> {
        linking.operation::<(), Vec<App>>("list", |()| Request::new(row("list")))?;
        linking
            .operation::<(String,), App>("get", |(app,)| Request::new(row("get")).in_app(app))?;
        linking.operation::<(String, CapacityQuery), Vec<Room>>("capacity", |(app, query)| {
            let request = Request::new(row("capacity")).in_app(app);
            request.with(arguments(&query))
        })?;
        linking.operation::<(String, bool), ()>("delete", |(app, force)| {
            Request::new(row("delete")).in_app(app).with(force.into())
        })
    }

    fn executor(&self, setting: &Setting) -> Result<Arc<dyn Executor>, String> {
        Ok(Arc::new(Executing {
            fly: Fly::of(setting)?,
            retries: Retries::live(setting),
            organisation: setting.target.organisation.clone(),
        }))
    }
}

struct Executing {
    fly: Arc<Fly>,
    retries: Retries,
    organisation: Option<String>,
}

impl Executing {
    fn organisation(&self) -> Result<&str, Trouble> {
        let missing = || Failure::Invalid("the target names no organisation".to_owned());
        let organisation = self.organisation.as_deref();
        organisation.ok_or_else(|| Trouble::refused(missing()))
    }

    /// The apps that the grant covers, and how many more there are.
    async fn list(&self, effect: &Effect) -> Result<(Vec<App>, usize), Trouble> {
        let service = self.fly.service();
        let request = service.request(Method::GET, &APPS_PATH, &effect.id)?;
        let request = request.query(&[("org_slug", self.organisation()?)]);
        let listed: AppList = service.read(request, ANSWER_BYTES).await?;
        let mut apps = Vec::with_capacity(listed.apps.len());
        let mut left_out = 0;
        for shown in listed.apps {
            if !effect.cover.has(APPS.one, &shown.name) {
                left_out += 1;
                continue;
            }
            let copied = match &self.fly.fork {
                Some(fork) => fork.of_app(&shown.name).await,
                None => None,
            };
            match copied {
                // Deleted on the fork.
                Some(None) => {}
                Some(Some(copied)) => apps.push(app(shown, Some(copied.machine_count))),
                None => apps.push(app(shown, None)),
            }
        }
        Ok((apps, left_out))
    }

    async fn get(&self, effect: &Effect, name: AppName<'_>) -> Result<App, Trouble> {
        let machines = match &self.fly.fork {
            Some(fork) => {
                let count = |fleet: &mut Fleet, _: &Caller<'_>| fleet.get_app(name.text());
                let app = fork.in_app(&effect.id, name.text(), count).await?;
                Some(app.machine_count)
            }
            None => None,
        };
        let service = self.fly.service();
        let request = service.request(Method::GET, &[V1, APPS_PATH[1], name.name()], &effect.id)?;
        let shown: Shown = service.read(request, ANSWER_BYTES).await?;
        if shown.name != name.text() {
            return Err(Trouble {
                transient: true,
                ..Trouble::refused(Failure::Unavailable(format!(
                    "the answer is about the app `{}`, and `{name}` was asked for",
                    shown.name
                )))
            });
        }
        Ok(app(shown, machines))
    }

    async fn capacity(
        &self,
        effect: &Effect,
        name: AppName<'_>,
        query: &CapacityQuery,
    ) -> Result<Vec<Room>, Trouble> {
        let compute = match &query.like {
            Some(id) => {
                let config = self.fly.config(&effect.id, name.text(), id).await?;
                config.get("guest").cloned().unwrap_or_default()
            }
            None => Value::Null,
        };
        let asked = PlacementRequest {
            org_slug: self.organisation()?.to_owned(),
            region: query.regions.join(","),
            count: query.count.into(),
            compute,
            ..PlacementRequest::default()
        };
        let service = self.fly.service();
        let path = ["v1", "platform", "placements"].map(Name::fixed);
        let request = service.request(Method::POST, &path, &effect.id)?;
        let placed: Placements = service.read(request.json(&asked), ANSWER_BYTES).await?;
        let rooms = placed.regions.into_iter().map(|placed| {
            let more = self.fly.fork.as_ref();
            let more = more.map_or(0, |fork| fork.more_in(&placed.region));
            let room = i64::try_from(placed.count).unwrap_or(i64::MAX);
            Room {
                machines: u32::try_from(room.saturating_sub(more.max(0)).max(0))
                    .unwrap_or(u32::MAX),
                at_once: u32::try_from(placed.concurrency).unwrap_or(u32::MAX),
                region: placed.region,
            }
        });
        Ok(rooms.collect())
    }

    async fn delete(
        &self,
        effect: &Effect,
        name: AppName<'_>,
        force: bool,
    ) -> Result<Outcome, Trouble> {
        let gone = match &self.fly.fork {
            Some(fork) => {
                let delete =
                    |fleet: &mut Fleet, by: &Caller<'_>| fleet.delete_app(by, name.text(), force);
                fork.in_app(&effect.id, name.text(), delete).await
            }
            None => {
                let service = self.fly.service();
                let request = service.request(
                    Method::DELETE,
                    &[V1, APPS_PATH[1], name.name()],
                    &effect.id,
                )?;
                let request = match force {
                    true => request.query(&[("force", "true")]),
                    false => request,
                };
                service.send(request).await.map(drop)
            }
        };
        match gone {
            Err(trouble) if !matches!(trouble.failure, Failure::NotFound(_)) => Err(trouble),
            Ok(()) | Err(_) => Ok(Outcome::ok(&())),
        }
    }
}

fn app(shown: Shown, machines: Option<u64>) -> App {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    App {
        name: shown.name,
        organisation: shown.organization.slug,
        status: shown.status,
        machines: number(machines.unwrap_or(shown.machine_count)),
        volumes: number(shown.volume_count),
    }
}

impl Executor for Executing {
    fn perform(&self, effect: Effect) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let effect = &effect;
            let request = &effect.request;
            if request.row.operation() == "list" {
                return match self.retries.read(effect, || self.list(effect)).await {
                    Ok((apps, left_out)) => Outcome {
                        left_out,
                        ..Outcome::ok(&apps)
                    },
                    Err(failure) => failure.into(),
                };
            }
            let name = match AppName::of(request) {
                Ok(name) => name,
                Err(failure) => return failure.into(),
            };
            match request.row.operation() {
                "get" => {
                    let get = || self.get(effect, name);
                    self.retries.read(effect, get).await.into()
                }
                "capacity" => match request.arguments::<CapacityQuery>() {
                    Ok(query) => {
                        let ask = || self.capacity(effect, name, &query);
                        self.retries.read(effect, ask).await.into()
                    }
                    Err(failure) => failure.into(),
                },
                "delete" => match request.arguments::<bool>() {
                    Ok(force) => {
                        let send = || self.delete(effect, name, force);
                        let find_out = async || Found::DidNot;
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
        for name in ["list", "get", "capacity", "delete"] {
            assert_eq!(row(name).name, format!("apps.{name}"));
        }
        assert_eq!(ROWS.len(), 4);
    }
}
