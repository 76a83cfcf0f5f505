//! The new Machines: made as many at a time as may be, looked at, destroyed.

use groundcrew_deploy::one::made;
use groundcrew_deploy::target::{ill, in_order};
use groundcrew_plugin::{Change, Error, Kind, Machine, Result, join_all};

use crate::cutover::Deploy;
use crate::pool::Place;

/// A green that is to be made: where, like which blue, and whether it is started.
type Wanted = (Place, Machine, bool);

impl Deploy<'_> {
    /// Makes the greens that are missing, as many at a time as the surge allows. Between two waves
    /// the greens that are there take over from as many blues, which are stopped.
    pub(crate) async fn make_all(&mut self) -> Result<()> {
        let missing = self.pool.missing(usize::MAX).len();
        self.host.expect(missing, "machines");
        loop {
            let room = self.surge.saturating_sub(self.pool.beyond()).max(1);
            self.make(self.pool.missing(room)).await?;
            if self.pool.missing(1).is_empty() {
                return Ok(());
            }
            self.make_room().await?;
        }
    }

    /// Makes some greens, cordoned, and waits until each is in order. All of them come to an end.
    pub(crate) async fn make(&mut self, wanted: Vec<Wanted>) -> Result<()> {
        let at_once = wanted.len();
        let (host, target, how) = (self.host, self.target, self.how);
        let work = async |(place, pattern, launch): Wanted| {
            let result = async {
                let change = Change {
                    metadata: vec![("groundcrew_color".to_owned(), Some("green".to_owned()))],
                    ..target.change_for(&pattern)?
                };
                made(host, target, how, &pattern, change, launch).await
            };
            let result = result.await;
            match &result {
                Ok(machine) => host.item(&machine.id).succeeded("created"),
                Err(error) => host.item(&pattern.id).failed(error.message()),
            }
            (place, launch, result)
        };
        let mut failed = None;
        for (place, launch, result) in self.host.for_each(wanted, at_once, work).await {
            match result {
                Ok(machine) => self.pool.add(&place, machine, launch),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether the greens are still in order.
    pub(crate) async fn look_at_greens(&self) -> Result<()> {
        let machines = self.host.machines(&self.input.select.app);
        let listed = machines
            .group(self.input.select.groups.clone())
            .list()
            .await?;
        let ours = self.pool.green_ids();
        let bad = listed
            .iter()
            .find(|machine| ours.contains(&machine.id.as_str()) && !in_order(machine));
        let missing = ours
            .iter()
            .find(|id| !listed.iter().any(|machine| machine.id == **id));
        match (bad, missing) {
            (Some(machine), _) => Err(Error::application(format!(
                "{} did not stay in order: {}",
                machine.id,
                ill(machine)
            ))),
            (None, Some(id)) => Err(Error::application(format!("{id} is gone"))),
            (None, None) => Ok(()),
        }
    }

    /// Greens of a deploy that did not end are taken for ours if they come up, and made anew if not.
    pub(crate) async fn look_at_found(&mut self) -> Result<()> {
        let found = self.pool.found_greens();
        let how = self.how;
        let look = async |key: (Place, String)| {
            let Some(machine) = self.pool.machines(std::slice::from_ref(&key)).pop() else {
                return Ok(None);
            };
            let patience = how.critical_after.unwrap_or(how.wait);
            let healthy = machine.wait_healthy().critical_after(patience);
            match healthy.within(how.wait).await {
                Ok(_) => Ok(None),
                Err(error) if error.kind() == Kind::Cancelled => Err(error),
                Err(error) => {
                    self.host
                        .warn(&format!("{} is made anew: {error}", machine.id));
                    machine.destroy().await.map(|()| Some(key))
                }
            }
        };
        let results = self.host.for_each(found, 500, look).await;
        let gone: Result<Vec<_>> = results.into_iter().collect();
        for key in gone?.into_iter().flatten() {
            self.pool.remove_green(&key);
        }
        Ok(())
    }

    pub(crate) async fn destroy_greens(&mut self) -> Result<()> {
        let greens = self.pool.all_greens();
        let machines = self.pool.machines(&greens).into_iter();
        let results = join_all(machines.map(|machine| machine.destroy())).await;
        for (key, result) in greens.iter().zip(&results) {
            if result.is_ok() {
                self.pool.remove_green(key);
            }
        }
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }
}
