//! What every command shares: options, directories, the engine, the target, who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use groundcrew::journal::{Actor, Record, RunState};
use groundcrew::runbook::GrantKeys;
use groundcrew::store::{SqliteStore, Store};
use groundcrew::{
    CompiledCache, Engine, EngineParts, Limits, PluginSource, RealClock, Scale, Target, Url,
};
use groundcrew_capabilities::fly;
use jiff::Timestamp;

use crate::config::{Config, builtin};
use crate::credentials::{Source, Trust};
use crate::exit::Exit;
use crate::files::Directory;
use crate::shown;
use crate::terminal::{self, say};

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shared {
    /// Where journals are kept [default: $XDG_STATE_HOME/groundcrew]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "GROUNDCREW_STATE_DIR",
        hide_env_values = true
    )]
    pub(crate) state_dir: Option<PathBuf>,
    /// The project's directory, with its groundcrew.toml
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".",
        hide_default_value = true
    )]
    pub(crate) project: PathBuf,
    /// The operator's limits, instead of the policy.toml of your own configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<String>,
    /// The token to use, before any other source
    #[arg(long, global = true, value_name = "TOKEN", hide = true)]
    pub(crate) access_token: Option<String>,
    /// Print machine-readable JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true, value_parser = ["auto", "always", "never"])]
    pub(crate) color: String,
}

fn base(variable: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    absolute.or_else(|| std::env::home_dir().map(|home| home.join(fallback)))
}

