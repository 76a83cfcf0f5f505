//! Fly: three capabilities that act on one world. `world/` is what Fly, or a fork of it, answers;
//! `machines/`, `apps.rs` and `releases.rs` are what plugins may ask for.

mod apps;
pub mod contract;
mod look;
mod machines;
mod marks;
mod names;
mod refusals;
mod releases;
pub(crate) mod scopes;
mod target;
mod world;

/// What becomes of the bytes of an answer, whatever was asked and whatever they are. For fuzzing.
#[doc(hidden)]
pub fn read_anything(status: u16, body: &[u8]) {
    use groundcrew::json::parse;
    use groundcrew_fleet::api;
    use world::summary;
    if let Ok(machines) = parse::<Vec<api::Machine>>(body) {
        for machine in &machines {
            let shown = summary::machine("app", machine);
            let told = groundcrew::Outcome::ok(&shown).result.unwrap_or_default();
            assert!(parse::<contract::Machine>(told.as_bytes()).is_ok());
            machine.events.iter().map(summary::event).for_each(drop);
        }
    }
    if let Ok(all) = parse::<api::OrgMachines>(body) {
        all.machines.iter().map(summary::listed).for_each(drop);
    }
    if let Ok(versions) = parse::<Vec<api::MachineVersion>>(body) {
        for version in &versions {
            summary::release(api::ConfigView::new(&version.user_config));
        }
    }
    let _ = parse::<api::WaitResponse>(body);
    let _ = parse::<api::LeaseEnvelope>(body);
    let _ = parse::<api::ExecResponse>(body);
    let _ = parse::<api::ReleaseList>(body);
    let _ = parse::<api::AppList>(body);
    if let Ok(status) = reqwest::StatusCode::from_u16(status) {
        let refused = refusals::refusal(status, &reqwest::header::HeaderMap::new(), body);
        assert!(refused.failure.to_string().len() < 8 << 10);
    }
}

pub use apps::Apps;
pub use look::{list_machines, reachable};
pub use machines::Machines;
pub use releases::Releases;
pub use target::{Addresses, FLY_INSIDE, FLY_MACHINES_API, TOKENS, target, target_showing};
