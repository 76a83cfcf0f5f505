//! From blue to green and back: who is put into service when, and what becomes of those that lost.

use groundcrew_deploy::one::both;
use groundcrew_deploy::{How, MachineReport, Report, Target};
use groundcrew_plugin::{Error, Host, Kind, Result, join, join_all};

use crate::input::{After, Cutover, Input};
use crate::pool::{Colour, Place, Pool, Side};

pub(crate) struct Deploy<'a> {
    pub(crate) host: &'a Host,
    pub(crate) target: &'a Target,
    pub(crate) input: &'a Input,
    pub(crate) how: &'a How,
    pub(crate) pool: Pool,
    /// How many Machines may run beyond those that did.
    pub(crate) surge: usize,
}

impl Deploy<'_> {
    /// Forward to the share; back to all blue if that fails.
    pub(crate) async fn go(&mut self) -> Result<()> {
        let forward = self.forward().await;
        let Err(error) = forward else {
            return self.retire().await;
        };
        self.host
            .warn(&format!("going back to what was there: {error}"));
        match self.back().await {
            Ok(()) => Err(error),
            Err(also) => Err(both(&error, &also)),
        }
    }

    async fn forward(&mut self) -> Result<()> {
        if self.input.share > 0 {
            self.look_at_found().await?;
            self.make_all().await?;
        } else {
            self.revive().await?;
        }
        if (1..100).contains(&self.input.share) {
            self.host.note(&format!(
                "{} % of the Machines in service become new ones; that is no share of the traffic",
                self.input.share
            ));
        }
        self.shift(self.input.share, self.input.cutover).await?;
        if !self.input.hold.duration().is_zero() {
            self.host.sleep(self.input.hold.duration()).await?;
            self.look_at_greens().await?;
        }
        Ok(())
    }

    /// Brings so many of a hundred of each place's Machines in service to green.
    async fn shift(&mut self, share: u32, cutover: Cutover) -> Result<()> {
        let of = |place: &Side<'_>| place.green_share(share);
        let resting = match share {
            0 => Some(Colour::Blue),
            100 => Some(Colour::Green),
            _ => None,
        };
        self.shift_to(of, resting, cutover).await
    }

    pub(crate) async fn shift_to(
        &mut self,
        greens: impl Fn(&Side<'_>) -> usize,
        resting: Option<Colour>,
        cutover: Cutover,
    ) -> Result<()> {
        let moves = self.pool.moves(greens, resting);
        let atomic = cutover == Cutover::Atomic && !moves.out.is_empty() && !moves.into.is_empty();
        if atomic {
            self.flags(&moves.out, true).await?;
            self.flags(&moves.into, false).await?;
            return self.pause(self.input.drain.duration()).await;
        }
        self.flags(&moves.into, false).await?;
        if !(moves.into.is_empty() || moves.out.is_empty()) {
            self.pause(self.input.discovery.duration()).await?;
        }
        self.flags(&moves.out, true).await?;
        if moves.out.is_empty() {
            return Ok(());
        }
        self.pause(self.input.drain.duration()).await
    }

    pub(crate) async fn pause(&self, duration: std::time::Duration) -> Result<()> {
        if duration.is_zero() {
            return Ok(());
        }
        self.host.sleep(duration).await
    }

    /// Cordons Machines, or puts them back into service; all at once.
    pub(crate) async fn flags(&mut self, which: &[(Place, String)], cordon: bool) -> Result<()> {
        let machines = self.pool.machines(which).into_iter();
        let set = machines.map(|machine| async move {
            match cordon {
                true => machine.cordon().await,
                false => machine.uncordon().await,
            }
        });
        let results = join_all(set).await;
        for (key, result) in which.iter().zip(&results) {
            if result.is_ok() {
                self.pool.set_cordoned(key, cordon);
            }
        }
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }

    /// Back to what was there: the blues serve, and the greens are destroyed.
    async fn back(&mut self) -> Result<()> {
        let started = self.revive().await;
        let shifted = match self.shift(0, Cutover::Overlap).await {
            // What is left of it is to cordon what is destroyed now anyway.
            Err(error) if error.kind() == Kind::Cancelled => Ok(()),
            other => other,
        };
        started?;
        shifted?;
        self.destroy_greens().await
    }

    /// Whoever lost for good is kept for a while, and destroyed or kept.
    async fn retire(&mut self) -> Result<()> {
        let lost = match self.input.share {
            0 | 100 if self.input.after == After::Destroy => self.input.share,
            _ => return Ok(()),
        };
        self.pause(self.input.keep.duration()).await?;
        if lost == 0 {
            return self.destroy_greens().await;
        }
        self.look_at_greens().await?;
        let (blues, standbys) = (self.destroy_blues(), self.move_standbys());
        let (blues, standbys) = join(blues, standbys).await;
        let gone = blues?;
        for key in &gone {
            self.pool.blue(key, |blue| blue.destroyed = true);
        }
        standbys
    }

    pub(crate) fn conclude(
        &self,
        went: Result<()>,
        mut reports: Vec<MachineReport>,
    ) -> Result<Report> {
        let failed = went.as_ref().err();
        reports.extend(
            self.pool
                .reports(failed.is_some(), failed.map(ToString::to_string)),
        );
        let report = Report::new(&self.target.release, reports);
        match went {
            Ok(()) => Ok(report),
            Err(error) => {
                let text = format!("{error} ({})", report.summary());
                Err(Error::new(error.kind(), text).with_output(&report))
            }
        }
    }
}
