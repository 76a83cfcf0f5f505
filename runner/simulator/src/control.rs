//! `/_sim/`: what tests and the demo may see and do from outside, from the same computer only.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use groundcrew_fleet::api::parse_go_duration;
use groundcrew_fleet::{Fate, FaultRule, Faults};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::lock::lock;
use crate::service::ControlError;
use crate::world::World;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FateRequest {
    app: String,
    id: String,
    fate: Fate,
}

pub(crate) fn handle(
    world: &World,
    peer: SocketAddr,
    method: &str,
    path: &str,
    body: &Bytes,
) -> Response<Body> {
    if !peer.ip().to_canonical().is_loopback() {
        return reply(403, &json!({ "error": "only from this computer" }));
    }
    let outcome = match (method, path) {
        ("GET", "log") => Ok(world.act(|fleet| {
            json!({ "requests": fleet.requests().entries().collect::<Vec<_>>(), "dropped": fleet.requests().dropped() })
        })),
        ("GET", "applied") => Ok(world.act(|fleet| {
            json!({ "applied": fleet.applied().entries().collect::<Vec<_>>(), "dropped": fleet.applied().dropped() })
        })),
        ("GET", "fleet") => Ok(fleet(world)),
        ("POST", "faults") => faults(world, body),
        ("POST", "fate") => fate(world, body),
        ("POST", "advance") => move_clock(world, body),
        _ => service(world, method, path, body),
    };
    match outcome {
        Ok(value) => reply(200, &value),
        Err((status, words)) => reply(status, &json!({ "error": words })),
    }
}

fn fleet(world: &World) -> Value {
    world.act(|fleet| {
        let names: Vec<_> = fleet.apps().apps.into_iter().map(|app| app.name).collect();
        let apps: serde_json::Map<String, Value> = names
            .into_iter()
            .map(|name| (name.clone(), json!(fleet.export(&name))))
            .collect();
        json!({ "now": fleet.now(), "apps": apps })
    })
}

/// Replaces the rules by those in the body, one a line; an empty body takes them all away.
fn faults(world: &World, body: &Bytes) -> Result<Value, ControlError> {
    let text = String::from_utf8_lossy(body);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let rules: Result<Vec<FaultRule>, _> = lines.map(str::parse).collect();
    let rules =
        rules.map_err(|error: groundcrew_fleet::FaultParseError| (400, error.to_string()))?;
    let written: Vec<_> = rules.iter().map(ToString::to_string).collect();
    *lock(&world.faults) = Faults::new(world.seed, rules);
    Ok(json!({ "faults": written }))
}

/// What only one of the services understands.
fn service(world: &World, method: &str, path: &str, body: &[u8]) -> Result<Value, ControlError> {
    let mut services = world.services.iter().filter(|_| method == "POST");
    let told = services.find_map(|service| service.told(path, body));
    told.unwrap_or_else(|| Err((404, format!("there is no `{method} /_sim/{path}`"))))
}

fn fate(world: &World, body: &Bytes) -> Result<Value, ControlError> {
    let asked: FateRequest =
        serde_json::from_slice(body).map_err(|error| (400, error.to_string()))?;
    if world.act(|fleet| fleet.set_fate(&asked.app, &asked.id, asked.fate)) {
        world.sooner.notify_one();
        Ok(json!({ "fate": asked.fate }))
    } else {
        Err((
            404,
            format!("app `{}` has no Machine `{}`", asked.app, asked.id),
        ))
    }
}

/// Moves a clock that goes by hand, by a Go duration such as `10s`.
fn move_clock(world: &World, body: &Bytes) -> Result<Value, ControlError> {
    let text = String::from_utf8_lossy(body);
    let millis = parse_go_duration(text.trim());
    let millis = millis.ok_or_else(|| {
        (
            400,
            format!("`{}` is not a duration such as `10s`", text.trim()),
        )
    })?;
    if !world.clock.move_by(millis) {
        return Err((409, "this clock runs by itself".into()));
    }
    Ok(json!({ "now": world.act(|fleet| fleet.now()) }))
}

fn reply(status: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
