//! From what the API says of a Machine to the contract's summary of it.

use groundcrew_fleet::Time;
use groundcrew_fleet::api::{self, CheckResult, ConfigView};

use crate::fly::contract::{Check, CheckStatus, Event, HostStatus, Machine, Mount};

/// A check's output is cut to this. (The contract.)
const OUTPUT_BYTES: usize = 512;

/// The metadata key of what a deploy calls itself. (The contract.)
pub(crate) const RELEASE: &str = "groundcrew_release";

pub(crate) fn machine(app: &str, from: &api::Machine) -> Machine {
    let config = from.config_view();
    let digest = from.image_ref.digest.clone();
    Machine {
        app: app.to_owned(),
        id: from.id.clone(),
        name: from.name.clone(),
        state: from.state.clone(),
        region: from.region.clone(),
        group: from.process_group().to_owned(),
        image: image_of(from),
        image_digest: (!digest.is_empty()).then_some(digest),
        release: release(config),
        checks: from.real_checks().map(check).collect(),
        host_status: match from.host() {
            api::HostStatus::Ok => HostStatus::Ok,
            api::HostStatus::Unknown => HostStatus::Unknown,
            api::HostStatus::Unreachable => HostStatus::Unreachable,
        },
        cordoned: from.cordoned,
        standbys: config.standbys(),
        mounts: config
            .mounts()
            .into_iter()
            .map(|m| Mount {
                volume: m.volume,
                path: m.path,
            })
            .collect(),
        services: count(config.services()),
        configured_checks: count(config.configured_checks().len()),
        autostop: config.autostop().as_str().to_owned(),
        private_address: (!from.private_ip.is_empty()).then(|| from.private_ip.clone()),
        lease_owner: from.lease.as_ref().map(|lease| lease.owner.clone()),
        restarts: from
            .events
            .iter()
            .map(api::Event::restart_count)
            .max()
            .unwrap_or(0),
        out_of_memory_kills: u32::try_from(from.events.iter().filter(|e| e.oom_killed()).count())
            .unwrap_or(u32::MAX),
        instance_id: from.instance_id.clone(),
        created_at: millis(Time::parse(&from.created_at)),
        updated_at: millis(Time::parse(&from.updated_at)),
    }
}

/// An organisation's listing says less: no checks, no host status.
pub(crate) fn listed(from: &api::OrgMachine) -> Machine {
    let config = ConfigView::new(&from.config);
    Machine {
        app: from.app_name.clone(),
        id: from.id.clone(),
        name: from.name.clone(),
        state: from.state.clone(),
        region: from.region.clone(),
        group: from.process_group().to_owned(),
        image: config.image().to_owned(),
        image_digest: None,
        release: release(config),
        checks: Vec::new(),
        host_status: HostStatus::Unknown,
        cordoned: false,
        standbys: config.standbys(),
        mounts: Vec::new(),
        services: 0,
        configured_checks: 0,
        autostop: config.autostop().as_str().to_owned(),
        private_address: (!from.private_ip.is_empty()).then(|| from.private_ip.clone()),
        lease_owner: None,
        restarts: 0,
        out_of_memory_kills: 0,
        instance_id: from.instance_id.clone(),
        created_at: millis(Time::parse(&from.created_at)),
        updated_at: millis(Time::parse(&from.updated_at)),
    }
}

fn image_of(from: &api::Machine) -> String {
    let image = &from.image_ref;
    match (image.repository.as_str(), image.tag.as_str()) {
        ("", _) => from.config_view().image().to_owned(),
        (repository, "") => repository.to_owned(),
        (repository, tag) => format!("{repository}:{tag}"),
    }
}

/// What a Machine's last deploy calls itself.
pub(crate) fn release(config: ConfigView<'_>) -> Option<String> {
    let keys = [RELEASE, "fly_release_id"];
    let mut found = keys.iter().filter_map(|key| config.metadata_value(key));
    found.next().map(str::to_owned)
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

pub(crate) fn event(from: &api::Event) -> Event {
    Event {
        id: from.id.clone(),
        kind: from.kind.clone(),
        status: from.status.clone(),
        source: from.source.clone(),
        at: from.at().as_millis(),
        exit_code: from.exit_code(),
        out_of_memory: from.oom_killed(),
        requested_stop: from.requested_stop(),
        restart_count: from.restart_count(),
    }
}

fn check(from: &api::CheckStatus) -> Check {
    let mut output = from.output.clone();
    if output.len() > OUTPUT_BYTES {
        output.truncate(output.floor_char_boundary(OUTPUT_BYTES));
    }
    let status = match from.result() {
        CheckResult::Passing => CheckStatus::Passing,
        CheckResult::Warning => CheckStatus::Warning,
        CheckResult::Critical => CheckStatus::Critical,
        CheckResult::Unknown => CheckStatus::Unknown,
    };
    Check {
        name: from.name.clone(),
        status,
        output,
        updated_at: millis(from.updated()),
    }
}

pub(crate) fn millis(time: Option<Time>) -> u64 {
    time.map_or(0, Time::as_millis)
}
