//! What a grant can say. Each capability declares its own [`Scope`]s (what a step may act on, by name)
//! and its [`Radius`] (how much of it it may write to); everything here goes over whatever there is.
//!
//! `policy.rs` is what the operator says, `effective.rs` where everybody's words meet.

pub(crate) mod bound;
pub(crate) mod effective;
pub(crate) mod policy;
mod within;

use std::collections::BTreeMap;
use std::fmt;

use groundcrew_runbook::{EvaluatedGrant, GrantForm, GrantKey, LimitValue};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One respect in which a grant says by name what may be acted on.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Its key in a grant: `apps`.
    pub key: &'static str,
    /// One of them, in words: `app`. A request names by it what it is within.
    pub one: &'static str,
    /// What a listed text covers.
    pub covers: Covers,
    /// What a step may act on whose grant does not have the key.
    pub unsaid: Unsaid,
    /// A request does not name it: the executor is asked ([`crate::Executor::within`]). At most one of a
    /// capability's.
    pub looked_up: bool,
    /// What it means, for the person who writes it.
    pub about: &'static str,
}

/// What a listed text covers.
#[derive(Debug, Clone, Copy)]
pub enum Covers {
    /// What is called so; `*` is all.
    Name,
    /// What the pattern matches: `web`, `web-*`, `*`.
    Pattern,
    /// What is the same by this: the listed text first, then what a request names.
    Same(fn(&str, &str) -> bool),
}

/// What a key that a step's grant does not have means. In a policy it never limits anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// Nothing may be acted on.
    Nothing,
    /// Anything may, as far as the other keys go.
    Anything,
}

/// How much a step may write to: the blast radius.
#[derive(Debug, Clone, Copy)]
pub struct Radius {
    /// The key of how many different things may be written to: `max_machines`.
    pub most: &'static str,
    /// The key of which share may be written to of what the scope that is looked up names, in percent.
    pub share: Option<&'static str>,
    /// Many of them, in words: `Machines`.
    pub many: &'static str,
}

/// All that a grant of one capability can say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) capability: &'static str,
    pub(crate) scopes: &'static [Scope],
    pub(crate) radius: Option<&'static Radius>,
}

impl Terms {
    /// As the language is told.
    pub(crate) fn keys(&self) -> Vec<GrantKey> {
        let key = |name: &str, form, about: String| GrantKey {
            name: name.to_owned(),
            form,
            about,
        };
        let scopes = self.scopes.iter();
        let mut keys: Vec<GrantKey> = scopes
            .map(|scope| key(scope.key, GrantForm::Names, scope.about.to_owned()))
            .collect();
        if let Some(radius) = self.radius {
            let about = format!("How many {} may be written to at most.", radius.many);
            keys.push(key(radius.most, GrantForm::Number, about));
            keys.extend(radius.share.map(|share| {
                let about = format!(
                    "How large a share of the {} may be written to at most, such as `25%`.",
                    radius.many
                );
                key(share, GrantForm::Share, about)
            }));
        }
        keys
    }

    /// What is wrong with the keys of a grant, a sentence each, with what may have been meant.
    pub(crate) fn faults(&self, grant: &CapabilityGrant) -> Vec<(String, Option<String>)> {
        let keys = self.keys();
        let mut faults = Vec::new();
        for (name, value) in &grant.limits {
            let Some(known) = keys.iter().find(|key| key.name == *name) else {
                let names = ["verbs"]
                    .into_iter()
                    .chain(keys.iter().map(|key| key.name.as_str()));
                let near = groundcrew_runbook::nearest(name, names);
                faults.push((
                    format!("a grant of `{}` has no key `{name}`", self.capability),
                    near.map(|near| format!("did you mean `{near}`?")),
                ));
                continue;
            };
            let wanted = match (known.form, value) {
                (GrantForm::Names, LimitValue::Names(_))
                | (GrantForm::Number, LimitValue::Number(_))
                | (GrantForm::Share, LimitValue::Share(1..=100))
                // A policy writes it as a number of percent.
                | (GrantForm::Share, LimitValue::Number(1..=100)) => continue,
                (GrantForm::Names, _) => "a list of names",
                (GrantForm::Number, _) => "a whole number",
                (GrantForm::Share, _) => "a share from 1 to 100 percent",
            };
            let capability = self.capability;
            faults.push((
                format!("`{name}` in a grant of `{capability}` has to be {wanted}"),
                None,
            ));
        }
        faults
    }
}

/// A grant of one capability, as a runbook or a policy writes it. A key that is not there means what
/// its [`Scope`] says in a step's grant, and *anything* in a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapabilityGrant {
    /// Verbs of the operations table.
    pub verbs: Option<Vec<String>>,
    /// By key, how far it goes.
    pub limits: BTreeMap<String, LimitValue>,
}

impl CapabilityGrant {
    /// The names under a key, if it is there.
    pub(crate) fn names(&self, key: &str) -> Option<&[String]> {
        match self.limits.get(key) {
            Some(LimitValue::Names(names)) => Some(names),
            Some(LimitValue::Number(_) | LimitValue::Share(_)) | None => None,
        }
    }

    /// The number under a key, if it is there; a share in percent.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.limits.get(key) {
            Some(LimitValue::Number(number)) => Some(*number),
            Some(LimitValue::Share(percent)) => Some(u64::from(*percent)),
            Some(LimitValue::Names(_)) | None => None,
        }
    }
}

impl From<&EvaluatedGrant> for CapabilityGrant {
    fn from(granted: &EvaluatedGrant) -> Self {
        Self {
            verbs: Some(granted.verbs.clone()),
            limits: granted.limits.clone(),
        }
    }
}

impl Serialize for CapabilityGrant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if let Some(verbs) = &self.verbs {
            map.serialize_entry("verbs", verbs)?;
        }
        for (key, limit) in &self.limits {
            match limit {
                LimitValue::Names(names) => map.serialize_entry(key, names)?,
                LimitValue::Number(number) => map.serialize_entry(key, number)?,
                LimitValue::Share(percent) => map.serialize_entry(key, percent)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for CapabilityGrant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = CapabilityGrant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a grant: `verbs` and limits by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut grant = CapabilityGrant::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "verbs" {
                        grant.verbs = Some(map.next_value()?);
                    } else {
                        let Read(limit) = map.next_value()?;
                        grant.limits.insert(key, limit);
                    }
                }
                Ok(grant)
            }
        }
        from.deserialize_map(Keys)
    }
}

/// A limit by its form.
struct Read(LimitValue);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Read;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names or a whole number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Read, E> {
                Ok(Read(LimitValue::Number(number)))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Read, E> {
                let number = u64::try_from(number);
                let number = number.map_err(|_| E::custom("a limit cannot be negative"))?;
                self.visit_u64(number)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Read, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Read(LimitValue::Names(names)))
            }
        }
        from.deserialize_any(Form)
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
