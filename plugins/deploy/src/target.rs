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
    /// rest (`wanted.rs` lists it) is what Machines get; the other changes go on top of it.
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
    fn change(
        &self,
        group: &str,
        like: &Machine,
        mut below: Value,
    ) -> Result<groundcrew_plugin::Change> {
        let checks: Vec<&str> = like.checks.iter().map(|it| it.name.as_str()).collect();
        on_top(&mut below, &self.config.patch(group, &checks)?);
        on_top(&mut below, &self.on_top);
        Ok(groundcrew_plugin::Change {
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
            To::Config(wanted) => wanted.change(&machine.group, machine, json!({})),
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
        pattern: &Machine,
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
        let change = wanted.change(group, pattern, below)?;
        Ok(groundcrew_plugin::Change {
            standbys: standby_for.map(|id| vec![id.to_owned()]),
            // Not in the patch: a plan knows what is made by a name, and only where it is a whole text.
            env: vec![("FLY_STANDBY_FOR".to_owned(), standby_for.map(str::to_owned))],
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
        // Names that deploys had before there were files.
        assert_eq!(name("A=1"), "deploy-23c81013cdcfe93a");
        let with = |config: &str, update_only| {
            let config = Some(config.to_owned());
            let change = Change {
                config,
                update_only,
                ..change("A=1")
            };
            change.target().unwrap().release
        };
        assert_ne!(with("", false), name("A=1"));
        assert_ne!(with("", false), with("[env]", false));
        assert_eq!(with("", false), with("", true));
    }

    fn patched(change: Change, machine: Summary) -> (Option<String>, Value) {
        let change = change.target().unwrap().change_for(&machine.into());
        let change = change.unwrap();
        let patch = change.patch.unwrap();
        (change.image, serde_json::from_str(&patch).unwrap())
    }

    #[test]
    fn what_is_asked_for_goes_on_top_of_the_file() {
        let file =
            "swap_size_mb = 512\n[build]\nimage = \"web:1\"\n[env]\nA = \"file\"\nB = \"file\"";
        let change = Change {
            config: Some(file.to_owned()),
            env: vec!["A=asked".to_owned()],
            unset_env: vec!["B".to_owned(), "C".to_owned()],
            patch: Some(r#"{"env":{"D":"1"},"init":{"swap_size_mb":1024},"dns":{}}"#.to_owned()),
            ..Change::default()
        };
        let (image, patch) = patched(change.clone(), machine("web", "a"));
        assert_eq!(image.as_deref(), Some("web:1"));
        let env =
            json!({ "A": "asked", "B": null, "C": null, "D": "1", "FLY_PROCESS_GROUP": "app" });
        assert_eq!(patch["env"], env);
        assert_eq!(
            (&patch["init"]["swap_size_mb"], &patch["dns"]),
            (&json!(1024), &json!({}))
        );
        let asked = Change {
            image: Some("web:2".to_owned()),
            ..change.clone()
        };
        let image = patched(asked, machine("web", "a")).0;
        assert_eq!(image.as_deref(), Some("web:2"));
        let broken = Change {
            patch: Some("[]".to_owned()),
            ..change
        };
        assert!(
            broken
                .target()
                .unwrap_err()
                .message()
                .contains("JSON object")
        );
    }

    #[test]
    fn images_are_not_built() {
        let change = |image: Option<&str>| Change {
            config: Some("[build]\ndockerfile = \"Dockerfile\"".to_owned()),
            image: image.map(str::to_owned),
            ..Change::default()
        };
        assert!(change(Some("web:2")).target().is_ok());
        let refused = change(None).target().unwrap_err();
        assert!(refused.message().contains("`dockerfile`"), "{refused}");
    }

    #[test]
    fn a_new_group_has_nothing_of_its_pattern() {
        let change = Change {
            config: Some("[processes]\njobs = \"run jobs\"".to_owned()),
            ..Change::default()
        };
        let target = change.target().unwrap();
        let pattern = Machine::from(machine("web", "a"));
        assert!(target.change_for(&pattern).is_err());
        let change = target.change_for_new("jobs", &pattern, Some("b")).unwrap();
        assert_eq!(change.standbys, Some(vec!["b".to_owned()]));
        let patch: Value = serde_json::from_str(change.patch.as_deref().unwrap()).unwrap();
        assert_eq!(
            change.env,
            [("FLY_STANDBY_FOR".to_owned(), Some("b".to_owned()))]
        );
        assert_eq!(patch["env"], json!({ "FLY_PROCESS_GROUP": "jobs" }));
        assert_eq!(patch["metadata"]["fly_process_group"], "jobs");
        assert_eq!(
            (&patch["services"], &patch["guest"]),
            (&json!([]), &Value::Null)
        );
        assert!(patch.as_object().unwrap().contains_key("files"));
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
