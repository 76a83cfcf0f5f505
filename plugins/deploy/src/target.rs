//! What Machines become, and how one sees that they are.

use groundcrew_plugin::{Error, Kind, Machine, Result, State, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What changes. Everything else of a Machine's configuration stays.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The image; that of each Machine if none.
    #[serde(default)]
    pub image: Option<String>,
    /// Values of the environment, as `KEY=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Keys of the environment that are removed.
    #[serde(default)]
    pub unset_env: Vec<String>,
    /// What the deploy calls itself. Made of the rest if none, so that the same deploy has the same
    /// name when it is begun anew.
    #[serde(default)]
    pub release: Option<String>,
    /// A JSON Merge Patch of the whole configuration.
    #[serde(default)]
    pub patch: Option<String>,
    /// The version of the app's secrets that every Machine must at least see.
    #[serde(default)]
    pub min_secrets_version: Option<u64>,
}

/// A change that has been checked, and its name.
#[derive(Debug, Clone)]
pub struct Target {
    /// What a Machine at the target calls itself.
    pub release: String,
    /// As for [`Change::min_secrets_version`].
    pub min_secrets_version: Option<u64>,
    image: Option<String>,
    to: To,
}

/// How a Machine gets there.
#[derive(Debug, Clone)]
enum To {
    Change(groundcrew_plugin::Change),
    /// It had that release before, and gets its configuration back.
    Version,
}

impl Change {
    /// Checks it.
    ///
    /// # Errors
    ///
    /// If it changes nothing, or an `env` is no `KEY=VALUE`.
    pub fn target(self) -> Result<Target> {
        let empty = self.image.is_none()
            && self.env.is_empty()
            && self.unset_env.is_empty()
            && self.patch.is_none()
            && self.release.is_none()
            && self.min_secrets_version.is_none();
        if empty {
            return Err(Error::invalid(
                "nothing changes: give an image, `env`, `unset_env`, `patch`, `release` or `min_secrets_version`",
            ));
        }
        let mut env = Vec::with_capacity(self.env.len() + self.unset_env.len());
        for pair in &self.env {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => (key.trim(), value),
                Some(_) | None => {
                    return Err(Error::invalid(format!("`{pair}` is not `KEY=VALUE`")));
                }
            };
            env.push((key.to_owned(), Some(value.to_owned())));
        }
        env.extend(self.unset_env.iter().map(|key| (key.clone(), None)));
        let release = self.release.clone().unwrap_or_else(|| self.name());
        Ok(Target {
            to: To::Change(groundcrew_plugin::Change {
                image: self.image.clone(),
                release: Some(release.clone()),
                env,
                patch: self.patch,
                ..groundcrew_plugin::Change::default()
            }),
            release,
            image: self.image,
            min_secrets_version: self.min_secrets_version,
        })
    }

    /// The same for the same change: FNV-1a (64 bits) of its JSON. It tells deploys apart; nothing
    /// rests on nobody being able to make two alike.
    fn name(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let hash = json.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("deploy-{hash:016x}")
    }
}

impl Target {
    /// A release that every Machine had before: each gets that configuration back.
    #[must_use]
    pub fn earlier(release: &str) -> Self {
        Self {
            release: release.to_owned(),
            min_secrets_version: None,
            image: None,
            to: To::Version,
        }
    }

    /// The change to be made; none of an earlier release, which each Machine has of its own.
    #[must_use]
    pub fn change(&self) -> groundcrew_plugin::Change {
        match &self.to {
            To::Change(change) => change.clone(),
            To::Version => groundcrew_plugin::Change::default(),
        }
    }

    /// Which of its versions a Machine gets back; none if it is to be changed.
    ///
    /// # Errors
    ///
    /// If it never had that release.
    pub async fn version(&self, machine: &Machine) -> Result<Option<String>> {
        match self.to {
            To::Change(_) => Ok(None),
            To::Version => {
                let versions = machine.versions().await?;
                let found = versions.into_iter().find(|v| release_of(v) == self.release);
                let missing = || {
                    let text = format!("{} never had the release `{}`", machine.id, self.release);
                    Error::new(Kind::NotFound, text)
                };
                Ok(Some(found.ok_or_else(missing)?.instance_id))
            }
        }
    }

