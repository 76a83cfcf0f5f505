//! The way of one request: who, whether, what goes wrong, do it, write it down, answer.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use groundcrew_fleet::api::{ApiError, WaitQuery};
use groundcrew_fleet::{self as fleet, Fault, MachineKey};
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::control;
use crate::fly::auth::{self, Token};
use crate::fly::dispatch::{Input, Reply, dispatch};
use crate::fly::query::Query;
use crate::fly::route::{self, Route, Verb};
use crate::lock::lock;
use crate::tap::Moment;
use crate::world::World;

/// The largest body that is read: a Machine's configuration with files in it. Our own bound.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// The name under which a client tells which of its effects a request belongs to.
const EFFECT_HEADER: &str = "groundcrew-effect";

/// The header of a lease's nonce. Fly's OpenAPI document.
const NONCE_HEADER: &str = "fly-machine-lease-nonce";

/// A request, taken apart.
struct Asked {
    method: String,
    path: String,
    query: Query,
    nonce: Option<String>,
    effect: Option<String>,
    authorization: Option<String>,
    body: Bytes,
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return answer(refuse(ApiError::new(413, "request body too large")));
    };
    let path = parts.uri.path();
    if let Some(rest) = path.strip_prefix("/_sim/") {
        return control::handle(&world, connection.peer, parts.method.as_str(), rest, &body);
    }
    let asked = Asked {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.to_string(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        nonce: text(&parts.headers, NONCE_HEADER),
        effect: text(&parts.headers, EFFECT_HEADER),
        authorization: text(&parts.headers, header::AUTHORIZATION.as_str()),
        body,
    };
    let route = route::parse(&asked.method, path).map(decoded);
    let route = route.map(|route| with_app(&world, route, &asked.body));
    serve(world, connection, asked, route).await
}

async fn serve(
    world: Arc<World>,
    connection: Connection,
    asked: Asked,
    route: Option<Route>,
) -> Response<Body> {
    let at = world.act(|fleet| fleet.now());
    let mut entry = fleet::Request {
        at,
        method: asked.method.clone(),
        path: asked.path.clone(),
        effect: asked.effect.clone(),
        ..fleet::Request::default()
    };
    let admitted = admit(&world, &asked, route.as_ref(), &mut entry);
    let (token, route) = match (admitted, route) {
        (Ok(token), Some(route)) => (token, route),
        (Err(error), _) => return finish(&world, entry, refuse(error)),
        (Ok(_), None) => return finish(&world, entry, refuse(ApiError::new(404, "not found"))),
    };
    let fault = lock(&world.faults).decide(route.verb.name(), &route.app, &route.id);
    entry.fault = fault.map(|fault| fault.to_string());
    if let Some(error) = fault.and_then(Fault::refusal) {
        if let Some(Fault::Late { millis }) = fault {
            tokio::spawn(apply_late(world.clone(), millis, asked, route, token));
        }
        return finish(&world, entry, refuse(error));
    }
    if fault == Some(Fault::Drop) || !world.tap.passes(Moment::Arrived, &entry) {
        connection.cut_after(0);
        return finish(&world, fleet::Request { status: 0, ..entry }, cut());
    }
    let outcome = if route.verb == Verb::Wait {
        wait(&world, &route, &asked.query).await
    } else {
        perform(&world, &route, &asked, &token)
    };
    let hidden = fault.and_then(Fault::refusal_once_done);
    let reply = hidden
        .map_or(outcome, Err)
        .map_or_else(refuse, Outgoing::of);
    let fault = if world.tap.passes(Moment::Done, &entry) {
        fault
    } else {
        Some(Fault::ReplyLost)
    };
    match fault {
        Some(Fault::ReplyLost) => {
            connection.cut_after(0);
            return finish(
                &world,
                entry,
                Outgoing {
                    lost: true,
                    ..reply
                },
            );
        }
        Some(Fault::CutOff) => connection.cut_after(HEAD_AND_HALF + reply.body.len() as u64 / 2),
        Some(Fault::Slow { millis }) => world.clock.sleep_until(at.after(millis)).await,
        Some(_) | None => {}
    }
    finish(&world, entry, reply)
}

/// About the size of the head of an answer, so that a cut falls into the body.
const HEAD_AND_HALF: u64 = 160;

fn admit(
    world: &World,
    asked: &Asked,
    route: Option<&Route>,
    entry: &mut fleet::Request,
) -> Result<Token, ApiError> {
    let token = auth::authenticate(&world.tokens, asked.authorization.as_deref())?;
    entry.token = Some(token.name.clone());
    let Some(route) = route else {
        return Ok(token.clone());
    };
    entry.route = route.verb.name();
    entry.app = Some(route.app.clone()).filter(|app| !app.is_empty());
    entry.id = Some(route.id.clone()).filter(|id| !id.is_empty());
    auth::authorise(token, route, &world.organisation)?;
    let region = region_of(world, route, &asked.body);
    let limits = world.limits.as_ref();
    if limits.is_some_and(|limits| !lock(limits).admit(route, &region, entry.at)) {
        return Err(ApiError::rate_limited());
    }
    Ok(token.clone())
}

