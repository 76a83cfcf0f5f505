//! The requests of flyctl's `deploy --image`, by strategy, and of its release command, as tables.
//!
//! From reading flyctl and fly-go of 2026-08-21; the release command from a flyctl that is older by
//! some months. What is left out, as the simulator does not serve it: GraphQL (the app's
//! configuration, `canPerformBluegreenDeployment`), the resolving of an image (GraphQL and builds),
//! logs, metrics, feature flags, DNS checks, and the `ps` of the warning about listen addresses.
//! What flyctl does for many Machines at once is here one after another. Each request and each
//! answer of the Machines API is validated against Fly's document as well.
//!
//! *Assumed*: that a canary's Machine is destroyed with `kill=true` once it is healthy, and the
//! order in which a deploy takes its leases.

use crate::replay::{Row, delete, get, patch, pause, post};
use crate::sequences::{DESTROYED, HEALTHY, ID, NOT_LEASED, RELEASE, all};

/// What a deploy begins with.
const APP: Row = get("/v1/apps/web").says(&[("/status", "deployed")]);
const LIST: Row = get("$machines").says(&[("/0/host_status", "ok")]);
const RUNNING: Row = patch(
    "/api/v1/releases/$release",
    r#"{ "status": "running", "metadata": null }"#,
)
.says(&[("/status", "running"), ("/in_progress", "true")]);
/// And what it ends with.
const COMPLETE: Row = patch(
    "/api/v1/releases/$release",
    r#"{ "status": "complete", "metadata": null }"#,
)
.says(&[("/status", "complete"), ("/in_progress", "false")]);
const FAILED: Row = patch(
    "/api/v1/releases/$release",
    r#"{ "status": "failed", "metadata": null }"#,
)
.says(&[("/status", "failed"), ("/stable", "false")]);
const CURRENT: Row = get("/api/v1/apps/web/releases/current").says(&[("/id", "$release")]);

const SECOND: Row = get("$machines/$second").takes(&[("config2", "/config")]);
const WORKER: Row = get("$machines/$worker").takes(&[("config3", "/config")]);

/// A deploy's leases: they are refreshed.
const LEASE_1: Row = post("$machines/$id/lease?ttl=13", "")
    .is(201)
    .takes(&[("nonce", "/data/nonce")]);
const LEASE_2: Row = post("$machines/$second/lease?ttl=13", "")
    .is(201)
    .takes(&[("nonce2", "/data/nonce")]);
const LEASE_3: Row = post("$machines/$worker/lease?ttl=13", "")
    .is(201)
    .takes(&[("nonce3", "/data/nonce")]);
const RELEASE_2: Row = delete("$machines/$second/lease").holding("$nonce2");
const RELEASE_3: Row = delete("$machines/$worker/lease").holding("$nonce3");

const fn recorded(body: &'static str) -> Row {
    post("/api/v1/releases", body)
        .is(201)
        .says(&[("/release/status", "pending"), ("/release/version", "1")])
        .takes(&[("release", "/release/id")])
}

