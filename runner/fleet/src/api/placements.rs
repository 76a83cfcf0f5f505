//! Where there is room: the question and the answer of `POST /v1/platform/placements`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lax;

/// How many Machines would like to be placed, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementRequest {
    /// The organisation.
    #[serde(deserialize_with = "lax")]
    pub org_slug: String,
    /// Region codes with commas between them, `any` among them for all others; `any` if empty.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// How many; 0 asks for all that there is room for.
    #[serde(deserialize_with = "lax")]
    pub count: u64,
    /// The guest of each.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Value::is_null")]
    pub compute: Value,
    /// The name of the volume of each.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub volume_name: String,
    /// Its size.
    #[serde(deserialize_with = "lax", skip_serializing_if = "Option::is_none")]
    pub volume_size_bytes: Option<u64>,
}

/// What would fit into one region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionPlacement {
    /// Its code.
    #[serde(deserialize_with = "lax")]
    pub region: String,
    /// How many Machines.
    #[serde(deserialize_with = "lax")]
    pub count: u64,
    /// How many of them may be launched at once.
    #[serde(deserialize_with = "lax")]
    pub concurrency: u64,
}

/// What would fit where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placements {
    /// In the order in which the regions were asked for.
    #[serde(deserialize_with = "lax")]
    pub regions: Vec<RegionPlacement>,
}