    /// Whether a Machine has this configuration, whatever state it is in.
    #[must_use]
    pub fn has(&self, machine: &Machine) -> bool {
        let release = release_shown(machine) == self.release;
        release
            && self
                .image
                .as_ref()
                .is_none_or(|image| runs_image(machine, image))
    }

    /// Whether there is nothing left to do for a Machine: it has this configuration, and is in
    /// order if it is to run.
    #[must_use]
    pub fn is_met(&self, machine: &Machine) -> bool {
        self.has(machine) && in_order(machine)
    }
}

/// What a Machine's release is called: by its image if nobody gave it a name.
#[must_use]
pub fn release_shown(machine: &Machine) -> String {
    let image = machine.image.split('@').next().unwrap_or_default();
    machine.release.clone().unwrap_or_else(|| plain(image))
}

/// The same of one of its versions.
#[must_use]
pub fn release_of(version: &Version) -> String {
    let image = version.image.split('@').next().unwrap_or_default();
    version.release.clone().unwrap_or_else(|| plain(image))
}

/// Whether a Machine is up with all its checks passing, or down on purpose.
#[must_use]
pub fn in_order(machine: &Machine) -> bool {
    use groundcrew_plugin::CheckStatus;
    let rests = [State::Stopped, State::Suspended, State::Created];
    let passing = machine
        .checks
        .iter()
        .filter(|check| check.status == CheckStatus::Passing);
    let healthy = passing.count() >= machine.configured_checks as usize;
    machine.is_reachable()
        && (rests.iter().any(|state| machine.is(*state)) || (machine.is(State::Started) && healthy))
}

/// Whether a Machine runs this image. Fly shows repository and tag without the registry, and the
/// digest apart.
fn runs_image(machine: &Machine, wanted: &str) -> bool {
    let (name, digest) = wanted.split_once('@').unwrap_or((wanted, ""));
    if let (Some(shown), false) = (&machine.image_digest, digest.is_empty()) {
        return shown == digest;
    }
    let shown = machine.image.split('@').next().unwrap_or_default();
    plain(shown) == plain(name)
}

/// Repository and tag, as Fly shows them: `latest` if there is none.
fn plain(image: &str) -> String {
    let rest = match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) => rest,
        Some(_) | None => image,
    };
    match rest.rsplit_once(':') {
        Some(_) => rest.to_owned(),
        None => format!("{rest}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::{Summary, testing::machine};

    use super::*;

    fn runs(shown: &str, digest: Option<&str>, wanted: &str) -> bool {
        let summary = Summary {
            image: shown.to_owned(),
            image_digest: digest.map(str::to_owned),
            ..machine("web", "a")
        };
        runs_image(&Machine::from(summary), wanted)
    }

    #[test]
    fn images_are_the_same_however_they_are_spelt() {
        assert!(runs("web:d-1", None, "registry.fly.io/web:d-1"));
        assert!(runs("registry.fly.io/web:d-1", None, "web:d-1"));
        assert!(runs("library/nginx:latest", None, "library/nginx"));
        assert!(runs(
            "web:d-1",
            Some("sha256:1"),
            "registry.fly.io/web@sha256:1"
        ));
        assert!(!runs("web:d-1", Some("sha256:2"), "web:d-1@sha256:1"));
        assert!(runs("web:d-1", None, "localhost:5000/web:d-1@sha256:1"));
        assert!(!runs("web:d-1", None, "web:d-2"));
    }

    #[test]
    fn the_same_change_has_the_same_name_and_another_one_another() {
        let change = |env: &str| Change {
            image: Some("web:2".to_owned()),
            env: vec![env.to_owned()],
            ..Change::default()
        };
        let name = |env: &str| change(env).target().unwrap().release;
        assert_eq!(name("A=1"), name("A=1"));
        assert_ne!(name("A=1"), name("A=2"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Change::default().target().is_err());
        for env in ["A", "=1", " =1"] {
            let change = Change {
                env: vec![env.to_owned()],
                ..Change::default()
            };
            assert!(change.target().unwrap_err().message().contains("KEY=VALUE"));
        }
    }
}
