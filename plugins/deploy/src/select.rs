//! Which Machines a deploy is about, and why the others are left alone.

use std::collections::BTreeSet;

use groundcrew_plugin::{Error, Host, Machine, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Process groups that are no part of the app itself: what runs in them comes and goes by itself.
/// (flyctl's constants, and our own.)
const NOT_THE_APP: [&str; 5] = [
    "fly_app_release_command",
    "fly_app_console",
    "fly_app_test_machine_command",
    "groundcrew_release_command",
    "groundcrew_one_off",
];

/// Which Machines.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The app.
    pub app: String,
    /// Only these process groups; all if empty.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Only these regions; all if empty.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Only the Machines with these ids; all if empty.
    #[serde(default)]
    pub include: Vec<String>,
    /// Not the Machines with these ids.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// The Machines that were listed.
#[derive(Debug, Default)]
pub struct Selection {
    /// By process group and id.
    pub chosen: Vec<Machine>,
    /// Left alone because they are excluded.
    pub excluded: Vec<Machine>,
}

impl Select {
    /// Lists them.
    ///
    /// # Errors
    ///
    /// Also if a group or Machine that is named does not exist: most likely a slip, and then better
    /// nothing is deployed.
    pub async fn list(&self, host: &Host) -> Result<Selection> {
        let machines = host.machines(&self.app);
        let machines = machines.group(self.groups.clone());
        let listed = machines.region(self.regions.clone()).list().await?;
        self.choose(listed)
    }

    fn choose(&self, listed: Vec<Machine>) -> Result<Selection> {
        let groups: BTreeSet<&str> = listed.iter().map(|m| m.group.as_str()).collect();
        let ids: BTreeSet<&str> = listed.iter().map(|m| m.id.as_str()).collect();
        let unknown = |named: &[String], known: &BTreeSet<&str>| {
            let unknown = named.iter().filter(|name| !known.contains(name.as_str()));
            unknown.map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let groups = unknown(&self.groups, &groups);
        if !groups.is_empty() {
            return Err(self.refused("process groups without any Machine", &groups));
        }
        let named: Vec<String> = self.include.iter().chain(&self.exclude).cloned().collect();
        let machines = unknown(&named, &ids);
        if !machines.is_empty() {
            return Err(self.refused("not among the Machines", &machines));
        }
        let (mut chosen, mut excluded) = (Vec::new(), Vec::new());
        for machine in listed {
            if self.exclude.contains(&machine.id) {
                excluded.push(machine);
            } else if self.wants(&machine) {
                chosen.push(machine);
            }
        }
        chosen.sort_by(|a, b| (&a.group, &a.id).cmp(&(&b.group, &b.id)));
        Ok(Selection { chosen, excluded })
    }

    /// Whether it may be about a part of the app only.
    pub(crate) fn is_narrow(&self) -> bool {
        let lists = [&self.groups, &self.regions, &self.include, &self.exclude];
        lists.iter().any(|list| !list.is_empty())
    }

    fn refused(&self, what: &str, names: &str) -> Error {
        Error::invalid(format!("app `{}`: {what}: {names}", self.app))
    }

    fn wants(&self, machine: &Machine) -> bool {
        let named = self.groups.contains(&machine.group) || self.include.contains(&machine.id);
        let included = self.include.is_empty() || self.include.contains(&machine.id);
        let ours = named || !NOT_THE_APP.contains(&machine.group.as_str());
        // What is on its way out is nobody's any more.
        included && ours && !["destroying", "destroyed"].contains(&machine.state.as_str())
    }
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::{Kind, Summary, testing::machine};

    use super::*;

    fn fleet() -> Vec<Machine> {
        let of = |id: &str, group: &str| {
            let summary = Summary {
                group: group.to_owned(),
                ..machine("web", id)
            };
            Machine::from(summary)
        };
        vec![
            of("c", "web"),
            of("a", "worker"),
            of("b", "web"),
            of("r", "fly_app_release_command"),
        ]
    }

    fn ids(select: &Select) -> Result<Vec<String>> {
        let sorted = select.choose(fleet())?;
        Ok(sorted.chosen.iter().map(|m| m.id.clone()).collect())
    }

    #[test]
    fn all_of_the_app_and_nothing_that_passes() {
        let all = Select::default();
        assert_eq!(ids(&all).unwrap(), ["b", "c", "a"]);
        let without = Select {
            exclude: vec!["c".to_owned()],
            ..Select::default()
        };
        assert_eq!(ids(&without).unwrap(), ["b", "a"]);
        let only = Select {
            include: vec!["r".to_owned()],
            ..Select::default()
        };
        assert_eq!(ids(&only).unwrap(), ["r"]);
    }

    #[test]
    fn slips_are_refused() {
        let group = Select {
            groups: vec!["wrker".to_owned()],
            ..Select::default()
        };
        let id = Select {
            exclude: vec!["x".to_owned()],
            ..Select::default()
        };
        for (select, name) in [(group, "wrker"), (id, "x")] {
            let error = ids(&select).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
