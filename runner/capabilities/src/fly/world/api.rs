//! What the capability `machines` needs of a world: few requests, each sent once. `live.rs`
//! answers them from Fly, `fork.rs` from a model. What to do when an answer is missing or bad is
//! decided in `machines/executor.rs`, for both alike.

use std::time::Duration;

use groundcrew::service::trouble::Trouble;
use groundcrew::{BoxFuture, Effect, EffectId, Failure};
use groundcrew_fleet::api::{
    ApiError, CreateRequest, Event, ExecResponse, Lease, Machine, MachineVersion, OrgMachine,
    UpdateRequest, WaitQuery, WaitResponse,
};
use groundcrew_fleet::{Caller, Fleet};
use reqwest::Method;
use serde_json::Value;

use crate::fly::contract::ExecOptions;
use crate::fly::names::{App, MachineId};

/// A write on one Machine whose answer says nothing, as either world takes it.
pub(crate) struct Command {
    /// What is asked of Fly.
    pub(crate) asked: Asked,
    /// What it does to a model: by whom, on which app's which Machine.
    pub(crate) act: Box<Act>,
}

/// See [`Command`].
pub(crate) type Act =
    dyn Fn(&mut Fleet, &Caller<'_>, &str, &str) -> Result<(), ApiError> + Send + Sync;

/// A request about one Machine.
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// What stands behind the Machine's own path; empty if nothing does.
    pub(crate) path: &'static str,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    /// Reads an answer of 200 that says no all the same.
    pub(crate) says_no: Option<SaysNo>,
}

/// Why an answer that looks like a yes is none.
pub(crate) type SaysNo = fn(&[u8]) -> Option<Failure>;

impl Asked {
    /// Of the Machine itself.
    pub(crate) fn itself(method: Method) -> Self {
        Self {
            method,
            path: "",
            query: Vec::new(),
            body: None,
            says_no: None,
        }
    }

    /// Of what is below it.
    pub(crate) fn below(method: Method, path: &'static str) -> Self {
        Self {
            path,
            ..Self::itself(method)
        }
    }
}

/// Every Machine of the organisation, and the regions that did not answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Everything {
    pub(crate) machines: Vec<OrgMachine>,
    pub(crate) missing_regions: Vec<String>,
}

/// One Machine, for whose sake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) effect: &'a EffectId,
    pub(crate) app: App<'a>,
    pub(crate) id: MachineId<'a>,
}

impl<'a> At<'a> {
    /// The Machine that an effect is about.
    ///
    /// # Errors
    /// `invalid`, if it names none.
    pub(crate) fn of(effect: &'a Effect) -> Result<Self, Failure> {
        let request = &effect.request;
        let id = request.subject.as_deref().unwrap_or_default();
        Self::new(&effect.id, request.app.as_deref().unwrap_or_default(), id)
    }

    /// A Machine by its names.
    ///
    /// # Errors
    /// `invalid`, if they are none.
    pub(crate) fn new(effect: &'a EffectId, app: &'a str, id: &'a str) -> Result<Self, Failure> {
        let app = App::read(app).map_err(Failure::Invalid)?;
        let id = MachineId::read(id).map_err(Failure::Invalid)?;
        Ok(Self { effect, app, id })
    }
}

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// The metadata key that names the effect which made a Machine or updated it last.
pub(crate) const EFFECT: &str = "groundcrew_effect";

/// Which Machines of an app.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// All that are there.
    There,
    /// What has the metadata key `groundcrew_effect` with this effect, also if it is gone since.
    MadeBy(&'a EffectId),
}

/// Takes the Machines of a listing.
pub(crate) type Each<'e> = dyn Fn(Machine) + Send + Sync + 'e;

/// See the module.
pub(crate) trait Api: Send + Sync + 'static {
    /// Machines of an app, handed over one by one. When it fails some may have been.
    fn list<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        which: Which<'a>,
        each: &'a Each<'a>,
    ) -> Answer<'a, ()>;
    fn list_organisation<'a>(&'a self, effect: &'a EffectId) -> Answer<'a, Everything>;
    fn get<'a>(&'a self, at: At<'a>) -> Answer<'a, Machine>;
    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>>;
    fn command<'a>(
        &'a self,
        at: At<'a>,
        command: Command,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ()>;
    fn versions<'a>(&'a self, at: At<'a>) -> Answer<'a, Vec<MachineVersion>>;
    fn update<'a>(
        &'a self,
        at: At<'a>,
        request: &'a UpdateRequest,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Machine>;
    fn create<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        request: &'a CreateRequest,
    ) -> Answer<'a, Machine>;
    fn exec<'a>(
        &'a self,
        at: At<'a>,
        options: &'a ExecOptions,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ExecResponse>;
    /// None: the time is up.
    fn wait<'a>(
        &'a self,
        at: At<'a>,
        query: &'a WaitQuery,
        timeout: Duration,
    ) -> Answer<'a, Option<WaitResponse>>;
    /// Acquires, or with a nonce refreshes.
    fn lease<'a>(
        &'a self,
        at: At<'a>,
        ttl: Duration,
        description: &'a str,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Lease>;
    fn held_lease<'a>(&'a self, at: At<'a>) -> Answer<'a, Option<Lease>>;
    fn release<'a>(&'a self, at: At<'a>, nonce: &'a str) -> Answer<'a, ()>;
}
