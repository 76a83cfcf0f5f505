//! The listing over a whole organisation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lax;

/// A Machine as the organisation's listing shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrgMachine {
    /// Its app.
    #[serde(deserialize_with = "lax")]
    pub app_name: String,
    /// Its id.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Its name.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// Deprecated by Fly for `version`.
    #[serde(deserialize_with = "lax")]
    pub instance_id: String,
    /// The version of its configuration.
    #[serde(deserialize_with = "lax")]
    pub version: String,
    /// Its private IPv6 address.
    #[serde(deserialize_with = "lax")]
    pub private_ip: String,
    /// Its region.
    #[serde(deserialize_with = "lax")]
    pub region: String,
    /// Its state.
    #[serde(deserialize_with = "lax")]
    pub state: String,
    /// RFC 3339.
    #[serde(deserialize_with = "lax")]
    pub created_at: String,
    /// RFC 3339; the listing is sorted by it.
    #[serde(deserialize_with = "lax")]
    pub updated_at: String,
    /// `image`, `guest` and `metadata` only.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub config: Value,
}

impl OrgMachine {
    /// The process group; `app` if the Machine names none.
    pub fn process_group(&self) -> &str {
        super::ConfigView::new(&self.config).process_group()
    }
}

/// One page. A page may be short or empty while more remain: go on while there is a cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrgMachines {
    /// The page's Machines.
    #[serde(deserialize_with = "lax")]
    pub machines: Vec<OrgMachine>,
    /// Where the next page begins; empty at the end.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub next_cursor: String,
    /// The last Machine of this page.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub last_machine_id: String,
    /// When it last changed.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub last_updated_at: String,
    /// Regions that did not answer: when there are any, the listing is partial.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Vec::is_empty")]
    pub error_regions: Vec<String>,
}
