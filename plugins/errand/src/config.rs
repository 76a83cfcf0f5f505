//! What the Machine is made of.

use std::fmt;
use std::time::Duration;

use groundcrew_plugin::{Change, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Work {
    /// The app in whose environment it is done.
    pub app: String,
    /// The process group whose configuration the Machine gets.
    pub pattern_group: String,
    /// The process group that it is in, none of the app's.
    pub group: &'static str,
    /// The image; that of the pattern if none.
    pub image: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Added to the environment.
    pub env: Vec<Variable>,
    /// Megabytes of memory; as the pattern if none.
    pub memory_mb: Option<u32>,
    /// CPUs; as the pattern if none.
    pub cpus: Option<u32>,
    /// A region code; that of the pattern if none.
    pub region: Option<String>,
    /// How long it may take, from the Machine's making on.
    pub timeout: Duration,
}

/// One value of the environment, written `KEY=VALUE`.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Variable {
    name: String,
    value: String,
}

impl Variable {
    /// One with this name and value.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// Without the value, which may be nobody's business.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self::new(name, value)),
            Some(_) => Err(de::Error::custom(
                "an `env` entry has no name before its `=`: it is written `KEY=VALUE`",
            )),
            // The text may be a secret whose name was forgotten: its length is enough to find it.
            None => Err(de::Error::custom(format!(
                "an `env` entry of {} characters has no `=`: it is written `KEY=VALUE`",
                text.chars().count()
            ))),
        }
    }
}

impl Work {
    /// What no schema says.
    ///
    /// # Errors
    ///
    /// Names the field.
    pub(crate) fn check(&self) -> Result<()> {
        let nothing = |text: &Option<String>| text.as_ref().is_some_and(|it| it.trim().is_empty());
        if self.command.first().is_none_or(String::is_empty) {
            Err(Error::invalid("`command` names no program"))
        } else if nothing(&self.image) {
            Err(Error::invalid("`image` is empty"))
        } else if nothing(&self.region) {
            Err(Error::invalid("`region` is empty"))
        } else if self.memory_mb == Some(0) || self.cpus == Some(0) {
            Err(Error::invalid("`memory_mb` and `cpus` are at least 1"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn change(&self) -> Change {
        let text = |value: &str| Some(value.to_owned());
        let mut env = vec![("FLY_PROCESS_GROUP".to_owned(), text(self.group))];
        let given = self.env.iter();
        env.extend(given.map(|it| (it.name.clone(), Some(it.value.clone()))));
        Change {
            image: self.image.clone(),
            env,
            metadata: vec![
                ("fly_process_group".to_owned(), text(self.group)),
                ("process_group".to_owned(), None),
                // flyctl leaves Machines alone that do not claim to be of its platform: a deploy
                // of somebody else would take this one for a group that is gone, and destroy it.
                ("fly_platform_version".to_owned(), None),
            ],
            patch: Some(self.patch().to_string()),
            ..Change::default()
        }
    }

    /// Takes away what makes a Machine serve, start again, start on its own or go before its exit
    /// code was read. An `init.exec` of the pattern would run instead of `init.cmd`.
    fn patch(&self) -> Value {
        let mut patch = json!({
            "init": { "cmd": self.command, "exec": null },
            "restart": { "policy": "no", "max_retries": null },
            "dns": { "skip_registration": true },
            "services": null,
            "checks": null,
            "standbys": null,
            "schedule": null,
            "metrics": null,
            "statics": null,
            "auto_destroy": null,
        });
        if let Some(memory) = self.memory_mb {
            patch["guest"]["memory_mb"] = memory.into();
        }
        if let Some(cpus) = self.cpus {
            patch["guest"]["cpus"] = cpus.into();
        }
        patch
    }
}
