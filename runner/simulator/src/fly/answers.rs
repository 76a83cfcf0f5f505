//! What is done on Fly's routes, where that takes more than the line it has in `route`.

use groundcrew_fleet::Fleet;
use groundcrew_fleet::api::{
    ApiError, CreateAppRequest, CurrentTokens, LeaseEnvelope, LeaseRequest, MetadataPatch,
    MetadataValue, PlacementRequest, ReleaseEnvelope, ReleasedLease, SecretSet, SecretValue,
    SecretsUpdate, TokenInfo,
};

use crate::service::{Answer, Answered, Call, Route, answer, empty, ok};

pub(crate) fn app_list(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    of_organisation(fleet, call.query.get("org_slug").unwrap_or_default())?;
    ok(fleet.apps())
}

pub(crate) fn app_create(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let mut request: CreateAppRequest = call.body()?;
    if request.name.is_empty() {
        request.name = std::mem::take(&mut request.app_name);
    }
    of_organisation(fleet, &request.org_slug)?;
    answer(201, fleet.make_app(&call.caller, &request)?)
}

pub(crate) fn secret_set(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let SecretValue { value } = call.body()?;
    let request = SecretsUpdate {
        values: [(call.key.to_owned(), Some(value))].into(),
    };
    let version = fleet
        .update_secrets(&call.caller, call.app, &request)?
        .version;
    let secret = fleet.secret(call.app, call.key, false)?;
    answer(201, SecretSet { secret, version })
}

pub(crate) fn app_delete(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    fleet.delete_app(&call.caller, call.app, call.query.switch("force"))?;
    empty(202)
}

pub(crate) fn placements(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let request: PlacementRequest = call.body()?;
    of_organisation(fleet, &request.org_slug)?;
    ok(fleet.placements(&request)?)
}

fn of_organisation(fleet: &Fleet, slug: &str) -> Result<(), ApiError> {
    if slug.is_empty() {
        return Err(ApiError::new(400, "invalid_argument: org_slug is required"));
    }
    if slug != fleet.settings().organisation {
        return Err(ApiError::new(
            404,
            format!("organization '{slug}' not found"),
        ));
    }
    Ok(())
}

pub(crate) fn current_tokens(_: &mut Fleet, call: &Call<'_>) -> Answered {
    let token = call.token;
    let kind = if token.write {
        "read-write"
    } else {
        "read-only"
    };
    let info = TokenInfo {
        token_id: format!("sim-{kind}"),
        org_slug: token.organisation.clone(),
        organization: token.organisation.clone(),
        apps: token.apps.clone(),
        user: token.name.clone(),
    };
    ok(CurrentTokens { tokens: vec![info] })
}

pub(crate) fn destroy(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let force = call.query.flag("force") || call.query.flag("kill");
    ok(fleet.destroy(&call.caller, call.app, call.id, force)?)
}

/// The long poll. It holds, or the Machine has to change first.
pub(crate) fn wait(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let (wanted, millis) = call.query.wait()?;
    match fleet.wait_poll(call.app, call.id, &wanted)? {
        Some(response) => ok(response),
        None => {
            let now = fleet.get(call.app, call.id)?.state;
            let states = match wanted.states.is_empty() {
                true => "started".to_owned(),
                false => wanted.states.join(", "),
            };
            // As it was recorded.
            let words = format!(
                "deadline_exceeded: machine failed to reach desired state, {states}, currently {now}"
            );
            Ok(Answer::NotYet {
                millis,
                late: ApiError::new(408, words),
            })
        }
    }
}

pub(crate) fn lease(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let mut request: LeaseRequest = call.optional_body()?;
    request.ttl = call.query.number("ttl")?.or(request.ttl);
    let lease = fleet.lease_acquire(&call.caller, call.app, call.id, &request)?;
    answer(201, LeaseEnvelope::success(lease))
}

/// The answer as clients have recorded it.
pub(crate) fn release(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let data = fleet.lease_release(&call.caller, call.app, call.id)?;
    ok(ReleasedLease {
        status: "success".to_owned(),
        data,
    })
}

pub(crate) fn metadata_get(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let key = call.key;
    match fleet.metadata(call.app, call.id)?.remove(key) {
        Some(value) => ok(MetadataValue { value }),
        None => Err(ApiError::new(
            404,
            format!("metadata key '{key}' not found"),
        )),
    }
}

pub(crate) fn metadata_set(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let value: MetadataValue = call.body()?;
    metadata_put(fleet, call, &one(call.key, Some(value.value)))
}

pub(crate) fn metadata_delete(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    metadata_put(fleet, call, &one(call.key, None))
}

pub(crate) fn metadata_patch(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    metadata_put(fleet, call, &call.body()?)
}

fn metadata_put(fleet: &mut Fleet, call: &Call<'_>, patch: &MetadataPatch) -> Answered {
    fleet.metadata_patch(&call.caller, call.app, call.id, patch)?;
    empty(204)
}

fn one(key: &str, value: Option<String>) -> MetadataPatch {
    MetadataPatch {
        metadata: [(key.to_owned(), value)].into(),
        machine_version: None,
    }
}

/// Only what was just recorded comes in an envelope: so flyctl reads it.
pub(crate) fn release_create(fleet: &mut Fleet, call: &Call<'_>) -> Answered {
    let release = fleet.release_create(&call.caller, &call.body()?)?;
    answer(201, ReleaseEnvelope { release })
}

/// The app of a release that is to be recorded.
pub(crate) fn app_in_body(_: &Fleet, _: &Route, body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        app_name: String,
    }
    let named = serde_json::from_slice::<Named>(body).ok()?;
    Some(named.app_name)
}

/// The app of a release that there is.
pub(crate) fn app_of_release(fleet: &Fleet, route: &Route, _: &[u8]) -> Option<String> {
    fleet.release_app(&route.id).map(str::to_owned)
}
