//! One request, done on the fleet: everything except `wait`, which takes time.

use groundcrew_fleet::api::{
    ApiError, CurrentTokens, Done, LeaseEnvelope, LeaseRequest, MetadataPatch, MetadataValue,
    PlacementRequest, ReleaseEnvelope, ReleaseList, TokenInfo,
};
use groundcrew_fleet::{Caller, Fleet};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::fly::auth::Token;
use crate::fly::query::Query;
use crate::fly::route::{Route, Verb};

/// A status and a body that is not yet written, so that large ones are written without the lock.
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Box<dyn FnOnce() -> Vec<u8> + Send>,
}

impl Reply {
    pub(crate) fn json<T: Serialize + Send + 'static>(status: u16, value: T) -> Reply {
        Reply {
            status,
            body: Box::new(move || serde_json::to_vec(&value).unwrap_or_default()),
        }
    }

    fn empty(status: u16) -> Reply {
        Reply {
            status,
            body: Box::new(Vec::new),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        (self.body)()
    }
}

/// What a request carries besides its route.
pub(crate) struct Input<'a> {
    pub(crate) query: &'a Query,
    pub(crate) body: &'a [u8],
    pub(crate) token: &'a Token,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) effect: Option<&'a str>,
}

impl Input<'_> {
    /// Only objects: serde would read a struct from a list as well, and Fly does not.
    fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let refused = |why: &dyn std::fmt::Display| {
            ApiError::new(400, format!("json: cannot unmarshal: {why}"))
        };
        if self.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(refused(&"the body is not an object"));
        }
        serde_json::from_slice(self.body).map_err(|error| refused(&error))
    }

    fn optional_body<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        let empty = self.body.iter().all(u8::is_ascii_whitespace);
        if empty { Ok(T::default()) } else { self.body() }
    }
}

/// Does it.
pub(crate) fn dispatch(
    fleet: &mut Fleet,
    route: &Route,
    input: &Input<'_>,
) -> Result<Reply, ApiError> {
    let caller = Caller {
        nonce: input.nonce,
        effect: input.effect,
        owner: &input.token.name,
    };
    let (app, id, key, query) = (
        route.app.as_str(),
        route.id.as_str(),
        route.key.as_str(),
        input.query,
    );
    match route.verb {
        Verb::AppList => app_list(fleet, query),
        Verb::AppGet => Ok(Reply::json(200, fleet.get_app(app)?)),
        Verb::AppDelete => {
            fleet.delete_app(&caller, app, query.switch("force"))?;
            Ok(Reply::empty(202))
        }
        Verb::Regions => Ok(Reply::json(200, fleet.regions())),
        Verb::Placements => placements(fleet, &input.body()?),
        Verb::CurrentTokens => Ok(Reply::json(200, current_tokens(input.token))),
        Verb::OrgMachines => Ok(Reply::json(200, fleet.list_org(&query.org()?)?)),
        Verb::List => Ok(Reply::json(200, fleet.list(app, &query.list())?)),
        Verb::Get => Ok(Reply::json(200, fleet.get(app, id)?)),
        Verb::Events => Ok(Reply::json(200, fleet.events(app, id, query.entries()?)?)),
        Verb::Versions => Ok(Reply::json(200, fleet.versions(app, id)?)),
        Verb::Ps => Ok(Reply::json(200, fleet.ps(app, id)?)),
        Verb::Metadata => Ok(Reply::json(200, fleet.metadata(app, id)?)),
        Verb::MetadataGet => metadata_get(fleet, app, id, key),
        Verb::Create => Ok(Reply::json(
            200,
            fleet.create(&caller, app, &input.body()?)?,
        )),
        Verb::Update => Ok(Reply::json(
            200,
            fleet.update(&caller, app, id, &input.body()?)?,
        )),
        Verb::Destroy => {
            let force = query.flag("force") || query.flag("kill");
            Ok(Reply::json(200, fleet.destroy(&caller, app, id, force)?))
        }
        Verb::Start => Ok(Reply::json(200, fleet.start(&caller, app, id)?)),
        Verb::Stop => Ok(Reply::json(
            200,
            fleet.stop(&caller, app, id, &input.optional_body()?)?,
        )),
        Verb::Restart => Ok(Reply::json(
            200,
            fleet.restart(&caller, app, id, &query.restart())?,
        )),
        Verb::Suspend => Ok(Reply::json(200, fleet.suspend(&caller, app, id)?)),
        Verb::Signal => Ok(Reply::json(
            200,
            fleet.signal(&caller, app, id, &input.body()?)?,
        )),
        Verb::Exec => Ok(Reply::json(
            200,
            fleet.exec(&caller, app, id, &input.body()?)?,
        )),
        Verb::Cordon => Ok(Reply::json(200, fleet.cordon(&caller, app, id)?)),
        Verb::Uncordon => Ok(Reply::json(200, fleet.uncordon(&caller, app, id)?)),
        Verb::LeaseGet => Ok(Reply::json(
            200,
            LeaseEnvelope::success(fleet.lease_get(app, id)?),
        )),
        Verb::Lease => {
            let mut request: LeaseRequest = input.optional_body()?;
            request.ttl = query.number("ttl")?.or(request.ttl);
            Ok(Reply::json(
                201,
                LeaseEnvelope::success(fleet.lease_acquire(&caller, app, id, &request)?),
            ))
        }
        Verb::Release => Ok(Reply::json(200, fleet.lease_release(&caller, app, id)?)),
        Verb::MetadataSet => {
            let value: MetadataValue = input.body()?;
            metadata_put(fleet, &caller, route, one(key, Some(value.value)))
        }
        Verb::MetadataDelete => metadata_put(fleet, &caller, route, one(key, None)),
        Verb::MetadataPatch => metadata_put(fleet, &caller, route, input.body()?),
        // Only what was just recorded comes in an envelope: so flyctl reads it.
        Verb::ReleaseCreate => {
            let release = fleet.release_create(&caller, &input.body()?)?;
            Ok(Reply::json(201, ReleaseEnvelope { release }))
        }
        Verb::ReleaseStatus => Ok(Reply::json(
            200,
            fleet.release_update(&caller, id, &input.body()?)?,
        )),
        Verb::ReleaseList => {
            let releases = fleet.releases(app, query.entries()?)?;
            Ok(Reply::json(200, ReleaseList { releases }))
        }
        Verb::ReleaseCurrent => Ok(Reply::json(200, fleet.release_current(app)?)),
        Verb::Query => Ok(metrics(fleet, input)),
        // `wait` is answered by its own loop; reaching this means that it holds already.
        Verb::Wait => Ok(Reply::json(200, Done::default())),
    }
}

