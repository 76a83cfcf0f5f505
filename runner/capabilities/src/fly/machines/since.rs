//! What others have changed of a run's Machines while no process worked on it: asked before a run is
//! resumed.
//!
//! A Machine whose version (`instance_id`) the run has neither seen nor made has been changed by somebody
//! else; so has one that is gone, or that a listing of the run would have shown. The state and the cordon
//! are compared only where the run itself has not acted, and the state only where the proxy leaves it
//! alone: otherwise they change by themselves.

use std::collections::{BTreeMap, BTreeSet};

use groundcrew::{Asked, Cover, Difference, Effect, Failure, Kind};
use serde_json::{Value, json};

use super::reach::{Executing, keeps, sees};
use super::{ListArguments, Listing};
use crate::fly::contract::{Created, Filter, Machine, Scope, Updated, Waited};
use crate::fly::names::App;
use crate::fly::world::summary;

/// What a run knows of one Machine.
#[derive(Default)]
struct Known {
    /// The versions that it has seen or made.
    versions: BTreeSet<String>,
    /// As it was read last.
    read: Option<Machine>,
    /// The run has written to it.
    written: bool,
    /// The run has sent it a configuration, and does not know what became of that.
    unsure: bool,
    /// The run has made it, or has destroyed it: then it is no news that it is gone.
    may_be_gone: bool,
}

/// What a run knows of one app.
#[derive(Default)]
struct KnownApp {
    machines: BTreeMap<String, Known>,
    /// What it was listed by.
    listings: Vec<(Filter, Cover)>,
    /// An effect, for asking.
    effect: Option<Effect>,
}

impl Executing {
    /// By what was asked for, in order.
    pub(super) async fn changed_by_others(
        &self,
        asked: Vec<Asked>,
    ) -> Result<Vec<Difference>, Failure> {
        let mut changed = Vec::new();
        for (app, known) in known(asked) {
            let Some(effect) = &known.effect else {
                continue;
            };
            let name = App::read(&app).map_err(Failure::Invalid)?;
            let each = |machine: &_| Some(summary::machine(&app, machine));
            let now = match self.list_app(effect, name, each).await {
                Ok(now) => now,
                // An app that is gone has no Machines.
                Err(Failure::NotFound(_)) => Vec::new(),
                Err(failure) => return Err(failure),
            };
            changed.extend(compare(&app, &known, &now));
        }
        Ok(changed)
    }
}

/// What a run knows, by app: of those of which it has listed, read or written to Machines.
fn known(asked: Vec<Asked>) -> BTreeMap<String, KnownApp> {
    let mut apps: BTreeMap<String, KnownApp> = BTreeMap::new();
    // Of listings of everything: what they say of the apps that the run goes into counts.
    let mut elsewhere = Vec::new();
    for Asked { effect, answer } in asked {
        let request = effect.request.clone();
        let Some(name) = &request.app else {
            let listed = answer.and_then(|answer| serde_json::from_str::<Listing>(&answer).ok());
            elsewhere.extend(listed.map(|listing| listing.machines).unwrap_or_default());
            continue;
        };
        let app = apps.entry(name.clone()).or_default();
        let answer = answer.as_deref();
        match request.row.operation() {
            "list" => {
                let listing = answer.and_then(|text| serde_json::from_str::<Listing>(text).ok());
                for machine in listing.map(|l| l.machines).unwrap_or_default() {
                    app.machines
                        .entry(machine.id.clone())
                        .or_default()
                        .has_read(machine);
                }
                if let (Some(_), Ok(arguments)) = (answer, request.arguments::<ListArguments>())
                    && matches!(arguments.scope, Scope::App(_))
                {
                    app.listings.push((arguments.filter, effect.cover.clone()));
                }
            }
            "create" => {
                let made = answer.and_then(|text| serde_json::from_str::<Created>(text).ok());
                if let Some(made) = made {
                    let known = app.machines.entry(made.id).or_default();
                    known.versions.insert(made.instance_id);
                    (known.written, known.may_be_gone) = (true, true);
                }
            }
            operation => {
                if let Some(id) = &request.subject {
                    let known = app.machines.entry(id.clone()).or_default();
                    known.was_asked(operation, answer);
                    known.written |= request.row.kind == Kind::Write && !request.row.housekeeping;
                }
            }
        }
        app.effect = Some(effect);
    }
    for machine in elsewhere {
        let known = apps
            .get_mut(&machine.app)
            .and_then(|app| app.machines.get_mut(&machine.id));
        if let Some(known) = known {
            known.versions.insert(machine.instance_id);
        }
    }
    apps
}

