//! What flyctl sends for the commands that act on one Machine and change nothing of its
//! configuration, replayed; and flyctl itself where there is one. What it sends to update, destroy
//! and deploy is in `sequences`.

use crate::client::{Client, first, path, simulator};

/// One request of flyctl: method, rest of the Machine's path, body, expected status. `LEASE`
/// marks the taking of the lease, after which its nonce is sent along.
type Step = (&'static str, &'static str, &'static str, u16);

const LEASE: Step = ("POST", "/lease?ttl=120", "", 201);
const RELEASE: Step = ("DELETE", "/lease", "", 200);
const GET: Step = ("GET", "", "", 200);

/// The sequences, from reading flyctl of 2026-08-21.
const COMMANDS: [(&str, &[Step]); 8] = [
    (
        "restart",
        &[
            GET,
            LEASE,
            ("POST", "/restart?force_stop=false", "", 200),
            ("GET", "/wait?state=started&timeout=60", "", 200),
            GET,
            RELEASE,
        ],
    ),
    (
        "stop",
        &[
            GET,
            LEASE,
            (
                "POST",
                "/stop",
                r#"{"id":"x","signal":"SIGINT","timeout":"5s"}"#,
                200,
            ),
            GET,
            ("GET", "/wait?state=stopped", "", 200),
            RELEASE,
        ],
    ),
    ("start", &[GET, LEASE, ("POST", "/start", "", 200), RELEASE]),
    (
        "started",
        &[("GET", "/wait?state=started&timeout=60", "", 200)],
    ),
    (
        "cordon",
        &[GET, LEASE, ("POST", "/cordon", "", 200), RELEASE],
    ),
    (
        "uncordon",
        &[GET, LEASE, ("POST", "/uncordon", "", 200), RELEASE],
    ),
    (
        "suspend",
        &[
            GET,
            LEASE,
            ("POST", "/suspend", "", 200),
            ("GET", "/wait?state=suspended", "", 200),
            RELEASE,
        ],
    ),
    ("destroy", &[GET, LEASE, ("DELETE", "?kill=true", "", 200)]),
];

async fn replay(client: &Client, id: &str, command: &str, steps: &[Step]) {
    let mut client = client.with("user-agent", "flyctl");
    for step in steps {
        let (method, rest, body, status) = *step;
        let answer = client.send(method, &path(id, rest), body).await;
        assert_eq!(
            answer.code(),
            status,
            "{command}: {method} {rest}: {}",
            answer.body
        );
        assert!(answer.json().is_object(), "{command}: {method} {rest}");
        if *step == LEASE {
            let lease = answer.json();
            assert_eq!(lease["status"], "success");
            client = client.with(
                "fly-machine-lease-nonce",
                lease["data"]["nonce"].as_str().expect("a nonce"),
            );
        }
    }
}

#[tokio::test]
async fn the_requests_of_flyctl_are_answered() {
    let (running, client) = simulator(3, |_| {}).await;
    let id = first(&running);
    assert_eq!(
        client
            .get("/v1/apps/web/machines")
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    for (command, steps) in COMMANDS {
        replay(&client, &id, command, steps).await;
    }
}

async fn flyctl(
    program: &str,
    url: &str,
    home: &std::path::Path,
    arguments: &[&str],
) -> std::process::Output {
    tokio::process::Command::new(program)
        .args(arguments)
        .env("FLY_FLAPS_BASE_URL", url)
        .env("FLY_API_BASE_URL", url)
        .env("FLY_ACCESS_TOKEN", groundcrew_simulator::DEFAULT_TOKEN)
        .env("FLY_CONFIG_DIR", home)
        .envs([
            ("FLY_SEND_METRICS", "0"),
            ("FLY_SYNTHETICS_AGENT", "0"),
            ("FLY_NO_UPDATE_CHECK", "1"),
            ("CI", "1"),
            ("NO_COLOR", "1"),
        ])
        .output()
        .await
        .expect("flyctl runs")
}

#[tokio::test]
async fn a_real_flyctl_works() {
    let mut found = None;
    for program in ["flyctl", "fly"] {
        let version = tokio::process::Command::new(program)
            .arg("version")
            .output()
            .await;
        if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("fly")) {
            found = Some(program);
            break;
        }
    }
    let Some(program) = found else {
        eprintln!("NOT RUN: there is no flyctl on PATH; only its recorded requests were replayed");
        return;
    };
    let (running, _) = simulator(3, |_| {}).await;
    let id = first(&running);
    let home = std::env::temp_dir().join(format!("groundcrew-flyctl-{}", std::process::id()));
    let url = running.base_url();
    let commands: [&[&str]; 6] = [
        &["machine", "list", "-a", "web", "--json"],
        &["machine", "restart", &id, "-a", "web"],
        &["machine", "stop", &id, "-a", "web", "-w", "30s"],
        &["machine", "start", &id, "-a", "web"],
        &["machine", "cordon", &id, "-a", "web"],
        &["machine", "uncordon", &id, "-a", "web"],
    ];
    for arguments in commands {
        let output = flyctl(program, &url, &home, arguments).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
