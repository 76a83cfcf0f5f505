//! Numbers of Machines as runbooks spell them: `10`, `25%`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// So many Machines, or so many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Portion {
    /// As a number of Machines, of `total`; at least one, or nothing would ever be done.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        let most = match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => total * percent as usize / 100,
        };
        most.max(1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (digits, most, make): (_, _, fn(u32) -> Self) = match text.strip_suffix('%') {
            Some(digits) => (digits, 100, Self::Percent),
            None => (text, 9999, Self::Count),
        };
        let number = digits.parse().ok()?;
        (1..=most).contains(&number).then(|| make(number))
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a number such as `10` or a share such as `25%`"
            ))
        })
    }
}

impl JsonSchema for Portion {
    fn schema_name() -> Cow<'static, str> {
        "Portion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([1-9][0-9]{0,3}|([1-9][0-9]?|100)%)$" })
    }
}
