//! What goes wrong, and when: rules in text (`ROUTE[/TARGET]@WHEN:KIND`), counted as things happen, by
//! a seed. What the kinds are is whoever's who uses them: the simulator's are faults of requests, a
//! rehearsal's those of operations. No I/O, no clock.

#![forbid(unsafe_code)]

mod random;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

pub use random::{below, draw};

/// Shares are kept in parts of a million.
const MILLION: u32 = 1_000_000;

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
pub struct FaultRule<K> {
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

/// The rules in force, and how often each has matched.
#[derive(Clone, Debug)]
pub struct Faults<K> {
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
                    let drawn = draw(self.seed, "fault", &format!("{index}/{of}"), *seen);
                    below(drawn, u64::from(MILLION)) < u64::from(parts)
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

    /// A kind is a number here.
    type Rule = FaultRule<u32>;

    #[test]
    fn rules_are_read_and_written_back() {
        for text in ["a.b@5%:1", "a.b/148e01@1:2", "*@first-3:3", "a.*@0.25%:4"] {
            let rule: Rule = text.parse().expect("a sound rule");
            assert_eq!(rule.to_string(), text);
        }
        for text in ["", "x", "x@1", "x@0:1", "@1:1", "x/@1:1", "x@101%:1"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
        let unknown = "x@1:drop".parse::<Rule>();
        assert_eq!(unknown, Err(FaultParseError::Kind("drop".to_owned())));
    }

    #[test]
    fn counts_and_shares_strike_as_often_as_they_say() {
        let rules = ["a@2:1", "b@first-2:1", "c@10%:1"];
        let rules = rules.map(|rule| rule.parse::<Rule>().expect("a sound rule"));
        let mut faults = Faults::new(7, rules.to_vec());
        let mut struck = |route: &str, times: usize| {
            (0..times)
                .filter(|_| faults.decide(route, "app", "id").is_some())
                .count()
        };
        assert_eq!((struck("a", 9), struck("b", 9), struck("d", 9)), (1, 2, 0));
        assert!((60..140).contains(&struck("c", 1000)));
    }

    #[test]
    fn a_rule_strikes_its_route_family_and_target_only() {
        let rule: Rule = "a.*/web@first-9:1".parse().expect("a sound rule");
        let mut faults = Faults::new(7, vec![rule]);
        assert!(faults.decide("a.b", "web", "m1").is_some());
        assert!(faults.decide("a.c", "api", "web").is_some());
        assert!(faults.decide("a.b", "api", "m1").is_none());
        assert!(faults.decide("b.a", "web", "m1").is_none());
    }
}