/// As Prometheus answers an instant query: not with the Machines API's errors.
fn metrics(fleet: &Fleet, input: &Input<'_>) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(input.body));
    let asked = form.get("query").or_else(|| input.query.get("query"));
    let Some(asked) = asked else {
        let error = json!({
            "status": "error",
            "errorType": "bad_data",
            "error": "invalid parameter \"query\": unexpected end of input",
        });
        return Reply::json(400, error);
    };
    let at = fleet.now().as_millis() as f64 / 1000.0;
    let series = fleet.metric(asked).iter();
    let result: Vec<_> = series
        .map(|sample| json!({ "metric": sample.labels, "value": [at, sample.value] }))
        .collect();
    let data = json!({ "resultType": "vector", "result": result });
    Reply::json(200, json!({ "status": "success", "data": data }))
}

fn app_list(fleet: &Fleet, query: &Query) -> Result<Reply, ApiError> {
    of_organisation(fleet, query.get("org_slug").unwrap_or_default())?;
    Ok(Reply::json(200, fleet.apps()))
}

fn placements(fleet: &Fleet, request: &PlacementRequest) -> Result<Reply, ApiError> {
    of_organisation(fleet, &request.org_slug)?;
    Ok(Reply::json(200, fleet.placements(request)?))
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

fn current_tokens(token: &Token) -> CurrentTokens {
    let info = TokenInfo {
        token_id: format!(
            "sim-{}",
            if token.write {
                "read-write"
            } else {
                "read-only"
            }
        ),
        org_slug: token.organisation.clone(),
        organization: token.organisation.clone(),
        apps: token.apps.clone(),
        user: token.name.clone(),
    };
    CurrentTokens { tokens: vec![info] }
}

fn metadata_get(fleet: &Fleet, app: &str, id: &str, key: &str) -> Result<Reply, ApiError> {
    match fleet.metadata(app, id)?.remove(key) {
        Some(value) => Ok(Reply::json(200, MetadataValue { value })),
        None => Err(ApiError::new(
            404,
            format!("metadata key '{key}' not found"),
        )),
    }
}

fn metadata_put(
    fleet: &mut Fleet,
    caller: &Caller<'_>,
    route: &Route,
    patch: MetadataPatch,
) -> Result<Reply, ApiError> {
    fleet.metadata_patch(caller, &route.app, &route.id, &patch)?;
    Ok(Reply::empty(204))
}

fn one(key: &str, value: Option<String>) -> MetadataPatch {
    MetadataPatch {
        metadata: [(key.to_owned(), value)].into(),
        machine_version: None,
    }
}
