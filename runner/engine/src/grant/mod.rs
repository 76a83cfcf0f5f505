//! What a step may do: the meeting of what the plugin asks for, what its step grants and what the
//! operator's policy allows. (What the component imports bounds it once more: a function that is
//! not imported cannot be called.)

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::effect::Request;
use crate::key::{Key, KeyError};

/// A grant of one capability, as a runbook or a policy writes it. A field that is not given
/// means *nothing* in a step's grant and *anything* in a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityGrant {
    /// Verbs of the operations table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbs: Option<Vec<String>>,
    /// Patterns of app names (`web`, `web-*`, `*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<String>>,
    /// Process groups; not given in a step's grant means every group of the apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Web origins, such as `https://example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// How many different Machines may be written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_machines: Option<u32>,
    /// Which share of a process group's Machines may be written to, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_share: Option<u8>,
}

/// The operator's own limits. A runbook can never widen them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// By capability, whatever the target.
    #[serde(default)]
    pub grant: BTreeMap<String, CapabilityGrant>,
    /// By target, then by capability: on top of the above.
    #[serde(default)]
    pub target: BTreeMap<String, TargetPolicy>,
    /// Public keys of those whose plans may be applied, beside one's own and those who approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan_authors: Vec<String>,
}

/// The part of a policy that concerns one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPolicy {
    /// By capability.
    #[serde(default)]
    pub grant: BTreeMap<String, CapabilityGrant>,
    /// Who has to approve of what is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
}

/// Who has to approve of what is written to a target. Whatever writes there then needs a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// How many of them, beside the plan's author.
    pub required: u32,
    /// Their public keys.
    pub keys: Vec<String>,
}

impl Policy {
    /// Who has to approve of what is written to a target; none if nobody has to.
    pub fn approvals(&self, target: &str) -> Option<&Approvals> {
        let approvals = self.target.get(target)?.approvals.as_ref()?;
        (approvals.required > 0).then_some(approvals)
    }

    /// The keys whose plans may be applied to a target, beside one's own.
    ///
    /// # Errors
    /// If one of them is no public key.
    pub fn plan_authors(&self, target: &str) -> Result<Vec<Key>, KeyError> {
        let approvers = self.target.get(target).and_then(|t| t.approvals.as_ref());
        let approvers = approvers.into_iter().flat_map(|a| &a.keys);
        let all = self.plan_authors.iter().chain(approvers);
        all.map(|key| Key::public_from(key)).collect()
    }

    fn limits(&self, target: &str, capability: &str) -> impl Iterator<Item = &CapabilityGrant> {
        let here = self
            .target
            .get(target)
            .and_then(|t| t.grant.get(capability));
        self.grant.get(capability).into_iter().chain(here)
    }
}

/// What a step may do with one capability, after everyone has been heard.
#[derive(Debug, Clone)]
pub struct Effective {
    verbs: Vec<String>,
    /// One list per party; a name must match in each.
    apps: Vec<Vec<Pattern>>,
    groups: Vec<Vec<String>>,
    origins: Vec<Vec<String>>,
    max_machines: Option<u32>,
    max_share: Option<u8>,
    /// Who denied a verb that the plugin asked for.
    policy_denied: Vec<String>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    glob: GlobMatcher,
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    texts
        .iter()
        .map(|text| match Glob::new(text) {
            Ok(glob) => Ok(Pattern {
                text: text.clone(),
                glob: glob.compile_matcher(),
            }),
            Err(e) => Err(format!(
                "`{text}` is not a pattern of app names: {}",
                e.kind()
            )),
        })
        .collect()
}

impl Effective {
    /// Meets a step's grant with the plugin's request and the policy.
    ///
    /// # Errors
    /// The text of a pattern that is none.
    pub fn meet(
        capability: &str,
        granted: &CapabilityGrant,
        requested: &[String],
        policy: &Policy,
        target: &str,
    ) -> Result<Self, String> {
        let mut verbs: Vec<String> = granted.verbs.clone().unwrap_or_default();
        verbs.retain(|verb| requested.contains(verb));
        let mut apps = vec![patterns(granted.apps.as_deref().unwrap_or_default())?];
        // `*` is every group: such a list limits nothing.
        let limits = |list: &Vec<String>| !list.iter().any(|group| group == "*");
        let mut groups: Vec<Vec<String>> =
            granted.groups.clone().into_iter().filter(limits).collect();
        let mut origins = vec![granted.origins.clone().unwrap_or_default()];
        let mut max_machines = granted.max_machines;
        let mut max_share = granted.max_share;
        let mut policy_denied = Vec::new();
        for limit in policy.limits(target, capability) {
            if let Some(allowed) = &limit.verbs {
                policy_denied.extend(verbs.iter().filter(|verb| !allowed.contains(verb)).cloned());
                verbs.retain(|verb| allowed.contains(verb));
            }
            if let Some(allowed) = &limit.apps {
                apps.push(patterns(allowed)?);
            }
            groups.extend(limit.groups.clone().filter(limits));
            origins.extend(limit.origins.clone());
            max_machines = smaller(max_machines, limit.max_machines);
            max_share = smaller(max_share, limit.max_share);
        }
        Ok(Self {
            verbs,
            apps,
            groups,
            origins,
            max_machines,
            max_share,
            policy_denied,
        })
    }

