//! The baselines that do the same requests with nothing but an HTTP client.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use groundcrew_simulator::DEFAULT_TOKEN;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    address: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restart {
    address: String,
    app: String,
    parallel: usize,
}

pub(crate) fn client() -> Result<Client> {
    // Fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(70))
        .build()?)
}

/// One request; the answer does not matter.
pub(crate) async fn request(arguments: Request) -> Result<()> {
    let url = format!("{}/v1/apps/web/machines", arguments.address);
    let _ = client()?.get(url).bearer_auth(DEFAULT_TOKEN).send().await;
    Ok(())
}

/// What every script of this kind does: for each Machine take the lease, restart it, wait until it
/// has started, look until its checks have passed since, and give the lease back.
pub(crate) async fn restart(arguments: Restart) -> Result<()> {
    let client = client()?;
    let base = format!("{}/v1/apps/{}/machines", arguments.address, arguments.app);
    let list = answer(client.get(&base).bearer_auth(DEFAULT_TOKEN)).await?;
    let ids: Vec<String> = list
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(|machine| machine.get("id")?.as_str().map(str::to_owned))
        .collect();
    stream::iter(ids)
        .map(|id| one(&client, format!("{base}/{id}")))
        .buffer_unordered(arguments.parallel)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn one(client: &Client, machine: String) -> Result<()> {
    let ask = |method: Method, path: &str| {
        client
            .request(method, format!("{machine}{path}"))
            .bearer_auth(DEFAULT_TOKEN)
    };
    let before = newest_event(&answer(ask(Method::GET, "")).await?);
    let lease = answer(ask(Method::POST, "/lease").json(&json!({ "ttl": 60 }))).await?;
    let nonce = lease
        .pointer("/data/nonce")
        .and_then(Value::as_str)
        .context("no nonce")?
        .to_owned();
    answer(ask(Method::POST, "/restart").header("fly-machine-lease-nonce", &nonce)).await?;
    answer(ask(
        Method::GET,
        &format!("/wait?state=started&timeout=60&from_event_id={before}"),
    ))
    .await?;
    while !healthy(&answer(ask(Method::GET, "")).await?, &before) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    answer(ask(Method::DELETE, "/lease").header("fly-machine-lease-nonce", &nonce)).await?;
    Ok(())
}

async fn answer(request: RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn events(machine: &Value) -> impl Iterator<Item = (&str, &str, u64)> {
    let events = machine.get("events").and_then(Value::as_array);
    events.into_iter().flatten().filter_map(|event| {
        Some((
            event.get("id")?.as_str()?,
            event.get("type")?.as_str()?,
            event.get("timestamp")?.as_u64()?,
        ))
    })
}

fn newest_event(machine: &Value) -> String {
    events(machine)
        .map(|(id, ..)| id)
        .max()
        .unwrap_or_default()
        .to_owned()
}

/// Whether it has started since `before` and every check has passed after that.
fn healthy(machine: &Value, before: &str) -> bool {
    let Some(start) = events(machine)
        .filter(|(id, kind, _)| *kind == "start" && *id > before)
        .map(|(.., at)| at)
        .max()
    else {
        return false;
    };
    let checks = machine.get("checks").and_then(Value::as_array);
    checks.into_iter().flatten().all(|check| {
        let field = |name: &str| check.get(name).and_then(Value::as_str).unwrap_or_default();
        let updated = field("updated_at").parse::<jiff::Timestamp>();
        field("status") == "passing"
            && updated.is_ok_and(|at| u64::try_from(at.as_millisecond()).is_ok_and(|at| at > start))
    })
}
