//! `groundcrew approve`.

use std::path::PathBuf;

use clap::Args as Arguments;

use super::plan::{known, read, show, write};
use groundcrew::{Approvals, Whereabouts};

use crate::ask;
use crate::context::Shared;
use crate::exit::Exit;
use crate::keys;
use crate::terminal::say;

/// Approve a plan of somebody else, by signing it
#[derive(Debug, Arguments)]
pub(crate) struct Args {
    /// The plan; the signature is added to it
    plan: PathBuf,
    /// The directory with your key [default: `identity` in your configuration]
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(shared: &Shared, args: &Args) -> Result<(), Exit> {
    let config = shared.config()?;
    let plan = read(&args.plan, &known(args.key.as_ref(), &config.policy, None)?)?;
    let key = keys::own(args.key.as_ref())?;
    if key == *plan.author() {
        return Err(Exit::refused(
            "this is a plan of your own, and its author's approval does not count",
            None,
        ));
    }
    if !plan.approvals(std::slice::from_ref(&key))?.is_empty() {
        let message = format!("`{}` has signed this plan before", key.name());
        return Err(Exit::refused(message, None));
    }
    show(shared, &config.policy, &plan);
    if !args.yes {
        ask::confirmed(shared, "an approval", "Approve it?", "pass `--yes`")?;
    }
    let approved = plan.approve(&key).map_err(Exit::from)?;
    write(&args.plan, &approved)?;
    say!(
        "approved by `{}`: `{}` now has {} signatures, its author's among them",
        key.name(),
        args.plan.display(),
        approved.signatures()
    );
    let target = plan.plan().target["name"].as_str().unwrap_or_default();
    let counts = config
        .policy
        .approvals(&Whereabouts::recorded(&plan.plan().target));
    let named = |approvals: &Approvals| approvals.keys.iter().any(|k| k.trim() == key.public());
    if !counts.iter().any(|(_, approvals)| named(approvals)) {
        say!(
            "note: the policy here does not name your key for `{}`; it counts only where one does:\n  {}",
            target,
            key.public()
        );
    }
    Ok(())
}
