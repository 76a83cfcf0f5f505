//! Fly's documented rate limits, on the simulator's clock.
//!
//! A virtual-scheduling limiter (GCRA): one moment per key, no timers. Written out because it is
//! ten lines on our own clock.

use std::collections::HashMap;
use std::sync::Mutex;

use groundcrew_fleet::Time;

use crate::lock::lock;
use crate::service::{Rate, Route};

/// One action on one Machine or app: 1 a second, 3 at once. Fly's documentation of the API.
pub(crate) const ACTION: Rate = Rate {
    gap: 1000,
    burst: 3,
    by_region: false,
};

/// `GET` of one Machine: 5 a second, 10 at once. The same page.
pub(crate) const GET: Rate = Rate {
    gap: 200,
    burst: 10,
    by_region: false,
};

/// A create is limited by app and region: so it is seen in practice (flyctl issue 3961).
pub(crate) const CREATE: Rate = Rate {
    by_region: true,
    ..ACTION
};

/// Keys kept before those that no longer limit anything are dropped.
const KEYS: usize = 50_000;

#[derive(Debug)]
pub(crate) struct Limits {
    /// The first is where a create goes that names none.
    regions: Vec<String>,
    next: Mutex<HashMap<(&'static str, String, String), Time>>,
}

impl Limits {
    pub(crate) fn new(regions: Vec<String>) -> Limits {
        Limits {
            regions,
            next: Mutex::default(),
        }
    }

    /// Whether this request is within its limit, counting it if so. Only what is about an app is
    /// limited.
    pub(crate) fn admit(&self, route: &Route, body: &[u8], now: Time) -> bool {
        let Some(rate) = route.row.rate.filter(|_| !route.app.is_empty()) else {
            return true;
        };
        let on = if rate.by_region {
            self.region(body)
        } else {
            route.id.clone()
        };
        let mut next = lock(&self.next);
        if next.len() > KEYS {
            next.retain(|_, at| *at > now);
        }
        let at = next
            .entry((route.row.name, route.app.clone(), on))
            .or_insert(now);
        let due = (*at).max(now);
        let admitted = due.since(now) <= rate.gap * (rate.burst - 1);
        if admitted {
            *at = due.after(rate.gap);
        }
        admitted
    }

    /// The region that a create asks for, or the one that it will get. One that does not exist is
    /// refused later, and counts for the same.
    fn region(&self, body: &[u8]) -> String {
        #[derive(serde::Deserialize)]
        struct Region {
            region: Option<String>,
        }
        let asked = serde_json::from_slice::<Region>(body).ok();
        let asked = asked.and_then(|body| body.region);
        let known = asked.filter(|region| self.regions.contains(region));
        known
            .or_else(|| self.regions.first().cloned())
            .unwrap_or_default()
    }
}