const DEPLOYS: [(&str, &[Row]); 5] = [
    (
        "deploy --image --strategy rolling",
        &[
            APP,
            LIST,
            ID,
            SECOND,
            WORKER,
            recorded(
                r#"{ "app_name": "web", "strategy": "ROLLING", "definition": { "app": "web" },
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            LEASE_1,
            LEASE_2,
            LEASE_3,
            // The first of a group alone.
            post(
                "$machines/$id",
                r#"{
                    "config": {
                        "$patch": "$config",
                        "image": "registry.fly.io/web:v2",
                        "metadata": { "fly_release_id": "$release", "fly_release_version": "1" }
                    },
                    "region": "$region"
                }"#,
            )
            .holding("$nonce")
            .takes(&[("updated", "/instance_id")]),
            get("$machines/$id/wait?instance_id=$updated&state=started&timeout=60")
                .says(&[("/version", "$updated")]),
            // Smoke checks: ten seconds of looking.
            get("$machines/$id").says(&[("/state", "started")]),
            pause("10000"),
            HEALTHY.says(&[("/instance_id", "$updated"), ("/checks/0/status", "passing")]),
            RELEASE,
            post(
                "$machines/$second",
                r#"{ "config": { "$patch": "$config2", "image": "registry.fly.io/web:v2",
                     "metadata": { "fly_release_id": "$release", "fly_release_version": "1" } } }"#,
            )
            .holding("$nonce2")
            .takes(&[("updated", "/instance_id")]),
            get("$machines/$second/wait?instance_id=$updated&state=started&timeout=60"),
            get("$machines/$second")
                .says(&[("/state", "started"), ("/checks/0/status", "passing")])
                .again(),
            RELEASE_2,
            post(
                "$machines/$worker",
                r#"{ "config": { "$patch": "$config3", "image": "registry.fly.io/web:v2",
                     "metadata": { "fly_release_id": "$release", "fly_release_version": "1" } } }"#,
            )
            .holding("$nonce3")
            .takes(&[("updated", "/instance_id")]),
            get("$machines/$worker/wait?instance_id=$updated&state=started&timeout=60"),
            get("$machines/$worker")
                .says(&[("/state", "started"), ("/checks/0/status", "passing")])
                .again(),
            RELEASE_3,
            COMPLETE,
            CURRENT.says(&[("/id", "$release"), ("/stable", "true")]),
            NOT_LEASED,
            get("$machines?metadata.fly_release_id=$release").says(&[
                ("/0/image_ref/tag", "v2"),
                ("/1/image_ref/tag", "v2"),
                ("/2/image_ref/tag", "v2"),
            ]),
        ],
    ),
    (
        "deploy --image --strategy immediate: nothing is waited for",
        &[
            APP,
            LIST,
            ID,
            SECOND,
            WORKER,
            recorded(
                r#"{ "app_name": "web", "strategy": "IMMEDIATE", "definition": {},
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            LEASE_1,
            LEASE_2,
            LEASE_3,
            post(
                "$machines/$id",
                r#"{ "config": { "$patch": "$config", "image": "registry.fly.io/web:v2" } }"#,
            )
            .holding("$nonce"),
            post(
                "$machines/$second",
                r#"{ "config": { "$patch": "$config2", "image": "registry.fly.io/web:v2" } }"#,
            )
            .holding("$nonce2"),
            post(
                "$machines/$worker",
                r#"{ "config": { "$patch": "$config3", "image": "registry.fly.io/web:v2" } }"#,
            )
            .holding("$nonce3"),
            RELEASE,
            RELEASE_2,
            RELEASE_3,
            COMPLETE,
            get("$machines").says(&[
                ("/0/state", "replacing"),
                ("/1/state", "replacing"),
                ("/2/state", "replacing"),
            ]),
            HEALTHY,
        ],
    ),
    (
        "deploy --image --strategy canary: one Machine more, then rolling",
        &[
            APP,
            LIST,
            ID,
            recorded(
                r#"{ "app_name": "web", "strategy": "CANARY", "definition": {},
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            post(
                "$machines",
                r#"{
                    "config": {
                        "$patch": "$config",
                        "image": "registry.fly.io/web:v2",
                        "metadata": { "fly_canary": "true", "fly_release_id": "$release" }
                    },
                    "region": "$region"
                }"#,
            )
            .says(&[("/config/metadata/fly_canary", r#""true""#)])
            .takes(&[("canary", "/id"), ("made", "/instance_id")]),
            get("$machines/$canary/wait?instance_id=$made&state=started&timeout=60").again(),
            get("$machines/$canary")
                .says(&[("/checks/0/status", "passing")])
                .again(),
            delete("$machines/$canary?kill=true"),
            get("$machines/$canary/wait?instance_id=$made&state=destroyed&timeout=60"),
            LEASE_1,
            post(
                "$machines/$id",
                r#"{ "config": { "$patch": "$config", "image": "registry.fly.io/web:v2" } }"#,
            )
            .holding("$nonce")
            .takes(&[("updated", "/instance_id")]),
            get("$machines/$id/wait?instance_id=$updated&state=started&timeout=60"),
            HEALTHY,
            RELEASE,
            COMPLETE,
        ],
    ),
    (
        "deploy of a Machine that cannot be updated in place: destroyed, and launched with a lease",
        &[
            ID,
            LEASE_1,
            delete("$machines/$id?kill=true").holding("$nonce"),
            post(
                "$machines",
                r#"{
                    "config": { "$patch": "$config", "image": "registry.fly.io/web:v2" },
                    "region": "$region",
                    "lease_ttl": 300
                }"#,
            )
            .takes(&[("fresh", "/id"), ("nonce2", "/nonce")]),
            get("$machines/$fresh/wait?state=started&timeout=60").again(),
            post("$machines/$fresh/cordon", "").refused(409, "lease currently held by"),
            delete("$machines/$fresh/lease").holding("$nonce2"),
            get("$machines/$fresh/lease").is(404),
        ],
    ),
    (
        "deploy of which a check fails: the rest is left, nothing is rolled back",
        &[
            ID,
            recorded(
                r#"{ "app_name": "web", "strategy": "ROLLING", "definition": {},
                     "image": "registry.fly.io/web:sim-unhealthy", "build_id": 0 }"#,
            ),
            RUNNING,
            LEASE_1,
            post(
                "$machines/$id",
                r#"{ "config": { "$patch": "$config", "image": "registry.fly.io/web:sim-unhealthy" } }"#,
            )
            .holding("$nonce")
            .takes(&[("updated", "/instance_id")]),
            get("$machines/$id/wait?instance_id=$updated&state=started&timeout=60"),
            get("$machines/$id")
                .says(&[("/state", "started"), ("/checks/0/status", "critical")])
                .again(),
            RELEASE,
            FAILED,
            CURRENT.says(&[("/id", "$release"), ("/status", "failed")]),
            get("$machines/$second").says(&[("/checks/0/status", "passing")]),
        ],
    ),
];

/// A green Machine: not registered, with its tags and the check that flyctl copies.
const GREEN: &str = r#"{
    "config": {
        "$patch": "$config",
        "image": "registry.fly.io/web:v2",
        "metadata": {
            "fly_bluegreen_deployment_tag": "1767225600",
            "fly_flyctl_bluegreen_launch_id": "01KE00000000000000000000A1",
            "fly_release_id": "$release"
        },
        "checks": { "bg_deployments_http": { "type": "http", "port": 3000, "path": "/up" } }
    },
    "region": "fra",
    "skip_service_registration": true
}"#;

