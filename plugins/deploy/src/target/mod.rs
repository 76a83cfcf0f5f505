//! What Machines become, and how one sees that they are.

use groundcrew_plugin::{Error, Kind, Machine, Result, State, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::wanted::{Config, on_top};

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
    /// The text of a fly.toml: what it says of process groups, services, checks, environment and the
    /// rest (`wanted/` lists it) is what Machines get; the other changes go on top of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The release whose definition and image are wanted, by its id or version, or `current`: in the
    /// place of `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_of: Option<String>,
    /// Process groups that are new in `config` are not made, and those that are gone not removed.
    // It says nothing of what a Machine becomes, so the deploy's name does not depend on it.
    #[serde(default, skip_serializing)]
    pub update_only: bool,
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
    /// What a file says for its process group, and what goes on top.
    Config(Box<Wanted>),
    /// It had that release before, and gets its configuration back.
    Version,
}

#[derive(Debug, Clone)]
struct Wanted {
    config: Config,
    /// Image and release.
    change: groundcrew_plugin::Change,
    /// Environment and patch, as one patch.
    on_top: Value,
}

impl Change {
    /// Checks it.
    ///
    /// # Errors
    ///
    /// If it changes nothing, an `env` is no `KEY=VALUE`, or the file is refused.
    pub fn target(self) -> Result<Target> {
        let empty = self.image.is_none()
            && self.env.is_empty()
            && self.unset_env.is_empty()
            && self.patch.is_none()
            && self.release.is_none()
            && self.min_secrets_version.is_none()
            && self.config.is_none();
        if empty {
            return Err(Error::invalid(
                "nothing changes: give an image, `config`, `env`, `unset_env`, `patch`, `release` or `min_secrets_version`",
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
        let change = groundcrew_plugin::Change {
            image: self.image,
            release: Some(release.clone()),
            ..groundcrew_plugin::Change::default()
        };
        let to = match self.config {
            None => To::Change(groundcrew_plugin::Change {
                env,
                patch: self.patch,
                ..change
            }),
            Some(text) => To::Config(Box::new(Wanted::new(&text, change, env, self.patch)?)),
        };
        Ok(Target {
            image: to.image().map(str::to_owned),
            to,
            release,
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

impl To {
    fn image(&self) -> Option<&str> {
        match self {
            Self::Change(change) => change.image.as_deref(),
            Self::Config(wanted) => wanted.change.image.as_deref(),
            Self::Version => None,
        }
    }
}

impl Wanted {
    fn new(
        text: &str,
        mut change: groundcrew_plugin::Change,
        env: Vec<(String, Option<String>)>,
        patch: Option<String>,
    ) -> Result<Self> {
        let config = Config::parse(text)?;
        if change.image.is_none() {
            change.image = config.image().map(str::to_owned);
        }
        if let (None, Some(key)) = (&change.image, config.builds()) {
            return Err(Error::invalid(format!(
                "fly.toml: [build] says `{key}`, and images are not built here: build it first and give the deploy its `image`"
            )));
        }
        let mut above = json!({});
        if !env.is_empty() {
            let env = env.into_iter().map(|(key, value)| (key, value.into()));
            above["env"] = env.collect::<Map<String, Value>>().into();
        }
        if let Some(patch) = patch {
            let patch: Map<String, Value> = serde_json::from_str(&patch)
                .map_err(|e| Error::invalid(format!("the patch is no JSON object: {e}")))?;
            on_top(&mut above, &patch.into());
        }
        Ok(Self {
            config,
            change,
            on_top: above,
        })
    }

    /// `below` is what the file goes on top of.
    fn change(&self, group: &str, mut below: Value) -> Result<groundcrew_plugin::Change> {
        on_top(&mut below, &self.config.patch(group)?);
        on_top(&mut below, &self.on_top);
        Ok(groundcrew_plugin::Change {
            replace: self.config.replaced(group),
            patch: Some(below.to_string()),
            ..self.change.clone()
        })
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

    /// The change to be made to a Machine, or to one like it; none of an earlier release, which each
    /// Machine has of its own.
    ///
    /// # Errors
    ///
    /// If a file says what changes, and does not have the Machine's process group.
    pub fn change_for(&self, machine: &Machine) -> Result<groundcrew_plugin::Change> {
        match &self.to {
            To::Change(change) => Ok(change.clone()),
            To::Config(wanted) => {
                let change = wanted.change(&machine.group, json!({}))?;
                Ok(groundcrew_plugin::Change {
                    standbys: wanted.config.frees(machine).then(Vec::new),
                    ..change
                })
            }
            To::Version => Ok(groundcrew_plugin::Change::default()),
        }
    }

    /// What makes the first Machine of a process group out of one of another group: all that is that
    /// one's own goes, as far as it is known.
    ///
    /// # Errors
    ///
    /// If no file says what the process group is.
    pub(crate) fn change_for_new(
        &self,
        group: &str,
        standby_for: Option<&str>,
    ) -> Result<groundcrew_plugin::Change> {
        let To::Config(wanted) = &self.to else {
            let text = format!("nothing says what the process group `{group}` is");
            return Err(Error::invalid(text));
        };
        let below = json!({
            "guest": null, "files": null, "schedule": null, "auto_destroy": null,
            "containers": null, "processes": null,
            "metadata": { "process_group": null, "fly_canary": null, "groundcrew_color": null },
        });
        let change = wanted.change(group, below)?;
        Ok(groundcrew_plugin::Change {
            standbys: standby_for.map(|id| vec![id.to_owned()]),
            ..change
        })
    }

    /// The file that says what Machines become, if one does.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        match &self.to {
            To::Config(wanted) => Some(&wanted.config),
            To::Change(_) | To::Version => None,
        }
    }

    /// Which of its versions a Machine gets back; none if it is to be changed.
    ///
    /// # Errors
    ///
    /// If it never had that release.
    pub async fn version(&self, machine: &Machine) -> Result<Option<String>> {
        match self.to {
            To::Change(_) | To::Config(_) => Ok(None),
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

/// What is wrong with a Machine that is not in order.
#[must_use]
pub fn ill(machine: &Machine) -> String {
    use groundcrew_plugin::CheckStatus;
    let failing = machine
        .checks
        .iter()
        .find(|check| check.status != CheckStatus::Passing);
    match failing {
        Some(check) if machine.is(State::Started) => {
            format!("check `{}` fails: {}", check.name, check.output)
        }
        Some(_) | None => format!("it is {}", machine.state),
    }
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
mod tests;
