//! The file of a plan: its bytes, and a signed note over their SHA-256 with the author's signature and
//! every approval.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signed_note::Signature;

use super::truth::{of_numbers, of_runbook};
use super::{FORMAT, Plan, PlanError};
use crate::clock::millis;
use crate::digest::digest;
use crate::key::{self, Key, KeyError};

/// The first line of what is signed: no other signed text begins so.
const SIGNED: &str = "groundcrew plan v1";

/// A plan with its signatures.
#[derive(Debug, Clone)]
pub struct SignedPlan {
    plan: Arc<Plan>,
    body: Arc<str>,
    author: Key,
    digest: String,
    note: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    plan: &'a RawValue,
    note: String,
}

impl SignedPlan {
    /// Reads a plan, checks that nobody has changed it since its author signed it, and that the
    /// author is one of `known`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(text: &str, known: &[Key]) -> Result<Self, PlanError> {
        let signed = Self::reopen(text)?;
        signed.trusted(known)?;
        signed.bounded()?;
        if let Some(untrue) = of_runbook(signed.plan()).pop() {
            return Err(PlanError::Untrue(untrue));
        }
        Ok(signed)
    }

    /// Whether its numbers are within their bounds, by whomever it is signed.
    pub(crate) fn bounded(&self) -> Result<(), PlanError> {
        let untrue = of_numbers(self.plan()).pop();
        untrue.map_or(Ok(()), |untrue| Err(PlanError::Untrue(untrue)))
    }

    /// Whether its author is one of `known`.
    ///
    /// # Errors
    /// `Foreign`, if not.
    pub fn trusted(&self, known: &[Key]) -> Result<(), PlanError> {
        match known.contains(&self.author) {
            true => Ok(()),
            false => Err(PlanError::Foreign(self.author.name().to_owned())),
        }
    }

    /// Reads a plan that was opened before.
    pub(crate) fn reopen(text: &str) -> Result<Self, PlanError> {
        let malformed = |e: serde_json::Error| PlanError::Malformed(e.to_string());
        let file: File<'_> = serde_json::from_str(text).map_err(malformed)?;
        let plan: Plan = serde_json::from_str(file.plan.get()).map_err(malformed)?;
        if plan.format != FORMAT {
            return Err(PlanError::Malformed(format!(
                "its format is {}, and this program's is {FORMAT}",
                plan.format
            )));
        }
        let author = Key::public_from(&plan.author)?;
        if plan.author != author.public() {
            return Err(KeyError::Malformed("public").into());
        }
        let id = ulid::Ulid::from_string(&plan.run).ok();
        let id = id.filter(|id| id.to_string().to_lowercase() == plan.run);
        if id.is_none_or(|id| id.timestamp_ms() != millis(plan.made_at)) {
            return Err(PlanError::Malformed(format!(
                "`{}` is not the id of a run that was planned at {}",
                plan.run, plan.made_at
            )));
        }
        let digest = digest(file.plan.get());
        let unsigned = |why: String| PlanError::Unsigned {
            author: author.name().to_owned(),
            why,
        };
        let opened = key::open(&file.note, std::slice::from_ref(&author));
        let opened = opened.map_err(|e| unsigned(e.to_string()))?;
        if opened.by.is_empty() {
            return Err(unsigned("there is no signature of that key".to_owned()));
        }
        if opened.text != signed_text(&digest) {
            return Err(PlanError::Edited);
        }
        Ok(Self {
            plan: Arc::new(plan),
            body: file.plan.get().into(),
            author,
            digest,
            note: file.note,
            signatures: opened.signatures,
        })
    }

    pub(crate) fn sign(plan: Plan, author: &Key) -> Result<Self, PlanError> {
        let body = written(&plan)?;
        let digest = digest(&body);
        let note = author.sign(&signed_text(&digest), &[])?;
        let opened = key::open(&note, std::slice::from_ref(author))?;
        Ok(Self {
            plan: Arc::new(plan),
            body: body.into(),
            author: Key::public_from(author.public())?,
            digest,
            note,
            signatures: opened.signatures,
        })
    }

    /// With one more signature. Signing twice is signing once.
    ///
    /// # Errors
    /// If the key has no private half.
    pub fn approve(&self, key: &Key) -> Result<Self, PlanError> {
        let note = key.sign(&signed_text(&self.digest), &self.signatures)?;
        let signatures = key::open(&note, std::slice::from_ref(key))?.signatures;
        Ok(Self {
            note,
            signatures,
            ..self.clone()
        })
    }

    /// Who of `keys` has approved it. Its author's own signature is no approval.
    ///
    /// # Errors
    /// If one of them is none, or its signature is wrong.
    pub fn approvals<'k>(&self, keys: &'k [Key]) -> Result<Vec<&'k Key>, PlanError> {
        let opened = key::open(&self.note, keys)?;
        let mut approvers: Vec<&Key> = Vec::new();
        for key in opened.by.iter().filter_map(|at| keys.get(*at)) {
            if *key != self.author && !approvers.contains(&key) {
                approvers.push(key);
            }
        }
        Ok(approvers)
    }

    /// What it plans.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// SHA-256 of the plan, in hexadecimal: what is signed, and what the journals name.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The public half of its author's key.
    pub fn author(&self) -> &Key {
        &self.author
    }

    /// How many signatures it has, whether anybody here knows their keys or not.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// The file.
    pub fn text(&self) -> String {
        let plan: Result<&RawValue, _> = serde_json::from_str(&self.body);
        let file = plan.and_then(|plan| {
            serde_json::to_string(&File {
                plan,
                note: self.note.clone(),
            })
        });
        file.unwrap_or_default()
    }
}

/// A plan as it is signed.
pub(crate) fn written(plan: &Plan) -> Result<String, PlanError> {
    serde_json::to_string(plan).map_err(|e| PlanError::Malformed(e.to_string()))
}

fn signed_text(digest: &str) -> String {
    format!("{SIGNED}\n{digest}\n")
}