const TAG: &str = r#"{ "value": "safe_to_destroy" }"#;
const STOP: &str = r#"{ "signal": "SIGTERM" }"#;

const BLUEGREEN: [(&str, &[Row]); 2] = [
    (
        "deploy --image --strategy bluegreen, of two Machines",
        &[
            APP,
            LIST,
            ID,
            SECOND,
            recorded(
                r#"{ "app_name": "web", "strategy": "BLUEGREEN", "definition": {},
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            LEASE_1,
            LEASE_2,
            post("$machines", GREEN)
                .says(&[("/cordoned", "true")])
                .takes(&[("green1", "/id"), ("version1", "/instance_id")]),
            post("$machines", GREEN)
                .says(&[("/cordoned", "true")])
                .takes(&[("green2", "/id"), ("version2", "/instance_id")]),
            pause("300"),
            get("$machines/$green1/wait?instance_id=$version1&state=started&timeout=60").again(),
            get("$machines/$green2/wait?instance_id=$version2&state=started&timeout=60").again(),
            get("$machines/$green1")
                .says(&[
                    ("/checks/0/name", "bg_deployments_http"),
                    ("/checks/0/status", "passing"),
                    ("/checks/1/status", "passing"),
                ])
                .again(),
            get("$machines/$green2")
                .says(&[
                    ("/checks/0/status", "passing"),
                    ("/checks/1/status", "passing"),
                ])
                .again(),
            // From here on the green ones stay.
            post("$machines/$green1/uncordon", "").says(&[("/ok", "true")]),
            post("$machines/$green2/uncordon", ""),
            // Metadata ask for no lease.
            post("$machines/$id/metadata/fly_bluegreen_deployment_tag", TAG).is(204),
            post(
                "$machines/$second/metadata/fly_bluegreen_deployment_tag",
                TAG,
            )
            .is(204),
            pause("10000"),
            post("$machines/$id/cordon", "").holding("$nonce"),
            post("$machines/$second/cordon", "").holding("$nonce2"),
            pause("10000"),
            post("$machines/$id/stop", STOP).holding("$nonce"),
            post("$machines/$second/stop", STOP).holding("$nonce2"),
            get("$machines/$id/wait?instance_id=$version&state=stopped&timeout=60"),
            get("$machines/$second/wait?state=stopped&timeout=60"),
            get("$machines/$id").says(&[
                (
                    "/config/metadata/fly_bluegreen_deployment_tag",
                    "safe_to_destroy",
                ),
                ("/instance_id", "$version"),
                ("/cordoned", "true"),
            ]),
            delete("$machines/$id?kill=true").holding("$nonce"),
            delete("$machines/$second?kill=true").holding("$nonce2"),
            COMPLETE,
            DESTROYED,
            get("$machines/$second/wait?state=destroyed&timeout=60"),
            get("$machines?metadata.fly_release_id=$release").says(&[
                ("/0/state", "started"),
                ("/1/state", "started"),
                ("/0/image_ref/tag", "v2"),
                ("/1/image_ref/tag", "v2"),
            ]),
        ],
    ),
    (
        "deploy --strategy bluegreen whose green Machine is never healthy: rolled back",
        &[
            ID,
            recorded(
                r#"{ "app_name": "web", "strategy": "BLUEGREEN", "definition": {},
                     "image": "registry.fly.io/web:sim-unhealthy", "build_id": 0 }"#,
            ),
            RUNNING,
            LEASE_1,
            post(
                "$machines",
                r#"{
                    "config": { "$patch": "$config", "image": "registry.fly.io/web:sim-unhealthy" },
                    "region": "fra",
                    "skip_service_registration": true
                }"#,
            )
            .takes(&[("green", "/id"), ("made", "/instance_id")]),
            get("$machines/$green/wait?instance_id=$made&state=started&timeout=60").again(),
            get("$machines/$green")
                .says(&[("/checks/0/status", "critical"), ("/cordoned", "true")])
                .again(),
            delete("$machines/$green?kill=true"),
            get("$machines/$green/wait?instance_id=$made&state=destroyed&timeout=60"),
            RELEASE,
            FAILED,
            ID.says(&[("/state", "started"), ("/config", "$config")]),
        ],
    ),
];