/// The region that a create asks for, or the one that it will get. One that does not exist is
/// refused later, and counts for the same.
fn region_of(world: &World, route: &Route, body: &Bytes) -> String {
    #[derive(serde::Deserialize)]
    struct Region {
        region: Option<String>,
    }
    if route.verb != Verb::Create || world.limits.is_none() {
        return String::new();
    }
    let asked = serde_json::from_slice::<Region>(body).ok();
    let asked = asked.and_then(|body| body.region);
    let known = asked.filter(|region| world.regions.contains(region));
    known
        .or_else(|| world.regions.first().cloned())
        .unwrap_or_default()
}

fn perform(world: &World, route: &Route, asked: &Asked, token: &Token) -> Result<Reply, ApiError> {
    let input = Input {
        query: &asked.query,
        body: &asked.body,
        token,
        nonce: asked.nonce.as_deref().filter(|nonce| !nonce.is_empty()),
        effect: asked.effect.as_deref(),
    };
    world.act(|fleet| dispatch(fleet, route, &input))
}

async fn apply_late(world: Arc<World>, millis: u64, asked: Asked, route: Route, token: Token) {
    let at = world.clock.now().after(millis);
    world.clock.sleep_until(at).await;
    if let Err(error) = perform(&world, &route, &asked, &token) {
        tracing::debug!(route = route.verb.name(), %error, "a late request was refused");
    }
}

/// A place among those who wait for a Machine, left on every way out.
struct Waiting<'a> {
    world: &'a World,
    key: MachineKey,
    notify: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.world.leave(&self.key, &self.notify);
    }
}

async fn wait(world: &World, route: &Route, query: &Query) -> Result<Reply, ApiError> {
    let (wanted, millis) = query.wait()?;
    let deadline = world.clock.now().after(millis);
    let key = MachineKey {
        app: route.app.as_str().into(),
        id: route.id.as_str().into(),
    };
    let waiting = Waiting {
        world,
        notify: world.join(&key),
        key,
    };
    let expired = world.clock.sleep_until(deadline);
    tokio::pin!(expired);
    loop {
        let changed = waiting.notify.notified();
        tokio::pin!(changed);
        // Enabled before the look, so that no change falls between the two.
        changed.as_mut().enable();
        if let Some(reply) = look(world, route, &wanted)? {
            return Ok(reply);
        }
        tokio::select! {
            () = &mut changed => {}
            () = &mut expired => {
                let last = look(world, route, &wanted)?;
                return last.ok_or_else(|| ApiError::new(408, "deadline_exceeded: machine failed to reach desired state in time"));
            }
        }
    }
}

fn look(world: &World, route: &Route, wanted: &WaitQuery) -> Result<Option<Reply>, ApiError> {
    let held = world.act(|fleet| fleet.wait_poll(&route.app, &route.id, wanted))?;
    Ok(held.map(|response| Reply::json(200, response)))
}

/// An answer about to be sent.
struct Outgoing {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<u64>,
    /// Nothing of it will arrive.
    lost: bool,
}

impl Outgoing {
    fn of(reply: Reply) -> Outgoing {
        Outgoing {
            status: reply.status,
            body: reply.into_bytes(),
            retry_after: None,
            lost: false,
        }
    }
}

fn refuse(error: ApiError) -> Outgoing {
    let body = serde_json::to_vec(&error.body).unwrap_or_default();
    Outgoing {
        status: error.status,
        body,
        retry_after: error.retry_after,
        lost: false,
    }
}

fn cut() -> Outgoing {
    Outgoing {
        status: 503,
        body: Vec::new(),
        retry_after: None,
        lost: true,
    }
}

fn finish(world: &World, mut entry: fleet::Request, outgoing: Outgoing) -> Response<Body> {
    entry.status = if outgoing.lost { 0 } else { outgoing.status };
    let request_id = {
        let mut fleet = lock(&world.fleet);
        fleet.record_request(entry);
        fleet.next_request_id()
    };
    let mut response = answer(outgoing);
    let headers = response.headers_mut();
    for name in ["fly-request-id", "fly-trace-id", "fly-span-id"] {
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            headers.insert(name, value);
        }
    }
    response
}

fn answer(outgoing: Outgoing) -> Response<Body> {
    let mut response = Response::new(Body::from(outgoing.body));
    *response.status_mut() =
        StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    if let Some(seconds) = outgoing.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The route with the app of the release that it is about, which its path does not name: tokens,
/// faults and the log ask for it.
fn with_app(world: &World, route: Route, body: &Bytes) -> Route {
    #[derive(serde::Deserialize)]
    struct Named {
        app_name: String,
    }
    let app = if route.verb == Verb::ReleaseCreate {
        let named = serde_json::from_slice::<Named>(body).ok();
        named.map(|named| named.app_name)
    } else if route.verb == Verb::ReleaseStatus {
        world.act(|fleet| fleet.release_app(&route.id).map(str::to_owned))
    } else {
        return route;
    };
    Route {
        app: app.unwrap_or_default(),
        ..route
    }
}

fn decoded(route: Route) -> Route {
    let decode = |text: String| {
        if text.contains('%') {
            crate::fly::query::decode(&text)
        } else {
            text
        }
    };
    Route {
        app: decode(route.app),
        id: decode(route.id),
        key: decode(route.key),
        ..route
    }
}
