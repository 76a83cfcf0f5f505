//! A client of a few lines: one connection a request, so that cut answers are seen as they are.

use std::net::SocketAddr;

use groundcrew_fleet::{Generated, Settings, generate};
use groundcrew_simulator::{DEFAULT_TOKEN, Pace, Running, SimulatorConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back; no status if the connection was cut before one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> u16 {
        self.status.unwrap_or(0)
    }
}

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn of(running: &Running) -> Client {
        Client {
            address: running.address(),
            token: DEFAULT_TOKEN.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Client {
        let mut headers = self.headers.clone();
        headers.push((name.into(), value.into()));
        Client {
            address: self.address,
            token: self.token.clone(),
            headers,
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the simulator listens");
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
            self.token,
            body.len()
        );
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request is taken");
        let mut bytes = Vec::new();
        // An error here is a cut connection, which some tests ask for.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status,
            head: head.into(),
            body: body.into(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body).await
    }
}

/// A simulator with `machines` in the app `web`, fifty times as fast as the world.
pub(crate) async fn simulator(
    machines: usize,
    change: impl FnOnce(&mut SimulatorConfig),
) -> (Running, Client) {
    let wanted = Generated {
        machines,
        apps: 1,
        idle_ones: false,
    };
    let fleet = generate(
        Settings {
            seed: 7,
            ..Settings::default()
        },
        &wanted,
    );
    let mut config = SimulatorConfig::new(fleet);
    config.pace = Pace::Scaled(50.0);
    config.rate_limits = false;
    change(&mut config);
    let running = config.start().await.expect("a free port");
    let client = Client::of(&running);
    (running, client)
}

pub(crate) fn first(running: &Running) -> String {
    running.act(|fleet| fleet.machine_ids("web").remove(0))
}

/// The path of a Machine's route.
pub(crate) fn path(id: &str, rest: &str) -> String {
    format!("/v1/apps/web/machines/{id}{rest}")
}
