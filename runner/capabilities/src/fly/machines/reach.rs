//! How the operations on Machines reach a world: reads within the rates and with retries, and what
//! was learnt on the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use groundcrew::service::retry::Retries;
use groundcrew::service::trouble::Trouble;
use groundcrew::{Clock, Cover, Effect, Executor, Failure, Sealed, Setting, after};
use jiff::Timestamp;

use super::leases::Leases;
use super::rates::Rates;
use crate::fly::contract::{Filter, Machine};
use crate::fly::names::App;
use crate::fly::scopes::{APPS, GROUPS};
use crate::fly::world::api::{Api, At, Which};
use crate::fly::world::fork::Fork;

/// For how long a Machine that was made may not be found. Assumed, generously.
const YOUNG: Duration = Duration::from_secs(10);

pub(super) struct Executing {
    pub(super) api: Arc<dyn Api>,
    /// The same, if it is a fork.
    pub(super) fork: Option<Arc<Fork>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rates: Rates,
    pub(super) leases: Arc<Leases>,
    pub(super) retries: Retries,
    sealed: Sealed,
    /// Process groups of Machines that have been read: a grant may name groups.
    pub(super) groups: Mutex<HashMap<(String, String), String>>,
    /// When Machines were made, by this process.
    made: Mutex<HashMap<(String, String), Timestamp>>,
}

impl Executing {
    pub(super) fn start(
        api: Arc<dyn Api>,
        fork: Option<Arc<Fork>>,
        setting: &Setting,
    ) -> Arc<dyn Executor> {
        let leases = Leases::new(api.clone(), setting.clock.clone(), setting.run.clone());
        let rates = Rates::new(setting.clock.clone());
        Arc::new(Self {
            api,
            fork,
            clock: setting.clock.clone(),
            rates,
            leases,
            retries: Retries::new(setting),
            sealed: setting.sealed.clone(),
            groups: Mutex::default(),
            made: Mutex::default(),
        })
    }

    /// Sends a read until it is answered, or its failure is final.
    pub(super) async fn read<T, F>(
        &self,
        effect: &Effect,
        send: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        self.retries.read(effect, send).await
    }

    /// Puts the values of an environment in the place of their marks: right before it is sent, and nowhere
    /// else in a configuration.
    pub(super) fn open_environment(&self, config: &mut serde_json::Value) -> Result<(), Failure> {
        let environment = config.get_mut("env").and_then(|env| env.as_object_mut());
        for value in environment.into_iter().flat_map(|env| env.values_mut()) {
            if let Some(text) = value.as_str() {
                *value = self.sealed.open(text)?.into();
            }
        }
        Ok(())
    }

    pub(super) async fn get(
        &self,
        effect: &Effect,
        at: At<'_>,
    ) -> Result<groundcrew_fleet::api::Machine, Failure> {
        self.rates.read(effect, at.id.text()).await?;
        let get = async || self.api.get(at).await.map_err(|t| self.young(at, t));
        let machine = self.read(effect, get).await?;
        self.note_group(at.app.text(), at.id.text(), machine.process_group());
        Ok(machine)
    }

    /// A Machine that was made just now may not be found yet: the platform's parts are eventually
    /// consistent. (flyctl's issue 4618.)
    pub(super) fn young(&self, at: At<'_>, trouble: Trouble) -> Trouble {
        let not_found = matches!(trouble.failure, Failure::NotFound(_));
        let made = not_found && {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (at.app.text().to_owned(), at.id.text().to_owned());
            made.get(&key)
                .is_some_and(|at| after(*at, YOUNG) > self.clock.now())
        };
        Trouble {
            transient: trouble.transient || made,
            ..trouble
        }
    }

    /// Notes that a Machine was made just now.
    pub(super) fn is_young(&self, app: &str, id: &str) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert((app.to_owned(), id.to_owned()), self.clock.now());
    }

    pub(super) fn note_group(&self, app: &str, id: &str, group: &str) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert((app.to_owned(), id.to_owned()), group.to_owned());
    }

    /// What is made of each Machine of an app. Notes the groups of all of them.
    pub(super) async fn list_app<T: Send>(
        &self,
        effect: &Effect,
        app: App<'_>,
        made: impl Fn(&groundcrew_fleet::api::Machine) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Failure> {
        self.rates.action(effect, "list", app.text()).await?;
        let all = Mutex::new(Vec::new());
        let all_of = || all.lock().unwrap_or_else(PoisonError::into_inner);
        let each = |machine: groundcrew_fleet::api::Machine| {
            self.note_group(app.text(), &machine.id, machine.process_group());
            all_of().extend(made(&machine));
        };
        self.read(effect, || {
            // What an earlier try left.
            all_of().clear();
            self.api.list(&effect.id, app, Which::There, &each)
        })
        .await?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a step's grant covers a Machine.
pub(super) fn sees(cover: &Cover, machine: &Machine) -> bool {
    cover.has(APPS.one, &machine.app) && cover.has(GROUPS.one, &machine.group)
}

pub(super) fn keeps(filter: &Filter, machine: &Machine) -> bool {
    let within = |list: &[String], value: &String| list.is_empty() || list.contains(value);
    within(&filter.groups, &machine.group)
        && within(&filter.regions, &machine.region)
        && within(&filter.states, &machine.state)
}
