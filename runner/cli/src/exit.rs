//! How the program ends: a documented code, and what is said to the person.

use std::process::ExitCode;

use groundcrew::audit::AuditError;
use groundcrew::store::StoreError;
use groundcrew::store::bundle::BundleError;
use groundcrew::{PluginError, Refusal, ResumeError, StartError, TargetError};

use crate::shown::{Shown, lines, put, shown};
use crate::terminal::say;

/// An end that is not success.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    message: Shown,
    /// What comes in the lines below.
    more: Shown,
}

impl Exit {
    /// A step failed; what was to be said has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            code,
            message: Shown::default(),
            more: Shown::default(),
        }
    }

    /// 1: the work failed.
    pub(crate) fn failed(message: impl AsRef<str>) -> Self {
        Self::with(1, message.as_ref(), None)
    }

    /// 2: what was typed makes no sense.
    pub(crate) fn usage(message: impl AsRef<str>, hint: Option<&str>) -> Self {
        Self::with(2, message.as_ref(), hint)
    }

    /// 4: refused before anything happened.
    pub(crate) fn refused(message: impl AsRef<str>, hint: Option<&str>) -> Self {
        Self::with(4, message.as_ref(), hint)
    }

    /// 5: the journal or the state directory.
    pub(crate) fn journal(message: impl AsRef<str>) -> Self {
        Self::with(5, message.as_ref(), None)
    }

    /// 5: the run is somebody else's now.
    pub(crate) fn taken_over(why: &groundcrew::Halt, run: &str) -> Self {
        Self::with(
            5,
            &format!("{why}; this one has stopped"),
            Some(&format!("`groundcrew runs show {run}` shows how far it is")),
        )
    }

    /// 7: the target is not as it was when the plan was made.
    pub(crate) fn drift(message: &str, hint: &str) -> Self {
        Self::with(7, message, Some(hint))
    }

    /// The same, about a file.
    pub(crate) fn about(self, path: &std::path::Path) -> Self {
        let message = shown!("`{}`: {}", path.display(), self.message);
        Self { message, ..self }
    }

    /// 2: a file cannot be read, for a reason of several lines.
    pub(crate) fn unread(path: &str, why: &str) -> Self {
        Self {
            code: 2,
            message: shown!("`{}` does not read: {}", path, lines("", why)),
            more: Shown::default(),
        }
    }

    /// 70: ours.
    pub(crate) fn bug(message: impl AsRef<str>) -> Self {
        Self::with(
            70,
            message.as_ref(),
            Some("this is a bug in groundcrew; please report it"),
        )
    }

    fn with(code: u8, message: &str, hint: Option<&str>) -> Self {
        let mut more = Shown::default();
        if let Some(hint) = hint {
            put!(more, "\n  hint: {}", hint);
        }
        Self {
            code,
            message: shown!("{}", message),
            more,
        }
    }

    pub(crate) fn refusals(refusals: &[Refusal]) -> Self {
        Self::refused_as("the run is refused; nothing has happened", refusals)
    }

    fn refused_as(what: &str, refusals: &[Refusal]) -> Self {
        let mut more = Shown::default();
        for refusal in refusals {
            put!(more, "\n  - ");
            if let Some(step) = &refusal.step {
                put!(more, "step `{}`: ", step);
            }
            put!(more, "{}", refusal.message);
            if let Some(hint) = &refusal.hint {
                put!(more, "\n    hint: {}", hint);
            }
        }
        Self {
            code: 4,
            message: shown!("{}", what),
            more,
        }
    }

    /// What would be said, without its first word.
    pub(crate) fn message(&self) -> Shown {
        shown!("{}{}", self.message, self.more)
    }

    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            say!("error: {}", self.message());
        }
        ExitCode::from(self.code)
    }
}

impl From<StoreError> for Exit {
    fn from(e: StoreError) -> Self {
        let message = e.to_string();
        match e {
            StoreError::NoSuchRun(_) => Self::usage(
                message,
                Some("`groundcrew runs list` shows the runs that are here"),
            ),
            StoreError::Locked { run, .. } => Self::refused(
                message,
                Some(&format!(
                    "`groundcrew runs show {run}` shows what it does; if its process is gone, `groundcrew resume {run}` goes on with it"
                )),
            ),
            StoreError::Held(_) => Self::refused(
                message,
                Some("interrupt that process, or wait until it counts as gone (30 s)"),
            ),
            StoreError::Exported(ref run) => Self::refused(
                message,
                Some(&format!(
                    "if nobody has gone on with it there, `groundcrew runs reopen {run}` takes the export back"
                )),
            ),
            StoreError::Fenced(_)
            | StoreError::Exists(_)
            | StoreError::Directory(_)
            | StoreError::Broken(_) => Self::journal(message),
        }
    }
}

