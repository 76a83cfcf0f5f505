//! Fly's documented rate limits, on the simulator's clock.
//!
//! A virtual-scheduling limiter (GCRA): one moment per key, no timers. Written out because it is
//! ten lines on our own clock.

use std::collections::HashMap;

use groundcrew_fleet::Time;

use crate::fly::route::{Route, Verb};

/// One action on one Machine or app: 1 a second, 3 at once. Fly's documentation of the API.
///
/// A create is limited by app and region: so it is seen in practice (flyctl issue 3961).
const ACTION: (u64, u64) = (1000, 3);

/// `GET` of one Machine: 5 a second, 10 at once. The same page.
const GET: (u64, u64) = (200, 10);

/// Keys kept before those that no longer limit anything are dropped.
const KEYS: usize = 50_000;

#[derive(Debug, Default)]
pub(crate) struct Limits {
    next: HashMap<(Verb, String, String), Time>,
}

impl Limits {
    /// Whether this request is within its limit, counting it if so. `region` is where a create
    /// makes its Machine.
    pub(crate) fn admit(&mut self, route: &Route, region: &str, now: Time) -> bool {
        if route.app.is_empty() || route.verb.of_releases() {
            return true;
        }
        let (gap, burst) = if route.verb == Verb::Get { GET } else { ACTION };
        if self.next.len() > KEYS {
            self.next.retain(|_, at| *at > now);
        }
        let on = if route.verb == Verb::Create {
            region
        } else {
            &route.id
        };
        let key = (route.verb, route.app.clone(), on.to_owned());
        let at = self.next.entry(key).or_insert(now);
        let due = (*at).max(now);
        let admitted = due.since(now) <= gap * (burst - 1);
        if admitted {
            *at = due.after(gap);
        }
        admitted
    }
}
