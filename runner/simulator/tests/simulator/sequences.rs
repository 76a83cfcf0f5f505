//! The requests of flyctl's `machine update` and `machine destroy`, and what it must not do, as
//! tables.
//!
//! From reading flyctl and fly-go of 2026-08-21. What is left out, as the simulator does not serve
//! it: GraphQL, the resolving of an image (GraphQL and builds), and the hook after a deletion. Each
//! request and each answer of the Machines API is validated against Fly's document as well. The
//! statuses of some refusals are *assumed*, see `FIDELITY.md`.

use crate::replay::{Row, delete, get, patch, pause, post, replay};

pub(crate) const ID: Row = get("$machines/$id").takes(&[
    ("config", "/config"),
    ("region", "/region"),
    ("version", "/instance_id"),
]);
/// A command's lease; it is not refreshed.
const LEASE: Row = post("$machines/$id/lease?ttl=120", "")
    .is(201)
    .says(&[("/status", "success")])
    .takes(&[("nonce", "/data/nonce")]);
const LEASED: Row = post("$machines/$id/lease?ttl=120", "")
    .is(201)
    .says(&[("/data/version", "$version")])
    .takes(&[("nonce", "/data/nonce")]);
pub(crate) const RELEASE: Row = delete("$machines/$id/lease").holding("$nonce");
pub(crate) const NOT_LEASED: Row = get("$machines/$id/lease").refused(404, "lease not found");

const SETTLED: Row = get("$machines/$id/wait?state=settled&timeout=60");
pub(crate) const HEALTHY: Row = get("$machines/$id")
    .says(&[("/state", "started"), ("/checks/0/status", "passing")])
    .again();

pub(crate) const DESTROYED: Row = get("$machines/$id/wait?state=destroyed&timeout=60");
const GONE: Row = get("$machines/$id").says(&[("/state", "destroyed")]);

const UPDATES: [(&str, &[Row]); 4] = [
    (
        "machine update --metadata team=ops",
        &[
            ID,
            LEASED,
            post(
                "$machines/$id",
                r#"{
                    "config": { "$patch": "$config", "metadata": { "team": "ops" } },
                    "region": "$region",
                    "skip_launch": false
                }"#,
            )
            .holding("$nonce")
            .says(&[
                ("/config/metadata/team", "ops"),
                ("/config/metadata/fly_process_group", "web"),
                ("/state", "replacing"),
            ])
            .takes(&[("updated", "/instance_id")]),
            SETTLED.says(&[("/state", "started"), ("/version", "$updated")]),
            HEALTHY,
            RELEASE,
            NOT_LEASED,
            get("$machines/$id/metadata").says(&[("/team", "ops"), ("/fly_process_group", "web")]),
            get("$machines/$id/versions")
                .says(&[("/0/version", "$updated"), ("/1/version", "$version")]),
        ],
    ),
    (
        "machine update --image",
        &[
            ID,
            LEASED,
            post(
                "$machines/$id",
                r#"{
                    "config": { "$patch": "$config", "image": "registry.fly.io/web:v2" },
                    "region": "$region"
                }"#,
            )
            .holding("$nonce")
            .says(&[("/image_ref/tag", "v2")])
            .takes(&[("updated", "/instance_id")]),
            SETTLED.says(&[("/state", "started"), ("/version", "$updated")]),
            HEALTHY.says(&[
                ("/instance_id", "$updated"),
                ("/config/image", "registry.fly.io/web:v2"),
                ("/checks/0/status", "passing"),
            ]),
            RELEASE,
            NOT_LEASED,
        ],
    ),
    (
        "machine update --image, of one that cannot be pulled: flyctl issue 4921",
        &[
            ID,
            LEASE,
            post(
                "$machines/$id",
                r#"{ "config": { "$patch": "$config", "image": "registry.fly.io/web:unpullable" } }"#,
            )
            .holding("$nonce"),
            SETTLED.says(&[("/state", "started"), ("/version", "$version")]),
            HEALTHY.says(&[("/config", "$config"), ("/checks/0/status", "passing")]),
            RELEASE,
        ],
    ),
    (
        "machine update of one that is stopped, with --skip-start",
        &[
            post("$machines/$id/stop", r#"{ "signal": "SIGINT", "timeout": "5s" }"#),
            get("$machines/$id/wait?state=stopped&timeout=60"),
            ID,
            LEASED,
            post(
                "$machines/$id",
                r#"{ "config": { "$patch": "$config", "env": { "A": "b" } }, "skip_launch": true }"#,
            )
            .holding("$nonce")
            .says(&[("/state", "replacing")]),
            SETTLED.says(&[("/state", "stopped")]),
            RELEASE,
        ],
    ),
];

