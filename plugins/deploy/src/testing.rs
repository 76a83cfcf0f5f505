//! What the tests of the deploy plugins share: a fleet, a file that fits it but for its groups, and
//! what is looked at in the end.

use groundcrew_plugin::testing::{TestHost, machine, with_more};
use groundcrew_plugin::{Error, Summary};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A fly.toml after which `worker` is gone and `jobs` is new.
pub const FILE: &str =
    "app = \"web\"\n[processes]\napp = \"serve\"\njobs = \"work\"\n[env]\nLOG = \"debug\"\n";

/// A Machine of a process group of `web`.
#[must_use]
pub fn of(id: &str, group: &str) -> Summary {
    Summary {
        group: group.to_owned(),
        ..machine("web", id)
    }
}

/// Two Machines of the group that stays, one of the group that goes.
#[must_use]
pub fn fleet() -> TestHost {
    TestHost::new().machines([of("a", "app"), of("b", "app"), of("w", "worker")])
}

/// The input of a deploy of [`FILE`], with more in its selection and its change.
///
/// # Panics
///
/// If that is none.
#[must_use]
pub fn input<T: DeserializeOwned>(select: &Value, change: &Value) -> T {
    let usual = json!({ "config": FILE, "image": "web:2" });
    let full = json!({
        "select": with_more(json!({ "app": "web" }), select.clone()),
        "change": with_more(usual, change.clone()),
    });
    serde_json::from_value(full).expect("an input")
}

/// How many Machines came out how, by the report of a deploy that failed.
///
/// # Panics
///
/// If it has none.
#[must_use]
pub fn totals(error: &Error) -> Value {
    let report = error.output().expect("a report");
    let report: Value = serde_json::from_str(report).expect("JSON");
    report["totals"].clone()
}
