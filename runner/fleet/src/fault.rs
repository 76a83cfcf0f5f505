//! Faults: what goes wrong, and how. Only described and decided here: the simulator carries them
//! out on requests ([`Fault`]), a rehearsal on operations, with kinds of its own.
//!
//! Text form: `ROUTE[/TARGET]@WHEN:KIND`, for example `machines.restart@5%:unavailable`,
//! `machines.restart/148e@1:reply-lost`, `*@first-3:slow(2s)`.

use std::fmt;
use std::str::FromStr;

use crate::api::{ApiError, format_go_duration, parse_go_duration};

pub use groundcrew_faults::{FaultParseError, When};

/// One rule of the simulator's.
pub type FaultRule<K = Fault> = groundcrew_faults::FaultRule<K>;

/// The rules in force, and how often each has matched.
pub type Faults<K = Fault> = groundcrew_faults::Faults<K>;

/// How a request goes wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 503, not done.
    Unavailable,
    /// 500, not done.
    Internal,
    /// 502, not done.
    BadGateway,
    /// 408, not done.
    Timeout,
    /// 408, done all the same: the create of which nobody knows whether it happened.
    TimeoutDone,
    /// 409 by a concurrent update, not done.
    Conflict,
    /// 412 for want of resources, not done.
    Capacity,
    /// 409 for want of memory on the Machine's host, not done.
    NoMemory,
    /// 403 by the organisation's quota, not done.
    Quota,
    /// 400 for want of capacity, not done.
    NoCapacity,
    /// 503 by a host that takes no deploys for now, not done.
    HostDisabled,
    /// 422, not done.
    Invalid,
    /// 429 with a `Retry-After` of so many seconds, not done.
    RateLimited {
        /// Seconds.
        seconds: u64,
    },
    /// The connection is cut before anything is done.
    Drop,
    /// It is done, and the connection is cut instead of an answer.
    ReplyLost,
    /// It is done, and the answer ends in the middle of its body.
    CutOff,
    /// It is done and answered so much later.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
    /// The Machine that is made is not known to `get` and `wait` for so long.
    Unseen {
        /// Milliseconds.
        millis: u64,
    },
    /// It is answered with 503 now, and done so much later.
    Late {
        /// Milliseconds.
        millis: u64,
    },
}

impl Fault {
    /// The refusal that is answered before anything is done, if the fault is one. The wordings of
    /// capacity are those that production clients look for (Kilo-Org/cloud 412, 516 and 787);
    /// around them they are assumed.
    pub fn refusal(self) -> Option<ApiError> {
        match self {
            Fault::Unavailable => Some(ApiError::new(503, "unavailable: injected fault")),
            Fault::Internal => Some(ApiError::new(500, "internal: injected fault")),
            Fault::BadGateway => Some(ApiError::new(502, "bad gateway: injected fault")),
            Fault::Timeout => Some(ApiError::new(408, "deadline_exceeded: injected fault")),
            Fault::Conflict => Some(ApiError::new(
                409,
                "aborted: machine update failed due to concurrent update",
            )),
            Fault::Capacity => Some(ApiError::insufficient_capacity()),
            Fault::NoMemory => Some(ApiError::new(
                409,
                "aborted: could not reserve resource for machine: insufficient memory available",
            )),
            Fault::Quota => Some(ApiError::new(
                403,
                "permission_denied: the organization's memory in this region is over the allowed quota",
            )),
            Fault::NoCapacity => Some(ApiError::new(
                400,
                "invalid_argument: no capacity available in this region",
            )),
            Fault::HostDisabled => Some(ApiError::new(
                503,
                "unavailable: deploys to this host are temporarily disabled",
            )),
            Fault::Invalid => Some(ApiError::new(422, "invalid_argument: injected fault")),
            Fault::RateLimited { seconds } => {
                Some(ApiError::rate_limited().with_retry_after(seconds))
            }
            Fault::Late { .. } => Some(ApiError::new(503, "unavailable: injected fault")),
            Fault::TimeoutDone
            | Fault::Drop
            | Fault::ReplyLost
            | Fault::CutOff
            | Fault::Unseen { .. }
            | Fault::Slow { .. } => None,
        }
    }

