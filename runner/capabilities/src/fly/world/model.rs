//! A fork as a world: what Fly's API answers, out of the model.

use std::time::Duration;

use groundcrew::service::trouble::Trouble;
use groundcrew::{EffectId, Failure, millis};
use groundcrew_fleet::api::{
    self, CreateRequest, Event, ExecRequest, ExecResponse, Lease, LeaseRequest, ListQuery, Machine,
    MachineVersion, UpdateRequest, WaitQuery, WaitResponse,
};
use groundcrew_fleet::{Caller, Fleet, Time};

use super::fork::{Fork, refused};
use crate::fly::contract::ExecOptions;
use crate::fly::names::App;
use crate::fly::world::api::{Answer, Api, At, Command, EFFECT, Each, Everything, Which};

/// Leases in the model last this long: nobody refreshes them.
const LEASE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a wait looks when the model knows of nothing to come.
const LOOK: Duration = Duration::from_secs(5);

impl Api for Fork {
    fn list<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        which: Which<'a>,
        each: &'a Each<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            self.touch(effect, app.text()).await?;
            let query = match which {
                Which::There => ListQuery::default(),
                Which::MadeBy(effect) => ListQuery {
                    include_deleted: true,
                    metadata: [(EFFECT.to_owned(), effect.to_string())].into(),
                    ..ListQuery::default()
                },
            };
            let listed = self.model().list(app.text(), &query);
            listed.map_err(|e| refused(&e))?.into_iter().for_each(each);
            Ok(())
        })
    }

    fn list_organisation<'a>(&'a self, effect: &'a EffectId) -> Answer<'a, Everything> {
        Box::pin(async move {
            let mut all = self.organisation(effect).await?;
            let copied = self.copied.lock().await;
            let model = self.model();
            all.machines
                .retain(|machine| !copied.contains(&machine.app_name));
            for app in copied.iter() {
                for machine in model
                    .list(app, &ListQuery::default())
                    .map_err(|e| refused(&e))?
                {
                    all.machines.push(api::OrgMachine {
                        app_name: app.clone(),
                        id: machine.id,
                        name: machine.name,
                        instance_id: machine.instance_id,
                        version: machine.version,
                        private_ip: machine.private_ip,
                        region: machine.region,
                        state: machine.state,
                        created_at: machine.created_at,
                        updated_at: machine.updated_at,
                        config: machine.config,
                    });
                }
            }
            Ok(all)
        })
    }

    fn get<'a>(&'a self, at: At<'a>) -> Answer<'a, Machine> {
        Box::pin(self.on(at, None, move |fleet, _| {
            fleet.get(at.app.text(), at.id.text())
        }))
    }

    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>> {
        Box::pin(self.on(at, None, move |fleet, _| {
            fleet.events(at.app.text(), at.id.text(), Some(limit as usize))
        }))
    }

    fn command<'a>(
        &'a self,
        at: At<'a>,
        command: Command,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ()> {
        let act = self.on(at, nonce, move |fleet, caller| {
            (command.act)(fleet, caller, at.app.text(), at.id.text())
        });
        Box::pin(act)
    }

    fn versions<'a>(&'a self, at: At<'a>) -> Answer<'a, Vec<MachineVersion>> {
        Box::pin(self.on(at, None, move |fleet, _| {
            fleet.versions(at.app.text(), at.id.text())
        }))
    }

    fn update<'a>(
        &'a self,
        at: At<'a>,
        request: &'a UpdateRequest,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Machine> {
        Box::pin(self.on(at, nonce, move |fleet, caller| {
            fleet.update(caller, at.app.text(), at.id.text(), request)
        }))
    }

    fn create<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        request: &'a CreateRequest,
    ) -> Answer<'a, Machine> {
        Box::pin(async move {
            let create =
                move |fleet: &mut Fleet, by: &Caller<'_>| fleet.create(by, app.text(), request);
            let made = self.in_app(effect, app.text(), create).await?;
            self.count(app.text());
            Ok(made)
        })
    }

    fn exec<'a>(
        &'a self,
        at: At<'a>,
        options: &'a ExecOptions,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ExecResponse> {
        Box::pin(self.on(at, nonce, move |fleet, caller| {
            let request = ExecRequest {
                command: options.command.clone(),
                ..ExecRequest::default()
            };
            // Whether it can be run is the model's to say; what it says is assumed.
            fleet.exec(caller, at.app.text(), at.id.text(), &request)?;
            Ok(ExecResponse::default())
        }))
    }

    fn wait<'a>(
        &'a self,
        at: At<'a>,
        query: &'a WaitQuery,
        timeout: Duration,
    ) -> Answer<'a, Option<WaitResponse>> {
        Box::pin(async move {
            self.touch(at.effect, at.app.text()).await?;
            let until = millis(self.clock.now())
                .saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            loop {
                let (answer, next) = {
                    let model = self.model();
                    (
                        model.wait_poll(at.app.text(), at.id.text(), query),
                        model.next_change(at.app.text(), at.id.text()),
                    )
                };
                if let Some(reached) = answer.map_err(|e| refused(&e))? {
                    return Ok(Some(reached));
                }
                let now = millis(self.clock.now());
                if now >= until {
                    return Ok(None);
                }
                let next = next
                    .map_or(until, Time::as_millis)
                    .min(until)
                    .min(now.saturating_add(u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX)));
                self.clock
                    .sleep(Duration::from_millis(next.saturating_sub(now).max(1)))
                    .await;
            }
        })
    }

    fn lease<'a>(
        &'a self,
        at: At<'a>,
        _ttl: Duration,
        description: &'a str,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Lease> {
        let request = LeaseRequest {
            ttl: Some(LEASE_TTL.as_secs()),
            description: Some(description.to_owned()),
        };
        Box::pin(self.on(at, nonce, move |fleet, caller| {
            fleet.lease_acquire(caller, at.app.text(), at.id.text(), &request)
        }))
    }

    fn held_lease<'a>(&'a self, at: At<'a>) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            match self
                .on(at, None, move |fleet, _| {
                    fleet.lease_get(at.app.text(), at.id.text())
                })
                .await
            {
                Ok(lease) => Ok(Some(lease)),
                Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(None),
                Err(trouble) => Err(trouble),
            }
        })
    }

    fn release<'a>(&'a self, at: At<'a>, nonce: &'a str) -> Answer<'a, ()> {
        Box::pin(self.on(at, Some(nonce), move |fleet, caller| {
            fleet
                .lease_release(caller, at.app.text(), at.id.text())
                .map(drop)
        }))
    }
}
