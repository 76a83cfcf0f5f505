//! The Machines API over HTTP. One request in, one answer out; no retries here.
//!
//! Facts: Fly's OpenAPI document and documentation, and flyctl's and fly-go's sources for what the
//! document leaves out.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use groundcrew::json;
use groundcrew::service::trouble::Trouble;
use groundcrew::service::{Service, body, unreadable};
use groundcrew::{Deadline, EffectId, Failure, Name, Scale, Target, WRITE};
use groundcrew_fleet::api::{
    CreateRequest, Event, ExecResponse, Lease, LeaseEnvelope, LeaseRequest, Machine,
    MachineVersion, OrgMachines, UpdateRequest, WaitQuery, WaitResponse,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::json;

use super::api::{Answer, Api, Asked, At, Command, Each, Everything, Which};
use crate::fly::contract::ExecOptions;
use crate::fly::names::{App, MachineId};
use crate::fly::refusals::refusal;
use crate::fly::target::MACHINES_API;
use crate::fly::world::api::EFFECT;

/// Carries a lease's nonce. (OpenAPI document.)
const NONCE_HEADER: &str = "fly-machine-lease-nonce";

/// A long poll may be answered this much later than it asked.
const LONG_POLL_SLACK: Duration = Duration::from_secs(10);

/// The longest wait that Fly accepts: above it answers 400.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// No answer may be larger. A listing of 10,000 Machines has about 40 MB.
const ANSWER_BYTES: usize = 128 << 20;

/// How many Machines of the organisation to ask for at once. (Documented maximum.)
const ORGANISATION_PAGE: usize = 1000;

/// How many pages of an organisation are read before we call it endless.
const ORGANISATION_PAGES: usize = 1000;

const V1: Name<'_> = Name::fixed("v1");
const APPS: Name<'_> = Name::fixed("apps");
const MACHINES: Name<'_> = Name::fixed("machines");

pub(crate) struct Live {
    pub(crate) service: Service,
    organisation: Option<String>,
    scale: Scale,
}

impl Live {
    pub(crate) fn new(target: &Target, deadline: Deadline) -> Result<Self, String> {
        Ok(Self {
            service: Service::new(target.place(MACHINES_API)?, deadline, refusal)?,
            organisation: target.organisation.clone(),
            scale: target.time_scale,
        })
    }

    fn request(
        &self,
        method: Method,
        path: &[Name<'_>],
        effect: &EffectId,
    ) -> Result<RequestBuilder, Trouble> {
        let path = [&[V1], path].concat();
        self.service.request(method, &path, effect)
    }

    fn machine(
        &self,
        method: Method,
        at: At<'_>,
        rest: &'static str,
    ) -> Result<RequestBuilder, Trouble> {
        let path = [
            APPS,
            at.app.name(),
            MACHINES,
            at.id.name(),
            Name::fixed(rest),
        ];
        let whole = if rest.is_empty() { 4 } else { 5 };
        self.request(method, &path[..whole], at.effect)
    }
}

impl Live {
    /// The request for a command.
    fn asked(&self, at: At<'_>, asked: &Asked) -> Result<RequestBuilder, Trouble> {
        let mut request = self.machine(asked.method.clone(), at, asked.path)?;
        if !asked.query.is_empty() {
            request = request.query(&asked.query);
        }
        if let Some(body) = &asked.body {
            request = request.json(body);
        }
        Ok(request)
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Trouble> {
        self.service.read(request, ANSWER_BYTES).await
    }
}

/// Reads a list of Machines one by one: thousands of them with their configurations are large, and
/// nobody needs them all at once.
struct OneByOne<'a>(&'a Each<'a>);

impl<'de> DeserializeSeed<'de> for OneByOne<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for OneByOne<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Machines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        // One that is listed twice would be counted, and written to, twice.
        let mut seen = HashSet::new();
        while let Some(machine) = list.next_element::<Machine>()? {
            let id = MachineId::read(&machine.id).map_err(serde::de::Error::custom)?;
            if !seen.insert(id.text().to_owned()) {
                let twice = format!("Machine `{id}` is listed twice");
                return Err(serde::de::Error::custom(twice));
            }
            (self.0)(machine);
        }
        Ok(())
    }
}

/// An answer that is about something else than what was asked. What became of the request is not known.
fn other(why: &str) -> Trouble {
    Trouble {
        failure: Failure::Unavailable(format!(
            "the answer is not what this service answers: {why}"
        )),
        may_have_happened: true,
        transient: true,
        retry_after: None,
    }
}

/// The Machine that was asked for, and no other.
fn itself(at: At<'_>, machine: Machine) -> Result<Machine, Trouble> {
    if machine.id == at.id.text() {
        return Ok(machine);
    }
    let asked = at.id;
    Err(other(&format!(
        "it is about Machine `{}`, and `{asked}` was asked for",
        machine.id
    )))
}

fn leased(request: RequestBuilder, nonce: Option<&str>) -> RequestBuilder {
    match nonce {
        Some(nonce) => request.header(NONCE_HEADER, nonce),
        None => request,
    }
}

impl Api for Live {
    fn list<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        which: Which<'a>,
        each: &'a Each<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let request = self.request(Method::GET, &[APPS, app.name(), MACHINES], effect)?;
            let request = match which {
                Which::There => request,
                Which::MadeBy(effect) => {
                    let with = format!("metadata.{EFFECT}");
                    let effect = effect.to_string();
                    request.query(&[("include_deleted", "true"), (&with, &effect)])
                }
            };
            let body = body(self.service.send(request).await?, ANSWER_BYTES).await?;
            json::shallow(&body).map_err(|e| unreadable(&e))?;
            let mut text = serde_json::Deserializer::from_slice(&body);
            OneByOne(each)
                .deserialize(&mut text)
                .and_then(|()| text.end())
                .map_err(|e| unreadable(&e))
        })
    }

    fn list_organisation<'a>(&'a self, effect: &'a EffectId) -> Answer<'a, Everything> {
        Box::pin(async move {
            let invalid = |why: String| Trouble::refused(Failure::Invalid(why));
            let organisation = self.organisation.as_deref();
            let organisation = organisation
                .ok_or_else(|| invalid("the target names no organisation".to_owned()))?;
            let organisation = Name::of("an organisation's name", organisation).map_err(invalid)?;
            let mut all = Everything::default();
            let mut seen = HashSet::new();
            let mut cursor = String::new();
            for _ in 0..ORGANISATION_PAGES {
                let path = [Name::fixed("orgs"), organisation, MACHINES];
                let mut request = self.request(Method::GET, &path, effect)?;
                request = request.query(&[("limit", ORGANISATION_PAGE.to_string())]);
                if !cursor.is_empty() {
                    request = request.query(&[("cursor", &cursor)]);
                }
                let page: OrgMachines = self.read(request).await?;
                for machine in &page.machines {
                    App::read(&machine.app_name).map_err(|why| other(&why))?;
                    let id = MachineId::read(&machine.id).map_err(|why| other(&why))?;
                    if !seen.insert(id.text().to_owned()) {
                        return Err(other(&format!("Machine `{id}` is listed twice")));
                    }
                }
                all.machines.extend(page.machines);
                all.missing_regions.extend(page.error_regions);
                // A page may be short or empty while more remain: only the cursor tells the end.
                if page.next_cursor.is_empty() || page.next_cursor == cursor {
                    all.missing_regions.sort();
                    all.missing_regions.dedup();
                    return Ok(all);
                }
                cursor = page.next_cursor;
            }
            Err(Trouble::refused(Failure::other(
                "endless",
                format!("the organisation's listing has no end after {ORGANISATION_PAGES} pages"),
            )))
        })
    }

    fn get<'a>(&'a self, at: At<'a>) -> Answer<'a, Machine> {
        Box::pin(async move {
            let machine = self.read(self.machine(Method::GET, at, "")?).await?;
            itself(at, machine)
        })
    }

    fn events<'a>(&'a self, at: At<'a>, limit: u32) -> Answer<'a, Vec<Event>> {
        Box::pin(async move {
            let request = self.machine(Method::GET, at, "events")?;
            self.read(request.query(&[("limit", limit)])).await
        })
    }

    fn command<'a>(
        &'a self,
        at: At<'a>,
        command: Command,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ()> {
        // Thousands wait for an answer at once: of the command they keep only how to read it.
        let (request, says_no) = (self.asked(at, &command.asked), command.asked.says_no);
        Box::pin(async move {
            let answer = self.service.send(leased(request?, nonce)).await?;
            if let Some(says_no) = says_no
                && let Some(failure) = says_no(&body(answer, ANSWER_BYTES).await?)
            {
                return Err(Trouble::refused(failure));
            }
            Ok(())
        })
    }

    fn versions<'a>(&'a self, at: At<'a>) -> Answer<'a, Vec<MachineVersion>> {
        Box::pin(async move {
            let request = self.machine(Method::GET, at, "versions")?;
            self.read(request).await
        })
    }

    fn update<'a>(
        &'a self,
        at: At<'a>,
        request: &'a UpdateRequest,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Machine> {
        Box::pin(async move {
            let sent = self.machine(Method::POST, at, "")?.json(request);
            itself(at, self.read(leased(sent, nonce)).await?)
        })
    }

    fn create<'a>(
        &'a self,
        effect: &'a EffectId,
        app: App<'a>,
        request: &'a CreateRequest,
    ) -> Answer<'a, Machine> {
        Box::pin(async move {
            let path = [APPS, app.name(), MACHINES];
            let sent = self.request(Method::POST, &path, effect)?.json(request);
            let made: Machine = self.read(sent).await?;
            MachineId::read(&made.id).map_err(|why| other(&why))?;
            Ok(made)
        })
    }

    fn exec<'a>(
        &'a self,
        at: At<'a>,
        options: &'a ExecOptions,
        nonce: Option<&'a str>,
    ) -> Answer<'a, ExecResponse> {
        Box::pin(async move {
            let timeout = Duration::from_millis(options.timeout_ms);
            let seconds = timeout.as_secs().max(1);
            let body = json!({ "command": options.command, "timeout": seconds });
            let sent = leased(self.machine(Method::POST, at, "exec")?, nonce).json(&body);
            let patience = self.scale.on_the_wall(timeout).saturating_add(WRITE);
            self.read(sent.timeout(patience)).await
        })
    }

    fn wait<'a>(
        &'a self,
        at: At<'a>,
        wait: &'a WaitQuery,
        timeout: Duration,
    ) -> Answer<'a, Option<WaitResponse>> {
        Box::pin(async move {
            let timeout = timeout.clamp(Duration::from_secs(1), LONGEST_WAIT);
            let mut pairs = vec![
                ("timeout", timeout.as_secs().to_string()),
                ("state", wait.states.join(",")),
            ];
            pairs.extend(wait.version.clone().map(|version| ("version", version)));
            pairs.extend(wait.from_event_id.clone().map(|id| ("from_event_id", id)));
            let request = self
                .machine(Method::GET, at, "wait")?
                .query(&pairs)
                .timeout(self.scale.on_the_wall(timeout) + LONG_POLL_SLACK);
            let answered = self.service.execute(request).await?;
            if answered.response.status() == StatusCode::REQUEST_TIMEOUT {
                return Ok(None);
            }
            if !answered.response.status().is_success() {
                return Err(self.service.refused(answered).await);
            }
            let body = body(answered, ANSWER_BYTES).await?;
            json::parse(&body).map(Some).map_err(|e| unreadable(&e))
        })
    }

    fn lease<'a>(
        &'a self,
        at: At<'a>,
        ttl: Duration,
        description: &'a str,
        nonce: Option<&'a str>,
    ) -> Answer<'a, Lease> {
        Box::pin(async move {
            let body = LeaseRequest {
                ttl: Some(ttl.as_secs().max(1)),
                description: Some(description.to_owned()),
            };
            let request = self.machine(Method::POST, at, "lease")?.json(&body);
            let envelope: LeaseEnvelope = self.read(leased(request, nonce)).await?;
            let lease = envelope.data.ok_or_else(|| Trouble {
                failure: Failure::Unavailable("a lease was answered without its data".to_owned()),
                may_have_happened: true,
                transient: true,
                retry_after: None,
            })?;
            Name::of("a lease's nonce", &lease.nonce).map_err(|why| other(&why))?;
            Ok(lease)
        })
    }

    fn held_lease<'a>(&'a self, at: At<'a>) -> Answer<'a, Option<Lease>> {
        Box::pin(async move {
            match self
                .read::<LeaseEnvelope>(self.machine(Method::GET, at, "lease")?)
                .await
            {
                Ok(envelope) => {
                    let nonce = envelope.data.as_ref().map(|lease| lease.nonce.as_str());
                    // To whoever does not hold it no nonce is shown.
                    if let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty()) {
                        Name::of("a lease's nonce", nonce).map_err(|why| other(&why))?;
                    }
                    Ok(envelope.data)
                }
                Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(None),
                Err(trouble) => Err(trouble),
            }
        })
    }

    fn release<'a>(&'a self, at: At<'a>, nonce: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self
                .service
                .send(
                    self.machine(Method::DELETE, at, "lease")?
                        .header(NONCE_HEADER, nonce),
                )
                .await
            {
                // Gone already: expired, or an earlier try got through.
                Ok(_)
                | Err(Trouble {
                    failure: Failure::NotFound(_),
                    ..
                }) => Ok(()),
                Err(trouble) => Err(trouble),
            }
        })
    }
}