impl Shared {
    pub(crate) fn colour(&self) -> bool {
        match self.color.as_str() {
            "always" => true,
            "never" => false,
            _ => terminal::is_watched() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    pub(crate) fn state_dir(&self) -> Result<PathBuf, Exit> {
        let found = self
            .state_dir
            .clone()
            .or_else(|| base("XDG_STATE_HOME", ".local/state").map(|b| b.join("groundcrew")));
        found.ok_or_else(|| {
            Exit::journal(
                "there is no home directory to keep journals in; name one with `--state-dir`",
            )
        })
    }

    pub(crate) fn user_dir() -> Option<PathBuf> {
        base("XDG_CONFIG_HOME", ".config").map(|b| b.join("groundcrew"))
    }

    pub(crate) fn cache_dir() -> Option<PathBuf> {
        base("XDG_CACHE_HOME", ".cache").map(|b| b.join("groundcrew").join("compiled"))
    }

    pub(crate) fn project_dir(&self) -> Option<Directory> {
        Directory::open(&self.project)
    }

    pub(crate) fn config(&self) -> Result<Config, Exit> {
        let user = Self::user_dir().and_then(|path| Directory::open(&path));
        Config::read(
            self.project_dir().as_ref(),
            user.as_ref(),
            self.policy.as_deref(),
        )
    }

    /// Says that the configuration is broken, for a command that does without it. Where journals are kept
    /// depends on no project: they are read all the same.
    pub(crate) fn warn_of_config(&self) {
        if let Err(wrong) = self.config() {
            say!(
                "warning: the configuration cannot be used, and this command does without it: {}",
                wrong.message()
            );
        }
    }

    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Exit> {
        Ok(Arc::new(SqliteStore::open(&self.state_dir()?)?))
    }

    /// A run's journal and what it folds to.
    pub(crate) fn journal(
        &self,
        store: &dyn Store,
        run: &str,
    ) -> Result<(Vec<Record>, RunState), Exit> {
        let records = store.read(run, 0, usize::MAX)?;
        let state = RunState::fold(&records)
            .map_err(|e| Exit::journal(format!("the journal of run `{run}` is damaged: {e}")))?;
        Ok((records, state))
    }

    /// The engine, with its journals in the state directory.
    pub(crate) fn engine(&self, config: &Config) -> Result<Arc<Engine>, Exit> {
        self.engine_on(config, self.store()?, Limits::default())
    }

    pub(crate) fn engine_on(
        &self,
        config: &Config,
        store: Arc<dyn Store>,
        limits: Limits,
    ) -> Result<Arc<Engine>, Exit> {
        // They stand in the header of a run, which is a file.
        if let Some((limit, theirs, ours)) = limits.wider_than(&Limits::default()) {
            return Err(Exit::refused(
                format!(
                    "the run was started with `{limit}` = {theirs}; this host gives at most {ours}"
                ),
                None,
            ));
        }
        let parts = EngineParts {
            capabilities: groundcrew_capabilities::all(),
            plugins: self.plugin_sources(config),
            store,
            wall: Arc::new(RealClock::new(Timestamp::now(), Scale::REAL)),
            limits,
            cache: cache(),
        };
        Ok(Arc::new(Engine::new(parts)?))
    }

    /// Configured directories first, then the bundled plugins: in this executable or beside it.
    fn plugin_sources(&self, config: &Config) -> Vec<Box<dyn PluginSource>> {
        let mut paths: Vec<PathBuf> = config
            .project
            .plugins
            .paths
            .iter()
            .map(|p| self.project.join(p))
            .collect();
        if let Some(user) = Self::user_dir() {
            paths.extend(config.user.plugins.paths.iter().map(|p| user.join(p)));
        }
        if EMBEDDED.is_empty() {
            paths.extend(bundled_dirs("plugins"));
        }
        paths
            .iter()
            .filter_map(|path| Directory::open(path))
            .map(|d| Box::new(d) as Box<dyn PluginSource>)
            .chain([Box::new(Embedded) as Box<dyn PluginSource>])
            .collect()
    }

    /// A target by name, with its credential.
    pub(crate) fn target(&self, config: &Config, name: Option<&str>) -> Result<Target, Exit> {
        let name = name.unwrap_or_else(|| config.default_target());
        let builtin = builtin(name);
        let (found, trusted) = match (config.target(name), &builtin) {
            (Some(found), _) => found,
            (None, Some(builtin)) => (builtin, true),
            (None, None) => {
                let names = config.target_names();
                let near = groundcrew::runbook::nearest(name, names.iter().map(String::as_str))
                    .map(|near| format!("did you mean `{near}`?"));
                let known = format!("there are `{}`", names.join("`, `"));
                return Err(Exit::usage(
                    format!("there is no target `{name}`"),
                    Some(&near.unwrap_or(known)),
                ));
            }
        };
        let mut origins = config.user.trusted_origins.clone();
        let machines_api = found.machines_api.as_deref();
        let url = machines_api.and_then(|address| Url::parse(address).ok());
        if trusted && url.is_some_and(|url| url.host_str() == Some(fly::FLY_INSIDE)) {
            // Inside Fly's network, as whoever runs this says.
            origins.extend(machines_api.map(str::to_owned));
        }
        let trust = Trust {
            own: trusted,
            origins: &origins,
            credentials: &config.user.project_credentials,
        };
        let reference = found.credential.as_deref().unwrap_or("fly://");
        let source = Source::parse(reference, trust, self.access_token.as_deref())?;
        let scheme = source.goes(fly::TOKENS, trust);
        for (field, address) in [
            ("releases_api", &found.releases_api),
            ("metrics_api", &found.metrics_api),
        ] {
            if let Some(address) = address {
                project_may(name, field, address, machines_api, trust)?;
            }
        }
        let addresses = fly::Addresses {
            machines_api,
            releases_api: found.releases_api.as_deref(),
            metrics_api: found.metrics_api.as_deref(),
            http2: found.http2,
        };
        let scale = match found.time_scale {
            None => Scale::REAL,
            Some(times) => {
                scale(times).map_err(|why| Exit::usage(format!("target `{name}`: {why}"), None))?
            }
        };
        let organisation = found.organisation.as_deref();
        let mut target = fly::target_showing(
            scheme,
            name,
            organisation,
            scale,
            addresses,
            Some(&source),
            &origins,
        )?;
        target.from_project = !trusted;
        for (place, at) in &found.place {
            target = target.with_place(place, at.place(name, place, trust)?)?;
        }
        Ok(target)
    }
}

/// What else answers for a target must be Fly, or be where its Machines API is, or be trusted: a project
/// does not say who else is told what is asked.
fn project_may(
    target: &str,
    field: &str,
    address: &str,
    machines_api: Option<&str>,
    trust: Trust<'_>,
) -> Result<(), Exit> {
    let url = groundcrew::address(target, address, &["https", "http"])?;
    let beside = machines_api.and_then(|beside| Url::parse(beside).ok());
    let beside = beside.is_some_and(|beside| beside.origin() == url.origin());
    if trust.own || beside || fly::TOKENS.reaches(&url, trust.origins) {
        return Ok(());
    }
    Err(Exit::refused(
        format!(
            "the project's configuration puts `{field}` of target `{target}` at `{url}`, which only your own configuration may"
        ),
        Some(
            "a project may name Fly's own, what is on this machine, or what is in your `trusted_origins`",
        ),
    ))
}

/// What grants can say here.
pub(crate) fn grant_keys() -> GrantKeys {
    groundcrew::grant_keys(&groundcrew_capabilities::all())
}

/// The plugins that the executable carries, by name. (`build.rs`)
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// A plugin that comes with the program.
pub(crate) fn bundled_plugin(name: &str) -> Option<Vec<u8>> {
    let embedded = EMBEDDED.iter().find(|(known, _)| *known == name);
    if let Some((_, bytes)) = embedded {
        return Some(bytes.to_vec());
    }
    let mut places = bundled_dirs("plugins").into_iter();
    places.find_map(|place| Directory::open(&place)?.component(name).ok().flatten())
}

struct Embedded;

impl PluginSource for Embedded {
    fn component(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let found = EMBEDDED.iter().find(|(embedded, _)| *embedded == name);
        Ok(found.map(|(_, bytes)| bytes.to_vec()))
    }

    fn names(&self) -> Vec<String> {
        EMBEDDED
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect()
    }
}

/// A `time_scale`.
///
/// # Errors
/// That it is none, in words.
pub(crate) fn scale(times: f64) -> Result<Scale, String> {
    Scale::new(times).ok_or_else(|| {
        format!(
            "the time scale has to be a number from {} to {}",
            Scale::SLOWEST,
            Scale::FASTEST
        )
    })
}

/// Beside the executable, as a release unpacks; or one up, where a development build puts them.
pub(crate) fn bundled_dirs(what: &str) -> Vec<PathBuf> {
    let executable = std::env::current_exe()
        .ok()
        .and_then(|path| path.canonicalize().ok());
    let beside = executable
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_owned);
    beside
        .into_iter()
        .flat_map(|dir| [dir.join(what), dir.join("..").join(what)])
        .filter(|path| path.is_dir())
        .collect()
}

fn cache() -> Option<CompiledCache> {
    let directory = Directory::private(&Shared::cache_dir()?).ok()?;
    CompiledCache::new(directory.into_dir())
        .map_err(|e| tracing::warn!("compiled plugins are not kept: {e}"))
        .ok()
}

/// Who runs this: the person, or under CI the job and who started it.
pub(crate) fn actor() -> Actor {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let user = match (
        variable("GITHUB_ACTOR"),
        variable("GITHUB_REPOSITORY"),
        variable("GITHUB_RUN_ID"),
    ) {
        (Some(actor), Some(repository), Some(run)) => {
            format!("{actor} (GitHub {repository} run {run})")
        }
        _ => variable("USER")
            .or_else(|| variable("LOGNAME"))
            .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
    };
    Actor::here(named(&user))
}

/// A name that comes from the environment, as it is kept: in journals, plans, leases and keys.
fn named(name: &str) -> String {
    match shown::name(name) {
        nothing if nothing.is_empty() => "unknown".to_owned(),
        name => name,
    }
}

/// A number that nobody can guess, from the system.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's generator.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u128(jiff::Timestamp::now().as_nanosecond().unsigned_abs());
    hasher.finish()
}