impl From<StartError> for Exit {
    fn from(e: StartError) -> Self {
        match e {
            StartError::Store(e) => e.into(),
            StartError::Journal(_) | StartError::Damaged { .. } => {
                Self::journal(format!("{e}; nothing has been sent"))
            }
            StartError::Capability(_) | StartError::Ended { .. } | StartError::Limits(_) => {
                Self::refused(e.to_string(), None)
            }
            StartError::Expired(_) => {
                Self::refused(e.to_string(), Some("`groundcrew plan` makes another one"))
            }
            StartError::Unmade(_) => Self::refused(
                e.to_string(),
                Some("one of the two clocks is wrong, that of the plan's author or the one here"),
            ),
            StartError::Applied(ref run) => Self::refused(
                e.to_string(),
                Some(&format!(
                    "`groundcrew runs show {run}` shows what it did; a plan is applied once"
                )),
            ),
            StartError::Drifted(_) => Self::with(7, &e.to_string(), None),
            StartError::Fault(_) => Self::bug(e.to_string()),
        }
    }
}

impl From<ResumeError> for Exit {
    fn from(e: ResumeError) -> Self {
        match e {
            ResumeError::Start(e) => e.into(),
            ResumeError::Refused(refusals) => Self::refused_as(
                "the run is not gone on with; nothing more has been sent",
                &refusals,
            ),
            ResumeError::Changed { ref run, .. } => Self::refused(
                e.to_string(),
                Some(&format!("`groundcrew runs cancel {run}` ends it")),
            ),
            ResumeError::Drifted(_) => Self::with(7, &e.to_string(), None),
            ResumeError::Unknown(_) => Self::silent(6),
        }
    }
}

impl From<AuditError> for Exit {
    fn from(e: AuditError) -> Self {
        match e {
            AuditError::Store(e) => e.into(),
            AuditError::Restored { .. } => Self::with(
                5,
                &e.to_string(),
                Some(
                    "bring the newer one back, or keep its directory as evidence and begin anew with another `--state-dir`",
                ),
            ),
            AuditError::Files(_)
            | AuditError::Signature { .. }
            | AuditError::Tree(_)
            | AuditError::Key(_)
            | AuditError::Malformed(_) => Self::journal(e.to_string()),
        }
    }
}

fn untaken(e: &BundleError) -> String {
    format!("{e}; nothing has happened")
}

impl From<BundleError> for Exit {
    fn from(e: BundleError) -> Self {
        match e {
            BundleError::Store(e) => e.into(),
            BundleError::Malformed { .. } | BundleError::Illegal(_) => Self::usage(
                e.to_string(),
                Some("it has to be what `groundcrew runs export` wrote"),
            ),
            BundleError::Unsigned => {
                let hint = "`groundcrew audit show --from FILE` reads it; where the run is, `groundcrew runs export` of this version signs it";
                Self::refused(untaken(&e), Some(hint))
            }
            BundleError::Foreign(_) => {
                let hint = "if you trust that person, put their public key (`groundcrew keys show`) into `run_authors` of your policy";
                Self::refused(untaken(&e), Some(hint))
            }
            BundleError::Edited { .. }
            | BundleError::Over(_)
            | BundleError::Beyond { .. }
            | BundleError::Expired(_)
            | BundleError::Plan(_)
            | BundleError::Key(_) => Self::refused(untaken(&e), None),
        }
    }
}

impl From<TargetError> for Exit {
    fn from(e: TargetError) -> Self {
        let hint = match &e {
            TargetError::Address { .. } | TargetError::Place { .. } => None,
            TargetError::Origin { origin, .. } => Some(format!("if you trust that place, add `trusted_origins = [\"{origin}\"]` to your own configuration (`groundcrew doctor` says where it is), not to the project's")),
            TargetError::Credential { .. } => Some("set `FLY_API_TOKEN` (`fly tokens create org -x 8h` makes one), or name a `credential` in the target's configuration".to_owned()),
        };
        Self::refused(e.to_string(), hint.as_deref())
    }
}

impl From<PluginError> for Exit {
    fn from(e: PluginError) -> Self {
        Self::refused(e.to_string(), e.hint.as_deref())
    }
}
