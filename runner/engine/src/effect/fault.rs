//! Faults of a rehearsal: which operations go wrong, and what the plugin is told then.
//!
//! Text form: `OPERATION[/TARGET]@WHEN:FAILURE`, as the simulator's, for example
//! `door.wait@3:application` or `machines.*@5%:unavailable`. An operation that goes wrong
//! does nothing on the fork: it fails as it would when the host has given up.

use std::fmt;
use std::str::FromStr;

use groundcrew_faults::FaultRule;
use serde::{Deserialize, Serialize};

use crate::contract::Failure;

/// How an operation goes wrong: the failures that a plugin may meet of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationFault {
    /// The app, Machine or lease does not exist.
    NotFound,
    /// Something else holds or changed the target.
    Conflict,
    /// Still refused for its rate after the host's retries.
    RateLimited,
    /// No room on the host or in the region.
    Capacity,
    /// What was awaited did not come to pass in time.
    Timeout,
    /// The service did not answer.
    Unavailable,
    /// The app is at fault.
    Application,
    /// The request makes no sense.
    Invalid,
}

/// The words, as a rule has them.
const WORDS: [(&str, OperationFault); 8] = [
    ("not-found", OperationFault::NotFound),
    ("conflict", OperationFault::Conflict),
    ("rate-limited", OperationFault::RateLimited),
    ("capacity", OperationFault::Capacity),
    ("timeout", OperationFault::Timeout),
    ("unavailable", OperationFault::Unavailable),
    ("application", OperationFault::Application),
    ("invalid", OperationFault::Invalid),
];

impl OperationFault {
    /// What the plugin is told.
    pub(crate) fn failure(self) -> Failure {
        let text = "a fault that the rehearsal was asked for".to_owned();
        match self {
            Self::NotFound => Failure::NotFound(text),
            Self::Conflict => Failure::Conflict(text),
            Self::RateLimited => Failure::RateLimited(text),
            Self::Capacity => Failure::Capacity(text),
            Self::Timeout => Failure::Timeout(text),
            Self::Unavailable => Failure::Unavailable(text),
            Self::Application => Failure::Application(text),
            Self::Invalid => Failure::Invalid(text),
        }
    }
}

impl fmt::Display for OperationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, fault)| fault == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl FromStr for OperationFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, fault)| *fault).ok_or_else(|| {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            format!("a failure is one of `{}`", words.join("`, `"))
        })
    }
}

/// A rule for a rehearsal.
pub type OperationRule = FaultRule<OperationFault>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_and_written_back() {
        for (word, fault) in WORDS {
            let text = format!("door.wait/web@3:{word}");
            let rule: OperationRule = text.parse().expect("a sound rule");
            assert_eq!((rule.to_string(), rule.fault), (text, fault));
            assert_eq!(fault.failure().parts().0, word);
        }
        assert!("door.ring@1:reply-lost".parse::<OperationRule>().is_err());
    }
}
