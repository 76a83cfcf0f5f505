//! Apps, regions and tokens: what the routes outside an app's Machines answer.

use serde::{Deserialize, Serialize};

use super::lax;

/// The organisation of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppOrganization {
    /// Its display name.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// Its name in URLs.
    #[serde(deserialize_with = "lax")]
    pub slug: String,
    /// Fly's number of it.
    #[serde(deserialize_with = "lax")]
    pub internal_numeric_id: u64,
}

/// One app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct App {
    /// Its id.
    #[serde(deserialize_with = "lax")]
    pub id: String,
    /// Its name, unique over Fly.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// Fly's number of it.
    #[serde(deserialize_with = "lax")]
    pub internal_numeric_id: u64,
    /// Its private network.
    #[serde(deserialize_with = "lax")]
    pub network: String,
    /// `pending`, `deployed` or `suspended`.
    #[serde(deserialize_with = "lax")]
    pub status: String,
    /// How many Machines it has.
    #[serde(deserialize_with = "lax")]
    pub machine_count: u64,
    /// How many volumes it has.
    #[serde(deserialize_with = "lax")]
    pub volume_count: u64,
    /// Whose it is.
    #[serde(deserialize_with = "lax")]
    pub organization: AppOrganization,
}

/// The body of `POST /v1/apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateAppRequest {
    /// Its name.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// The same, by the name that the documentation's examples have.
    #[serde(deserialize_with = "lax", skip_serializing_if = "String::is_empty")]
    pub app_name: String,
    /// Whose it is.
    #[serde(deserialize_with = "lax")]
    pub org_slug: String,
    /// Its private network; the organisation's own if none.
    #[serde(deserialize_with = "lax")]
    pub network: String,
}

/// The answer of `GET /v1/apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppList {
    /// How many there are.
    #[serde(deserialize_with = "lax")]
    pub total_apps: u64,
    /// The apps.
    #[serde(deserialize_with = "lax")]
    pub apps: Vec<App>,
}

/// One region of the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Region {
    /// Its code, such as `fra`.
    #[serde(deserialize_with = "lax")]
    pub code: String,
    /// Its name, such as `Frankfurt, Germany`.
    #[serde(deserialize_with = "lax")]
    pub name: String,
    /// Degrees north.
    #[serde(deserialize_with = "lax")]
    pub latitude: f64,
    /// Degrees east.
    #[serde(deserialize_with = "lax")]
    pub longitude: f64,
    /// Whether a WireGuard gateway is there.
    #[serde(deserialize_with = "lax")]
    pub gateway_available: bool,
    /// Whether only paying organisations may use it.
    #[serde(deserialize_with = "lax")]
    pub requires_paid_plan: bool,
}

/// The answer of `GET /v1/platform/regions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Regions {
    /// The region nearest to the caller.
    #[serde(deserialize_with = "lax")]
    pub nearest: String,
    /// All of them.
    #[serde(deserialize_with = "lax")]
    pub regions: Vec<Region>,
}

/// What one token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    /// Its id; not the token.
    #[serde(deserialize_with = "lax")]
    pub token_id: String,
    /// The organisation it belongs to.
    #[serde(deserialize_with = "lax")]
    pub org_slug: String,
    /// The same organisation's name.
    #[serde(deserialize_with = "lax")]
    pub organization: String,
    /// The apps it is limited to; empty means all.
    #[serde(deserialize_with = "lax")]
    pub apps: Vec<String>,
    /// Whose it is, if it is a person's.
    #[serde(deserialize_with = "lax")]
    pub user: String,
}

/// The answer of `GET /v1/tokens/current`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CurrentTokens {
    /// The tokens of the `Authorization` header.
    #[serde(deserialize_with = "lax")]
    pub tokens: Vec<TokenInfo>,
}