impl Known {
    fn has_read(&mut self, machine: Machine) {
        self.versions.insert(machine.instance_id.clone());
        self.read = Some(machine);
    }

    fn was_asked(&mut self, operation: &str, answer: Option<&str>) {
        match operation {
            "get" => {
                let machine = answer.and_then(|text| serde_json::from_str(text).ok());
                if let Some(machine) = machine {
                    self.has_read(machine);
                }
            }
            "update" | "restore" => {
                match answer.and_then(|text| serde_json::from_str::<Updated>(text).ok()) {
                    // When its image cannot be pulled, Fly goes back to the one before.
                    Some(updated) => self
                        .versions
                        .extend([updated.instance_id, updated.previous]),
                    None => self.unsure = true,
                }
            }
            "wait" => {
                let waited = answer.and_then(|text| serde_json::from_str::<Waited>(text).ok());
                self.versions.extend(waited.map(|waited| waited.version));
            }
            "destroy" => self.may_be_gone = true,
            _ => {}
        }
    }
}

/// Everything that differs. Without I/O.
fn compare(app: &str, known: &KnownApp, now: &[Machine]) -> Vec<Difference> {
    let mut changed = Vec::new();
    let mut change = |id: &str, field: &str, before: Value, after: Value| {
        changed.push(Difference {
            subject: format!("{app}/{id}"),
            field: field.to_owned(),
            before,
            after,
        });
    };
    let about = |machine: &Machine| json!({ "name": machine.name, "group": machine.group, "region": machine.region });
    let here: BTreeMap<&str, &Machine> = now.iter().map(|m| (m.id.as_str(), m)).collect();
    for (id, was) in &known.machines {
        let Some(machine) = here.get(id.as_str()) else {
            if let Some(read) = was.read.as_ref().filter(|_| !was.may_be_gone) {
                change(id, "", about(read), Value::Null);
            }
            continue;
        };
        let (versions, read) = (&was.versions, was.read.as_ref());
        if !was.unsure && !versions.is_empty() && !versions.contains(&machine.instance_id) {
            let before = read.map(|read| read.instance_id.as_str());
            let before = before.or(versions.last().map(String::as_str));
            change(
                id,
                "instance_id",
                before.into(),
                machine.instance_id.as_str().into(),
            );
            if let Some(read) = read.filter(|read| read.image != machine.image) {
                change(
                    id,
                    "image",
                    read.image.as_str().into(),
                    machine.image.as_str().into(),
                );
            }
        }
        let Some(read) = read.filter(|_| !was.written) else {
            continue;
        };
        if read.cordoned != machine.cordoned {
            change(
                id,
                "cordoned",
                read.cordoned.into(),
                machine.cordoned.into(),
            );
        }
        let rests = |state: &str| ["started", "stopped", "suspended"].contains(&state);
        if read.state != machine.state
            && machine.autostop == "off"
            && rests(&read.state)
            && rests(&machine.state)
        {
            change(
                id,
                "state",
                read.state.as_str().into(),
                machine.state.as_str().into(),
            );
        }
    }
    for machine in now
        .iter()
        .filter(|machine| !known.machines.contains_key(&machine.id))
    {
        // One that is left out because of its state may have been there.
        let listed = known.listings.iter().any(|(filter, cover)| {
            filter.states.is_empty() && keeps(filter, machine) && sees(cover, machine)
        });
        if listed {
            change(&machine.id, "", Value::Null, about(machine));
        }
    }
    changed
}
