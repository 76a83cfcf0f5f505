//! What a step may do: the meeting of what the plugin asks for, what its step grants and what the
//! operator's policy allows. (What the component imports bounds it once more: a function that is
//! not imported cannot be called.)

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::bound::{Bound, Whose, words};
use super::policy::Policy;
use super::within::{List, STEP, Within};
use super::{CapabilityGrant, Covers, Radius, Scope, Terms, Unsaid};
use crate::effect::{Cover, Request, Row};
use crate::target::Whereabouts;

/// What a step may do with one capability, after everyone has been heard.
#[derive(Debug, Clone)]
pub struct Effective {
    verbs: Vec<String>,
    /// By scope of the capability, in its order.
    within: Vec<Within>,
    terms: Terms,
    most: Bound,
    share: Bound,
    /// Verbs that the plugin asked for and the policy denied.
    policy_denied: Vec<String>,
}

/// What of an answer each step may see, by step and capability.
pub(crate) type StepCovers = HashMap<(String, &'static str), Cover>;

/// What of an answer a step may see. A plan of before 0.2 does not say which step asked.
pub(crate) fn step_cover(covers: &StepCovers, step: &str, row: &Row) -> Cover {
    let known = covers.get(&(step.to_owned(), row.capability()));
    known.cloned().unwrap_or_default()
}

impl Effective {
    /// What a step may do with a capability, as admission finds out: to look at a grant without a run.
    ///
    /// # Errors
    /// The text of a pattern that is none.
    pub fn of(
        capability: (&'static str, &'static [Scope], Option<&'static Radius>),
        granted: &CapabilityGrant,
        requested: &[String],
        policy: &Policy,
        target: &Whereabouts,
    ) -> Result<Self, String> {
        let (capability, scopes, radius) = capability;
        let terms = Terms {
            capability,
            scopes,
            radius,
        };
        Self::meet(terms, granted, requested, policy, target)
    }

    /// Meets a step's grant with the plugin's request and the policy.
    ///
    /// # Errors
    /// The text of a pattern that is none.
    pub(crate) fn meet(
        terms: Terms,
        granted: &CapabilityGrant,
        requested: &[String],
        policy: &Policy,
        target: &Whereabouts,
    ) -> Result<Self, String> {
        let limits: Vec<&CapabilityGrant> = policy.limits(target, terms.capability).collect();
        let mut verbs: Vec<String> = granted.verbs.clone().unwrap_or_default();
        verbs.retain(|verb| requested.contains(verb));
        let mut policy_denied = Vec::new();
        for allowed in limits.iter().filter_map(|limit| limit.verbs.as_ref()) {
            policy_denied.extend(verbs.iter().filter(|verb| !allowed.contains(verb)).cloned());
            verbs.retain(|verb| allowed.contains(verb));
        }
        let within = |scope: &'static Scope| {
            // All names: such a list limits nothing.
            let all = |texts: &&[String]| {
                matches!(scope.covers, Covers::Name) && texts.iter().any(|text| text == "*")
            };
            let step = match (granted.names(scope.key), scope.unsaid) {
                (None, Unsaid::Nothing) => Some([].as_slice()),
                (said, _) => said,
            };
            let step = step.map(|texts| (STEP, texts));
            let policy = limits.iter().filter_map(|limit| limit.names(scope.key));
            let policy = policy.map(|texts| ("the operator's policy", texts));
            let said = step
                .into_iter()
                .chain(policy)
                .filter(|(_, texts)| !all(texts));
            let lists = said.map(|(whose, texts)| List::of(scope, whose, texts));
            lists
                .collect::<Result<_, _>>()
                .map(|lists| Within { scope, lists })
        };
        let bound = |key: &str| Bound {
            step: granted.number(key),
            policy: limits.iter().filter_map(|limit| limit.number(key)).min(),
        };
        Ok(Self {
            verbs,
            within: terms
                .scopes
                .iter()
                .map(within)
                .collect::<Result<_, String>>()?,
            most: terms
                .radius
                .map(|radius| bound(radius.most))
                .unwrap_or_default(),
            share: terms
                .radius
                .and_then(|radius| Some(bound(radius.share?)))
                .unwrap_or_default(),
            terms,
            policy_denied,
        })
    }

    /// Whether the verb of a request is granted, and what it names.
    ///
    /// # Errors
    /// The missing grant in words.
    pub fn allows(&self, request: &Request) -> Result<(), String> {
        let verb = request.row.verb;
        let capability = request.row.capability();
        if !self.verbs.iter().any(|v| v == verb) {
            return Err(if self.policy_denied.iter().any(|v| v == verb) {
                format!(
                    "the operator's policy does not allow `{verb}` of `{capability}` on this target"
                )
            } else {
                format!("the step's grant for `{capability}` does not have the verb `{verb}`")
            });
        }
        for (one, name) in request.names() {
            let within = self.within.iter().find(|within| within.scope.one == one);
            // What no grant can speak of is not granted.
            let none = || format!("no grant of `{capability}` can cover the {one} `{name}`");
            within.ok_or_else(none)?.allows(name)?;
        }
        Ok(())
    }

    fn looked_up(&self) -> Option<&Within> {
        self.within.iter().find(|within| within.scope.looked_up)
    }

    /// The scope that has to be looked up before a request can be decided, if its names are limited.
    pub(crate) fn looks_up(&self) -> bool {
        self.looked_up()
            .is_some_and(|within| !within.lists.is_empty())
    }

    /// Whether what was looked up is covered.
    ///
    /// # Errors
    /// The missing grant in words.
    pub fn allows_found(&self, name: &str) -> Result<(), String> {
        self.looked_up()
            .map_or(Ok(()), |within| within.allows(name))
    }

    /// Whether a write to one more thing stays within the blast radius, `written` being those
    /// written to so far.
    ///
    /// # Errors
    /// The limit in words.
    pub(crate) fn allows_one_more(&self, whose: Whose, written: usize) -> Result<(), String> {
        match self.most.of(whose) {
            Some(most) if written as u64 >= most => Err(format!(
                "{} allows writes on at most {most} {}, and {written} have been written to",
                words(whose),
                self.many()
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether writes to so many more things stay within the blast radius, `written` being those written
    /// to so far.
    ///
    /// # Errors
    /// The limit in words.
    pub(crate) fn allows_more(
        &self,
        whose: Whose,
        written: usize,
        more: usize,
    ) -> Result<(), String> {
        match self.most.of(whose) {
            Some(most) if more > 0 && (written + more) as u64 > most => Err(format!(
                "{} allows writes on at most {most} {}; {written} have been written to, and this would be {more} more",
                words(whose),
                self.many()
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// What the step is granted and the operator's policy does not allow, a sentence each, as far as that
    /// is known before the step runs: verbs, and names that are no patterns.
    pub(crate) fn withheld(&self) -> Vec<String> {
        let capability = self.terms.capability;
        let mut all: Vec<String> = self
            .policy_denied
            .iter()
            .map(|verb| {
                format!(
                    "the operator's policy does not allow `{verb}` of `{capability}` on this target"
                )
            })
            .collect();
        all.extend(self.within.iter().flat_map(Within::withheld));
        all.sort();
        all.dedup();
        all
    }

    /// Whether the share has to be known before a write can be decided.
    pub(crate) fn asks_share(&self) -> bool {
        self.share.least().is_some()
    }

    /// Whether a write to one more of the `size` things of what was looked up stays within the allowed
    /// share, `written` of them having been written to so far. One is always allowed.
    ///
    /// # Errors
    /// The limit in words.
    pub(crate) fn allows_share(
        &self,
        whose: Whose,
        found: &str,
        written: usize,
        size: usize,
    ) -> Result<(), String> {
        match self.share.of(whose) {
            Some(percent) if written >= 1 && (written as u64 + 1) * 100 > size as u64 * percent => {
                Err(format!(
                    "{} allows writes on at most {percent} % of the {size} {} of `{found}`, and {written} have been written to",
                    words(whose),
                    self.many()
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn many(&self) -> &'static str {
        self.terms.radius.map_or("things", |radius| radius.many)
    }

    /// The grant as the journal keeps it: under each key what was said, a list for each party.
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("verbs".to_owned(), self.verbs.clone().into());
        for within in &self.within {
            let lists = within.lists.iter().map(|list| list.texts.clone());
            let lists: Vec<Value> = lists.map(Value::from).collect();
            all.insert(within.scope.key.to_owned(), lists.into());
        }
        if let Some(radius) = self.terms.radius {
            all.insert(radius.most.to_owned(), self.most.least().into());
            if let Some(share) = radius.share {
                all.insert(share.to_owned(), self.share.least().into());
            }
        }
        Value::Object(all)
    }

    /// What of an answer may be seen.
    pub fn cover(&self) -> Cover {
        let within = self.within.clone();
        Cover::new(move |one, name| {
            let scope = within.iter().find(|within| within.scope.one == one);
            scope.is_some_and(|scope| scope.allows(name).is_ok())
        })
    }

    /// Whether anything at all is left of it: a verb, and a name under each key that limits.
    pub fn is_something(&self) -> bool {
        let nothing = |list: &List| list.texts.is_empty();
        let mut lists = self.within.iter().flat_map(|within| &within.lists);
        !self.verbs.is_empty() && !lists.any(nothing)
    }

    /// The verbs that are left.
    pub fn verbs(&self) -> &[String] {
        &self.verbs
    }
}

#[cfg(test)]
mod tests {
    use groundcrew_runbook::LimitValue;

    use super::*;
    use crate::effect::{Kind, Row};
    use crate::grant::Radius;
    use crate::grant::within::{MAX_ALTERNATIVES, MAX_NAMES, MAX_PATTERN};

    static MOVE: Row = Row {
        name: "shelf.move",
        kind: Kind::Write,
        verb: "move",
        ..Row::WRITE
    };

    const TERMS: Terms = Terms {
        capability: "shelf",
        scopes: &[
            Scope {
                key: "apps",
                one: "app",
                covers: Covers::Pattern,
                unsaid: Unsaid::Nothing,
                looked_up: false,
                about: "",
            },
            Scope {
                key: "rooms",
                one: "room",
                covers: Covers::Name,
                unsaid: Unsaid::Anything,
                looked_up: false,
                about: "",
            },
            Scope {
                key: "makers",
                one: "maker",
                covers: Covers::Same(|listed, named| listed.eq_ignore_ascii_case(named)),
                unsaid: Unsaid::Anything,
                looked_up: true,
                about: "",
            },
        ],
        radius: Some(&Radius {
            most: "max_boxes",
            share: Some("max_share"),
            many: "boxes",
        }),
    };

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn grant(verbs: &[&str], apps: &[&str]) -> CapabilityGrant {
        let limits = [
            ("apps".to_owned(), LimitValue::Names(strings(apps))),
            ("max_boxes".to_owned(), LimitValue::Number(3)),
        ];
        CapabilityGrant {
            verbs: Some(strings(verbs)),
            limits: limits.into(),
        }
    }

    fn meet(step: &CapabilityGrant, requested: &[&str], policy: &str) -> Effective {
        let policy = toml::from_str(policy).unwrap();
        let target =
            crate::target::Target::new("production", None, crate::scale::Scale::REAL).whereabouts();
        Effective::meet(TERMS, step, &strings(requested), &policy, &target).unwrap()
    }

    fn moved(app: &str) -> Request {
        Request::new(&MOVE).on(app.to_owned(), "b1".to_owned())
    }

    #[test]
    fn a_verb_needs_the_request_the_grant_and_the_policy() {
        let allows = |verbs: &[&str], requested: &[&str], policy: &str| {
            meet(&grant(verbs, &["web"]), requested, policy).allows(&moved("web"))
        };
        assert!(allows(&["move"], &["move"], "").is_ok());
        assert!(allows(&["move"], &["list"], "").is_err());
        assert!(allows(&["list"], &["move", "list"], "").is_err());
        let policy = "[target.production.grant.shelf]\nverbs = [\"list\"]";
        let refused = allows(&["move"], &["move"], policy).unwrap_err();
        assert!(refused.contains("policy"), "{refused}");
    }

    #[test]
    fn an_app_must_be_covered_by_everyone() {
        let policy = "[grant.shelf]\napps = [\"web-*\"]";
        let met = meet(&grant(&["move"], &["*"]), &["move"], policy);
        assert!(met.allows(&moved("web-1")).is_ok());
        let refused = met.allows(&moved("billing")).unwrap_err();
        assert_eq!(
            refused,
            "the operator's policy does not cover the app `billing` (it covers `web-*`)"
        );
        let mut nothing = grant(&["move"], &[]);
        nothing.limits.remove("apps");
        assert!(meet(&nothing, &["move"], "").allows(&moved("web")).is_err());
    }

    #[test]
    fn what_is_not_said_means_what_the_capability_says() {
        let within = |policy: &str, room: &str| {
            let request = moved("web").within_one("room", room.to_owned());
            meet(&grant(&["move"], &["web"]), &["move"], policy).allows(&request)
        };
        assert!(within("", "attic").is_ok());
        let policy = "[grant.shelf]\nrooms = [\"attic\"]";
        assert!(within(policy, "attic").is_ok());
        assert!(within(policy, "cellar").is_err());
        assert!(within("[grant.shelf]\nrooms = [\"*\"]", "cellar").is_ok());
        assert!(within("[grant.shelf]\nrooms = []", "attic").is_err());
    }

    #[test]
    fn what_no_grant_can_speak_of_is_not_granted() {
        let met = meet(&grant(&["move"], &["*"]), &["move"], "");
        let refused = met.allows(&moved("web").at_origin("https://example.com".to_owned()));
        assert_eq!(
            refused.unwrap_err(),
            "no grant of `shelf` can cover the origin `https://example.com`"
        );
    }

    #[test]
    fn what_is_looked_up_is_compared_as_the_capability_does() {
        let met = meet(&grant(&["move"], &["*"]), &["move"], "");
        assert!(!met.looks_up());
        let policy = "[grant.shelf]\nmakers = [\"ACME\"]";
        let met = meet(&grant(&["move"], &["*"]), &["move"], policy);
        assert!(met.looks_up());
        assert!(met.allows_found("acme").is_ok());
        assert!(met.allows_found("other").is_err());
    }

    #[test]
    fn the_smaller_blast_radius_counts() {
        let policy =
            "[grant.shelf]\nmax_boxes = 2\n[target.production.grant.shelf]\nmax_share = 50";
        let met = meet(&grant(&["move"], &["*"]), &["move"], policy);
        assert!(met.allows_one_more(Whose::Policy, 1).is_ok());
        assert_eq!(
            met.allows_one_more(Whose::Policy, 2).unwrap_err(),
            "the operator's policy allows writes on at most 2 boxes, and 2 have been written to"
        );
        assert!(met.allows_one_more(Whose::Step, 2).is_ok());
        assert!(met.allows_one_more(Whose::Step, 3).is_err());
        assert!(met.allows_share(Whose::Policy, "acme", 0, 1).is_ok());
        assert!(met.allows_share(Whose::Policy, "acme", 1, 4).is_ok());
        assert!(met.allows_share(Whose::Policy, "acme", 2, 4).is_err());
    }

    #[test]
    fn patterns_and_lists_are_as_large_as_is_allowed_and_no_larger() {
        let list = |texts: &[String]| List::of(&TERMS.scopes[0], "the step's grant", texts);
        // What makes the largest program, and what nests most.
        for text in [
            "?".repeat(MAX_PATTERN),
            "[!a]".repeat(MAX_PATTERN / 4),
            "*a".repeat(MAX_PATTERN / 2),
            "{".repeat(MAX_ALTERNATIVES) + "a,b" + &"}".repeat(MAX_ALTERNATIVES),
            "{a,*}".repeat(MAX_ALTERNATIVES),
        ] {
            let fine = list(std::slice::from_ref(&text)).unwrap();
            // In linear time, whatever it is compared with.
            fine.covers(Covers::Pattern, &"a".repeat(100_000));
        }
        for text in [
            "?".repeat(MAX_PATTERN + 1),
            "{".repeat(MAX_ALTERNATIVES + 1) + "a" + &"}".repeat(MAX_ALTERNATIVES + 1),
            "?".repeat(1_000_000),
        ] {
            let start = &text[..40.min(text.len())];
            assert_eq!(
                list(std::slice::from_ref(&text)).unwrap_err(),
                format!(
                    "`{start}…` is too large a pattern of apps: it may have 256 bytes and 16 `{{`"
                )
            );
        }
        assert!(list(&vec!["a".to_owned(); MAX_NAMES]).is_ok());
        assert_eq!(
            list(&vec!["a".to_owned(); MAX_NAMES + 1]).unwrap_err(),
            "the step's grant has 1001 apps; at most 1000 are compared with"
        );
    }
}
