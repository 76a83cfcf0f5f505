//! Statuses as runbooks spell them: `200`, or `[200, 204]`.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What can be a status. (RFC 9110, section 15.)
const RANGE: RangeInclusive<u64> = 100..=599;

/// The statuses that are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<u16>);

impl Statuses {
    pub(crate) fn have(&self, status: u16) -> bool {
        self.0.contains(&status)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200])
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(u16::to_string).collect();
        f.write_str(&all.join(" or "))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as `200`, or a list of them")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Statuses, E> {
        Ok(Statuses(vec![status(number)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
        let mut all = Vec::new();
        while let Some(number) = list.next_element()? {
            all.push(status(number)?);
        }
        Ok(Statuses(all))
    }
}

fn status<E: de::Error>(number: u64) -> Result<u16, E> {
    let known = RANGE.contains(&number).then_some(number);
    known
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| E::custom(format!("`{number}` is no status: they go from 100 to 599")))
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "array"],
            "minimum": RANGE.start(),
            "maximum": RANGE.end(),
            "minItems": 1,
            "items": { "type": "integer", "minimum": RANGE.start(), "maximum": RANGE.end() },
        })
    }
}
