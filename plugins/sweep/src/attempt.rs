//! One piece of the work, and what ends the rest.

use std::future::Future;

use groundcrew_plugin::{Flow, Host, Kind, Result};

/// What became of one piece of the work that was begun.
#[derive(Debug)]
pub struct Attempt<'a, W, B> {
    /// The piece, such as a Machine.
    pub work: &'a W,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What became of it.
    pub became: B,
}

impl<'a, W, B> Attempt<'a, W, B> {
    /// Does it.
    pub async fn at(host: &Host, work: &'a W, doing: impl Future<Output = B>) -> Self {
        let began = host.now();
        let became = doing.await;
        let took = host.now().saturating_sub(began);
        Self {
            work,
            duration_ms: took.as_millis() as u64,
            became,
        }
    }
}

/// Goes on with the others whatever became of one, until the run is interrupted.
pub fn unless_interrupted<T>(result: &Result<T>) -> Flow {
    match result {
        Err(error) if error.kind() == Kind::Cancelled => Flow::Stop,
        Ok(_) | Err(_) => Flow::Continue,
    }
}
