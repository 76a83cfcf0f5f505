//! A tap on the requests that are carried out, for tests that stop a client at one of them.

use std::fmt;
use std::sync::{Arc, Mutex};

use groundcrew_fleet::Request;

use crate::lock::lock;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has arrived, and nothing has been done.
    Arrived,
    /// It has been done, and nothing has been answered.
    Done,
}

type Watch = Arc<dyn Fn(Moment, &Request) -> bool + Send + Sync>;

#[derive(Default)]
pub(crate) struct Tap(Mutex<Option<Watch>>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Tap {
    pub(crate) fn set(&self, watch: Option<Watch>) {
        *lock(&self.0) = watch;
    }

    /// Whether the request goes on; otherwise its connection is cut.
    pub(crate) fn passes(&self, moment: Moment, request: &Request) -> bool {
        let watch = lock(&self.0).clone();
        watch.is_none_or(|watch| watch(moment, request))
    }
}
