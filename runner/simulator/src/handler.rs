//! The way of one request: who, whether, what goes wrong, do it, write it down, answer.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use groundcrew_fleet::api::ApiError;
use groundcrew_fleet::{self as fleet, Caller, Fault};

use crate::connection::Connection;
use crate::control;
use crate::fly::auth;
use crate::lock::lock;
use crate::query::Query;
use crate::service::{self, Answered, Call, Reply, Route};
use crate::tap::Moment;
use crate::token::Token;
use crate::wait;
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
    let route = service::find(&world.routes, &asked.method, path);
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
        (Ok(_), None) => return finish(&world, entry, unknown_path()),
    };
    let fault = lock(&world.faults).decide(route.row.name, &route.app, &route.id);
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
    let outcome = wait::answered(&world, &route, || {
        perform(&world, &route, &asked, &token, fault)
    })
    .await;
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
    entry.route = route.row.name;
    entry.app = Some(route.app.clone()).filter(|app| !app.is_empty());
    entry.id = Some(route.id.clone()).filter(|id| !id.is_empty());
    auth::authorise(token, route, &world.organisation)?;
    let limits = world.limits.as_ref();
    if limits.is_some_and(|limits| !limits.admit(route, &asked.body, entry.at)) {
        return Err(ApiError::rate_limited());
    }
    Ok(token.clone())
}

fn perform(
    world: &World,
    route: &Route,
    asked: &Asked,
    token: &Token,
    fault: Option<Fault>,
) -> Answered {
    let call = Call {
        app: &route.app,
        id: &route.id,
        key: &route.key,
        query: &asked.query,
        raw: &asked.body,
        token,
        caller: Caller {
            nonce: asked.nonce.as_deref().filter(|nonce| !nonce.is_empty()),
            effect: asked.effect.as_deref(),
            owner: &token.name,
        },
    };
    world.act(|fleet| {
        if let Some(Fault::Unseen { millis }) = fault {
            fleet.hide_next(millis);
        }
        let answered = route.row.perform(fleet, &call);
        fleet.hide_next(0);
        answered
    })
}

async fn apply_late(world: Arc<World>, millis: u64, asked: Asked, route: Route, token: Token) {
    let at = world.clock.now().after(millis);
    world.clock.sleep_until(at).await;
    if let Err(error) = perform(&world, &route, &asked, &token, None) {
        tracing::debug!(route = route.row.name, %error, "a late request was refused");
    }
}

/// An answer about to be sent.
struct Outgoing {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<u64>,
    /// Nothing of it will arrive.
    lost: bool,
    /// It is plain text.
    plain: bool,
}

impl Outgoing {
    fn of(reply: Reply) -> Outgoing {
        Outgoing {
            status: reply.status,
            body: reply.into_bytes(),
            retry_after: None,
            lost: false,
            plain: false,
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
        plain: false,
    }
}

/// Go's own answer to a path without a handler.
fn unknown_path() -> Outgoing {
    Outgoing {
        status: 404,
        body: b"404 page not found\n".to_vec(),
        retry_after: None,
        lost: false,
        plain: true,
    }
}

fn cut() -> Outgoing {
    Outgoing {
        status: 503,
        body: Vec::new(),
        retry_after: None,
        lost: true,
        plain: false,
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
    let kind = match outgoing.plain {
        true => "text/plain; charset=utf-8",
        false => "application/json; charset=utf-8",
    };
    let mut response = Response::new(Body::from(outgoing.body));
    *response.status_mut() =
        StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = outgoing.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The route with the app that its path does not name: tokens, faults and the log ask for it.
fn with_app(world: &World, route: Route, body: &Bytes) -> Route {
    let Some(app_of) = route.row.app_of else {
        return route;
    };
    let app = world.act(|fleet| app_of(fleet, &route, body));
    Route {
        app: app.unwrap_or_default(),
        ..route
    }
}
