//! The fleet model served over HTTP as Fly's Machines API, with flyctl's releases beside it.
//!
//! For tests, benchmarks, the demo and `groundcrew sim`. It decides nothing about Machines: that
//! is `groundcrew-fleet`. Here are the routes, tokens, rate limits, long polls and the carrying
//! out of faults. What is modelled and from which source is in `FIDELITY.md`.
//!
//! Look first at `handler`, the way of one request, and at `service`, what a service is made of. Fly's
//! routes are in `fly/route.rs`.

#![forbid(unsafe_code)]

mod clock;
mod connection;
mod control;
mod fly;
mod handler;
mod lock;
mod prometheus;
mod query;
mod service;
mod tap;
mod token;
mod wait;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use groundcrew_fleet::{FaultRule, Faults, Fleet, Request};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use clock::Pace;
pub use prometheus::Sample;
pub use tap::Moment;
pub use token::Token;

use clock::Clock;
use connection::{Connection, CuttableListener};
use lock::lock;
use service::Service;
use world::World;

/// Every service. One more is its file and a line here.
fn services() -> Vec<Arc<dyn Service>> {
    vec![
        Arc::new(fly::Machines),
        Arc::new(fly::Releases),
        Arc::new(prometheus::Prometheus::default()),
    ]
}

/// The secret of the default token that may write.
pub const DEFAULT_TOKEN: &str = "sim-token";

/// The secret of the default token that may only read.
pub const DEFAULT_READ_TOKEN: &str = "sim-read-token";

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The fleet.
    pub fleet: Fleet,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// How time passes.
    pub pace: Pace,
    /// The tokens that are known.
    pub tokens: Vec<Token>,
    /// Whether Fly's documented rate limits hold.
    pub rate_limits: bool,
    /// What goes wrong from the start.
    pub faults: Vec<FaultRule>,
}

impl SimulatorConfig {
    /// This fleet on a free loopback port, in real time, with rate limits and without faults.
    pub fn new(fleet: Fleet) -> SimulatorConfig {
        let organisation = fleet.settings().organisation.clone();
        SimulatorConfig {
            fleet,
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pace: Pace::Scaled(1.0),
            tokens: vec![
                Token::read_write(DEFAULT_TOKEN, &organisation),
                Token::read_only(DEFAULT_READ_TOKEN, &organisation),
            ],
            rate_limits: true,
            faults: Vec::new(),
        }
    }

    /// Listens, and serves until [`Running::stop`] or the drop of what is returned.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(self) -> Result<Running, StartError> {
        let bind = self.bind;
        let failed = |source| StartError { bind, source };
        let listener = listen(bind).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let clock = Clock::new(self.fleet.now(), self.pace);
        let faults = Faults::new(self.fleet.settings().seed, self.faults);
        let fleet = Arc::new(Mutex::new(self.fleet));
        let world = Arc::new(World::new(
            fleet,
            clock,
            self.tokens,
            self.rate_limits,
            faults,
            services(),
        ));
        let (stop, stopped) = watch::channel(false);
        let accepted = Arc::new(AtomicU64::new(0));
        let listener = CuttableListener {
            listener,
            accepted: accepted.clone(),
        };
        let driven = world.clone();
        let driver = tokio::spawn(async move { driven.drive().await });
        let server = tokio::spawn(serve(listener, world.clone(), stopped));
        Ok(Running {
            address,
            world,
            accepted,
            stop,
            server: Some(server),
            driver,
        })
    }
}

/// As many as a fleet has Machines may connect at the same moment; the kernel lowers this to its
/// own bound.
const BACKLOG: u32 = 16_384;

fn listen(bind: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match bind {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port whose last server has just stopped can be had again.
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}

async fn serve(listener: CuttableListener, world: Arc<World>, mut stopped: watch::Receiver<bool>) {
    let router = Router::new().fallback(handler::handle).with_state(world);
    let service = router.into_make_service_with_connect_info::<Connection>();
    let stop = async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(stop)
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "the simulator stopped serving");
    }
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}")]
pub struct StartError {
    /// Where.
    bind: SocketAddr,
    /// Why.
    source: std::io::Error,
}

/// A simulator that is serving.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    world: Arc<World>,
    accepted: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
    driver: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://HOST:PORT`, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections have been accepted so far.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The fleet, to look at. To change it use [`Running::act`], which wakes those who wait.
    pub fn fleet(&self) -> Arc<Mutex<Fleet>> {
        self.world.fleet.clone()
    }

    /// Does something to the fleet at the present moment.
    pub fn act<T>(&self, what: impl FnOnce(&mut Fleet) -> T) -> T {
        let result = self.world.act(what);
        self.world.sooner.notify_one();
        result
    }

    /// Replaces the faults in force; they are counted anew.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        *lock(&self.world.faults) = Faults::new(self.world.seed, rules);
    }

    /// Shows every request that is carried out, before it is done and before it is answered. Where
    /// `watch` says false, its connection is cut.
    pub fn tap(&self, watch: impl Fn(Moment, &Request) -> bool + Send + Sync + 'static) {
        self.world.tap.set(Some(Arc::new(watch)));
    }

    /// Shows nothing any more.
    pub fn untap(&self) {
        self.world.tap.set(None);
    }

    /// Moves a clock that goes by hand. False for one that runs by itself.
    pub fn move_clock(&self, millis: u64) -> bool {
        let moved = self.world.clock.move_by(millis);
        self.world.act(|_| ());
        moved
    }

    /// Takes no more connections and waits for the requests in flight, long polls up to
    /// `grace`; then cuts them.
    pub async fn stop(mut self, grace: std::time::Duration) {
        let _ = self.stop.send(true);
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(grace, &mut server).await.is_err()
        {
            server.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.driver.abort();
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}
