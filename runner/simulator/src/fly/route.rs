//! Fly's routes, a row each. Another operation of Machines is one more row: nothing else here names
//! them one by one.

use std::sync::Arc;

use groundcrew_fleet::api::{LeaseEnvelope, ReleaseList, SecretsVersion};

use super::answers::{
    app_create, app_delete, app_in_body, app_list, app_of_release, current_tokens, destroy, lease,
    metadata_delete, metadata_get, metadata_patch, metadata_set, placements, release,
    release_create, secret_set, wait,
};
use super::limits::{ACTION, CREATE, GET};
use crate::service::{Row, Service, empty, ok};

/// The Machines API.
#[derive(Debug)]
pub(crate) struct Machines;

impl Service for Machines {
    fn routes(self: Arc<Self>) -> Vec<Row> {
        let rows = vec![
            Row::read("apps.list", "GET /v1/apps", app_list),
            Row::write("apps.create", "POST /v1/apps", app_create),
            Row::read("apps.get", "GET /v1/apps/{app}", |fleet, call| {
                ok(fleet.get_app(call.app)?)
            }),
            Row::write("apps.delete", "DELETE /v1/apps/{app}", app_delete),
            Row::read(
                "volumes.list",
                "GET /v1/apps/{app}/volumes",
                |fleet, call| ok(fleet.volumes(call.app)?),
            ),
            Row::write(
                "volumes.create",
                "POST /v1/apps/{app}/volumes",
                |fleet, call| ok(fleet.create_volume(&call.caller, call.app, &call.body()?)?),
            ),
            Row::read(
                "volumes.get",
                "GET /v1/apps/{app}/volumes/{key}",
                |fleet, call| ok(fleet.volume(call.app, call.key)?),
            ),
            Row::write(
                "volumes.update",
                "PUT|POST /v1/apps/{app}/volumes/{key}",
                |fleet, call| {
                    ok(fleet.update_volume(&call.caller, call.app, call.key, &call.body()?)?)
                },
            ),
            Row::write(
                "volumes.destroy",
                "DELETE /v1/apps/{app}/volumes/{key}",
                |fleet, call| ok(fleet.destroy_volume(&call.caller, call.app, call.key)?),
            ),
            Row::write(
                "volumes.extend",
                "PUT /v1/apps/{app}/volumes/{key}/extend",
                |fleet, call| {
                    ok(fleet.extend_volume(&call.caller, call.app, call.key, &call.body()?)?)
                },
            ),
            Row::read(
                "snapshots.list",
                "GET /v1/apps/{app}/volumes/{key}/snapshots",
                |fleet, call| ok(fleet.snapshots(call.app, call.key)?),
            ),
            Row::write(
                "snapshots.create",
                "POST /v1/apps/{app}/volumes/{key}/snapshots",
                |fleet, call| {
                    fleet.create_snapshot(&call.caller, call.app, call.key)?;
                    empty(200)
                },
            ),
            Row::read(
                "secrets.list",
                "GET /v1/apps/{app}/secrets",
                |fleet, call| ok(fleet.secrets(call.app, call.query.flag("show_secrets"))?),
            ),
            Row::write(
                "secrets.update",
                "POST /v1/apps/{app}/secrets",
                |fleet, call| ok(fleet.update_secrets(&call.caller, call.app, &call.body()?)?),
            ),
            Row::read(
                "secrets.get",
                "GET /v1/apps/{app}/secrets/{key}",
                |fleet, call| {
                    let value = call.query.flag("show_secrets");
                    ok(fleet.secret(call.app, call.key, value)?)
                },
            ),
            Row::write(
                "secrets.set",
                "POST /v1/apps/{app}/secrets/{key}",
                secret_set,
            ),
            Row::write(
                "secrets.unset",
                "DELETE /v1/apps/{app}/secrets/{key}",
                |fleet, call| {
                    let version = fleet.unset_secret(&call.caller, call.app, call.key)?;
                    ok(SecretsVersion { version })
                },
            ),
            Row::read(
                "org.machines",
                "GET /v1/orgs/{org}/machines",
                |fleet, call| ok(fleet.list_org(&call.query.org()?)?),
            ),
            Row::read(
                "platform.regions",
                "GET /v1/platform/regions",
                |fleet, _| ok(fleet.regions()),
            )
            .anyones(),
            Row::read(
                "platform.placements",
                "POST /v1/platform/placements",
                placements,
            ),
            Row::read("tokens.current", "GET /v1/tokens/current", current_tokens).anyones(),
            Row::read(
                "machines.list",
                "GET /v1/apps/{app}/machines",
                |fleet, call| ok(fleet.list(call.app, &call.query.list())?),
            ),
            Row::write(
                "machines.create",
                "POST /v1/apps/{app}/machines",
                |fleet, call| ok(fleet.create(&call.caller, call.app, &call.body()?)?),
            )
            .limited(CREATE),
            Row::read(
                "machines.get",
                "GET /v1/apps/{app}/machines/{id}",
                |fleet, call| ok(fleet.get(call.app, call.id)?),
            )
            .limited(GET),
            Row::write(
                "machines.update",
                "POST /v1/apps/{app}/machines/{id}",
                |fleet, call| ok(fleet.update(&call.caller, call.app, call.id, &call.body()?)?),
            ),
            Row::write(
                "machines.destroy",
                "DELETE /v1/apps/{app}/machines/{id}",
                destroy,
            ),
            Row::write(
                "machines.start",
                "POST /v1/apps/{app}/machines/{id}/start",
                |fleet, call| ok(fleet.start(&call.caller, call.app, call.id)?),
            ),
            Row::write(
                "machines.stop",
                "POST /v1/apps/{app}/machines/{id}/stop",
                |fleet, call| {
                    let request = call.optional_body()?;
                    ok(fleet.stop(&call.caller, call.app, call.id, &request)?)
                },
            ),
            Row::write(
                "machines.restart",
                "POST /v1/apps/{app}/machines/{id}/restart",
                |fleet, call| {
                    let query = call.query.restart();
                    ok(fleet.restart(&call.caller, call.app, call.id, &query)?)
                },
            ),
            Row::write(
                "machines.suspend",
                "POST /v1/apps/{app}/machines/{id}/suspend",
                |fleet, call| ok(fleet.suspend(&call.caller, call.app, call.id)?),
            ),
            Row::write(
                "machines.signal",
                "POST /v1/apps/{app}/machines/{id}/signal",
                |fleet, call| ok(fleet.signal(&call.caller, call.app, call.id, &call.body()?)?),
            ),
            Row::write(
                "machines.exec",
                "POST /v1/apps/{app}/machines/{id}/exec",
                |fleet, call| ok(fleet.exec(&call.caller, call.app, call.id, &call.body()?)?),
            ),
            Row::read(
                "machines.ps",
                "GET /v1/apps/{app}/machines/{id}/ps",
                |fleet, call| ok(fleet.ps(call.app, call.id)?),
            ),
            Row::write(
                "machines.cordon",
                "POST /v1/apps/{app}/machines/{id}/cordon",
                |fleet, call| ok(fleet.cordon(&call.caller, call.app, call.id)?),
            ),
            Row::write(
                "machines.uncordon",
                "POST /v1/apps/{app}/machines/{id}/uncordon",
                |fleet, call| ok(fleet.uncordon(&call.caller, call.app, call.id)?),
            ),
            Row::read(
                "machines.wait",
                "GET /v1/apps/{app}/machines/{id}/wait",
                wait,
            ),
            Row::read(
                "machines.lease-get",
                "GET /v1/apps/{app}/machines/{id}/lease",
                |fleet, call| ok(LeaseEnvelope::success(fleet.lease_get(call.app, call.id)?)),
            ),
            Row::write(
                "machines.lease",
                "POST /v1/apps/{app}/machines/{id}/lease",
                lease,
            ),
            Row::write(
                "machines.release",
                "DELETE /v1/apps/{app}/machines/{id}/lease",
                release,
            ),
            Row::read(
                "machines.metadata",
                "GET /v1/apps/{app}/machines/{id}/metadata",
                |fleet, call| ok(fleet.metadata(call.app, call.id)?),
            ),
            Row::write(
                "machines.metadata-patch",
                "PUT|PATCH /v1/apps/{app}/machines/{id}/metadata",
                metadata_patch,
            ),
            Row::read(
                "machines.metadata-get",
                "GET /v1/apps/{app}/machines/{id}/metadata/{key}",
                metadata_get,
            ),
            Row::write(
                "machines.metadata-set",
                "POST /v1/apps/{app}/machines/{id}/metadata/{key}",
                metadata_set,
            ),
            Row::write(
                "machines.metadata-delete",
                "DELETE /v1/apps/{app}/machines/{id}/metadata/{key}",
                metadata_delete,
            ),
            Row::read(
                "machines.events",
                "GET /v1/apps/{app}/machines/{id}/events",
                |fleet, call| ok(fleet.events(call.app, call.id, call.query.entries()?)?),
            ),
            Row::read(
                "machines.versions",
                "GET /v1/apps/{app}/machines/{id}/versions",
                |fleet, call| ok(fleet.versions(call.app, call.id)?),
            ),
        ];
        // Most have the one limit.
        let limited = |row: Row| match row.rate {
            Some(_) => row,
            None => row.limited(ACTION),
        };
        rows.into_iter().map(limited).collect()
    }
}

/// Releases as flyctl records them: not of the Machines API, and without its limits.
#[derive(Debug)]
pub(crate) struct Releases;

impl Service for Releases {
    fn routes(self: Arc<Self>) -> Vec<Row> {
        vec![
            Row::write("releases.create", "POST /api/v1/releases", release_create)
                .of_app(app_in_body),
            Row::write(
                "releases.status",
                "PATCH /api/v1/releases/{id}",
                |fleet, call| ok(fleet.release_update(&call.caller, call.id, &call.body()?)?),
            )
            .of_app(app_of_release),
            Row::read(
                "releases.list",
                "GET /api/v1/apps/{app}/releases",
                |fleet, call| {
                    let releases = fleet.releases(call.app, call.query.entries()?)?;
                    ok(ReleaseList { releases })
                },
            ),
            Row::read(
                "releases.current",
                "GET /api/v1/apps/{app}/releases/current",
                |fleet, call| ok(fleet.release_current(call.app)?),
            ),
        ]
    }
}
