//! Configurations without what may be a secret in them. (`wit/releases.wit` says where that is.)

use serde_json::Value;

/// What stands in the place of values that may be secrets: a fingerprint by a key that nobody knows and
/// nothing keeps, so that a journal does not help to guess them.
pub(crate) struct Marks(u128);

impl Default for Marks {
    fn default() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // The standard library seeds these from the system's generator.
        let half = || u128::from(RandomState::new().hash_one(0));
        Self(half() << 64 | half())
    }
}

/// Below these keys of a definition, at whatever depth.
const HIDDEN: [&str; 5] = ["env", "files", "init", "headers", "args"];

impl Marks {
    fn mark(&self, value: &Value) -> Value {
        let text = format!("{:032x}\n{value}", self.0);
        let mark: String = groundcrew::digest(text).chars().take(16).collect();
        format!("fingerprint:{mark}").into()
    }

    /// A value in which nothing may be a secret.
    pub(crate) fn without_values(&self, value: Value) -> Value {
        self.hiding(value, false)
    }

    fn hiding(&self, value: Value, hidden: bool) -> Value {
        match value {
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| {
                    let hidden = hidden || HIDDEN.contains(&key.as_str());
                    let value = self.hiding(value, hidden);
                    (key, value)
                })
                .collect(),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.hiding(item, hidden))
                .collect(),
            value if hidden && !value.is_null() => self.mark(&value),
            value => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_may_be_secrets_are_fingerprints() {
        let definition = json!({
            "app": "web",
            "env": { "A": "secret-1", "B": "secret-1", "C": "secret-2", "N": 7, "NONE": null },
            "files": [{ "guest_path": "/x", "raw_value": "secret-3" }],
            "http_service": { "port": 8080, "checks": [{ "path": "/up", "headers": { "X": ["secret-4"] } }] },
            "build": { "args": { "T": "secret-5" } },
            "init": { "cmd": ["serve", "--token", "secret-6"] },
        });
        let (one, other) = (Marks::default(), Marks::default());
        let shown = one.without_values(definition.clone());
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(
            (
                &shown["app"],
                &shown["http_service"]["port"],
                &shown["http_service"]["checks"][0]["path"]
            ),
            (&json!("web"), &json!(8080), &json!("/up"))
        );
        assert_eq!(shown["env"]["A"], shown["env"]["B"]);
        assert_ne!(shown["env"]["A"], shown["env"]["C"]);
        assert!(shown["env"]["NONE"].is_null() && shown["env"]["N"].is_string());
        // By another key they say nothing.
        assert_ne!(other.without_values(definition)["env"], shown["env"]);
    }
}
