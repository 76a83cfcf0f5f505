//! Connections to one service, and how many requests share one.
//!
//! Over HTTP/2 all requests of a client share one connection, and a service takes only so many at
//! once on it. Beyond that they would wait unseen behind long polls of a minute, the refresh of a
//! lease among them. So each client is a lane of at most [`LANE`] requests, and a request that
//! finds every lane full opens another. Over HTTP/1.1 a client opens connections as it needs them,
//! and one lane takes everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Request, Response, Version};
use rustls::ClientConfig;

use crate::service::client;

/// Requests that share one HTTP/2 connection: no service should allow fewer than 100 (RFC 9113,
/// section 6.5.2).
const LANE: usize = 100;

/// A connection that many requests share is asked this often whether it is still there, and has as
/// long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Makes clients, all alike.
pub(super) type Builder = Box<dyn Fn() -> ClientBuilder + Send + Sync>;

pub(super) struct Lanes {
    builder: Builder,
    /// The system's certificates are read once, not for each lane.
    tls: ClientConfig,
    /// Makes requests, and sends them as long as it is not known that the service speaks HTTP/2.
    first: Client,
    multiplexed: AtomicBool,
    lanes: Mutex<Vec<Lane>>,
}

struct Lane {
    client: Client,
    /// Shared with every request that is under way here.
    place: Place,
}

type Place = Arc<()>;

/// An answer whose request keeps its place until this is dropped.
pub struct Answered {
    /// Its status, headers and, still to be read, its body.
    pub response: Response,
    _place: Option<Place>,
}

impl Lanes {
    /// `http2` says that the service is known to speak it, also without TLS.
    pub(super) fn new(builder: Builder, http2: bool) -> Result<Self, String> {
        let mut tls = client::tls()?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let first = builder().tls_backend_preconfigured(tls.clone()).build();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            builder,
            tls,
            first: first.map_err(|e| e.to_string())?,
            multiplexed: AtomicBool::new(http2),
            lanes: Mutex::default(),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.first
    }

    pub(super) async fn send(&self, request: Request) -> reqwest::Result<Answered> {
        if !self.multiplexed.load(Ordering::Relaxed) {
            let response = self.first.execute(request).await?;
            if response.version() == Version::HTTP_2 {
                self.multiplexed.store(true, Ordering::Relaxed);
            }
            return Ok(Answered {
                response,
                _place: None,
            });
        }
        let (client, place) = self.enter()?;
        Ok(Answered {
            response: client.execute(request).await?,
            _place: Some(place),
        })
    }

    /// A place in the first lane that has one, or in a new lane.
    fn enter(&self) -> reqwest::Result<(Client, Place)> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lanes
            .iter()
            .find(|lane| Arc::strong_count(&lane.place) <= LANE);
        if let Some(lane) = free {
            return Ok((lane.client.clone(), lane.place.clone()));
        }
        let client = (self.builder)()
            .tls_backend_preconfigured(self.tls.clone())
            .http2_prior_knowledge()
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build()?;
        let place = Place::default();
        lanes.push(Lane {
            client: client.clone(),
            place: place.clone(),
        });
        Ok((client, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_requests_share_a_lane_and_the_next_opens_another() {
        let lanes = Lanes::new(Box::new(client::builder), true).unwrap();
        let count = || lanes.lanes.lock().unwrap().len();
        let mut under_way: Vec<Place> = (0..LANE).map(|_| lanes.enter().unwrap().1).collect();
        assert_eq!(count(), 1);
        under_way.push(lanes.enter().unwrap().1);
        assert_eq!(count(), 2);
        // A place that is free again is taken before a lane is opened.
        under_way.truncate(LANE - 1);
        let first = lanes.enter().unwrap().1;
        assert!(Arc::ptr_eq(&first, &under_way[0]));
        let second = lanes.enter().unwrap().1;
        assert!(!Arc::ptr_eq(&second, &under_way[0]));
        assert_eq!(count(), 2);
    }
}
