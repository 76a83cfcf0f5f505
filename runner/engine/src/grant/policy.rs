//! The operator's own limits, outside the runbook and its repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CapabilityGrant;
use crate::key::{Key, KeyError};
use crate::target::Whereabouts;

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
    /// Public keys of those whose runs may be gone on with here, beside one's own. Not the above: who
    /// hands a run on says what it has done already, and that cannot be looked at and approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_authors: Vec<String>,
}

/// The part of a policy that concerns one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPolicy {
    /// Where it is: scheme, host and port of one of its places. Without it the name of the table is the
    /// name of a target, which whoever reads the policy has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its organisation's slug; any there if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
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

impl TargetPolicy {
    /// Whether it is about a target, whatever that is called. A project cannot say that it is another
    /// organisation's: the credential decides what is acted on.
    fn binds(&self, name: &str, target: &Whereabouts) -> bool {
        let Some(address) = &self.address else {
            return name == target.name;
        };
        let organisation = self.organisation.is_none()
            || self.organisation == target.organisation
            || target.from_project;
        target.is_at(address) && organisation
    }
}

impl Approvals {
    /// Why it asks for nothing, or nobody could ever keep to it, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.required == 0 {
            let why = "`required = 0` asks for no approval; leave the table `approvals` out if nobody has to approve";
            return Some(why.to_owned());
        }
        let mut keys: Vec<&str> = self.keys.iter().map(|key| key.trim()).collect();
        keys.sort_unstable();
        keys.dedup();
        let wrong = keys.iter().find_map(|key| Key::public_from(key).err());
        if let Some(wrong) = wrong {
            return Some(wrong.to_string());
        }
        let (required, many) = (self.required, keys.len());
        (required as usize > many)
            .then(|| format!("{required} approvals are wanted, and there are {many} keys"))
    }
}

impl Policy {
    /// Who has to approve of what is written to a target, by the names of the tables; none if nobody has
    /// to. Each has to be kept to.
    pub fn approvals(&self, target: &Whereabouts) -> Vec<(&str, &Approvals)> {
        let mut wanted = Vec::new();
        for (name, of) in &self.target {
            let approvals = of.approvals.as_ref().filter(|a| a.required > 0);
            if let (Some(approvals), true) = (approvals, of.binds(name, target)) {
                wanted.push((name.as_str(), approvals));
            }
        }
        wanted
    }

    fn bound<'a>(
        &'a self,
        target: &'a Whereabouts,
    ) -> impl Iterator<Item = (&'a str, &'a TargetPolicy)> {
        let all = self.target.iter();
        all.filter(|(name, of)| of.binds(name, target))
            .map(|(name, of)| (name.as_str(), of))
    }

    /// Whether any of it is about a target.
    pub(crate) fn knows(&self, target: &Whereabouts) -> bool {
        self.bound(target).next().is_some()
    }

    /// The keys whose plans may be applied to a target, or to any, beside one's own.
    ///
    /// # Errors
    /// If one of them is no public key.
    pub fn plan_authors(&self, target: Option<&Whereabouts>) -> Result<Vec<Key>, KeyError> {
        let bound = |(name, of): &(&String, &TargetPolicy)| {
            target.is_none_or(|target| of.binds(name, target))
        };
        let bound = self.target.iter().filter(bound);
        let approvers = bound.filter_map(|(_, of)| of.approvals.as_ref());
        let approvers = approvers.flat_map(|approvals| &approvals.keys);
        let all = self.plan_authors.iter().chain(approvers);
        all.map(|key| Key::public_from(key)).collect()
    }

    /// The keys whose runs may be gone on with here, beside one's own.
    ///
    /// # Errors
    /// If one of them is no public key.
    pub fn run_authors(&self) -> Result<Vec<Key>, KeyError> {
        let all = self.run_authors.iter();
        all.map(|key| Key::public_from(key)).collect()
    }

    /// What it says of a capability on a target.
    pub(super) fn limits<'a>(
        &'a self,
        target: &'a Whereabouts,
        capability: &'a str,
    ) -> impl Iterator<Item = &'a CapabilityGrant> {
        let here = self.bound(target);
        let here = here.filter_map(move |(_, of)| of.grant.get(capability));
        self.grant.get(capability).into_iter().chain(here)
    }
}
