//! Drift: what has changed on the target since a plan was made, in the fields that count.
//!
//! The comparison alone; `rehearse/fits.rs` asks a new fork for what is compared.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Observation, PlannedWrite};
use crate::effect::Row;

/// One field, or one thing as a whole, that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// `app/id`.
    pub subject: String,
    /// The field; empty if the thing is new in a listing, or gone from it.
    pub field: String,
    /// When the plan was made; null if the thing was not there.
    pub planned: Value,
    /// Now; null if it is not there any more.
    pub now: Value,
}

impl Drift {
    /// What it is accepted by: `app/id.field`, or `app/id`.
    pub fn name(&self) -> String {
        match self.field.as_str() {
            "" => self.subject.clone(),
            field => format!("{}.{field}", self.subject),
        }
    }

    /// Whether one of these names accepts it. The name of a thing accepts all of its fields.
    pub fn accepted(&self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| *name == self.subject || *name == self.name())
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.field.as_str(), &self.planned) {
            ("", Value::Null) => write!(f, "{} is new", self.subject),
            ("", _) => write!(f, "{} is gone", self.subject),
            (_, planned) => write!(f, "{}: {planned} is now {}", self.name(), self.now),
        }
    }
}

/// Everything that differs.
pub(crate) fn compare(
    observation: &Observation,
    now: &BTreeMap<String, Map<String, Value>>,
) -> Vec<Drift> {
    let drift = |subject: &str, field: &str, planned: Value, now: Value| Drift {
        subject: subject.to_owned(),
        field: field.to_owned(),
        planned,
        now,
    };
    let whole = |fields: &Map<String, Value>| Value::Object(fields.clone());
    let mut drifts = Vec::new();
    for (subject, planned) in &observation.found {
        let Some(found) = now.get(subject) else {
            drifts.push(drift(subject, "", whole(planned), Value::Null));
            continue;
        };
        for (field, value) in planned {
            let found = found.get(field).cloned().unwrap_or_default();
            if *value != found {
                drifts.push(drift(subject, field, value.clone(), found));
            }
        }
        // What the plan is silent about has changed as well, or was left out of it.
        for (field, value) in found
            .iter()
            .filter(|(field, _)| !planned.contains_key(*field))
        {
            drifts.push(drift(subject, field, Value::Null, value.clone()));
        }
    }
    for (subject, found) in now {
        if !observation.found.contains_key(subject) {
            drifts.push(drift(subject, "", Value::Null, whole(found)));
        }
    }
    drifts
}

/// What people are shown of the thing that a write is about, or of what it is made like, where that is
/// not so; `found` has every field of each thing that was asked for.
pub(crate) fn misdescribed(
    write: &PlannedWrite,
    found: &BTreeMap<String, Map<String, Value>>,
) -> Vec<Drift> {
    if write.about.is_empty() {
        return Vec::new();
    }
    let on = write.request.on();
    let like = write.like().filter(|_| !found.contains_key(&on));
    let subject = like.unwrap_or(on);
    let Some(now) = found.get(&subject) else {
        // Nothing that was read describes it.
        return vec![Drift {
            subject,
            field: String::new(),
            planned: Value::Object(write.about.clone()),
            now: Value::Null,
        }];
    };
    let fields = write.about.iter().filter_map(|(field, planned)| {
        let now = now.get(field).cloned().unwrap_or_default();
        (*planned != now).then(|| Drift {
            subject: subject.clone(),
            field: field.clone(),
            planned: planned.clone(),
            now,
        })
    });
    fields.collect()
}

/// Some fields of a thing.
pub(crate) fn chosen(whole: &Value, fields: &[&str]) -> Map<String, Value> {
    let of = |field: &&str| Some(((*field).to_owned(), whole.get(*field)?.clone()));
    fields.iter().filter_map(of).collect()
}

/// Of each thing the fields that count.
pub(crate) fn projected(
    row: &Row,
    found: &BTreeMap<String, Value>,
) -> BTreeMap<String, Map<String, Value>> {
    let of = |(subject, whole): (&String, &Value)| (subject.clone(), chosen(whole, row.projection));
    found.iter().map(of).collect()
}
