//! Replaying a table of requests: each row is sent, its answer is checked, and what later rows
//! need is taken out of it.
//!
//! Time goes by hand, so a lease runs out only where a table lets it: it moves while a `wait` is
//! open, before a row is asked again, and in pauses. As flyctl does in the background, leases of
//! [`DEPLOY_TTL`] are refreshed every [`REFRESH_MS`] until they are given back.
//!
//! What begins with `$` in a path, a body or an expectation is a value that was taken earlier. A
//! body may say `{"$patch": "$config", "env": {..}}`: the value taken, merged with the rest.

use std::collections::BTreeMap;

use groundcrew_simulator::{Pace, Running};
use serde_json::Value;

use crate::client::{Answer, Client, simulator};
use crate::document::Document;

/// The header of a lease's nonce.
const NONCE: &str = "fly-machine-lease-nonce";

/// What marks the lease of a deploy: flyctl's `lease-timeout`.
const DEPLOY_TTL: &str = "/lease?ttl=13";

/// A third of that, less a little: flyctl's delay between two refreshes.
const REFRESH_MS: u64 = 4_000;

/// How far time goes at once while somebody waits, and while nobody does.
const STEP_MS: u64 = 50;
const STRIDE_MS: u64 = 500;

/// How long flyctl lets pass before it asks again, and how long we let it go on.
const AGAIN_MS: u64 = 1_000;
const PATIENCE_MS: u64 = 120_000;

/// One request and what is expected of its answer.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Row {
    method: &'static str,
    path: &'static str,
    nonce: &'static str,
    body: &'static str,
    status: u16,
    words: &'static str,
    says: &'static [(&'static str, &'static str)],
    takes: &'static [(&'static str, &'static str)],
    again: bool,
}

impl Row {
    const fn new(method: &'static str, path: &'static str, body: &'static str) -> Row {
        Row {
            method,
            path,
            nonce: "",
            body,
            status: 200,
            words: "",
            says: &[],
            takes: &[],
            again: false,
        }
    }

    /// With this lease.
    pub(crate) const fn holding(self, nonce: &'static str) -> Row {
        Row { nonce, ..self }
    }

    /// Answered with this status instead of 200.
    pub(crate) const fn is(self, status: u16) -> Row {
        Row { status, ..self }
    }

    /// Refused with these words in the `error`.
    pub(crate) const fn refused(self, status: u16, words: &'static str) -> Row {
        Row {
            status,
            words,
            ..self
        }
    }

    /// The answer has these values at these pointers: JSON, or a text as it is.
    pub(crate) const fn says(self, says: &'static [(&'static str, &'static str)]) -> Row {
        Row { says, ..self }
    }

    /// What later rows need: a name, and the pointer to its value.
    pub(crate) const fn takes(self, takes: &'static [(&'static str, &'static str)]) -> Row {
        Row { takes, ..self }
    }

    /// Asked again every second until the answer is as expected: for checks to pass, and after a
    /// create, which Fly may answer with 404 for a while.
    pub(crate) const fn again(self) -> Row {
        Row {
            again: true,
            ..self
        }
    }
}

pub(crate) const fn get(path: &'static str) -> Row {
    Row::new("GET", path, "")
}

pub(crate) const fn post(path: &'static str, body: &'static str) -> Row {
    Row::new("POST", path, body)
}

pub(crate) const fn patch(path: &'static str, body: &'static str) -> Row {
    Row::new("PATCH", path, body)
}

pub(crate) const fn delete(path: &'static str) -> Row {
    Row::new("DELETE", path, "")
}

/// Lets so many milliseconds pass.
pub(crate) const fn pause(millis: &'static str) -> Row {
    Row::new("PAUSE", millis, "")
}

/// Sends a table's rows to a fleet of three Machines: `$id` and `$second` of one process group,
/// `$worker` of another.
pub(crate) async fn replay(table: &str, rows: &[Row]) {
    let (running, client) = simulator(3, |config| config.pace = Pace::ByHand).await;
    let mut replay = Replay::of(&running, &client, table).await;
    for (index, row) in rows.iter().enumerate() {
        replay.place = format!("{table}, row {index}: {} {}", row.method, row.path);
        replay.row(row).await;
    }
}

struct Replay<'a> {
    running: &'a Running,
    client: Client,
    document: Document,
    place: String,
    values: BTreeMap<String, Value>,
    /// The paths of the leases that are refreshed, and their nonces.
    leases: BTreeMap<String, String>,
    since_refresh: u64,
    /// Simulated milliseconds since the beginning.
    passed: u64,
}