    /// Whether the verb of a request is granted, and its app if it names one.
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
        if let Some(origin) = &request.origin {
            self.allows_origin(origin)?;
        }
        match &request.app {
            Some(app) => self.allows_app(app),
            None => Ok(()),
        }
    }

    fn allows_origin(&self, origin: &str) -> Result<(), String> {
        match self.origins.iter().position(|list| !covers(list, origin)) {
            None => Ok(()),
            Some(which) => {
                let whose = match which {
                    0 => "the step's grant",
                    _ => "the operator's policy",
                };
                Err(format!(
                    "{whose} does not cover the origin `{origin}` (it covers {})",
                    quoted(&self.origins[which])
                ))
            }
        }
    }

    /// Whether an app is covered.
    ///
    /// # Errors
    /// The missing grant in words.
    pub fn allows_app(&self, app: &str) -> Result<(), String> {
        match self
            .apps
            .iter()
            .position(|list| !list.iter().any(|p| p.glob.is_match(app)))
        {
            None => Ok(()),
            Some(0) => Err(format!(
                "the step's grant does not cover the app `{app}` (it covers {})",
                self.list(0)
            )),
            Some(which) => Err(format!(
                "the operator's policy does not cover the app `{app}` (it covers {})",
                self.list(which)
            )),
        }
    }

    fn list(&self, which: usize) -> String {
        match self.apps.get(which) {
            Some(list) if !list.is_empty() => list
                .iter()
                .map(|p| format!("`{}`", p.text))
                .collect::<Vec<_>>()
                .join(", "),
            Some(_) | None => "none".to_owned(),
        }
    }

    /// Whether a process group has to be known before a request can be decided.
    pub fn asks_group(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether a process group is covered.
    ///
    /// # Errors
    /// The missing grant in words.
    pub fn allows_group(&self, group: &str) -> Result<(), String> {
        match self
            .groups
            .iter()
            .find(|list| !list.iter().any(|g| g == group))
        {
            None => Ok(()),
            Some(list) => Err(format!(
                "the grant does not cover the process group `{group}` (it covers {})",
                quoted(list)
            )),
        }
    }

    /// Whether a write on one more Machine stays within the blast radius, `written` being those
    /// written to so far.
    ///
    /// # Errors
    /// The limit in words.
    pub fn allows_one_more(&self, written: usize) -> Result<(), String> {
        match self.max_machines {
            Some(max) if written >= max as usize => Err(format!(
                "the grant allows writes on at most {max} Machines, and {written} have been written to"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the share of a group has to be known before a write can be decided.
    pub fn asks_share(&self) -> bool {
        self.max_share.is_some()
    }

    /// Whether a write on one more of a group's `size` Machines stays within the allowed share,
    /// `written` of them having been written to so far. One Machine is always allowed.
    ///
    /// # Errors
    /// The limit in words.
    pub fn allows_share(&self, group: &str, written: usize, size: usize) -> Result<(), String> {
        match self.max_share {
            Some(percent) if written >= 1 && (written + 1) * 100 > size * usize::from(percent) => {
                Err(format!(
                    "the grant allows writes on at most {percent} % of the {size} Machines of `{group}`, and {written} have been written to"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The grant as the journal keeps it.
    pub fn to_json(&self) -> serde_json::Value {
        let apps: Vec<Vec<&str>> = self
            .apps
            .iter()
            .map(|l| l.iter().map(|p| p.text.as_str()).collect())
            .collect();
        serde_json::json!({ "verbs": self.verbs, "apps": apps, "groups": self.groups, "origins": self.origins, "max_machines": self.max_machines, "max_share": self.max_share })
    }

    /// The verbs that are left.
    pub fn verbs(&self) -> &[String] {
        &self.verbs
    }
}

/// Whether a list of origins, however they are spelt, has this one.
fn covers(list: &[String], origin: &str) -> bool {
    let same = |listed: &String| {
        let listed = reqwest::Url::parse(listed);
        listed.is_ok_and(|url| {
            url.origin().is_tuple() && url.origin().ascii_serialization() == origin
        })
    };
    list.iter().any(same)
}

fn smaller<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Names in backticks, with commas between them.
pub(crate) fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|n| format!("`{n}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Kind, Row};

    static RESTART: Row = Row {
        name: "machines.restart",
        kind: Kind::Write,
        verb: "restart",
        idempotent: false,
        housekeeping: false,
        waits: false,
        in_doubt: "",
        undo: None,
        creates: None,
        fork: "",
        assumes: "",
        projection: &[],
    };

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn grant(verbs: &[&str], apps: &[&str]) -> CapabilityGrant {
        CapabilityGrant {
            verbs: Some(strings(verbs)),
            apps: Some(strings(apps)),
            groups: None,
            origins: None,
            max_machines: Some(3),
            max_share: None,
        }
    }

    fn meet(step: &CapabilityGrant, requested: &[&str], policy: &Policy) -> Effective {
        Effective::meet("machines", step, &strings(requested), policy, "production").unwrap()
    }

    fn restart(app: &str) -> Request {
        Request::new(&RESTART).on(app.to_owned(), "m1".to_owned())
    }

    #[test]
    fn a_verb_needs_the_request_the_grant_and_the_policy() {
        let free = Policy::default();
        assert!(
            meet(&grant(&["restart"], &["web"]), &["restart"], &free)
                .allows(&restart("web"))
                .is_ok()
        );
        assert!(
            meet(&grant(&["restart"], &["web"]), &["list"], &free)
                .allows(&restart("web"))
                .is_err()
        );
        assert!(
            meet(&grant(&["list"], &["web"]), &["restart", "list"], &free)
                .allows(&restart("web"))
                .is_err()
        );
        let policy: Policy =
            toml::from_str("[target.production.grant.machines]\nverbs = [\"list\"]").unwrap();
        let refused = meet(&grant(&["restart"], &["web"]), &["restart"], &policy)
            .allows(&restart("web"))
            .unwrap_err();
        assert!(refused.contains("policy"), "{refused}");
    }

    #[test]
    fn an_app_must_be_covered_by_everyone() {
        let policy: Policy = toml::from_str("[grant.machines]\napps = [\"web-*\"]").unwrap();
        let met = meet(&grant(&["restart"], &["*"]), &["restart"], &policy);
        assert!(met.allows(&restart("web-1")).is_ok());
        assert!(
            met.allows(&restart("billing"))
                .unwrap_err()
                .contains("policy")
        );
        let nothing = CapabilityGrant {
            apps: None,
            ..grant(&["restart"], &[])
        };
        assert!(
            meet(&nothing, &["restart"], &Policy::default())
                .allows(&restart("web"))
                .is_err()
        );
    }

    #[test]
    fn an_origin_must_be_covered_by_everyone_however_it_is_spelt() {
        static CHECK: Row = Row {
            name: "http.check",
            verb: "check",
            ..Row::READ
        };
        let step = CapabilityGrant {
            verbs: Some(strings(&["check"])),
            origins: Some(strings(&["https://Web.example.com/", "http://a:8080"])),
            ..CapabilityGrant::default()
        };
        let allows = |policy: &str, origin: &str| {
            let policy: Policy = toml::from_str(policy).unwrap();
            let check = strings(&["check"]);
            let met = Effective::meet("http", &step, &check, &policy, "production").unwrap();
            met.allows(&Request::new(&CHECK).at_origin(origin.to_owned()))
        };
        assert!(allows("", "https://web.example.com").is_ok());
        assert!(allows("", "http://a:8080").is_ok());
        for other in [
            "http://web.example.com",
            "https://web.example.com:444",
            "",
            "null",
        ] {
            assert!(allows("", other).is_err(), "{other}");
        }
        let policy = "[grant.http]\norigins = [\"http://a:8080\"]";
        assert!(allows(policy, "http://a:8080").is_ok());
        let refused = allows(policy, "https://web.example.com").unwrap_err();
        assert!(refused.contains("policy"), "{refused}");
    }

    #[test]
    fn the_smaller_blast_radius_counts() {
        let policy: Policy = toml::from_str("[grant.machines]\nmax_machines = 2").unwrap();
        let met = meet(&grant(&["restart"], &["*"]), &["restart"], &policy);
        assert!(met.allows_one_more(1).is_ok());
        assert!(met.allows_one_more(2).is_err());
    }
}
