//! Configuration: `groundcrew.toml` of the project and `config.toml` of the user.
//!
//! Both name targets, credentials by reference, and places of plugins. Only the user's may bind a
//! credential to other origins than its own or run a command for one (`trusted_origins`,
//! `cmd://`), and only the user's directory has a policy: a project's directory is not trusted
//! with credentials.

use std::collections::BTreeMap;

use groundcrew::Policy;
use groundcrew_capabilities::fly;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::files::Directory;
use crate::place::PlaceConfig;

/// The project's file.
pub(crate) const PROJECT_FILE: &str = "groundcrew.toml";
/// The user's files, in the user's configuration directory.
pub(crate) const USER_FILE: &str = "config.toml";
pub(crate) const POLICY_FILE: &str = "policy.toml";

/// One file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The target of commands that name none.
    pub(crate) default_target: Option<String>,
    /// Targets by name.
    #[serde(default)]
    pub(crate) target: BTreeMap<String, TargetConfig>,
    /// Inputs that need not be given.
    #[serde(default)]
    pub(crate) defaults: Defaults,
    /// Where plugins are looked for.
    #[serde(default)]
    pub(crate) plugins: PluginsConfig,
    /// Where the audit log's key is and its checkpoints go; the user's file only.
    #[serde(default)]
    pub(crate) audit: AuditConfig,
    /// Origins that credentials may go to beyond Fly's own and loopback; the user's file only.
    #[serde(default)]
    pub(crate) trusted_origins: Vec<String>,
    /// Files that a project may name for a token, as it names them (`file://PATH`); the user's file only.
    #[serde(default)]
    pub(crate) project_credentials: Vec<String>,
}

/// Inputs by name.
pub(crate) type Values = Map<String, Value>;

/// One table of inputs; `defaults.rs` says which one wins.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Defaults {
    /// For one runbook, by its name.
    #[serde(default)]
    pub(crate) runbooks: BTreeMap<String, Values>,
    /// For one app.
    #[serde(default)]
    pub(crate) apps: BTreeMap<String, Values>,
    /// For every runbook that has them.
    #[serde(flatten)]
    pub(crate) values: Values,
}

/// The audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditConfig {
    /// The directory with `key` and `key.pub`, relative to the file; beside the log if none.
    pub(crate) key: Option<String>,
    /// Where each signed checkpoint is sent: `file://PATH` (appended), `cmd://PROGRAM ARGUMENTS`
    /// (on its standard input), `https://…` (with POST).
    #[serde(default)]
    pub(crate) checkpoint_to: Vec<String>,
}

/// A target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetConfig {
    /// The organisation's slug.
    pub(crate) organisation: Option<String>,
    /// The Machines API; Fly's own if none.
    pub(crate) machines_api: Option<String>,
    /// Inputs that need not be given on this target.
    #[serde(default)]
    pub(crate) defaults: Defaults,
    /// Where releases are recorded; where that of the Machines API is if none.
    pub(crate) releases_api: Option<String>,
    /// The Prometheus API that metrics are asked of, without `/api/v1`; Fly's own, or the
    /// simulator's, if none. The token goes along only if it is bound to that address.
    pub(crate) metrics_api: Option<String>,
    /// Where the token comes from; flyctl's own order if none.
    pub(crate) credential: Option<String>,
    /// Seconds of a simulator's time in one second.
    pub(crate) time_scale: Option<f64>,
    /// The address speaks HTTP/2 without TLS, as `groundcrew sim` does. With TLS it is found out.
    #[serde(default)]
    pub(crate) http2: bool,
    /// Further places, by name, for the capabilities that ask for them.
    #[serde(default)]
    pub(crate) place: BTreeMap<String, PlaceConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PluginsConfig {
    /// Directories, relative to the file.
    #[serde(default)]
    pub(crate) paths: Vec<String>,
}

/// Both files, and the policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub(crate) project: File,
    pub(crate) user: File,
    pub(crate) policy: Policy,
}

