//! When a step counts as failed, and what is said then.

use groundcrew_plugin::{Error, Kind, Result};
use serde::Serialize;

/// Why nothing was begun with something: the others had failed, or the run was interrupted.
pub const NO_TURN: &str = "its turn did not come";

/// Why nothing was sent to a Machine.
pub const NO_HOST: &str = "its host is not reached";

/// The kinds of the failures among results, in their order.
pub fn kinds<'a, T: 'a>(results: impl IntoIterator<Item = &'a Result<T>>) -> Vec<Kind> {
    let errors = results.into_iter().filter_map(|it| it.as_ref().err());
    errors.map(Error::kind).collect()
}

/// Which kind of failure a step ends with that met these. The first of `lasting` that is among them
/// outweighs the rest. The others may pass, but are called so only if the step may be `retried` as a
/// whole: it would begin anew, and do again what is done. None if there is no failure to go by.
#[must_use]
pub fn kind(kinds: &[Kind], lasting: &[Kind], retried: bool) -> Option<Kind> {
    let lasting = lasting.iter().find(|kind| kinds.contains(kind));
    match lasting {
        Some(kind) => Some(*kind),
        None if retried => kinds.first().copied(),
        None => Some(Kind::Other),
    }
}

/// `3 failed`, `1 not attempted`: those of which there are any.
#[must_use]
pub fn counted(counts: &[(u32, &str)]) -> Vec<String> {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

/// The end of a sentence about many, which says why one of them went wrong: `; m1: the lease is held`.
#[must_use]
pub fn because(one: Option<(&str, Option<&str>)>) -> String {
    match one {
        Some((name, Some(reason))) => format!("; {name}: {reason}"),
        Some((_, None)) | None => String::new(),
    }
}

/// The report, or a failure that carries it.
///
/// # Errors
///
/// If there is a sentence about a failure.
pub fn conclude<R: Serialize>(report: R, kind: Kind, failure: Option<String>) -> Result<R> {
    match failure {
        None => Ok(report),
        Some(message) => Err(Error::new(kind, message).with_output(&report)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_counts_as_such_only_where_a_retry_does_no_harm() {
        let lasting = [Kind::Application, Kind::Cancelled];
        let met = [Kind::Timeout, Kind::Cancelled, Kind::Application];
        for retried in [false, true] {
            assert_eq!(kind(&met, &lasting, retried), Some(Kind::Application));
        }
        assert_eq!(kind(&met[..2], &lasting, true), Some(Kind::Cancelled));
        assert_eq!(kind(&met[..1], &lasting, true), Some(Kind::Timeout));
        assert_eq!(kind(&met[..1], &lasting, false), Some(Kind::Other));
        assert_eq!(kind(&[], &lasting, true), None);
    }

    #[test]
    fn a_sentence_names_what_there_is() {
        let counts = counted(&[(2, "failed"), (0, "refused"), (1, "not attempted")]);
        assert_eq!(counts, ["2 failed", "1 not attempted"]);
        assert_eq!(because(Some(("m1", Some("it is ill")))), "; m1: it is ill");
        assert_eq!(because(Some(("m1", None))) + &because(None), "");
    }

    #[test]
    fn a_failure_carries_the_report() {
        assert_eq!(conclude(7, Kind::Other, None), Ok(7));
        let error = conclude(7, Kind::Other, Some("no".to_owned())).unwrap_err();
        assert_eq!((error.message(), error.output()), ("no", Some("7")));
    }
}