impl<'a> Replay<'a> {
    async fn of(running: &'a Running, client: &Client, table: &str) -> Replay<'a> {
        let mut values = BTreeMap::from([("machines".into(), "/v1/apps/web/machines".into())]);
        let listed = client.get("/v1/apps/web/machines").await.json();
        for machine in listed.as_array().into_iter().flatten() {
            let worker = machine["config"]["metadata"]["fly_process_group"] == "worker";
            let name = match values.contains_key("id") {
                _ if worker => "worker",
                true => "second",
                false => "id",
            };
            values.insert(name.into(), machine["id"].clone());
        }
        Replay {
            running,
            client: client.with("user-agent", "flyctl"),
            document: Document::read(),
            place: table.into(),
            values,
            leases: BTreeMap::new(),
            since_refresh: 0,
            passed: 0,
        }
    }

    async fn row(&mut self, row: &Row) {
        if row.method == "PAUSE" {
            let millis: u64 = row.path.parse().expect("milliseconds");
            self.pass_all(millis).await;
            return;
        }
        let patience = if row.again { PATIENCE_MS } else { 0 };
        let until = self.passed + patience;
        loop {
            let answer = self.send(row).await;
            match self.wrong(row, &answer) {
                None => return self.keep(row, &answer),
                Some(why) => assert!(self.passed < until, "{}: {why}", self.place),
            }
            self.pass_all(AGAIN_MS).await;
        }
    }

    async fn send(&mut self, row: &Row) -> Answer {
        let path = self.text(row.path);
        let body = match row.body {
            "" => String::new(),
            text => self.filled(&json(text)).to_string(),
        };
        let mut client = self.client.with("x-table", "1");
        if !row.nonce.is_empty() {
            client = client.with(NONCE, &self.text(row.nonce));
        }
        let operation = self.document.operation(row.method, &path);
        if let Some(operation) = operation.as_ref().filter(|_| row.status < 400) {
            let request = self.document.request(operation, &body);
            assert_eq!(request, Ok(()), "{}: the request", self.place);
        }
        let sending = client.send(row.method, &path, &body);
        tokio::pin!(sending);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut sending => break answer,
                () = self.pass(STEP_MS), if path.contains("/wait?") => {}
            }
        };
        if let Some(operation) = operation {
            let sound = self
                .document
                .answer(&operation, answer.code(), &answer.body);
            assert!(sound.is_ok(), "{}: {sound:?}", self.place);
        }
        answer
    }

    fn wrong(&self, row: &Row, answer: &Answer) -> Option<String> {
        let said = answer.json();
        let differs = |(pointer, expected): &(&str, &str)| {
            let expected = self.filled(&expectation(expected));
            (said.pointer(pointer) != Some(&expected))
                .then(|| format!("`{pointer}` is not {expected} in {}", answer.body))
        };
        if answer.code() != row.status {
            return Some(format!("{} {}", answer.code(), answer.body));
        }
        let words = self.text(row.words);
        if !said["error"].as_str().unwrap_or_default().contains(&words) {
            return Some(format!("not `{words}`: {}", answer.body));
        }
        row.says.iter().find_map(differs)
    }

    fn keep(&mut self, row: &Row, answer: &Answer) {
        let said = answer.json();
        for (name, pointer) in row.takes {
            let value = said.pointer(pointer).cloned();
            let value = value.unwrap_or_else(|| panic!("{}: no `{pointer}`", self.place));
            self.values.insert((*name).into(), value);
        }
        let path = self.text(row.path);
        if let Some(of) = path.strip_suffix(DEPLOY_TTL) {
            let nonce = said["data"]["nonce"].as_str().expect("a nonce");
            self.leases.insert(format!("{of}/lease"), nonce.into());
        } else if row.method == "DELETE" {
            let machine = path.split('?').next().unwrap_or_default();
            self.leases.remove(machine);
            self.leases.remove(&format!("{machine}/lease"));
        }
    }

    async fn pass_all(&mut self, millis: u64) {
        let mut left = millis;
        while left > 0 {
            let stride = left.min(STRIDE_MS);
            self.pass(stride).await;
            left -= stride;
        }
    }

    /// Lets a moment pass, here and in the simulator.
    async fn pass(&mut self, millis: u64) {
        self.passed += millis;
        self.since_refresh += millis;
        if self.since_refresh >= REFRESH_MS {
            self.since_refresh = 0;
            for (path, nonce) in &self.leases {
                let holder = self.client.with(NONCE, nonce);
                let refreshed = holder.post(&format!("{path}?ttl=13"), "").await;
                assert_eq!(refreshed.code(), 201, "{}: {refreshed:?}", self.place);
                assert_eq!(refreshed.json()["data"]["nonce"], **nonce, "{}", self.place);
            }
        }
        self.running.move_clock(millis);
        // For the simulator to notice, who answers on this thread.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }

    /// With what was taken in its place, longer names first.
    fn text(&self, text: &str) -> String {
        let mut names: Vec<_> = self.values.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        names
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                text.replace(&format!("${name}"), &value)
            })
    }

    fn filled(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match text.strip_prefix('$') {
                Some(name) if self.values.contains_key(name) => self.values[name].clone(),
                Some(_) | None => Value::String(self.text(text)),
            },
            Value::Array(list) => list.iter().map(|value| self.filled(value)).collect(),
            Value::Object(object) => {
                let mut rest = object.clone();
                let base = rest.remove("$patch");
                let rest = rest
                    .iter()
                    .map(|(key, value)| (key.clone(), self.filled(value)));
                let mut value = base.map_or_else(
                    || Value::Object(Default::default()),
                    |base| self.filled(&base),
                );
                merge(&mut value, rest.collect());
                value
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        }
    }
}

/// A merge patch: objects go into objects, `null` takes away.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Default::default());
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.as_object_mut().map(|object| object.remove(&key))),
            value => merge(&mut into[key], value),
        }
    }
}

fn expectation(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