    /// The refusal that is answered although it was done.
    pub fn refusal_once_done(self) -> Option<ApiError> {
        (self == Fault::TimeoutDone)
            .then(|| ApiError::new(408, "deadline_exceeded: injected fault"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unavailable => f.write_str("unavailable"),
            Fault::Internal => f.write_str("internal"),
            Fault::BadGateway => f.write_str("bad-gateway"),
            Fault::Timeout => f.write_str("timeout"),
            Fault::TimeoutDone => f.write_str("timeout-done"),
            Fault::Conflict => f.write_str("conflict"),
            Fault::Capacity => f.write_str("capacity"),
            Fault::NoMemory => f.write_str("no-memory"),
            Fault::Quota => f.write_str("quota"),
            Fault::NoCapacity => f.write_str("no-capacity"),
            Fault::HostDisabled => f.write_str("host-disabled"),
            Fault::Invalid => f.write_str("invalid"),
            Fault::RateLimited { seconds } => write!(f, "rate-limited({seconds}s)"),
            Fault::Drop => f.write_str("drop"),
            Fault::ReplyLost => f.write_str("reply-lost"),
            Fault::CutOff => f.write_str("cut-off"),
            Fault::Slow { millis } => write!(f, "slow({})", format_go_duration(*millis)),
            Fault::Unseen { millis } => write!(f, "unseen({})", format_go_duration(*millis)),
            Fault::Late { millis } => write!(f, "late({})", format_go_duration(*millis)),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultParseError;

    fn from_str(text: &str) -> Result<Fault, FaultParseError> {
        read_kind(text).ok_or_else(|| FaultParseError::Kind(text.into()))
    }
}

fn read_kind(text: &str) -> Option<Fault> {
    let (name, argument) = match text.strip_suffix(')') {
        Some(open) => {
            let (name, argument) = open.split_once('(')?;
            (name, Some(parse_go_duration(argument)?))
        }
        None => (text, None),
    };
    match (name, argument) {
        ("unavailable", None) => Some(Fault::Unavailable),
        ("internal", None) => Some(Fault::Internal),
        ("bad-gateway", None) => Some(Fault::BadGateway),
        ("timeout", None) => Some(Fault::Timeout),
        ("timeout-done", None) => Some(Fault::TimeoutDone),
        ("conflict", None) => Some(Fault::Conflict),
        ("capacity", None) => Some(Fault::Capacity),
        ("no-memory", None) => Some(Fault::NoMemory),
        ("quota", None) => Some(Fault::Quota),
        ("no-capacity", None) => Some(Fault::NoCapacity),
        ("host-disabled", None) => Some(Fault::HostDisabled),
        ("invalid", None) => Some(Fault::Invalid),
        ("rate-limited", millis) => Some(Fault::RateLimited {
            seconds: millis.unwrap_or(1000).div_ceil(1000),
        }),
        ("drop", None) => Some(Fault::Drop),
        ("reply-lost", None) => Some(Fault::ReplyLost),
        ("cut-off", None) => Some(Fault::CutOff),
        ("slow", Some(millis)) => Some(Fault::Slow { millis }),
        ("unseen", Some(millis)) => Some(Fault::Unseen { millis }),
        ("late", Some(millis)) => Some(Fault::Late { millis }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_written_back() {
        let texts = [
            "machines.restart@5%:unavailable",
            "machines.restart/148e01@1:reply-lost",
            "*@first-3:slow(2s)",
            "machines.*@0.25%:late(1500ms)",
            "machines.create/web@2:rate-limited(3s)",
            "machines.create@30%:unseen(400ms)",
        ];
        for text in texts {
            let rule: FaultRule = text.parse().expect("a sound rule");
            assert_eq!(rule.to_string(), text);
        }
        for text in ["x@1:", "x@1:slow", "x@1:drop(1s)", "x@1:drip"] {
            assert!(text.parse::<FaultRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_refused_as_fly_words_it() {
        let worded = [
            ("no-memory", 409, "insufficient memory available"),
            ("quota", 403, "over the allowed quota"),
            ("no-capacity", 400, "no capacity"),
            (
                "host-disabled",
                503,
                "unavailable: deploys to this host are temporarily disabled",
            ),
        ];
        for (kind, status, words) in worded {
            let fault: Fault = kind.parse().expect("a kind");
            assert_eq!(fault.to_string(), kind);
            let refusal = fault.refusal().expect("a refusal");
            assert_eq!(refusal.status, status, "{kind}");
            assert!(refusal.body.error.contains(words), "{kind}");
            assert_eq!(fault.refusal_once_done(), None, "{kind}");
        }
        let ambiguous: Fault = "timeout-done".parse().expect("a kind");
        assert_eq!(ambiguous.to_string(), "timeout-done");
        assert_eq!(ambiguous.refusal(), None);
        assert_eq!(
            ambiguous.refusal_once_done().map(|error| error.status),
            Some(408)
        );
    }
}