/// A release command's Machine: made and not started, so that its logs can be followed.
const COMMAND: &str = r#"{
    "config": {
        "image": "registry.fly.io/web:sim-exits-0",
        "init": { "cmd": ["bin/rails", "db:migrate"] },
        "restart": { "policy": "no" },
        "auto_destroy": true,
        "guest": { "cpu_kind": "shared", "cpus": 2, "memory_mb": 512 },
        "env": { "RELEASE_COMMAND": "1", "FLY_PROCESS_GROUP": "fly_app_release_command" },
        "metadata": {
            "fly_platform_version": "v2",
            "fly_process_group": "fly_app_release_command",
            "fly_release_id": "$release"
        }
    },
    "region": "fra",
    "skip_launch": true
}"#;

const FAILING_COMMAND: &str = r#"{
    "config": {
        "image": "registry.fly.io/web:sim-exits-3",
        "restart": { "policy": "no" },
        "auto_destroy": true,
        "metadata": { "fly_process_group": "fly_app_release_command" }
    },
    "skip_launch": false
}"#;

const RELEASE_COMMANDS: [(&str, &[Row]); 2] = [
    (
        "release command",
        &[
            APP,
            LIST,
            recorded(
                r#"{ "app_name": "web", "strategy": "ROLLING", "definition": {},
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            post("$machines", COMMAND).takes(&[("command", "/id"), ("made", "/instance_id")]),
            // flyctl calls `stopped` what the table of states calls `created`.
            get("$machines/$command/wait?instance_id=$made&state=stopped&timeout=60")
                .says(&[("/version", "$made")])
                .again(),
            post("$machines/$command/start", ""),
            get("$machines/$command/wait?instance_id=$made&state=started&timeout=60"),
            get("$machines/$command/wait?instance_id=$made&state=destroyed&timeout=60"),
            get("$machines/$command").says(&[
                ("/state", "destroyed"),
                ("/events/2/type", "exit"),
                ("/events/2/request/exit_event/exit_code", "0"),
                ("/events/2/request/exit_event/requested_stop", "false"),
                ("/events/3/type", "start"),
            ]),
            COMPLETE,
        ],
    ),
    (
        "release command that fails, of an older flyctl: started with its create",
        &[
            ID,
            recorded(
                r#"{ "app_name": "web", "strategy": "ROLLING", "definition": {},
                     "image": "registry.fly.io/web:v2", "build_id": 0 }"#,
            ),
            RUNNING,
            post("$machines", FAILING_COMMAND)
                .takes(&[("command", "/id"), ("made", "/instance_id")]),
            get("$machines/$command/wait?instance_id=$made&state=started&timeout=60").again(),
            get("$machines/$command/wait?instance_id=$made&state=destroyed&timeout=60"),
            get("$machines/$command").says(&[
                ("/events/2/type", "exit"),
                ("/events/2/request/exit_event/exit_code", "3"),
                ("/events/2/request/exit_event/restarting", "false"),
            ]),
            FAILED,
            ID.says(&[("/config", "$config"), ("/instance_id", "$version")]),
        ],
    ),
];

#[tokio::test]
async fn deploys_of_flyctl_are_answered() {
    all(&DEPLOYS).await;
}

#[tokio::test]
async fn bluegreen_deploys_of_flyctl_are_answered() {
    all(&BLUEGREEN).await;
}

#[tokio::test]
async fn release_commands_of_flyctl_are_answered() {
    all(&RELEASE_COMMANDS).await;
}
