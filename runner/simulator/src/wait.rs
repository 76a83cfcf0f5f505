//! Answers that take time: what does not hold yet is asked again whenever the Machine changes.

use std::sync::Arc;

use groundcrew_fleet::MachineKey;
use groundcrew_fleet::api::ApiError;
use tokio::sync::Notify;

use crate::service::{Answer, Answered, Reply, Route};
use crate::world::World;

/// Looks until there is an answer, or the time for it is over.
pub(crate) async fn answered(
    world: &World,
    route: &Route,
    look: impl Fn() -> Answered,
) -> Result<Reply, ApiError> {
    let deadline = match look()? {
        Answer::Now(reply) => return Ok(reply),
        Answer::NotYet { millis, .. } => world.clock.now().after(millis),
    };
    let key = MachineKey {
        app: route.app.as_str().into(),
        id: route.id.as_str().into(),
    };
    let waiting = Waiting {
        world,
        notify: world.join(&key),
        key,
    };
    let expired = world.clock.sleep_until(deadline);
    tokio::pin!(expired);
    loop {
        let changed = waiting.notify.notified();
        tokio::pin!(changed);
        // Enabled before the look, so that no change falls between the two.
        changed.as_mut().enable();
        if let Answer::Now(reply) = look()? {
            return Ok(reply);
        }
        tokio::select! {
            () = &mut changed => {}
            () = &mut expired => {
                return match look()? {
                    Answer::Now(reply) => Ok(reply),
                    Answer::NotYet { late, .. } => Err(late),
                };
            }
        }
    }
}

/// A place among those who wait for a Machine, left on every way out.
struct Waiting<'a> {
    world: &'a World,
    key: MachineKey,
    notify: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.world.leave(&self.key, &self.notify);
    }
}
