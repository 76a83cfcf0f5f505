//! What a request of `machines` names, read by Fly's rules.

use groundcrew::Request;
use serde::de::DeserializeOwned;

use super::ListArguments;
use crate::fly::contract::{
    Change, CreateOptions, Filter, HealthyOptions, RestartOptions, RestoreOptions, Scope,
    StopOptions, UpdateOptions, WaitOptions,
};
use crate::fly::names::{App, MachineId, Sound, few, named, regions, words};

/// Ids in one announcement: so many fit into a request. (The contract.)
const ANNOUNCED: usize = 3000;

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    request
        .arguments()
        .map_err(|failure| failure.parts().1.to_owned())
}

/// What a request of `machines` names.
pub(super) fn sound(request: &Request) -> Sound {
    if let Some(app) = &request.app {
        App::read(app)?;
    }
    if let Some(id) = &request.subject {
        MachineId::read(id)?;
    }
    match request.row.operation() {
        "list" => {
            let ListArguments { scope, filter } = read(request)?;
            // What was granted is what is listed.
            match (&scope, &request.app) {
                (Scope::App(listed), Some(app)) if listed == app => {}
                (Scope::Organisation, None) => {}
                _ => return Err("the app to list is not the app that was asked for".to_owned()),
            }
            filtered(&filter)
        }
        "announce" => {
            let (ids, _): (Vec<String>, u32) = read(request)?;
            if ids.len() > ANNOUNCED {
                return Err(format!(
                    "{} Machines are announced; at most {ANNOUNCED} may be at once",
                    ids.len()
                ));
            }
            ids.iter().try_for_each(|id| MachineId::read(id).map(drop))
        }
        "stop" => named("a signal", &read::<StopOptions>(request)?.signal),
        "restart" => named("a signal", &read::<RestartOptions>(request)?.signal),
        "signal" => named("a signal", [&read::<String>(request)?]),
        "update" => {
            let options: UpdateOptions = read(request)?;
            named("a version", &options.expected)?;
            changed(&options.change)
        }
        "restore" => {
            let options: RestoreOptions = read(request)?;
            named("a version", [&options.version])?;
            named("a version", &options.expected)
        }
        "create" => {
            let options: CreateOptions = read(request)?;
            if let Some(like) = &options.like {
                MachineId::read(like)?;
            }
            named("a region", &options.region)?;
            changed(&options.change)
        }
        "set-metadata" => metadata(&read::<Vec<(String, Option<String>)>>(request)?),
        "wait" => {
            let options: WaitOptions = read(request)?;
            few("states", &options.states)?;
            named("a state", &options.states)?;
            named("a version", &options.version)?;
            named("an event's id", &options.from_event)
        }
        "wait-healthy" => {
            let options: HealthyOptions = read(request)?;
            named("a version", &options.version)?;
            named("an event's id", &options.from_event)
        }
        _ => Ok(()),
    }
}

fn filtered(filter: &Filter) -> Sound {
    few("process groups", &filter.groups)?;
    words("a process group", &filter.groups)?;
    regions(&filter.regions)?;
    few("states", &filter.states)?;
    named("a state", &filter.states)
}

fn changed(change: &Change) -> Sound {
    words("a field", &change.replace)?;
    words("an image", &change.image)?;
    words("a release", &change.release)?;
    words(
        "a name in an environment",
        change.env.iter().map(|(key, _)| key),
    )?;
    metadata(&change.metadata)?;
    let standbys = change.standbys.as_deref().unwrap_or_default();
    few("standbys", standbys)?;
    let mut standbys = standbys.iter();
    standbys.try_for_each(|id| MachineId::read(id).map(drop))
}

fn metadata(values: &[(String, Option<String>)]) -> Sound {
    words("a key of metadata", values.iter().map(|(key, _)| key))
}