const DESTROYS: [(&str, &[Row]); 3] = [
    (
        "machine destroy --force",
        &[
            ID,
            LEASED,
            delete("$machines/$id?kill=true")
                .holding("$nonce")
                .says(&[("/ok", "true")]),
            RELEASE,
            DESTROYED.says(&[("/state", "destroyed")]),
            GONE,
            get("$machines").says(&[("/1/state", "started")]),
            get("$machines?state=destroyed&include_deleted=true").says(&[("/0/id", "$id")]),
        ],
    ),
    (
        "machine destroy of one that runs, without --force",
        &[
            ID,
            LEASE,
            delete("$machines/$id?kill=false")
                .holding("$nonce")
                .refused(412, "failed_precondition: unable to destroy"),
            RELEASE,
            get("$machines/$id").says(&[("/state", "started")]),
        ],
    ),
    (
        "machine destroy of one that is stopped",
        &[
            post("$machines/$id/stop", r#"{ "timeout": "0s" }"#),
            get("$machines/$id/wait?state=stopped&timeout=60"),
            ID,
            LEASE,
            delete("$machines/$id?kill=false").holding("$nonce"),
            RELEASE,
            DESTROYED,
            GONE,
        ],
    ),
];

const REFUSALS: [(&str, &[Row]); 6] = [
    (
        "an update whose `current_version` is no longer current",
        &[
            ID,
            LEASED,
            post(
                "$machines/$id",
                r#"{ "config": "$config", "current_version": "$version" }"#,
            )
            .holding("$nonce")
            .takes(&[("updated", "/instance_id")]),
            SETTLED.says(&[("/version", "$updated")]),
            post(
                "$machines/$id",
                r#"{ "config": "$config", "current_version": "$version" }"#,
            )
            .holding("$nonce")
            .refused(409, "machine update failed due to concurrent update"),
            get("$machines/$id").says(&[("/instance_id", "$updated")]),
            RELEASE,
        ],
    ),
    (
        "writes to a Machine that somebody else has leased; `machine leases clear`",
        &[
            LEASE,
            ID,
            delete("$machines/$id?kill=true").refused(409, "lease currently held by operator"),
            delete("$machines/$id?kill=true")
                .holding("0123456789ab")
                .refused(409, "lease currently held by"),
            post("$machines/$id", r#"{ "config": "$config" }"#)
                .refused(409, "lease currently held by"),
            post("$machines/$id/lease?ttl=120", "").refused(409, "lease currently held by"),
            delete("$machines/$id/lease").refused(400, "fly-machine-lease-nonce"),
            get("$machines/$id").says(&[("/state", "started"), ("/instance_id", "$version")]),
            get("$machines/$id/lease").takes(&[("stolen", "/data/nonce")]),
            delete("$machines/$id/lease").holding("$stolen"),
            delete("$machines/$id?kill=true"),
            DESTROYED,
        ],
    ),
    (
        "a lease that has run out",
        &[
            LEASE,
            pause("121000"),
            RELEASE.refused(404, "lease not found"),
            post("$machines/$id/lease?ttl=120", "")
                .holding("$nonce")
                .refused(404, "lease not found"),
            post("$machines/$id/cordon", "")
                .holding("$nonce")
                .refused(409, "lease"),
            post("$machines/$id/cordon", ""),
        ],
    ),
    (
        "a create of a name that exists",
        &[
            ID,
            post(
                "$machines",
                r#"{ "config": { "image": "registry.fly.io/web:v2" }, "name": "mine" }"#,
            )
            .takes(&[("fresh", "/id")]),
            post(
                "$machines",
                r#"{ "config": { "image": "registry.fly.io/web:v3" }, "name": "mine" }"#,
            )
            .refused(
                409,
                "already_exists: unique machine name violation, machine ID $fresh already exists with name mine",
            ),
            get("$machines/$fresh")
                .says(&[("/image_ref/tag", "v2"), ("/state", "started")])
                .again(),
            delete("$machines/$fresh?force=true"),
            get("$machines/$fresh/wait?state=destroyed&timeout=60"),
            post(
                "$machines",
                r#"{ "config": { "image": "registry.fly.io/web:v3" }, "name": "mine" }"#,
            )
            .says(&[("/name", "mine")]),
        ],
    ),
    (
        "waits that are too long, too short, or in vain",
        &[
            get("$machines/$id/wait?state=started&timeout=300").refused(400, "range [1s, 1m0s]"),
            get("$machines/$id/wait?state=started&timeout=0").refused(400, "range [1s, 1m0s]"),
            get("$machines/$id/wait?state=running&timeout=1").refused(400, "unsupported state"),
            get("$machines/$id/wait?state=stopped&timeout=2").refused(408, "deadline_exceeded"),
            get("$machines/00000000000000/wait?timeout=1").refused(404, "not found"),
        ],
    ),
    (
        "what cannot be changed, and what is not there",
        &[
            ID,
            post("$machines/$id", r#"{ "config": "$config", "region": "syd" }"#)
                .refused(400, "cannot be changed"),
            post("$machines/$id", r#"{ "config": "$config", "name": "other" }"#)
                .refused(400, "cannot be changed"),
            post("$machines/$id", "[]").refused(400, "json: cannot unmarshal"),
            delete("$machines/00000000000000?kill=true").refused(404, "machine not found"),
            patch("/api/v1/releases/none", r#"{ "status": "running" }"#)
                .refused(404, "release 'none' not found"),
        ],
    ),
];

pub(crate) async fn all(tables: &[(&str, &[Row])]) {
    for (name, rows) in tables {
        replay(name, rows).await;
    }
}

#[tokio::test]
async fn updates_of_flyctl_are_answered() {
    all(&UPDATES).await;
}

#[tokio::test]
async fn destroys_of_flyctl_are_answered() {
    all(&DESTROYS).await;
}

#[tokio::test]
async fn what_flyctl_must_not_do_is_refused() {
    all(&REFUSALS).await;
}
