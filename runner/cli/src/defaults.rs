//! `[defaults]`: inputs that nobody has to give, by organisation, repository and environment.
//!
//! A table of inputs by name counts for every runbook that has them; `runbooks.NAME` in it for one
//! runbook, `apps.NAME` for one app:
//!
//! ```toml
//! [defaults]
//! drain = "10s"
//! [defaults.apps.web]
//! wait_timeout = "10m"
//! [target.production.defaults.runbooks.deploy]
//! strategy = "bluegreen"
//! ```
//!
//! Later ones win: the user's file (what an organisation installs), the project's, the target's in
//! the user's file, the target's in the project's; and in each, inputs by name, those of the runbook,
//! those of the app. What the command line says wins over all of them, and what wins is shown.

use std::collections::BTreeMap;

use groundcrew::runbook::Runbook;
use serde_json::Map;

use crate::config::{Config, Defaults, PROJECT_FILE, USER_FILE, Values};
use crate::exit::Exit;

/// Inputs and where each is from.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) values: Values,
    pub(crate) from: BTreeMap<String, String>,
}

/// What a runbook inherits on a target, `given` being what the command line says.
///
/// # Errors
/// If a table of this very runbook has what it has no input for: most likely a slip.
pub(crate) fn inherited(
    config: &Config,
    target: &str,
    runbook: &Runbook,
    given: &[(String, String)],
) -> Result<Inherited, Exit> {
    let known = |name: &String| runbook.inputs.iter().any(|spec| spec.name == *name);
    let tables = tables(config, target);
    let app = app(&tables, given, runbook);
    let mut inherited = Inherited::default();
    for (place, table) in &tables {
        let own = table.runbooks.get(&runbook.name);
        if let Some(unknown) = own
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !known(name))
        {
            return Err(Exit::usage(
                format!(
                    "{place} gives `{unknown}` to the runbook `{}`, which has no such input",
                    runbook.name
                ),
                None,
            ));
        }
        let of_app = app.as_ref().and_then(|app| table.apps.get(app));
        let layers = [Some(&table.values), own, of_app];
        for (name, value) in layers.into_iter().flatten().flatten() {
            if known(name) && !given.iter().any(|(given, _)| given == name) {
                inherited.values.insert(name.clone(), value.clone());
                inherited.from.insert(name.clone(), place.clone());
            }
        }
    }
    Ok(inherited)
}

/// The tables that count, and what they are called; later ones win.
fn tables<'a>(config: &'a Config, target: &str) -> Vec<(String, &'a Defaults)> {
    let files = [(USER_FILE, &config.user), (PROJECT_FILE, &config.project)];
    let general = files.iter().map(|(file, of)| {
        let place = format!("`[defaults]` of `{file}`");
        (place, &of.defaults)
    });
    let targets = files.iter().filter_map(|(file, of)| {
        let place = format!("`[target.{target}.defaults]` of `{file}`");
        Some((place, &of.target.get(target)?.defaults))
    });
    general.chain(targets).collect()
}

/// The app that the runbook is about: as given, or as inherited, or its own default.
fn app(
    tables: &[(String, &Defaults)],
    given: &[(String, String)],
    runbook: &Runbook,
) -> Option<String> {
    let given = given.iter().find(|(name, _)| name == "app");
    let given = given.map(|(_, value)| value.clone());
    let inherited = tables.iter().rev().find_map(|(_, table)| {
        let own = table.runbooks.get(&runbook.name);
        let own = own.and_then(|own| own.get("app"));
        own.or_else(|| table.values.get("app"))
    });
    let spec = runbook.inputs.iter().find(|spec| spec.name == "app");
    let default = spec.and_then(|spec| spec.default.as_ref());
    given.or_else(|| inherited.or(default)?.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNBOOK: &str = "name = \"deploy\"\nsummary = \"x\"\n[inputs.app]\ntype = \"string\"\n[inputs.drain]\ntype = \"duration\"\ndefault = \"5s\"\n[inputs.strategy]\ntype = \"string\"\ndefault = \"rolling\"\n[[step]]\nid = \"a\"\nplugin = \"p\"\n";

    fn seen(user: &str, project: &str, given: &[&str]) -> Result<Inherited, Exit> {
        let config = Config {
            user: toml::from_str(user).unwrap(),
            project: toml::from_str(project).unwrap(),
            ..Config::default()
        };
        let runbook = groundcrew::runbook::check(RUNBOOK).unwrap();
        let pair = |text: &&str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        let given: Vec<_> = given.iter().map(pair).collect();
        inherited(&config, "production", &runbook, &given)
    }

    #[test]
    fn what_is_nearer_wins() {
        let user = "[defaults]\ndrain = \"1s\"\nstrategy = \"canary\"\nother = 3\n[target.production.defaults]\ndrain = \"3s\"\n";
        let project = "[defaults]\ndrain = \"2s\"\n[defaults.apps.web]\nstrategy = \"immediate\"\n[target.production.defaults.runbooks.deploy]\nstrategy = \"bluegreen\"\n[target.staging.defaults]\ndrain = \"9s\"\n";
        let all = seen(user, project, &["app=api"]).unwrap();
        assert_eq!(all.values["drain"], "3s");
        assert_eq!(all.values["strategy"], "bluegreen");
        assert_eq!(all.values.len(), 2);
        assert!(all.from["drain"].contains("target.production"));
        let given = seen(user, project, &["app=web", "drain=7s"]).unwrap();
        assert!(!given.values.contains_key("drain"));
        // The target's table is nearer than the app's of the repository.
        assert_eq!(given.values["strategy"], "bluegreen");
        let app = seen(
            user,
            "[target.production.defaults.apps.web]\ndrain = \"8s\"\n",
            &["app=web"],
        );
        assert_eq!(app.unwrap().values["drain"], "8s");
        let own = seen(
            "",
            "[defaults]\napp = \"web\"\n[defaults.apps.web]\ndrain = \"6s\"\n",
            &[],
        );
        assert_eq!(own.unwrap().values["drain"], "6s");
    }

    #[test]
    fn a_slip_in_a_runbooks_own_table_is_refused() {
        assert!(seen("", "[defaults.runbooks.deploy]\nstratgy = \"x\"\n", &[]).is_err());
        assert!(seen("", "[defaults.runbooks.other]\nstratgy = \"x\"\n", &[]).is_ok());
    }
}
