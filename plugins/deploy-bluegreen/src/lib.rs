//! Deploys beside what is there: new Machines (green) are made out of service and checked, then take
//! over from the old ones (blue) by a share or all at once, and the old ones stay ready to come back
//! or are destroyed.
//!
//! A step brings the app to one *share*: so many of a hundred Machines of each process group and
//! region that serve are green. So a deploy can be several steps with gates between them; going back
//! is the share 0; and a step that is begun anew goes on with whatever it finds. Whatever fails on
//! the way up ends all blue.
//!
//! `pool/` is who is green and who is blue, `begin.rs` what is seen to before anything is made,
//! `cutover.rs` the way there and back, `greens.rs` and `blues.rs` what is done to either.

mod begin;
mod blues;
mod cutover;
mod greens;
mod input;
mod pool;

use groundcrew_deploy::select::Selection;
use groundcrew_deploy::{How, MachineReport, Outcome, Report, Scope, Target, Verify};
use groundcrew_plugin::{Error, Host, Result, plugin};

use begin::{alone, has_room};
use cutover::Deploy;
pub use input::{After, Cutover, Input};
use pool::Pool;

/// Deploy beside what is there, and let the new Machines take over by a share or all at once.
#[plugin(
    machines(
        list,
        lease,
        update,
        cordon,
        create,
        destroy,
        start,
        stop,
        wait,
        reason = "makes new Machines, puts them into service in the place of the old ones, and destroys whichever lost; makes and removes those of process groups that come and go"
    ),
    apps(
        capacity,
        reason = "sees whether there is room before anything is made"
    ),
    releases(
        list,
        read_config,
        reason = "reads the definition of the release that is named"
    )
)]
pub async fn deploy_bluegreen(input: Input, host: Host) -> Result<Report> {
    let mut scope = Scope::of(&host, &input.select, input.change.clone()).await?;
    if input.share < 100 {
        scope.leave_new("not before all that serve are new");
        scope.leave_gone("not before all that serve are new");
    } else if input.after == After::Keep {
        scope.leave_gone("what was there before is kept");
    }
    // What cannot be is refused before a new group is made.
    if !scope.selection.chosen.is_empty() {
        let pool = Pool::of(scope.selection.chosen.clone(), &scope.target)?;
        input.surge(pool.wanted())?;
    }
    let how = How {
        drain: Some(input.drain.duration()),
        wait: input.wait_timeout.duration(),
        critical_after: Some(input.critical_after.duration()),
        verify: Verify {
            checks: true,
            stopped: false,
        },
        rollback: true,
        replace: false,
    };
    let strategy =
        async |target: &_, selection| beside(&host, target, &how, &input, selection).await;
    scope.run(&host, &how, strategy).await
}

/// The Machines of groups that stay: new ones beside the old ones, and to the share.
async fn beside(
    host: &Host,
    target: &Target,
    how: &How,
    input: &Input,
    selection: Selection,
) -> Result<Report> {
    let pool = Pool::of(selection.chosen, target)?;
    let surge = input.surge(pool.wanted())?;
    let mut deploy = Deploy {
        host,
        target,
        input,
        how,
        pool,
        surge,
    };
    let announced = announced(host, &deploy).await;
    let alone = match announced {
        Ok(()) => alone(host, &deploy.pool).await,
        Err(error) => Err(error),
    };
    let room = match &alone {
        Ok(_) => has_room(host, &deploy.pool, surge).await,
        Err(_) => Ok(()),
    };
    let excluded = selection.excluded.iter();
    let excluded = excluded.map(|machine| MachineReport::of(machine, Outcome::Excluded, None));
    let excluded = excluded.collect();
    // Before anything has been done there is nothing to go back to.
    let concluded = match alone.as_ref().err().or(room.as_ref().err()) {
        Some(error) => Err(not_begun(target, &deploy.pool, error, excluded)),
        None => {
            let went = deploy.go().await;
            deploy.conclude(went, excluded)
        }
    };
    for lease in alone.unwrap_or_default() {
        lease.give_back(host).await;
    }
    concluded
}

/// Says what is going to be written to, as far as that is known: the new Machines, and the old ones once
/// all that serve are new.
async fn announced(host: &Host, deploy: &Deploy<'_>) -> Result<()> {
    let pool = &deploy.pool;
    let blues = match deploy.input.share {
        100.. => pool.machines(&pool.all_blues()),
        _ => Vec::new(),
    };
    let makes = pool.missing(usize::MAX).len();
    host.will_write(&deploy.input.select.app, blues, makes)
        .await
}

/// A failure after which everything is as it was found.
fn not_begun(
    target: &Target,
    pool: &Pool,
    error: &Error,
    mut reports: Vec<MachineReport>,
) -> Error {
    let why = || Some(error.to_string());
    let there = pool.all().into_iter();
    reports.extend(there.map(|m| MachineReport::of(m, Outcome::NotAttempted, why())));
    let report = Report::new(&target.release, reports);
    Error::new(error.kind(), error.message()).with_output(&report)
}

#[cfg(test)]
mod tests;