impl Config {
    pub(crate) fn read(
        project: Option<&Directory>,
        user: Option<&Directory>,
        policy: Option<&str>,
    ) -> Result<Self, Exit> {
        let file = |directory: Option<&Directory>, name: &str| match directory {
            Some(directory) => directory
                .read(name)
                .map(|text| text.map(|text| (directory.shown(name), text))),
            None => Ok(None),
        };
        let parse = |found: Option<(String, String)>| {
            found.map_or_else(|| Ok(File::default()), |(path, text)| toml_of(&path, &text))
        };
        let project_file: File = parse(file(project, PROJECT_FILE)?)?;
        if !project_file.trusted_origins.is_empty() {
            return Err(Exit::refused(
                format!(
                    "`{PROJECT_FILE}` sets `trusted_origins`, which only your own configuration may"
                ),
                Some("a project's directory is not trusted with credentials"),
            ));
        }
        if !project_file.project_credentials.is_empty() {
            return Err(Exit::refused(
                format!(
                    "`{PROJECT_FILE}` sets `project_credentials`, which only your own configuration may"
                ),
                Some("a project's directory is not trusted with credentials"),
            ));
        }
        if project_file.audit != AuditConfig::default() {
            return Err(Exit::refused(
                format!("`{PROJECT_FILE}` sets `audit`, which only your own configuration may"),
                Some("it names files to write and commands to run"),
            ));
        }
        let user_file = parse(file(user, USER_FILE)?)?;
        let policy = match policy {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    Exit::usage(format!("the policy `{path}` cannot be read: {e}"), None)
                })?;
                toml_of(path, &text)?
            }
            None => file(user, POLICY_FILE)?.map_or_else(
                || Ok(Policy::default()),
                |(path, text)| toml_of(&path, &text),
            )?,
        };
        let policy = placed(policy, &user_file)?;
        Ok(Self {
            project: project_file,
            user: user_file,
            policy,
        })
    }

    /// A target by name, and whether the user's own file has it. The user's wins.
    pub(crate) fn target(&self, name: &str) -> Option<(&TargetConfig, bool)> {
        self.user
            .target
            .get(name)
            .map(|t| (t, true))
            .or_else(|| self.project.target.get(name).map(|t| (t, false)))
    }

    pub(crate) fn target_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .user
            .target
            .keys()
            .chain(self.project.target.keys())
            .cloned()
            .collect();
        names.extend(["fly".to_owned(), "sim".to_owned()]);
        names.sort();
        names.dedup();
        names
    }

    pub(crate) fn default_target(&self) -> &str {
        self.project
            .default_target
            .as_deref()
            .or(self.user.default_target.as_deref())
            .unwrap_or("fly")
    }
}

/// Targets that need no configuration: Fly itself, and a simulator on its usual port.
pub(crate) fn builtin(name: &str) -> Option<TargetConfig> {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    match name {
        "fly" => Some(TargetConfig {
            organisation: variable("FLY_ORG"),
            machines_api: variable("FLY_FLAPS_BASE_URL"),
            credential: None,
            releases_api: variable("FLY_UIEX_BASE_URL"),
            ..TargetConfig::default()
        }),
        "sim" => Some(TargetConfig {
            organisation: Some("groundcrew".to_owned()),
            machines_api: Some("http://127.0.0.1:4280".to_owned()),
            credential: Some("sim://".to_owned()),
            // What is no number is no scale, and is refused as such.
            time_scale: variable("GROUNDCREW_SIM_TIME_SCALE")
                .map(|v| v.parse().unwrap_or(f64::NAN)),
            http2: true,
            ..TargetConfig::default()
        }),
        _ => None,
    }
}

/// A policy binds places: where its tables name targets, those of the user's own configuration are put
/// in. A project could call a place anything.
fn placed(mut policy: Policy, user: &File) -> Result<Policy, Exit> {
    for (name, of) in &mut policy.target {
        if let Some(address) = &of.address {
            groundcrew::address(name, address, &["https", "http"])?;
            continue;
        }
        let own = user.target.get(name).cloned();
        let Some(target) = own.or_else(|| builtin(name)) else {
            let names = user.target.keys().map(String::as_str);
            let near = groundcrew::runbook::nearest(name, names.chain(["fly", "sim"]));
            let near = near.map(|near| format!("did you mean `{near}`?"));
            return Err(Exit::refused(
                format!(
                    "the operator's policy speaks of the target `{name}`, which your own configuration does not have"
                ),
                Some(&near.unwrap_or_else(|| {
                    format!(
                        "say in its table where it is, such as `address = \"{}\"`",
                        fly::FLY_MACHINES_API
                    )
                })),
            ));
        };
        let address = target.machines_api;
        of.address = Some(address.unwrap_or_else(|| fly::FLY_MACHINES_API.to_owned()));
        of.organisation = of.organisation.take().or(target.organisation);
    }
    Ok(policy)
}

fn toml_of<T: serde::de::DeserializeOwned>(path: &str, text: &str) -> Result<T, Exit> {
    toml::from_str(text).map_err(|e| Exit::unread(path, &e.to_string()))
}
