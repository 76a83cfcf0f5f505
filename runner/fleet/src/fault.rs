//! Faults: what goes wrong, and how. Only described and decided here: the simulator carries them
//! out on requests ([`Fault`]), a rehearsal on operations, with kinds of its own.
//!
//! Text form: `ROUTE[/TARGET]@WHEN:KIND`, for example `machines.restart@5%:unavailable`,
//! `machines.restart/148e@1:reply-lost`, `*@first-3:slow(2s)`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::api::{ApiError, format_go_duration, parse_go_duration};
use crate::random;

/// Of a million: how shares are counted, so that they are written back exactly.
const MILLION: u32 = 1_000_000;

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
            Fault::Late { millis } => write!(f, "late({})", format_go_duration(*millis)),
        }
    }
}

/// Which of the matching requests.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// A share of them, in parts of a million, by the seed.
    Share(u32),
    /// Only this one, counted from 1.
    Nth(u64),
    /// The first so many.
    First(u64),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Share(parts) => write!(f, "{}%", f64::from(*parts) / f64::from(MILLION / 100)),
            When::Nth(nth) => write!(f, "{nth}"),
            When::First(count) => write!(f, "first-{count}"),
        }
    }
}

/// One rule, of some kind of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule<K = Fault> {
    /// A route's or operation's name such as `machines.restart`; `*` matches all, `machines.*` one
    /// family.
    pub route: String,
    /// Only this Machine or app.
    pub target: Option<String>,
    /// Which of the matching requests.
    pub when: When,
    /// What happens.
    pub fault: K,
}

impl<K> FaultRule<K> {
    /// Whether the rule is about a route, whatever its target.
    pub fn names(&self, route: &str) -> bool {
        let family = self.route.strip_suffix('*');
        family.map_or(self.route == route, |family| route.starts_with(family))
    }

    fn matches(&self, route: &str, app: &str, id: &str) -> bool {
        self.names(route)
            && self
                .target
                .as_deref()
                .is_none_or(|target| target == app || target == id)
    }
}

impl<K: fmt::Display> fmt::Display for FaultRule<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.route)?;
        if let Some(target) = &self.target {
            write!(f, "/{target}")?;
        }
        write!(f, "@{}:{}", self.when, self.fault)
    }
}

/// Why a rule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultParseError {
    /// It is not `ROUTE[/TARGET]@WHEN:KIND`.
    #[error(
        "a fault is written `ROUTE[/TARGET]@WHEN:KIND`, such as `machines.restart@5%:unavailable`"
    )]
    Shape,
    /// The part after `@`.
    #[error("`{0}` is neither a share such as `5%`, a number such as `2`, nor `first-3`")]
    When(String),
    /// The part after `:`.
    #[error("`{0}` is not a kind of fault")]
    Kind(String),
}

impl<K: FromStr> FromStr for FaultRule<K> {
    type Err = FaultParseError;

    fn from_str(text: &str) -> Result<FaultRule<K>, FaultParseError> {
        let (place, rest) = text.trim().split_once('@').ok_or(FaultParseError::Shape)?;
        let (when, kind) = rest.split_once(':').ok_or(FaultParseError::Shape)?;
        let (route, target) = match place.split_once('/') {
            Some((route, target)) if !target.is_empty() => (route, Some(target.to_owned())),
            Some(_) => return Err(FaultParseError::Shape),
            None => (place, None),
        };
        if route.is_empty() {
            return Err(FaultParseError::Shape);
        }
        let when = read_when(when).ok_or_else(|| FaultParseError::When(when.into()))?;
        let fault = kind.parse();
        let fault = fault.map_err(|_| FaultParseError::Kind(kind.into()))?;
        Ok(FaultRule {
            route: route.into(),
            target,
            when,
            fault,
        })
    }
}

fn read_when(text: &str) -> Option<When> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().ok()?;
        let sound = (0.0..=100.0).contains(&percent);
        return sound.then(|| When::Share((percent * f64::from(MILLION / 100)).round() as u32));
    }
    if let Some(count) = text.strip_prefix("first-") {
        return count.parse().ok().map(When::First);
    }
    text.parse().ok().filter(|nth| *nth > 0).map(When::Nth)
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
        ("late", Some(millis)) => Some(Fault::Late { millis }),
        _ => None,
    }
}

/// The rules in force, and how often each has matched.
#[derive(Clone, Debug)]
pub struct Faults<K = Fault> {
    seed: u64,
    rules: Vec<FaultRule<K>>,
    matched: Vec<u64>,
    /// Per rule and target, so that a share does not depend on the order of arrival.
    seen: HashMap<(usize, String), u64>,
}

impl<K: Copy> Faults<K> {
    /// These rules, counted from nothing.
    pub fn new(seed: u64, rules: Vec<FaultRule<K>>) -> Faults<K> {
        Faults {
            seed,
            matched: vec![0; rules.len()],
            rules,
            seen: HashMap::new(),
        }
    }

    /// The rules.
    pub fn rules(&self) -> &[FaultRule<K>] {
        &self.rules
    }

    /// Counts a request to this route and says how it goes wrong, if it does. The first rule
    /// that strikes wins; the others count it all the same.
    pub fn decide(&mut self, route: &str, app: &str, id: &str) -> Option<K> {
        let mut decided = None;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches(route, app, id) {
                continue;
            }
            self.matched[index] += 1;
            let strikes = match rule.when {
                When::Nth(nth) => self.matched[index] == nth,
                When::First(count) => self.matched[index] <= count,
                When::Share(parts) => {
                    let of = format!("{route}/{app}/{id}");
                    let seen = self.seen.entry((index, of.clone())).or_default();
                    *seen += 1;
                    let drawn = random::draw(self.seed, "fault", &format!("{index}/{of}"), *seen);
                    random::below(drawn, u64::from(MILLION)) < u64::from(parts)
                }
            };
            if strikes && decided.is_none() {
                decided = Some(rule.fault);
            }
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_back() {
        let texts = [
            "machines.restart@5%:unavailable",
            "machines.restart/148e01@1:reply-lost",
            "*@first-3:slow(2s)",
            "machines.*@0.25%:late(1500ms)",
            "machines.create/web@2:rate-limited(3s)",
        ];
        for text in texts {
            let rule: FaultRule = text.parse().expect("a sound rule");
            assert_eq!(rule.to_string(), text);
        }
        for text in [
            "",
            "x",
            "x@1",
            "x@0:drop",
            "@1:drop",
            "x/@1:drop",
            "x@101%:drop",
            "x@1:slow",
            "x@1:drop(1s)",
        ] {
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

    #[test]
    fn counts_and_shares_strike_as_often_as_they_say() {
        let rules = vec![
            "a@2:drop".parse().unwrap(),
            "b@first-2:drop".parse().unwrap(),
            "c@10%:drop".parse().unwrap(),
        ];
        let mut faults: Faults = Faults::new(7, rules);
        let mut struck = |route: &str, times: usize| {
            (0..times)
                .filter(|_| faults.decide(route, "app", "id").is_some())
                .count()
        };
        assert_eq!((struck("a", 9), struck("b", 9), struck("d", 9)), (1, 2, 0));
        assert!((60..140).contains(&struck("c", 1000)));
    }
}
