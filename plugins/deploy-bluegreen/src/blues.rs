//! The old Machines: stopped to make room, started again, destroyed in the end; and their standbys.

use groundcrew_plugin::{Kind, Machine, Result, State, join_all};

use crate::cutover::Deploy;
use crate::input::Cutover;
use crate::pool::{Place, Side};

impl Deploy<'_> {
    /// Between two waves: every green that runs serves, and as many blues are stopped.
    pub(crate) async fn make_room(&mut self) -> Result<()> {
        let share = |place: &Side<'_>| place.greens_up;
        self.shift_to(share, None, Cutover::Overlap).await?;
        let idle: Vec<(Place, String)> = self.pool.blues_to_stop();
        let how = self.how;
        let stop = self.pool.machines(&idle).into_iter();
        let stop = stop.map(|machine| async move {
            machine.stop().await?;
            let stopped = machine.wait(State::Stopped).within(how.wait).await;
            stopped.map(drop)
        });
        let stopped = join_all(stop).await;
        for (key, result) in idle.iter().zip(&stopped) {
            if result.is_ok() {
                self.pool.blue(key, |blue| blue.stopped_by_us = true);
            }
        }
        stopped.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Starts the blues that were stopped to make room.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        let stopped = self.pool.stopped_by_us();
        let how = self.how;
        let start = self.pool.machines(&stopped).into_iter();
        let start = start.map(|machine| async move {
            machine.start().await?;
            match machine.wait_healthy().within(how.wait).await {
                // The run is being interrupted: there is no time left to look.
                Err(error) if error.kind() == Kind::Cancelled => Ok(()),
                other => other.map(drop),
            }
        });
        let started: Result<Vec<()>> = join_all(start).await.into_iter().collect();
        for key in &stopped {
            self.pool.blue(key, |blue| blue.stopped_by_us = false);
        }
        started.map(drop)
    }

    /// Destroys the blues; gives those that are gone. A dead host is no reason to fail.
    pub(crate) async fn destroy_blues(&self) -> Result<Vec<(Place, String)>> {
        let blues = self.pool.all_blues();
        let work = async |key: (Place, String)| {
            let Some(machine) = self.pool.machines(std::slice::from_ref(&key)).pop() else {
                return Ok(None);
            };
            let lease = machine.lease().await;
            let destroyed = match &lease {
                Ok(_) => machine.destroy().await,
                Err(error) => Err(error.clone()),
            };
            match destroyed {
                Ok(()) => Ok(Some(key)),
                Err(error) if !machine.is_reachable() => {
                    self.host.warn(&format!(
                        "{}: its host is not reached, so it stays: {error}",
                        machine.id
                    ));
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let results = self.host.for_each(blues, 500, work).await;
        let gone: Result<Vec<_>> = results.into_iter().collect();
        Ok(gone?.into_iter().flatten().collect())
    }

    /// Standbys stand by for the greens from now on.
    pub(crate) async fn move_standbys(&self) -> Result<()> {
        let work = async |machine: &Machine| {
            let Some(green) = self.pool.green_of(&machine.group) else {
                return Ok(());
            };
            let mut change = self.target.change_for(machine)?;
            change.standbys.get_or_insert(vec![green.to_owned()]);
            let lease = machine.lease().await?;
            let updated = machine.update(change).launch(false).await?;
            let settled = machine.wait(State::Settled).version(&updated.instance_id);
            settled.within(self.how.wait).await?;
            lease.release().await
        };
        let results = self.host.for_each(&self.pool.standbys, 20, work).await;
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }
}
