//! The operator's own limits, outside the runbook and its repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CapabilityGrant;
use crate::key::{Key, KeyError};

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

    /// The keys whose runs may be gone on with here, beside one's own.
    ///
    /// # Errors
    /// If one of them is no public key.
    pub fn run_authors(&self) -> Result<Vec<Key>, KeyError> {
        let all = self.run_authors.iter();
        all.map(|key| Key::public_from(key)).collect()
    }

    /// What it says of a capability on a target.
    pub(super) fn limits(
        &self,
        target: &str,
        capability: &str,
    ) -> impl Iterator<Item = &CapabilityGrant> {
        let here = self
            .target
            .get(target)
            .and_then(|t| t.grant.get(capability));
        self.grant.get(capability).into_iter().chain(here)
    }
}
