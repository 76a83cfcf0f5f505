//! Secrets of apps: set, listed by their digests, unset; each change makes a version.

use crate::api::{self, ApiError};
use crate::fleet::{Caller, Fleet};
use crate::holdings::Secret;
use groundcrew_faults as random;

impl Fleet {
    /// The secrets of an app by name; their values only where they are asked for.
    pub fn secrets(&self, app: &str, values: bool) -> Result<api::AppSecrets, ApiError> {
        let secrets = self.app(app)?.secrets.iter();
        let shown = secrets.map(|(name, secret)| self.shown_secret(name, secret, values));
        Ok(api::AppSecrets {
            secrets: shown.collect(),
        })
    }

    /// One secret.
    pub fn secret(&self, app: &str, name: &str, value: bool) -> Result<api::AppSecret, ApiError> {
        let secret = self.app(app)?.secrets.get(name);
        let secret = secret.ok_or_else(|| no_secret(name))?;
        Ok(self.shown_secret(name, secret, value))
    }

    /// Sets secrets, and unsets those without a value. All of them or none, as one version.
    pub fn update_secrets(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        request: &api::SecretsUpdate,
    ) -> Result<api::SecretsUpdated, ApiError> {
        self.app(app)?;
        if let Some(name) = request.values.keys().find(|name| !is_name(name)) {
            return Err(ApiError::new(
                400,
                format!("invalid_argument: '{name}' is not a name of a secret"),
            ));
        }
        let now = self.now;
        let Some(known) = self.apps.get_mut(app) else {
            return Ok(api::SecretsUpdated::default());
        };
        for (name, value) in &request.values {
            let Some(value) = value else {
                known.secrets.remove(name);
                continue;
            };
            let created = known.secrets.get(name).map_or(now, |secret| secret.created);
            let secret = Secret {
                value: value.clone(),
                created,
                updated: now,
            };
            known.secrets.insert(name.clone(), secret);
        }
        known.secrets_version += 1;
        let version = known.secrets_version;
        self.log_applied(caller, "secrets.update", app, "");
        let changed = self.secrets(app, false)?.secrets.into_iter();
        Ok(api::SecretsUpdated {
            secrets: changed
                .filter(|secret| request.values.contains_key(&secret.name))
                .collect(),
            version,
        })
    }

    /// Unsets a secret. Gives the version.
    pub fn unset_secret(
        &mut self,
        caller: &Caller<'_>,
        app: &str,
        name: &str,
    ) -> Result<u64, ApiError> {
        if !self.app(app)?.secrets.contains_key(name) {
            return Err(no_secret(name));
        }
        let request = api::SecretsUpdate {
            values: [(name.to_owned(), None)].into(),
        };
        Ok(self.update_secrets(caller, app, &request)?.version)
    }

    fn shown_secret(&self, name: &str, secret: &Secret, value: bool) -> api::AppSecret {
        // That equal values have equal digests, and 16 digits, is what clients rely on; the rest is
        // made up.
        let digest = random::draw(self.settings.seed, "secret", &secret.value, 0);
        api::AppSecret {
            name: name.to_owned(),
            digest: format!("{digest:016x}"),
            created_at: secret.created.rfc3339(),
            updated_at: secret.updated.rfc3339(),
            value: value.then(|| secret.value.clone()),
        }
    }
}

/// The name of a variable of an environment.
fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn no_secret(name: &str) -> ApiError {
    ApiError::new(404, format!("secret '{name}' not found"))
}
