//! Looking at a web service from outside.

#[cfg(not(target_arch = "wasm32"))]
mod scripted;

use std::future::IntoFuture;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
use self::scripted as door;
#[cfg(target_arch = "wasm32")]
use crate::bindings::groundcrew::host::http as door;

pub use crate::bindings::groundcrew::host::http::{Checked, Method};

use crate::Host;
use crate::bindings::groundcrew::host::http::CheckRequest;
use crate::queue::Operation;
use crate::timespan::milliseconds;

/// A look at a URL; `.await` sends it.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Look {
    request: CheckRequest,
}

impl Host {
    /// Looks at a URL of a granted origin, at a public address. Every status is an answer.
    pub fn check(&self, url: &str) -> Look {
        Look {
            request: CheckRequest {
                url: url.to_owned(),
                method: Method::Get,
                timeout_ms: 10_000,
                max_bytes: 4096,
            },
        }
    }
}

impl Look {
    /// By another method than GET.
    pub fn method(mut self, method: Method) -> Self {
        self.request.method = method;
        self
    }

    /// Gives up after this long, at most a minute, instead of ten seconds.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.request.timeout_ms = milliseconds(timeout);
        self
    }

    /// Keeps so much of the body, at most 64 KiB, instead of 4 KiB.
    pub fn keep(mut self, bytes: u32) -> Self {
        self.request.max_bytes = bytes;
        self
    }

    /// Also inside a private network or on this machine, which is a verb of its own.
    pub fn private(self) -> PrivateLook {
        PrivateLook(self)
    }
}

/// A look at a URL wherever it is; `.await` sends it.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until it is awaited"]
pub struct PrivateLook(Look);

impl IntoFuture for Look {
    type Output = crate::Result<Checked>;
    type IntoFuture = Operation<Checked>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::new(door::check(&self.request), |op| Ok(door::take_check(op)?))
    }
}

impl IntoFuture for PrivateLook {
    type Output = crate::Result<Checked>;
    type IntoFuture = Operation<Checked>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::new(door::check_private(&self.0.request), |op| {
            Ok(door::take_check_private(op)?)
        })
    }
}
