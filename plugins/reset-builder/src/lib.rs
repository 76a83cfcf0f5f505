//! Destroys the Machines of a builder app, for a builder that hangs or whose disk is full: Fly
//! makes a new one by itself at the next build.
//!
//! Only apps whose names begin with `fly-builder-` are touched, whatever a grant says, unless the
//! input says that any may be. The app itself stays, and so does a volume of the builder with the
//! cache that is on it, unless the app is to be deleted too: then flyctl makes another one, empty.

mod report;

use groundcrew_plugin::{Error, Host, Kind, Machine, Result, plugin};
use groundcrew_sweep::unless_interrupted;
use schemars::JsonSchema;
use serde::Deserialize;

pub use report::{MachineReport, Outcome, Report};

/// How the names begin of the apps in which Fly builds. (flyctl's sources.)
const BUILDERS: &str = "fly-builder-";

/// A builder app has one Machine, or a few.
const PARALLEL: usize = 10;

/// Which builder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The builder app; its name begins with `fly-builder-`, unless any may.
    #[schemars(length(min = 1))]
    pub app: String,
    /// Delete the app as well, with its volumes, once all of its Machines are destroyed.
    #[serde(default)]
    pub delete_app: bool,
    /// The app may have any name. Nothing else tells a builder from an app that serves.
    #[serde(default)]
    pub allow_any_name: bool,
}

/// Destroy the Machines of a builder app, so that Fly makes a new one at the next build.
#[plugin(
    machines(
        list,
        lease,
        destroy,
        reason = "destroys the builder's Machines, each under its lease"
    ),
    apps(list, delete, reason = "deletes the builder app, if it is told to")
)]
pub async fn reset_builder(input: Input, host: Host) -> Result<Report> {
    input.check()?;
    if input.delete_app {
        let app = host.app(&input.app).await?;
        if app.volumes > 0 {
            host.warn(&format!("{} volumes go with the app", app.volumes));
        }
    }
    let machines = host.machines(&input.app).list().await?;
    host.expect(machines.len(), "machines");
    if machines.is_empty() {
        host.warn(&format!("`{}` has no Machine", input.app));
    }
    let work = async |machine: Machine| attempt(&host, machine).await;
    let judge = |attempt: &Attempt| unless_interrupted(&attempt.result);
    let swept = host.for_each_until(machines, PARALLEL, work, judge).await;
    let mut report = report::conclude(swept)?;
    if input.delete_app {
        if let Err(error) = delete_app(&host, &input.app, &report).await {
            let words = format!("the app stays: {error}");
            return Err(Error::new(error.kind(), words).with_output(&report));
        }
        report.app_deleted = true;
        host.note(&format!("the app `{}` is deleted", input.app));
    }
    Ok(report)
}

impl Input {
    /// What a schema cannot say.
    ///
    /// # Errors
    /// Unless the app is a builder, or may be any.
    fn check(&self) -> Result<()> {
        let builder = self.app.starts_with(BUILDERS) && self.app != BUILDERS;
        if self.app.is_empty() || !(builder || self.allow_any_name) {
            return Err(Error::invalid(format!(
                "`app` is `{}`, which is no builder: their names begin with `{BUILDERS}`",
                self.app
            )));
        }
        Ok(())
    }
}

/// What became of one Machine that we began with.
struct Attempt {
    machine: Machine,
    result: Result<()>,
}

async fn attempt(host: &Host, machine: Machine) -> Attempt {
    host.item(&machine.id).working("destroying");
    let result = destroy(host, &machine).await;
    match &result {
        Ok(()) => host.item(&machine.id).succeeded("destroyed"),
        Err(error) => host.item(&machine.id).failed(error.message()),
    }
    Attempt { machine, result }
}

/// Under its lease, so that a build which holds it is not cut off. A host that is not reached can
/// neither give a lease nor be at work for anybody.
async fn destroy(host: &Host, machine: &Machine) -> Result<()> {
    if !machine.is_reachable() {
        return machine.destroy().await;
    }
    machine.under_lease(host, machine.destroy()).await
}

/// Deletes the app with whatever is being destroyed: that takes a while, and counts as there until
/// then. Nothing goes with it that this step has not destroyed.
async fn delete_app(host: &Host, app: &str, report: &Report) -> Result<()> {
    let left = host.machines(app).list().await?;
    if let Some(machine) = newcomer(&left, report) {
        let words = format!("the Machine {} came up meanwhile", machine.id);
        return Err(Error::new(Kind::Conflict, words));
    }
    host.delete_app(app, true).await
}

/// A Machine that came up meanwhile: it may be at work for somebody.
fn newcomer<'a>(left: &'a [Machine], report: &Report) -> Option<&'a Machine> {
    let destroyed = |machine: &&Machine| report.machines.iter().any(|it| it.id == machine.id);
    left.iter().find(|machine| !destroyed(machine))
}

#[cfg(test)]
mod tests;
